//! Sources of secrets, and that secrets are never printed.

use std::io::Write as _;

use crate::program::{SETUP, program, run, run_with_stdin, wpclone};
use crate::stub::{Reply, Stub, failed, succeeded};

fn file_with(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[tokio::test]
async fn a_password_from_a_file_or_stdin_keeps_its_spaces() {
    let stub = Stub::ending(succeeded()).await;
    let file = file_with(" canary with spaces \r\n");
    let from_file = [SETUP, &["--password-file", file.path().to_str().unwrap()]].concat();
    let mut command = program(&stub.url, &from_file);
    // The option overrides the environment.
    let output = run_command(command.env("WPCLONE_SITE_PASSWORD", "another")).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(!format!("{output:?}").contains("canary"));

    let output = run_with_stdin(&stub.url, &[SETUP, &["--password-file", "-"]].concat(), "canary-2").await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(!format!("{output:?}").contains("canary"));

    let sent: Vec<_> = stub.requests_to("POST /setup").iter().map(|a| a.body["password"].clone()).collect();
    assert_eq!(sent, [" canary with spaces ", "canary-2"]);
}

async fn run_command(command: &mut tokio::process::Command) -> crate::program::ProgramOutput {
    crate::program::wait_for_output(command.spawn().unwrap()).await
}

#[tokio::test]
async fn without_a_usable_password_no_request_is_sent() {
    let stub = Stub::ending(succeeded()).await;
    let empty = file_with("\n");
    let large = file_with(&"x".repeat(9000));
    let unusable = [empty.path().to_str().unwrap(), large.path().to_str().unwrap(), "/nowhere/password"];
    for file in unusable {
        let output = run(program(&stub.url, &[SETUP, &["--password-file", file]].concat())).await;
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");
    }
    let output = run(program(&stub.url, SETUP)).await;
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("WPCLONE_SITE_PASSWORD"), "{}", output.stderr);
    assert!(stub.requests().is_empty());
}

#[tokio::test]
async fn no_option_takes_a_secret() {
    for flag in ["--password", "--token", "--site-password"] {
        let args = [SETUP, &[flag, "canary"]].concat();
        let output = run(program("http://127.0.0.1:1", &args)).await;
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");
        assert!(!output.stderr.contains("canary"), "{}", output.stderr);
    }
    let args = ["setup", "https://me:canary@example.com", "--username", "admin"];
    let output = run(program("http://127.0.0.1:1", &args)).await;
    assert_eq!(output.code, 2, "{output:?}");
    assert!(
        output.stderr.contains("must not contain") && !output.stderr.contains("canary"),
        "{}",
        output.stderr
    );
}

#[tokio::test]
async fn the_token_is_sent_to_the_api_and_never_printed() {
    let stub = Stub::ending(failed()).await;
    let file = file_with("wpc_canary-of-the-file\n");
    let with_file = [SETUP, &["--token-file", file.path().to_str().unwrap()]].concat();
    for (args, token) in [(SETUP, "wpc_canary-of-the-environment"), (&with_file, "wpc_canary-of-the-file")] {
        let mut command = program(&stub.url, args);
        command.env("WPCLONE_TOKEN", "wpc_canary-of-the-environment");
        let output = run_command(command.env("WPCLONE_SITE_PASSWORD", "canary-password")).await;
        assert_eq!(output.code, 1, "{output:?}");
        assert!(!format!("{output:?}").contains("canary"), "{output:?}");
        let last = stub.requests().pop().unwrap();
        assert_eq!(last.headers["authorization"], format!("Bearer {token}"));
    }
}

#[tokio::test]
async fn a_redirect_does_not_forward_the_password() {
    let other_server = Stub::ending(succeeded()).await;
    let to = format!("{}/setup", other_server.url);
    let stub = Stub::start(move |_| Reply::Redirect(to.clone())).await;
    let mut command = program(&stub.url, SETUP);
    let output = run_command(command.env("WPCLONE_SITE_PASSWORD", "canary")).await;
    assert_eq!(output.code, 3, "{output:?}");
    assert!(other_server.requests().is_empty());
}

#[tokio::test]
async fn tokens_and_keys_are_created_without_an_api() {
    let output = run(program("http://127.0.0.1:1", &["token", "new", "ci", "--scope", "operator"])).await;
    assert_eq!(output.code, 0, "{output:?}");
    let lines: Vec<&str> = output.stdout.lines().collect();
    let [token, line] = lines[..] else { panic!("{output:?}") };
    assert!(token.starts_with("wpc_") && token.len() > 40, "{token}");
    assert!(line.starts_with("ci:") && line.ends_with(":operator"), "{line}");
    assert!(!output.stderr.contains(token));
    let limited = ["token", "new", "ci", "--per-minute", "60", "--concurrent", "5"];
    let output = run(program("http://127.0.0.1:1", &limited)).await;
    assert!(output.stdout.ends_with(":user:60:5\n"), "{output:?}");
    let output = run(program("http://127.0.0.1:1", &["token", "new", "ci", "--concurrent", "0"])).await;
    assert_eq!(output.code, 2, "{output:?}");
    let metrics = ["token", "new", "prom", "--scope", "metrics", "--per-minute", "5"];
    let output = run(program("http://127.0.0.1:1", &metrics)).await;
    assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");

    let output = run(program("http://127.0.0.1:1", &["seal-key", "new", "k1"])).await;
    assert_eq!(output.code, 0, "{output:?}");
    let (id, _) = output.stdout.trim_end().split_once(':').unwrap();
    assert_eq!(id, "k1");

    let output = run(program("http://127.0.0.1:1", &["webhook-secret", "new"])).await;
    assert_eq!(output.code, 0, "{output:?}");
    output.stdout.parse::<wpclone_service::webhook::WebhookSecrets>().unwrap();
    assert!(output.stdout.starts_with("whsec_") && output.stdout.lines().count() == 1, "{output:?}");
}

#[tokio::test]
async fn a_callback_url_is_sent_unchanged_and_an_invalid_one_is_not_repeated() {
    let stub = Stub::ending(succeeded()).await;
    let url = "https://hooks.example/a?b=c%20d";
    let output = wpclone(&stub.url, &[SETUP, &["--callback-url", url]].concat()).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(stub.requests_to("POST /setup")[0].body["callback_url"], url);
    let output =
        wpclone(&stub.url, &[SETUP, &["--callback-url", "https://me:canary@hooks.example"]].concat()).await;
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("--callback-url must not contain"), "{}", output.stderr);
    assert!(!output.stderr.contains("canary"), "{}", output.stderr);
    assert_eq!(stub.requests_to("POST /setup").len(), 1);
}

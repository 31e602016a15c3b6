//! Where secrets come from, and where they never turn up.

use std::io::Write as _;

use crate::run::{SETUP, fed, finish, program, wpclone};
use crate::stub::{Answer, Stub, failed, succeeded};

fn file_with(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[tokio::test]
async fn a_password_comes_from_a_file_or_standard_input_as_it_is() {
    let stub = Stub::ending(succeeded()).await;
    let file = file_with(" canary with spaces \r\n");
    let from_file = [SETUP, &["--password-file", file.path().to_str().unwrap()]].concat();
    let mut command = program(&stub.url, &from_file);
    // The flag is nearer to the caller than the environment.
    let ran = finish_with(command.env("WPCLONE_SITE_PASSWORD", "another")).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!format!("{ran:?}").contains("canary"));

    let ran = fed(&stub.url, &[SETUP, &["--password-file", "-"]].concat(), "canary-2").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!format!("{ran:?}").contains("canary"));

    let sent: Vec<_> = stub.asked_for("POST /setup").iter().map(|a| a.body["password"].clone()).collect();
    assert_eq!(sent, [" canary with spaces ", "canary-2"]);
}

async fn finish_with(command: &mut tokio::process::Command) -> crate::run::Ran {
    crate::run::end(command.spawn().unwrap()).await
}

#[tokio::test]
async fn without_a_password_or_with_a_useless_one_nothing_is_sent() {
    let stub = Stub::ending(succeeded()).await;
    let empty = file_with("\n");
    let large = file_with(&"x".repeat(9000));
    let useless = [empty.path().to_str().unwrap(), large.path().to_str().unwrap(), "/nowhere/password"];
    for file in useless {
        let ran = finish(program(&stub.url, &[SETUP, &["--password-file", file]].concat())).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    }
    let ran = finish(program(&stub.url, SETUP)).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("WPCLONE_SITE_PASSWORD"), "{}", ran.stderr);
    assert!(stub.asked().is_empty());
}

#[tokio::test]
async fn no_argument_takes_a_secret() {
    for flag in ["--password", "--token", "--site-password"] {
        let args = [SETUP, &[flag, "canary"]].concat();
        let ran = finish(program("http://127.0.0.1:1", &args)).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);
    }
    let args = ["setup", "https://me:canary@example.com", "--username", "admin"];
    let ran = finish(program("http://127.0.0.1:1", &args)).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("must not contain") && !ran.stderr.contains("canary"), "{}", ran.stderr);
}

#[tokio::test]
async fn the_token_goes_to_the_api_and_nowhere_else() {
    let stub = Stub::ending(failed()).await;
    let file = file_with("wpc_canary-of-the-file\n");
    let with_file = [SETUP, &["--token-file", file.path().to_str().unwrap()]].concat();
    for (args, token) in [(SETUP, "wpc_canary-of-the-environment"), (&with_file, "wpc_canary-of-the-file")] {
        let mut command = program(&stub.url, args);
        command.env("WPCLONE_TOKEN", "wpc_canary-of-the-environment");
        let ran = finish_with(command.env("WPCLONE_SITE_PASSWORD", "canary-password")).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(!format!("{ran:?}").contains("canary"), "{ran:?}");
        let last = stub.asked().pop().unwrap();
        assert_eq!(last.headers["authorization"], format!("Bearer {token}"));
    }
}

#[tokio::test]
async fn a_password_follows_no_redirect() {
    let elsewhere = Stub::ending(succeeded()).await;
    let to = format!("{}/setup", elsewhere.url);
    let stub = Stub::start(move |_| Answer::Redirect(to.clone())).await;
    let mut command = program(&stub.url, SETUP);
    let ran = finish_with(command.env("WPCLONE_SITE_PASSWORD", "canary")).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn tokens_and_keys_are_made_without_an_api() {
    let ran = finish(program("http://127.0.0.1:1", &["token", "new", "ci", "--scope", "operator"])).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let [token, line] = lines[..] else { panic!("{ran:?}") };
    assert!(token.starts_with("wpc_") && token.len() > 40, "{token}");
    assert!(line.starts_with("ci:") && line.ends_with(":operator"), "{line}");
    assert!(!ran.stderr.contains(token));
    let limited = ["token", "new", "ci", "--per-minute", "60", "--concurrent", "5"];
    let ran = finish(program("http://127.0.0.1:1", &limited)).await;
    assert!(ran.stdout.ends_with(":user:60:5\n"), "{ran:?}");
    let ran = finish(program("http://127.0.0.1:1", &["token", "new", "ci", "--concurrent", "0"])).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    let metrics = ["token", "new", "prom", "--scope", "metrics", "--per-minute", "5"];
    let ran = finish(program("http://127.0.0.1:1", &metrics)).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");

    let ran = finish(program("http://127.0.0.1:1", &["seal-key", "new", "k1"])).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let (id, _) = ran.stdout.trim_end().split_once(':').unwrap();
    assert_eq!(id, "k1");

    let ran = finish(program("http://127.0.0.1:1", &["webhook-secret", "new"])).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stdout.parse::<wpclone_service::webhook::WebhookSecrets>().unwrap();
    assert!(ran.stdout.starts_with("whsec_") && ran.stdout.lines().count() == 1, "{ran:?}");
}

#[tokio::test]
async fn a_callback_address_is_sent_as_it_is_and_a_wrong_one_is_not_repeated() {
    let stub = Stub::ending(succeeded()).await;
    let url = "https://hooks.example/a?b=c%20d";
    let ran = wpclone(&stub.url, &[SETUP, &["--callback-url", url]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stub.asked_for("POST /setup")[0].body["callback_url"], url);
    let ran =
        wpclone(&stub.url, &[SETUP, &["--callback-url", "https://me:canary@hooks.example"]].concat()).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("--callback-url must not contain"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);
    assert_eq!(stub.asked_for("POST /setup").len(), 1);
}

//! `wpclone rewrite`.

use std::io::{Read as _, Seek as _, Write as _};
use std::process::Stdio;

use insta::assert_snapshot;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::program::{ProgramOutput, program, run, run_with_stdin, wait_for_output};

const NO_URL: &str = "not a URL";
const PAIR: &[&str] = &["rewrite", "--from", "http://example.com", "--to", "https://new.example.org/shop"];

async fn rewrite(args: &[&str], input: &str) -> ProgramOutput {
    run_with_stdin(NO_URL, &[PAIR, args].concat(), input).await
}

#[tokio::test]
async fn urls_in_a_value_are_replaced() {
    let output = rewrite(&[], "a:1:{i:0;s:18:\"http://example.com\";}").await;
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (0, "a:1:{i:0;s:28:\"https://new.example.org/shop\";}"),
        "{output:?}"
    );
    let output = rewrite(&[], "").await;
    assert_eq!((output.code, output.stdout.as_str()), (0, ""), "{output:?}");
}

#[tokio::test]
async fn with_nul_each_value_is_rewritten_on_its_own() {
    let output = rewrite(&["--nul"], "http://example.com\0\0x\0s:18:\"http://example.com\";").await;
    let expected = "https://new.example.org/shop\0\0x\0s:28:\"https://new.example.org/shop\";";
    assert_eq!((output.code, output.stdout.as_str()), (0, expected), "{output:?}");
    assert!(output.stderr.starts_with("values              4\nchanged values      2\n"), "{}", output.stderr);
    let output = rewrite(&["--nul"], "a\0").await;
    assert_eq!(output.stdout, "a\0");
}

#[tokio::test]
async fn a_dump_is_rewritten_with_folders_and_table_prefix() {
    let dump = |prefix: &str, url: &str, guid: &str, folder: &str| {
        format!(
            "INSERT INTO `{prefix}options` VALUES (1,'{prefix}user_roles','it\\'s {url}','yes'),(2,'b','{folder}/a','no');\n\
             INSERT INTO `{prefix}posts` (`guid`,`x`) VALUES ('{guid}','{url}');\n"
        )
    };
    let old = "http://example.com";
    let input = dump("wp_", old, old, "/var/www/a");
    let args = ["--sql", "--prefix", "wp_=b_", "--guid", "keep", "--folder", "/var/www/a=/srv/b"];
    let output = rewrite(&args, &input).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(output.stdout, dump("b_", "https://new.example.org/shop", old, "/srv/b"));
}

#[tokio::test]
async fn several_pairs_are_replaced_and_no_www_keeps_www_hosts() {
    let pairs = [
        "rewrite",
        "--pair",
        "http://a.example=http://b.example",
        "--pair",
        "http://a.example/c?d=https://x",
    ];
    let output = run(program(NO_URL, &pairs)).await;
    assert_eq!(output.code, 2, "{output:?}");
    let pairs = [
        "rewrite",
        "--pair",
        "http://a.example=http://b.example",
        "--pair",
        "http://a.example/c=d=https://x",
    ];
    let input = "http://a.example/c=d/e http://a.example/c http://www.a.example";
    let output = run_with_stdin(NO_URL, &pairs, input).await;
    assert_eq!(output.stdout, "https://x/e http://b.example/c http://b.example", "{output:?}");
    let output = run_with_stdin(NO_URL, &[&pairs[..], &["--no-www"]].concat(), input).await;
    assert_eq!(output.stdout, "https://x/e http://b.example/c http://www.a.example", "{output:?}");
}

const DUMP_WITH_LEFT_OVERS: &str = "INSERT INTO t VALUES ('http://example.com','{\\\"a\\\":\\\"http:\\\\/\\\\/example.com\\\"}',\
    'bob@example.com \u{9b}','s:3:\\\"http://example.com\\\";'); -- http://example.com\n/* ";

#[tokio::test]
async fn the_report_lists_replacements_and_unreplaced_addresses() {
    let output = rewrite(&["--sql"], DUMP_WITH_LEFT_OVERS).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_snapshot!(output.stderr);
    for args in [&["--sql", "--report", "json"][..], &["--sql", "--json"]] {
        let output = rewrite(args, DUMP_WITH_LEFT_OVERS).await;
        let report: Value = serde_json::from_str(&output.stderr).unwrap();
        assert_eq!(report["values"], 4, "{report}");
        assert_eq!(report["unreplaced"]["outside-rows"], 1, "{report}");
        assert_eq!(report["unreplaced_samples"][0]["context"], "bob@example.com \u{9b}", "{report}");
        assert!(!output.stderr.contains('\u{9b}'), "control characters are escaped");
    }
}

#[tokio::test]
async fn all_invalid_arguments_are_reported_at_once_without_urls() {
    let args = [
        "rewrite",
        "--sql",
        "--from",
        "ftp://canary.example",
        "--to",
        "http://me:canary@example.com",
        "--pair",
        "canary",
        "--pair",
        "http://a=http://canary:x@b",
        "--folder",
        "/=canary",
        "--prefix",
        "a.canary",
    ];
    let output = run(program(NO_URL, &args)).await;
    assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");
    assert_snapshot!(output.stderr);
    assert!(!output.stderr.contains("canary"), "{}", output.stderr);
}

#[tokio::test]
async fn conflicting_arguments_exit_with_2() {
    let from = ["--from", "http://a.example"];
    for args in [
        &["rewrite"][..],
        &[&["rewrite"][..], &from].concat(),
        &["rewrite", "--to", "http://a.example"],
        &[PAIR, &["--prefix", "a=b"]].concat(),
        &[PAIR, &["--guid", "keep"]].concat(),
        &[PAIR, &["--sql", "--nul"]].concat(),
        &[PAIR, &["--sql", "--guid", "odd"]].concat(),
        &[PAIR, &["--report", "odd"]].concat(),
        &[PAIR, &["--pair", "http://example.com=http://elsewhere.example"]].concat(),
    ] {
        let output = run(program(NO_URL, args)).await;
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[tokio::test]
async fn a_value_beyond_the_limit_is_rejected() {
    let mut child = program(NO_URL, PAIR).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let chunk = vec![b'x'; 1 << 20];
    let feed = async {
        for _ in 0..300 {
            if stdin.write_all(&chunk).await.is_err() {
                break;
            }
        }
        drop(stdin);
    };
    let (output, ()) = tokio::join!(wait_for_output(child), feed);
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert!(output.stderr.contains("larger than 256 MiB"), "{}", output.stderr);
}

#[tokio::test]
async fn a_closed_pipe_is_not_a_failure_but_a_full_disk_is() {
    let rows = "INSERT INTO t VALUES ('http://example.com');\n".repeat(100_000);
    let mut child = program(NO_URL, &[PAIR, &["--sql"]].concat()).stdin(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let feed = async move {
        let _ = stdin.write_all(rows.as_bytes()).await;
    };
    let (output, ()) = tokio::join!(wait_for_output(child), feed);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));

    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = program(NO_URL, PAIR);
    command.stdin(input(b"http://example.com")).stdout(full);
    let output = run(command).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.starts_with("error: standard output cannot be written: "), "{}", output.stderr);

    let mut command = program(NO_URL, PAIR);
    command.stdin(std::fs::File::open("/").unwrap());
    let output = run(command).await;
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert!(output.stderr.starts_with("error: standard input cannot be read: "), "{}", output.stderr);
}

fn input(text: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text).unwrap();
    file.rewind().unwrap();
    file
}

#[tokio::test]
async fn text_in_utf_16_and_compressed_files_are_refused() {
    let dump = "INSERT INTO t VALUES ('http://example.com');\n";
    let units = |bytes: fn(u16) -> [u8; 2]| dump.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let (little, big) = (units(u16::to_le_bytes), units(u16::to_be_bytes));
    let with_mark = |mark: &[u8], text: &[u8]| [mark, text].concat();
    let wide: Vec<u8> = dump.chars().flat_map(|letter| u32::from(letter).to_le_bytes()).collect();
    let cases = [
        (with_mark(&[0xFF, 0xFE], &little), "UTF-16"),
        (with_mark(&[0xFE, 0xFF], &big), "UTF-16"),
        (little, "UTF-16"),
        (big, "UTF-16"),
        (with_mark(&[0xFF, 0xFE, 0, 0], &wide), "UTF-32"),
        (b"\x1f\x8b\x08\0\0\0\0\0".to_vec(), "gzip"),
        (b"BZh91AY&SY".to_vec(), "bzip2"),
        (b"PK\x03\x04\x14\0".to_vec(), "zip"),
        (b"\x28\xb5\x2f\xfd\0".to_vec(), "Zstandard"),
        (b"SQLite format 3\0\x10\0".to_vec(), "SQLite"),
    ];
    for (bytes, name) in cases {
        let mut command = program(NO_URL, &[PAIR, &["--sql"]].concat());
        command.stdin(input(&bytes));
        let output = run(command).await;
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{name}: {output:?}");
        assert!(
            output.stderr.starts_with("error: standard input is ") && output.stderr.contains(name),
            "{output:?}"
        );
    }
    let mut command = program(NO_URL, PAIR);
    command.stdin(input(&[0xFF, 0xFE, b'h', 0]));
    assert_eq!(run(command).await.code, 1, "a value in UTF-16");
}

#[tokio::test]
async fn input_in_which_nothing_was_recognised_is_told() {
    let cases = [
        (&["--sql"][..], "", "standard input is empty"),
        (&["--sql"], "COPY t (a) FROM stdin;\nhttp://example.com\n\\.\n", "no rows were recognised"),
        (&["--sql"], "id,url\n1,http://example.com\n", "no rows were recognised"),
        (&["--sql"], "<?xml version=\"1.0\"?><a>http://example.com</a>", "no rows were recognised"),
        (&["--sql"], "CREATE TABLE t (a text);\n", "no rows were recognised"),
        (&["--sql"], "INSERT INTO t VALUES ('http://other.example');\n", "no old URL was found"),
        (&["--nul"], "a\0b\0", "no old URL was found"),
        (&[], "http://other.example", "no old URL was found"),
        (&[], "", "standard input is empty"),
    ];
    for (args, text, note) in cases {
        let output = rewrite(args, text).await;
        assert_eq!((output.code, output.stdout.as_str()), (0, text), "{output:?}");
        assert!(output.stderr.contains(&format!("\nnote: {note}")), "{output:?}");
        let output = rewrite(&[args, &["--report", "json"]].concat(), text).await;
        let report: Value = serde_json::from_str(&output.stderr).unwrap();
        assert!(report["note"].as_str().unwrap().starts_with(note), "{report}");
    }
    let output = rewrite(&["--sql"], "\u{feff}INSERT INTO t VALUES ('bob@example.com');\n").await;
    assert!(!output.stderr.contains("note: "), "{output:?}");
}

#[tokio::test]
async fn binary_data_is_copied_unchanged() {
    let mut dump = b"INSERT INTO t VALUES (_binary '".to_vec();
    dump.extend((0..=255).filter(|byte| !matches!(byte, b'\'' | b'\\')));
    dump.extend(b"');\n");
    let mut out = tempfile::tempfile().unwrap();
    let mut command = program(NO_URL, &[PAIR, &["--sql"]].concat());
    command.stdin(input(&dump)).stdout(out.try_clone().unwrap());
    let output = run(command).await;
    assert_eq!(output.code, 0, "{output:?}");
    let mut new = Vec::new();
    out.rewind().unwrap();
    out.read_to_end(&mut new).unwrap();
    assert_eq!(new, dump);
}

//! `wpclone rewrite`, which needs no API.

use std::io::{Read as _, Seek as _, Write as _};
use std::process::Stdio;

use insta::assert_snapshot;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::run::{Ran, end, fed, finish, program};

const NOWHERE: &str = "no address at all";
const PAIR: &[&str] = &["rewrite", "--from", "http://example.com", "--to", "https://new.example.org/shop"];

async fn rewrite(args: &[&str], input: &str) -> Ran {
    fed(NOWHERE, &[PAIR, args].concat(), input).await
}

#[tokio::test]
async fn a_value_goes_in_and_comes_out_moved() {
    let ran = rewrite(&[], "a:1:{i:0;s:18:\"http://example.com\";}").await;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "a:1:{i:0;s:28:\"https://new.example.org/shop\";}"),
        "{ran:?}"
    );
    let ran = rewrite(&[], "").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
}

#[tokio::test]
async fn values_are_kept_apart_by_nul() {
    let ran = rewrite(&["--nul"], "http://example.com\0\0x\0s:18:\"http://example.com\";").await;
    let wanted = "https://new.example.org/shop\0\0x\0s:28:\"https://new.example.org/shop\";";
    assert_eq!((ran.code, ran.stdout.as_str()), (0, wanted), "{ran:?}");
    assert!(ran.stderr.starts_with("values      4\nchanged     2\n"), "{}", ran.stderr);
    let ran = rewrite(&["--nul"], "a\0").await;
    assert_eq!(ran.stdout, "a\0");
}

#[tokio::test]
async fn a_dump_is_moved_with_its_folders_and_its_prefix() {
    let dump = |prefix: &str, url: &str, guid: &str, folder: &str| {
        format!(
            "INSERT INTO `{prefix}options` VALUES (1,'{prefix}user_roles','it\\'s {url}','yes'),(2,'b','{folder}/a','no');\n\
             INSERT INTO `{prefix}posts` (`guid`,`x`) VALUES ('{guid}','{url}');\n"
        )
    };
    let old = "http://example.com";
    let input = dump("wp_", old, old, "/var/www/a");
    let args = ["--sql", "--prefix", "wp_=b_", "--guid", "keep", "--folder", "/var/www/a=/srv/b"];
    let ran = rewrite(&args, &input).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stdout, dump("b_", "https://new.example.org/shop", old, "/srv/b"));
}

#[tokio::test]
async fn several_sites_move_at_once_and_www_may_be_another() {
    let pairs = [
        "rewrite",
        "--pair",
        "http://a.example=http://b.example",
        "--pair",
        "http://a.example/c?d=https://x",
    ];
    let ran = finish(program(NOWHERE, &pairs)).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    let pairs = [
        "rewrite",
        "--pair",
        "http://a.example=http://b.example",
        "--pair",
        "http://a.example/c=d=https://x",
    ];
    let input = "http://a.example/c=d/e http://a.example/c http://www.a.example";
    let ran = fed(NOWHERE, &pairs, input).await;
    assert_eq!(ran.stdout, "https://x/e http://b.example/c http://b.example", "{ran:?}");
    let ran = fed(NOWHERE, &[&pairs[..], &["--no-www"]].concat(), input).await;
    assert_eq!(ran.stdout, "https://x/e http://b.example/c http://www.a.example", "{ran:?}");
}

const TELLING: &str = "INSERT INTO t VALUES ('http://example.com','{\\\"a\\\":\\\"http:\\\\/\\\\/example.com\\\"}',\
    'bob@example.com \u{9b}','s:3:\\\"http://example.com\\\";'); -- http://example.com\n/* ";

#[tokio::test]
async fn the_report_tells_what_was_done_and_what_is_left() {
    let ran = rewrite(&["--sql"], TELLING).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_snapshot!(ran.stderr);
    for args in [&["--sql", "--report", "json"][..], &["--sql", "--json"]] {
        let ran = rewrite(args, TELLING).await;
        let report: Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!(report["values"], 4, "{report}");
        assert_eq!(report["stayed"]["no-row"], 1, "{report}");
        assert_eq!(report["left_overs"][0]["context"], "bob@example.com \u{9b}", "{report}");
        assert!(!ran.stderr.contains('\u{9b}'), "what is left does not command the terminal");
    }
}

#[tokio::test]
async fn every_bad_argument_is_named_at_once_and_no_address_repeated() {
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
    let ran = finish(program(NOWHERE, &args)).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert_snapshot!(ran.stderr);
    assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);
}

#[tokio::test]
async fn arguments_that_make_no_sense_end_with_2() {
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
        let ran = finish(program(NOWHERE, args)).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(!ran.stderr.is_empty());
    }
}

#[tokio::test]
async fn a_value_that_is_too_large_is_refused() {
    let mut child = program(NOWHERE, PAIR).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let chunk = vec![b'x'; 1 << 20];
    let fed = async {
        for _ in 0..300 {
            if stdin.write_all(&chunk).await.is_err() {
                break;
            }
        }
        drop(stdin);
    };
    let (ran, ()) = tokio::join!(end(child), fed);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("larger than 256 MiB"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_reader_that_has_enough_is_no_failure_and_a_full_disk_is() {
    let rows = "INSERT INTO t VALUES ('http://example.com');\n".repeat(100_000);
    let mut child = program(NOWHERE, &[PAIR, &["--sql"]].concat()).stdin(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let feed = async move {
        let _ = stdin.write_all(rows.as_bytes()).await;
    };
    let (ran, ()) = tokio::join!(end(child), feed);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));

    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = program(NOWHERE, PAIR);
    command.stdin(input(b"http://example.com")).stdout(full);
    let ran = finish(command).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.starts_with("error: standard output cannot be written: "), "{}", ran.stderr);

    let mut command = program(NOWHERE, PAIR);
    command.stdin(std::fs::File::open("/").unwrap());
    let ran = finish(command).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.starts_with("error: standard input cannot be read: "), "{}", ran.stderr);
}

fn input(text: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text).unwrap();
    file.rewind().unwrap();
    file
}

#[tokio::test]
async fn bytes_that_are_no_text_pass() {
    let mut dump = b"INSERT INTO t VALUES (_binary '".to_vec();
    dump.extend((0..=255).filter(|byte| !matches!(byte, b'\'' | b'\\')));
    dump.extend(b"');\n");
    let mut out = tempfile::tempfile().unwrap();
    let mut command = program(NOWHERE, &[PAIR, &["--sql"]].concat());
    command.stdin(input(&dump)).stdout(out.try_clone().unwrap());
    let ran = finish(command).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut new = Vec::new();
    out.rewind().unwrap();
    out.read_to_end(&mut new).unwrap();
    assert_eq!(new, dump);
}

//! Compares with PHP, which serialises each value with the old and with the new address: the rewriter has to turn the
//! first into the second.

use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use wpclone_rewrite::Report;

use crate::rewriter;

#[track_caller]
fn agree(old: &str, new: &str, count: usize, seed: usize) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rewrite/oracle.php");
    let output =
        Command::new("php").arg(script).args([old, new, &count.to_string(), &seed.to_string()]).output();
    let output = output.expect("these tests need PHP: php-cli");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines: Vec<Vec<u8>> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .map(|line| BASE64_STANDARD.decode(line).unwrap())
        .collect();
    assert_eq!(lines.len(), count * 2 + 1);
    let rewriter = rewriter(&[(old, new)]);
    for (number, pair) in lines.chunks_exact(2).enumerate() {
        let mut report = Report::default();
        let is = rewriter.rewrite(&pair[0], &mut report);
        assert!(
            *is == *pair[1],
            "number {number}, seed {seed}\nold  {}\nis   {}\nPHP  {}\n{report:?}",
            pair[0].escape_ascii(),
            is.escape_ascii(),
            pair[1].escape_ascii(),
        );
    }
}

#[test]
fn php_reads_the_same_data_with_new_addresses() {
    agree("http://example.com", "https://new.example.org/shop", 4_000, 1);
}

#[test]
fn php_agrees_for_shorter_addresses() {
    agree("http://example.com", "http://a.io", 4_000, 100_000);
}

#[test]
#[ignore = "the long form: `./dev test long`"]
fn php_agrees_in_a_long_run() {
    for round in 1..=20 {
        agree("http://example.com", "https://new.example.org/shop", 10_000, round * 1_000_000);
        agree("http://example.com/blog", "http://a.io", 10_000, round * 1_000_000 + 500_000);
    }
}

#[test]
fn php_agrees_for_sites_below_a_path() {
    agree("http://example.com/blog", "http://example.net:8080/b", 4_000, 200_000);
}

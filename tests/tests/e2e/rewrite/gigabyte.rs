//! A dump that is larger than memory should be.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use wpclone_tests::built;

const MIB: usize = 1 << 20;
/// The memory limit, whatever the dump's length. Its largest value has 4 MiB.
const MOST: usize = 64 * MIB;

#[test]
fn a_dump_goes_through_in_constant_memory() -> Result<()> {
    goes_through(96 * MIB)
}

#[test]
#[ignore = "the long form: `./dev test long`"]
fn a_gigabyte_goes_through_in_constant_memory() -> Result<()> {
    goes_through(1024 * MIB)
}

fn goes_through(length: usize) -> Result<()> {
    let mut program = Command::new(built("wpclone")?);
    program.args([
        "rewrite",
        "--sql",
        "--report",
        "json",
        "--from",
        "http://example.com",
        "--to",
        "https://example.org",
    ]);
    let mut child =
        Ended(program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
    let mut stdin = child.0.stdin.take().context("a pipe")?;
    let mut stdout = child.0.stdout.take().context("a pipe")?;
    let reader = thread::spawn(move || -> Result<usize> {
        let (mut chunk, mut count) = (vec![0; MIB], 0);
        loop {
            match stdout.read(&mut chunk)? {
                0 => return Ok(count),
                length => count += length,
            }
        }
    });
    let statement = statement();
    let large = large();
    let (mut written, mut statements, mut larges) = (0, 0, 0);
    while written < length {
        stdin.write_all(statement.as_bytes())?;
        (written, statements) = (written + statement.len(), statements + 1);
        if written / (64 * MIB) > larges {
            stdin.write_all(large.as_bytes())?;
            (written, larges) = (written + large.len(), larges + 1);
        }
    }
    // It waits for input, so that its memory can be read.
    let peak = peak(child.0.id())?;
    drop(stdin);
    let read = reader.join().ok().context("the reader ends")??;
    let mut report = String::new();
    child.0.stderr.take().context("a pipe")?.read_to_string(&mut report)?;
    ensure!(child.0.wait()?.success(), "{report}");
    let report: serde_json::Value = serde_json::from_str(&report)?;
    let addresses = statements * ROWS * 2 + larges;
    ensure!(report["replaced_addresses"] == addresses, "{addresses} in {report}");
    let growth = "https://example.org".len() - "http://example.com".len();
    ensure!(read == written + addresses * growth, "{read} of {written} bytes");
    ensure!(peak < MOST, "{} MiB of memory", peak / MIB);
    Ok(())
}

const ROWS: usize = 64;

/// Rows of a shop.
fn statement() -> String {
    let row = |id: usize| {
        let filler =
            "Lorem ipsum dolor sit amet, it\\'s <b class=\\\"x\\\">consetetur</b>\\n ".repeat(id % 7 + 1);
        format!(
            "({id},'2026-01-01 00:00:00','{filler}<a href=\\\"http://example.com/{id}\\\">x</a>',NULL,'{{\\\"u\\\":\\\"http:\\\\/\\\\/example.com\\\\/{id}\\\"}}',0.5)"
        )
    };
    format!("INSERT INTO `wp_postmeta` VALUES {};\n", (0..ROWS).map(row).collect::<Vec<_>>().join(","))
}

/// A value of four MiB.
fn large() -> String {
    format!(
        "INSERT INTO `wp_options` VALUES (1,'x','{}http://example.com','no');\n",
        "it\\'s ".repeat(4 * MIB / 6)
    )
}

/// The peak memory of a process: proc(5), `VmHWM`.
fn peak(pid: u32) -> Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? * 1024)
}

/// A process that does not outlive its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

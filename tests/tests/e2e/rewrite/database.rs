//! Schemas of the lab's MariaDB, their dumps, and `wpclone rewrite`.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use wpclone_tests::{Lab, built};

const LIMIT: Duration = Duration::from_secs(600);

/// A schema; it is removed with the lab.
pub(crate) struct Schema {
    socket: PathBuf,
    pub(crate) name: String,
}

impl Schema {
    pub(crate) async fn new() -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = format!("rewritten_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let schema = Self { socket: Lab::shared().mariadb_socket().await?, name: String::new() };
        schema.sql(&format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4")).await?;
        Ok(Self { name, ..schema })
    }

    /// Runs SQL; rows come back as lines of columns apart by tabs.
    pub(crate) async fn sql(&self, sql: &str) -> Result<String> {
        Ok(String::from_utf8(self.load(sql.as_bytes()).await?)?)
    }

    pub(crate) async fn load(&self, sql: &[u8]) -> Result<Vec<u8>> {
        let mut client = Command::new("mariadb");
        client.args([
            "--no-defaults",
            "--batch",
            "--skip-column-names",
            "--default-character-set=utf8mb4",
            "--socket",
        ]);
        run(client.arg(&self.socket).arg(&self.name), sql).await
    }

    pub(crate) async fn dump(&self, options: &[&str]) -> Result<Vec<u8>> {
        let mut dump = Command::new("mariadb-dump");
        dump.args(["--no-defaults", "--routines", "--socket"])
            .arg(&self.socket)
            .args(options)
            .arg(&self.name);
        run(&mut dump, b"").await
    }

    /// Lines of a query, each one's columns apart.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        let lines = self.sql(sql).await?;
        Ok(lines.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    }

    /// The tables, or the views.
    pub(crate) async fn tables(&self, kind: &str) -> Result<Vec<String>> {
        let sql = format!(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = '{}' AND table_type = '{kind}' ORDER BY 1",
            self.name
        );
        Ok(self.rows(&sql).await?.into_iter().flatten().collect())
    }

    /// A whole table: its columns, and each row's values in hexadecimal digits.
    pub(crate) async fn content(&self, table: &str) -> Result<(Vec<String>, Vec<Vec<String>>)> {
        let sql = format!(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = '{}' AND table_name = '{table}' \
             ORDER BY ordinal_position",
            self.name
        );
        let columns: Vec<String> = self.rows(&sql).await?.into_iter().flatten().collect();
        let read: Vec<_> =
            columns.iter().map(|column| format!("IFNULL(HEX({}),'NULL')", quoted(column))).collect();
        let rows = self
            .rows(&format!(
                "SELECT {} FROM {} ORDER BY {}",
                read.join(", "),
                quoted(table),
                quoted(&columns[0])
            ))
            .await?;
        Ok((columns, rows))
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Runs `wpclone rewrite --sql`; it must succeed.
pub(crate) async fn rewrite(args: &[&str], dump: &[u8]) -> Result<Vec<u8>> {
    let mut program = Command::new(built("wpclone")?);
    run(program.args(["rewrite", "--sql"]).args(args), dump).await
}

async fn run(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let command =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("{name}: run `./dev install`"))?;
    let mut stdin = child.stdin.take().context("a pipe")?;
    let feed = async move {
        // A program that does not read all of it reports why.
        let _ = stdin.write_all(input).await;
    };
    let both = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output =
        tokio::time::timeout(LIMIT, both).await.with_context(|| format!("{name} does not end in time"))??;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {said}");
    ensure!(!said.contains("malformed, sql"), "{name}: {said}");
    Ok(output.stdout)
}

//! `lab up`: the whole system with a real WordPress, until Ctrl-C.

use std::future::pending;
use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use wpclone_tests::{Lab, LabError, Result, Site, TestApp, Token, Version, built, free_port, is_free};

use crate::down::Running;

/// The default ports.
const API: u16 = 8080;
const WORKER: u16 = 8081;
pub(crate) const WORDPRESS: u16 = 8070;
const CLONES: u16 = 8090;
const REDIS: u16 = 6399;
/// Without characters that a shell interprets.
pub(crate) const PASSWORD: &str = "let-me-in-2026";

pub(crate) fn up() -> Result {
    if let Some(running) = Running::find() {
        println!("`./dev up` runs already (process {}); stop it with `./dev down`", running.pid());
        return Ok(());
    }
    let _note = Running::note()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            biased;
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            ended = run() => ended,
        }
    });
    // `run` has stopped its own services by now; this stops the shared ones.
    Lab::shared().end();
    eprintln!("everything has stopped");
    ended
}

/// Starts everything, runs the demonstration, and then waits forever. Dropping the future stops everything.
async fn run() -> Result {
    let began = Instant::now();
    let log = |what: String| eprintln!("[{:5.1} s] {what}", began.elapsed().as_secs_f32());
    log("starting MariaDB, PHP, nginx and a WordPress with some content".into());
    let site = Site::builder(Version::Trixie)
        .port(port(WORDPRESS)?)
        .content(20)
        .admin_password(PASSWORD)
        .start()
        .await?;
    log(format!("WordPress {} is at {}", site.wordpress(), site.url()));
    let clones = format!("127.0.0.1:{}", port(CLONES)?);
    let app = TestApp::builder().callbacks().clones(Version::Trixie).env("WPCLONE_CLONES_LISTEN", &clones);
    let app = app.ports(port(REDIS)?, port(API)?, port(WORKER)?).start().await?;
    let token = app.tokens().first().cloned();
    let token = token.ok_or(LabError::Missing { what: "a token".into(), help: "give the builder one" })?;
    log(format!(
        "Redis is at {}, the API at {}, a worker's health at {}",
        app.redis.url(),
        app.api.url(),
        app.workers[0].url()
    ));

    log("wpclone setup: a browser logs in, installs the migrator and reads its key".into());
    wpclone(&app, &token, &site, &["setup"], Stdio::inherit()).await?;
    log("wpclone app-password: creates an application password".into());
    let task =
        wpclone(&app, &token, &site, &["app-password", "--name", "dev up", "--json"], Stdio::piped()).await?;
    let result = serde_json::from_str::<Value>(&task)?["result"].take();
    let (user, password) = (text(&result, "username")?, text(&result, "application_password")?);
    let me = format!("{}/wp-json/wp/v2/users/me?context=edit", site.url());
    let answer = reqwest::Client::new().get(&me).basic_auth(&user, Some(&password)).send().await?;
    let (status, body) = (answer.status().as_u16(), answer.text().await?);
    let admin: Value = serde_json::from_str(&body)?;
    if status != 200 || admin["roles"][0] != "administrator" {
        return Err(LabError::Answer { what: me, status, body });
    }
    log(format!(
        "WordPress accepts it: users/me is `{}`, {}",
        admin["slug"].as_str().unwrap_or_default(),
        admin["roles"]
    ));
    log("wpclone clone: copies the site to its own address".into());
    let task = wpclone(&app, &token, &site, &["clone", "--json"], Stdio::piped()).await?;
    let clone = serde_json::from_str::<Value>(&task)?["result"]["clone"].take();
    log(format!("the clone is at {}", text(&clone, "url")?));
    print_results(&app, &token, &site, &user, &password, &me);
    print_clone(&clone)?;
    pending().await
}

/// The usual port, or a free one.
pub(crate) fn port(usual: u16) -> Result<u16> {
    if is_free(usual) {
        return Ok(usual);
    }
    let other = free_port()?;
    eprintln!("port {usual} is taken; using {other}");
    Ok(other)
}

/// Runs the command line as a person would. Returns what it printed, where `stdout` is piped.
async fn wpclone(app: &TestApp, token: &Token, site: &Site, words: &[&str], stdout: Stdio) -> Result<String> {
    let admin = site.admin();
    let mut command = Command::new(built("wpclone")?);
    command.args(words).arg(site.url()).args(["--username", &admin.name]);
    command.env("WPCLONE_URL", app.api.url()).env("WPCLONE_TOKEN", &token.secret);
    command.env("WPCLONE_SITE_PASSWORD", &admin.password);
    let output =
        command.stdin(Stdio::null()).stdout(stdout).kill_on_drop(true).spawn()?.wait_with_output().await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let log = format!("{}; the worker's log ends: {}", output.status, last_lines(app));
    Err(LabError::Ended { program: format!("wpclone {}", words.join(" ")), log })
}

fn print_clone(clone: &Value) -> Result {
    let [url, user, password] = [text(clone, "url")?, text(clone, "username")?, text(clone, "password")?];
    println!("\n  the clone              {url}/   user {user}   password {password}");
    println!(
        "    it expires           {}, or with: wpclone clones delete {}",
        text(clone, "expires_at")?,
        text(clone, "name")?
    );
    Ok(())
}

fn last_lines(app: &TestApp) -> String {
    let log = std::fs::read_to_string(app.workers[0].log()).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

fn text(result: &Value, field: &str) -> Result<String> {
    let help = "look at the task in the dashboard";
    let missing = || LabError::Missing { what: format!("`{field}` in the task's result"), help };
    result[field].as_str().map(str::to_owned).ok_or_else(missing)
}

fn programs_folder() -> String {
    let folder = built("wpclone").ok().and_then(|p| p.parent().map(|p| p.display().to_string()));
    folder.unwrap_or_default()
}

fn print_results(app: &TestApp, token: &Token, site: &Site, user: &str, password: &str, me: &str) {
    let (api, secret, admin) = (app.api.url(), &token.secret, site.admin());
    println!(
        "\n  application password   {password}\n    try it               curl -u '{user}:{password}' '{me}'\n"
    );
    println!("  dashboard              {api}/");
    println!("  token                  {secret}");
    println!(
        "  webhook secret         {}   callback_url may point to 127.0.0.1",
        app.webhook_secret().unwrap_or_default()
    );
    println!(
        "  WordPress              {}/wp-admin/   user {}   password {}\n",
        site.url(),
        admin.name,
        admin.password
    );
    println!("  to continue in another terminal (the programs are in {}):", programs_folder());
    println!("    export WPCLONE_URL={api} WPCLONE_TOKEN={secret} WPCLONE_SITE_PASSWORD={}", admin.password);
    println!("    wpclone setup {} --username {}", site.url(), admin.name);
    println!("  or:");
    let body = |password: &str| {
        serde_json::json!({"url": site.url(), "username": admin.name, "password": password}).to_string()
    };
    println!("    curl -H 'Authorization: Bearer {secret}' {api}/tasks");
    for password in [admin.password.as_str(), "not-the-password"] {
        let body = body(password);
        println!(
            "    curl -H 'Authorization: Bearer {secret}' -H 'Prefer: wait=30' --json '{body}' {api}/setup"
        );
    }
    println!("\n  logs                   {}", app.workers[0].log().display());
    println!("  Ctrl-C stops everything.");
}

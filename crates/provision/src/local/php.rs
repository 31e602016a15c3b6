//! A clone's php-fpm.

use std::io;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::UnixStream;
use url::Url;

use super::config;
use super::dirs::{Dirs, Seat, make_dir, write_whole};
use super::launch::{Launch, Launcher, Service};
use super::users::{Ids, give};
use crate::SourceFacts;
use crate::fastcgi::{self, Limits};

/// Starting takes 50 ms on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(30);
/// What WordPress does for us; an installation takes a second or two.
const TASK_LIMIT: Duration = Duration::from_secs(60);
/// The most bytes of a task's answer.
const MOST_ANSWER: usize = 1 << 20;

const LIMITS: Limits = Limits { connect: Duration::from_secs(5), head: TASK_LIMIT, part: TASK_LIMIT };

/// Makes a seat's folders: those around WordPress ours, those that PHP writes its user's.
pub(crate) fn make_seat(seat: &Seat, user: Option<Ids>) -> io::Result<()> {
    make_dir(&seat.folder, 0o711)?;
    make_dir(&seat.www(), 0o750)?;
    // Its group may pass; it may not put another wp-config.php there.
    let own = Ids { uid: rustix::process::geteuid().as_raw(), gid: 0 };
    give(&seat.www(), user.map(|ids| Ids { gid: ids.gid, ..own }))?;
    for folder in [seat.tmp(), seat.log(), seat.login(), seat.folder.join("run")] {
        make_dir(&folder, 0o700)?;
        give(&folder, user)?;
    }
    Ok(())
}

/// Writes wp-config.php: WordPress may read it.
pub(crate) fn write_wp_config(seat: &Seat, text: &str, user: Option<Ids>) -> io::Result<()> {
    write_whole(&seat.wp_config(), text.as_bytes(), 0o640)?;
    let own = Ids { uid: rustix::process::geteuid().as_raw(), gid: 0 };
    give(&seat.wp_config(), user.map(|ids| Ids { gid: ids.gid, ..own }))
}

/// Starts php-fpm and waits until it takes requests.
pub(crate) async fn start(
    dirs: &Dirs,
    seat: &Seat,
    program: &Path,
    user: Option<Ids>,
    facts: &SourceFacts,
    launcher: &Launcher,
) -> io::Result<Service> {
    let conf = config::fpm(seat, &dirs.harness(), user.is_some(), facts.limits);
    write_whole(&seat.fpm_conf(), conf.as_bytes(), 0o644)?;
    let args = ["--nodaemonize".to_owned(), "--fpm-config".into(), seat.fpm_conf().display().to_string()];
    let mut service = launcher
        .start(Launch {
            program,
            args: args.to_vec(),
            log: &seat.out(),
            user,
            own_network: true,
            grace: Duration::from_secs(1),
        })
        .await?;
    let socket = seat.socket();
    service.ready(START_LIMIT, async || UnixStream::connect(&socket).await.is_ok()).await?;
    Ok(service)
}

/// What a task told.
#[derive(Debug, Deserialize)]
pub(crate) struct Told {
    done: bool,
    #[serde(default)]
    why: String,
    #[serde(default)]
    pub(crate) wordpress: String,
}

/// Has WordPress do something; `wish` holds the task's name and what it needs.
pub(crate) async fn task(dirs: &Dirs, seat: &Seat, url: &str, mut wish: Value) -> io::Result<Told> {
    wish["tree"] = seat.tree().display().to_string().into();
    let body = serde_json::to_vec(&wish)?;
    let mut params = around(url)?;
    let mut set = |name: &str, value: String| params.push((name.to_owned(), value.into_bytes()));
    set("WPCLONE_TASK", "1".into());
    set("SCRIPT_FILENAME", dirs.harness().join("tasks.php").display().to_string());
    set("REQUEST_METHOD", "POST".into());
    set("CONTENT_TYPE", "application/json".into());
    set("CONTENT_LENGTH", body.len().to_string());
    let (status, answer) = ask(seat, &params, body.into()).await?;
    let told: Option<Told> = serde_json::from_slice(&answer).ok();
    match told {
        Some(told) if told.done => Ok(told),
        Some(told) => Err(io::Error::other(format!("WordPress: {}", told.why))),
        None => Err(io::Error::other(format!(
            "WordPress answered {status}; PHP's log ends: {}",
            super::launch::tail(&seat.log().join("php.log"))
        ))),
    }
}

/// Whether WordPress, with its plugins and its database, answers its REST index.
pub(crate) async fn answers(seat: &Seat, url: &str) -> io::Result<()> {
    let mut params = around(url)?;
    let mut set = |name: &str, value: String| params.push((name.to_owned(), value.into_bytes()));
    set("SCRIPT_FILENAME", seat.tree().join("index.php").display().to_string());
    set("REQUEST_METHOD", "GET".into());
    set("QUERY_STRING", "rest_route=/".into());
    let (status, answer) = ask(seat, &params, Body::empty()).await?;
    let index: Option<Value> = serde_json::from_slice(&answer).ok();
    if status == 200 && index.is_some_and(|i| i.get("namespaces").is_some()) {
        return Ok(());
    }
    let log = super::launch::tail(&seat.log().join("php.log"));
    Err(io::Error::other(format!("the new WordPress answered {status}; PHP's log ends: {log}")))
}

async fn ask(seat: &Seat, params: &[(String, Vec<u8>)], body: Body) -> io::Result<(u16, Vec<u8>)> {
    let asked = async {
        let answer = fastcgi::ask(&seat.socket(), params, body, LIMITS).await.map_err(io::Error::other)?;
        let body = http_body_util::Limited::new(answer.body, MOST_ANSWER).collect().await;
        let body = body.map_err(io::Error::other)?.to_bytes();
        io::Result::Ok((answer.status.as_u16(), body.to_vec()))
    };
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "WordPress took too long");
    tokio::time::timeout(TASK_LIMIT, asked).await.map_err(late)?
}

/// What a request of ours says of where it is.
fn around(url: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let url = Url::parse(url).map_err(io::Error::other)?;
    let host = url.host_str().unwrap_or_default();
    let mut params = crate::proxy::server_params(&url);
    let authority = url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
    let path = url.path().trim_end_matches('/');
    for (name, value) in [
        ("HTTP_HOST", authority),
        ("REQUEST_URI", format!("{path}/")),
        ("SCRIPT_NAME", format!("{path}/index.php")),
        ("REMOTE_ADDR", "127.0.0.1".into()),
    ] {
        params.push((name.to_owned(), value.into_bytes()));
    }
    Ok(params)
}

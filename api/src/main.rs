//! `wpclone-api`: settings, telemetry, queue, serve, drain.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::time::timeout;
use wpclone_api::router::router;
use wpclone_api::settings::{Args, PublicUrl, Settings};
use wpclone_api::state::{App, Limits};
use wpclone_api::{background, server};
use wpclone_http_server::raise_open_files_limit;
use wpclone_service::settings::{load, parse_args};
use wpclone_service::shutdown;
use wpclone_service::telemetry::Telemetry;

/// How long each part of the shutdown may take, flushing spans included.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);

// At least two threads: the span exporter blocks one while another sends.
#[tokio::main(worker_threads = 4)]
async fn main() -> ExitCode {
    let args: Args = parse_args();
    raise_open_files_limit();
    let settings = load(args.common.check_config, |check| args.check(check));
    let telemetry = match Telemetry::init("wpclone-api", &settings.common.telemetry) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("telemetry cannot be set up: {error}");
            return ExitCode::FAILURE;
        }
    };
    let served = run(settings).await;
    if let Err(error) = &served {
        tracing::error!(error = format!("{error:#}"), "the API stops with an error");
    }
    let _ = timeout(SHUTDOWN_TIMEOUT, telemetry.shutdown()).await;
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let Settings { common, listen, public_url, tokens, autoscaling, connections_per_peer } = settings;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let public_url =
        public_url.or_else(|| PublicUrl::from_listener(address)).context("the listener has no address")?;
    match &tokens {
        Some(tokens) => tracing::info!(tokens = tokens.count(), "callers need a token"),
        None => tracing::warn!(
            "no tokens are configured: everybody on this machine is an operator, and nobody else has access"
        ),
    }
    let mut app = App::new(&common, tokens, public_url, Limits::default())?;
    app.shutdown = shutdown::on_signal()?;
    app.autoscaling = autoscaling;
    tracing::info!(public_url = app.public_url.origin(), "listening on http://{address}");
    let app = Arc::new(app);
    let background = tokio::spawn(background::run(Arc::clone(&app)));
    let (write_timeout, shutdown) = (app.limits.write_timeout, app.shutdown.clone());
    server::serve(listener, router(&app), write_timeout, connections_per_peer, shutdown).await;
    let _ = timeout(SHUTDOWN_TIMEOUT, background).await;
    Ok(())
}

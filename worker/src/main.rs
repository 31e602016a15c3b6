//! wpclone-worker: claims steps of tasks and does them.

mod admin;
mod browser;
mod claiming;
mod job;
mod lease;
mod metrics;
mod net;
mod provisioning;
mod runner;
mod settings;
mod tell;
mod transfer;
mod webhook;
mod work;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wpclone_artifacts::Artifacts;
use wpclone_clones::CloneRegistry;
use wpclone_queue::{Queue, QueueOptions};
use wpclone_service::limiter::KeyedLimiter;
use wpclone_service::settings::{load, parse_args};
use wpclone_service::shutdown;
use wpclone_service::telemetry::Telemetry;
use wpclone_task::Stage;

use crate::browser::BrowserStage;
use crate::net::Ways;
use crate::provisioning::{Provisioning, RegistrySync, RunningProvisioner};
use crate::runner::Runner;
use crate::settings::{Args, Settings};
use crate::transfer::TransferStage;
use crate::webhook::Webhooks;
use crate::work::Workshop;

fn main() -> ExitCode {
    // This program is also the guard of its browsers.
    wpclone_guard::run_if_guard();
    let args: Args = parse_args();
    let settings = load(args.common.check_config, |check| args.check(check));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(settings));
    // What still blocks a thread is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(2));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wpclone-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let telemetry = Telemetry::init("wpclone-worker", &settings.common.telemetry)?;
    let shutdown = shutdown::on_signal()?;
    wpclone_guard::adopt_orphans().context("orphans of killed guards would not come back to us")?;

    let folders = std::env::temp_dir().join(format!("wpclone-worker-{}", rustix::process::getuid().as_raw()));
    wpclone_guard::sweep(&folders).context("there is no place for the folders of tasks")?;
    if rustix::process::geteuid().is_root() {
        tracing::warn!(
            "this worker is root: Chromium goes without its sandbox; better give it a user of its own"
        );
    }
    let redis = settings.common.redis_url.expose_secret();
    let queue = Queue::new(redis, QueueOptions::default())?;
    let user_agent = settings.programs.user_agent().await.context("there is no browser to work with")?;
    let artifacts = Artifacts::new(redis, settings.common.artifacts_bytes)?;
    let ways = Ways { networks: settings.networks, clones: settings.clones.own() };
    let browser = BrowserStage {
        programs: settings.programs,
        user_agent: user_agent.clone(),
        deadlines: settings.deadlines,
        ways: ways.clone(),
        artifacts: artifacts.clone(),
        folders,
    };
    let transfer = TransferStage { ways, user_agent, artifacts };
    let metrics = metrics::Metrics::new();
    let (sealer, hand_back) = (settings.common.sealer, CancellationToken::new());
    let webhooks = Arc::new(Webhooks {
        queue: queue.clone(),
        sealer: sealer.clone(),
        secrets: settings.common.webhook_secrets,
        networks: settings.callback_networks,
        metrics: metrics.clone(),
        hosts: KeyedLimiter::default(),
        hand_back: hand_back.clone(),
    });
    let clones = CloneRegistry::new(redis)?;
    let serves = |wanted: Stage| settings.stages.iter().any(|(stage, _)| *stage == wanted);
    let running = serves(Stage::Provisioning).then(|| RunningProvisioner::start(&settings.clones));
    let provisioner = running.as_ref().map(|running| Arc::clone(&running.provisioner));
    let provisioning = provisioner.clone().map(|provisioner| Provisioning {
        registry: RegistrySync {
            provisioner: Arc::clone(&provisioner),
            clones,
            queue: queue.clone(),
            sealer: sealer.clone(),
        },
        provisioner,
    });
    let (queue_of_steps, metrics_of_steps) = (queue.clone(), metrics.clone());
    let workshop = Arc::new(Workshop {
        queue: queue_of_steps,
        sealer,
        browser,
        transfer,
        provisioning,
        metrics: metrics_of_steps,
        hand_back,
    });
    let runner = Runner::new(name(), settings.stages, settings.drain, workshop, webhooks);

    let listener = TcpListener::bind(settings.admin_listen).await;
    let listener = listener.with_context(|| {
        format!(
            "cannot listen on {} (WPCLONE_ADMIN_LISTEN; each worker of a machine needs its own)",
            settings.admin_listen
        )
    })?;
    let admin = admin::Admin {
        queue,
        metrics,
        known: Arc::clone(&runner.known),
        provisioner,
        shutdown: shutdown.clone(),
    };
    tracing::info!(worker = %runner.id, admin = %listener.local_addr()?, stages = ?runner.stages, "working");
    let serving = tokio::spawn(async move { axum::serve(listener, admin::routes(admin)).await });

    runner.run(shutdown).await;
    if let Some(running) = running {
        running.stop().await;
    }
    serving.abort();
    telemetry.shutdown().await;
    Ok(())
}

/// Host and process, and when it began: unique among all workers that ever were.
fn name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{}-{:x}", std::process::id(), jiff::Timestamp::now().as_second())
}

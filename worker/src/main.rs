//! wpclone-worker: claims steps of tasks and executes them.

mod admin;
mod browser;
mod checkpoint;
mod claim_loop;
mod job;
mod kept_session;
mod lease;
mod login_checkpoint;
mod metrics;
mod migrator_install_marker;
mod net;
mod provisioning;
mod queue_retry;
mod report_outcome;
mod running_steps;
mod settings;
mod shared_source;
mod site_cleanup;
mod slots;
mod step_executor;
mod transfer;
mod webhook;
mod worker;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wpclone_artifacts::Artifacts;
use wpclone_clones::CloneRegistry;
use wpclone_http_server::KeyedLimiter;
use wpclone_http_server::raise_open_files_limit;
use wpclone_provision::MachineLocation;
use wpclone_queue::{Queue, QueueOptions};
use wpclone_service::settings::{load, parse_args};
use wpclone_service::shutdown;
use wpclone_service::telemetry::Telemetry;
use wpclone_task::Stage;

use crate::browser::{BrowserAvailability, BrowserStage, RemoteDriver};
use crate::net::EgressRules;
use crate::provisioning::{Provisioning, RegistrySync, RunningProvisioner};
use crate::settings::{Args, Settings};
use crate::site_cleanup::SiteCleanups;
use crate::step_executor::StepExecutor;
use crate::transfer::TransferStage;
use crate::webhook::Webhooks;
use crate::worker::Worker;

fn main() -> ExitCode {
    // This program is also the supervisor of its browsers.
    wpclone_supervisor::run_if_supervisor();
    // And what runs beside a browser that has no network.
    browser::run_if_relay();
    let args: Args = parse_args();
    raise_open_files_limit();
    let settings = load(args.common.check_config, |check| args.check(check));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(run(settings));
    // Threads that are still blocked are not waited for.
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
    wpclone_supervisor::adopt_orphans().context("orphans of killed supervisors could not be adopted")?;

    let folders = std::env::temp_dir().join(format!("wpclone-worker-{}", rustix::process::getuid().as_raw()));
    wpclone_supervisor::sweep(&folders).context("the folders of tasks cannot be created")?;
    let redis = settings.common.redis_url.expose_secret();
    let queue = Queue::new(redis, QueueOptions::default())?;
    let artifacts = Artifacts::new(redis, settings.common.artifacts_bytes)?;
    let own_endpoints = own_endpoints(&settings, redis).await;
    let rules = |networks| EgressRules {
        networks,
        clones: settings.clones.own(),
        own_endpoints: Arc::clone(&own_endpoints),
    };
    let (egress, callback_egress) = (rules(settings.networks), rules(settings.callback_networks));
    let availability = BrowserAvailability::new(settings.browser, folders);
    let browser = BrowserStage {
        availability: availability.clone(),
        deadlines: settings.deadlines,
        egress: egress.clone(),
        artifacts: artifacts.clone(),
    };
    let transfer = TransferStage {
        egress: egress.clone(),
        browser: availability.clone(),
        artifacts,
        clone_max_bytes: settings.clones.disk.clone_bytes,
    };
    let metrics = metrics::Metrics::new();
    let (sealer, release) = (settings.common.sealer, CancellationToken::new());
    let webhooks = Arc::new(Webhooks {
        queue: queue.clone(),
        sealer: sealer.clone(),
        secrets: settings.common.webhook_secrets,
        egress: callback_egress,
        metrics: metrics.clone(),
        hosts: KeyedLimiter::default(),
        release: release.clone(),
    });
    let site_cleanups = Arc::new(SiteCleanups {
        queue: queue.clone(),
        sealer: sealer.clone(),
        egress,
        browser: availability.clone(),
        release: release.clone(),
    });
    let clones = CloneRegistry::new(redis)?;
    let serves = |wanted: Stage| settings.stages.iter().any(|(stage, _)| *stage == wanted);
    let served_browser = serves(Stage::Browser).then_some(availability);
    let location = worker_location();
    let worker_id = location.worker.clone();
    let running = serves(Stage::Provisioning).then(|| RunningProvisioner::start(&settings.clones, location));
    let provisioner = running.as_ref().map(|running| Arc::clone(&running.provisioner));
    let provisioning = provisioner.clone().map(|provisioner| Provisioning {
        registry: RegistrySync {
            provisioner: Arc::clone(&provisioner),
            clones,
            queue: queue.clone(),
            sealer: sealer.clone(),
            metrics: metrics.clone(),
        },
        provisioner,
    });
    let (queue_of_steps, metrics_of_steps) = (queue.clone(), metrics.clone());
    let executor = Arc::new(StepExecutor {
        queue: queue_of_steps,
        sealer,
        browser,
        transfer,
        provisioning,
        reads_per_source: settings.reads_per_source,
        metrics: metrics_of_steps,
        release,
    });
    let worker = Worker::new(worker_id, settings.stages, settings.drain, executor, webhooks, site_cleanups);

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
        registered: Arc::clone(&worker.registered),
        provisioner,
        browser: served_browser,
        shutdown: shutdown.clone(),
    };
    tracing::info!(worker = %worker.id, admin = %listener.local_addr()?, stages = ?worker.stages, "started");
    let serving = tokio::spawn(admin::serve(listener, admin, CancellationToken::new()));

    worker.run(shutdown).await;
    if let Some(running) = running {
        running.stop().await;
    }
    serving.abort();
    telemetry.shutdown().await;
    Ok(())
}

/// Where this worker, its Redis and the parts of its cluster listen: sites and callbacks are never there.
async fn own_endpoints(settings: &Settings, redis_url: &str) -> Arc<[SocketAddr]> {
    let mut own = vec![settings.admin_listen, settings.clones.addresses.listen()];
    // It has no password, and starts programs.
    own.extend(settings.browser.remote.as_ref().map(RemoteDriver::address));
    // The clones' own address, under other names for it.
    let clones = settings.clones.own();
    own.extend(clones.and_then(|clones| Some(SocketAddr::new(clones.host.parse().ok()?, clones.port))));
    // Where these cannot be resolved now, nothing works.
    for (host, port) in redis_endpoint(redis_url).into_iter().chain(settings.clones.cluster_endpoints()) {
        if let Ok(found) = tokio::net::lookup_host((host.as_str(), port)).await {
            own.extend(found);
        }
    }
    own.into()
}

/// The host and port of a Redis URL; `None` when it is a local socket.
fn redis_endpoint(url: &str) -> Option<(String, u16)> {
    let url = url::Url::parse(url).ok()?;
    let host = url.host_str().filter(|host| !host.is_empty())?;
    Some((host.trim_matches(['[', ']']).to_owned(), url.port().unwrap_or(6379)))
}

/// This machine and this worker. The worker's id has host, process and start time: it is unique among all workers.
fn worker_location() -> MachineLocation {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let worker = format!("{machine}-{}-{:x}", std::process::id(), jiff::Timestamp::now().as_second());
    MachineLocation { machine, worker }
}

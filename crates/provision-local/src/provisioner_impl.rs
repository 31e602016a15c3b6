//! [`Provisioner`] with processes of this machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use wpclone_provision::{
    Access, CloneInfo, CloneLocation, CloneName, CloneSpec, HasUnfinishedTask, Health, Phase, ProvisionError,
    Provisioner, SetAside, SourceFacts, SweepReport,
};

use crate::blocking::run_blocking;
use crate::engine::{LocalEngine, LockedHost};
use crate::maintenance;
use crate::options::LocalOptions;
use crate::record::CloneRecord;

/// How often a state folder that another process has locked is tried again.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// The most time that a call may take.
const CALL_LIMIT: Duration = Duration::from_secs(300);
/// How often it is logged that clones cannot be created.
const WARNING_INTERVAL: Duration = Duration::from_secs(3600);
/// How often what was missing is looked for again.
const UNAVAILABLE_RETRY_INTERVAL: Duration = Duration::from_secs(15);

/// Clones as processes of this machine.
pub struct LocalProvisioner {
    options: LocalOptions,
    health: watch::Sender<Health>,
    engine: Mutex<Option<Arc<LocalEngine>>>,
    /// When it was logged last that no clones can be created.
    warned_at: Mutex<Option<Instant>>,
}

impl LocalProvisioner {
    /// A provisioner that works as soon as [`Provisioner::run`] runs.
    #[must_use]
    pub fn new(options: LocalOptions) -> Self {
        Self {
            options,
            health: watch::Sender::new(Health::Starting),
            engine: Mutex::default(),
            warned_at: Mutex::default(),
        }
    }

    /// Serves clones until `shutdown`; `false` when another process has the state folder.
    async fn serve(&self, shutdown: &CancellationToken) -> Result<bool, String> {
        let options = self.options.clone();
        let locked = run_blocking(move || Ok(LockedHost::lock(&options))).await;
        let Some(locked) = locked.map_err(|error| error.to_string())?? else { return Ok(false) };
        self.report(Health::Starting);
        let engine = locked.start().await.map_err(|e| format!("the provisioner cannot be started: {e}"))?;
        let engine = Arc::new(engine);
        let listener = match engine.listen().await {
            Ok(listener) => listener,
            Err(error) => {
                engine.stop().await;
                let address = self.options.addresses.listen();
                return Err(format!("the proxy cannot listen on {address}: {error}"));
            }
        };
        let stop_proxy = CancellationToken::new();
        let proxy = tokio::spawn(wpclone_clone_proxy::serve(
            listener,
            Arc::clone(&engine) as _,
            self.options.proxy,
            stop_proxy.clone(),
        ));
        *self.engine.lock() = Some(Arc::clone(&engine));
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = maintenance::run(&engine, |health| self.report(health)) => {}
        }
        *self.engine.lock() = None;
        self.report(Health::Starting);
        stop_proxy.cancel();
        engine.stop().await;
        let _ = proxy.await;
        Ok(true)
    }

    fn report(&self, health: Health) {
        if *self.health.borrow() == health {
            return;
        }
        match &health {
            Health::Ready => tracing::info!(
                clones = %self.options.addresses, state = %self.options.state_dir.display(), "clones can be created"
            ),
            Health::Unavailable(why) => self.warn_unavailable(why),
            Health::Waiting => {
                tracing::info!(
                    "another process has locked the state folder of clones; waiting for it to end"
                );
            }
            Health::Starting => {}
        }
        self.health.send_replace(health);
    }

    /// Logs why no clones can be created: when they could before, and once an hour. The reason may differ each time.
    fn warn_unavailable(&self, why: &str) {
        let mut warned = self.warned_at.lock();
        let was_unavailable = matches!(&*self.health.borrow(), Health::Unavailable(_) | Health::Starting);
        if was_unavailable && warned.is_some_and(|at| at.elapsed() < WARNING_INTERVAL) {
            return;
        }
        *warned = Some(Instant::now());
        tracing::warn!(why, "clones cannot be created");
    }

    /// A clone with where it runs.
    fn located(&self, clone: CloneInfo) -> CloneInfo {
        CloneInfo { location: Some(CloneLocation::Machine(self.options.location.clone())), ..clone }
    }

    fn engine(&self) -> Result<Arc<LocalEngine>, ProvisionError> {
        let engine = self.engine.lock().clone();
        engine.ok_or_else(|| {
            ProvisionError::Unavailable(match &*self.health.borrow() {
                Health::Ready | Health::Starting => "it is starting".into(),
                Health::Waiting => "another process has locked the state folder of clones".into(),
                Health::Unavailable(why) => why.clone(),
            })
        })
    }
}

#[async_trait]
impl Provisioner for LocalProvisioner {
    fn id(&self) -> String {
        format!("local {}", self.options.addresses)
    }

    async fn run(&self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let wait = match self.serve(&shutdown).await {
                Ok(true) => return,
                Ok(false) => {
                    self.report(Health::Waiting);
                    LOCK_RETRY_INTERVAL
                }
                Err(why) => {
                    self.report(Health::Unavailable(why));
                    UNAVAILABLE_RETRY_INTERVAL
                }
            };
            tokio::select! { () = shutdown.cancelled() => {} () = sleep(wait) => {} }
        }
    }

    fn watch_health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    fn call_limit(&self) -> Duration {
        CALL_LIMIT
    }

    async fn create(&self, spec: &CloneSpec) -> Result<CloneInfo, ProvisionError> {
        Ok(self.located(self.engine()?.creator.create(spec).await?))
    }

    async fn match_source(&self, name: &CloneName, facts: &SourceFacts) -> Result<CloneInfo, ProvisionError> {
        let engine = self.engine()?;
        let entry = engine.require(name)?;
        Ok(self.located(engine.matcher.match_source(entry, facts.clone()).await?))
    }

    async fn list(&self) -> Result<Vec<CloneInfo>, ProvisionError> {
        Ok(self.engine()?.clones.all().iter().map(|entry| self.located(entry.info())).collect())
    }

    async fn set_aside(&self) -> SetAside {
        let mut found = self.engine().map(|engine| engine.clones.all_set_aside()).unwrap_or_default();
        for clone in &mut found.clones {
            clone.info = clone.info.take().map(|info| Box::new(self.located(*info)));
        }
        found
    }

    async fn access(&self, name: &CloneName) -> Result<Access, ProvisionError> {
        let engine = self.engine()?;
        let entry = engine.require(name)?;
        let info = entry.usable()?;
        Ok(engine.setup.secrets(&entry).await?.into_access(info))
    }

    async fn ensure_access(&self, name: &CloneName) -> Result<Access, ProvisionError> {
        let engine = self.engine()?;
        let entry = engine.require(name)?;
        engine.ensure_access(entry).await
    }

    async fn publish(&self, name: &CloneName, expires_at: Timestamp) -> Result<CloneInfo, ProvisionError> {
        let engine = self.engine()?;
        let (entry, name) = (engine.require(name)?, name.clone());
        let publish = move |record: &mut CloneRecord| match record.info.phase {
            Phase::Published => Ok(false),
            Phase::Ready => {
                record.info.phase = Phase::Published;
                record.info.expires_at = Some(expires_at);
                Ok(true)
            }
            Phase::Creating | Phase::Unreadable => Err(ProvisionError::NotReady(name)),
            Phase::Deleting => Err(ProvisionError::Gone(name)),
        };
        Ok(self.located(entry.change(&engine.host.lock, publish).await?))
    }

    async fn extend(&self, name: &CloneName, expires_at: Timestamp) -> Result<CloneInfo, ProvisionError> {
        let engine = self.engine()?;
        let (entry, name) = (engine.require(name)?, name.clone());
        let extend = move |record: &mut CloneRecord| match record.info.phase {
            Phase::Published => {
                record.info.expires_at = Some(expires_at);
                Ok(true)
            }
            Phase::Ready | Phase::Creating | Phase::Unreadable => Err(ProvisionError::NotPublished(name)),
            Phase::Deleting => Err(ProvisionError::Gone(name)),
        };
        Ok(self.located(entry.change(&engine.host.lock, extend).await?))
    }

    async fn delete(&self, name: &CloneName) -> Result<(), ProvisionError> {
        let engine = self.engine()?;
        match engine.require(name) {
            Ok(entry) => engine.destroyer.delete(entry).await,
            Err(ProvisionError::Gone(_) | ProvisionError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn sweep(&self, has_unfinished_task: HasUnfinishedTask<'_>) -> Result<SweepReport, ProvisionError> {
        Ok(maintenance::sweep(&self.engine()?, has_unfinished_task).await)
    }
}

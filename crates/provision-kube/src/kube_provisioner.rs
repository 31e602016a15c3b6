//! [`Provisioner`] with instances in a cluster.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wpclone_provision::{
    Access, CloneInfo, CloneName, CloneSpec, HasUnfinishedTask, Health, ProvisionError, Provisioner,
    SetAside, SourceFacts, SweepReport,
};

use crate::cluster::Cluster;
use crate::options::KubeOptions;
use crate::progress::ProgressReports;

/// How often it is checked whether clones can be created.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);
/// The same while they cannot.
const RETRY_INTERVAL: Duration = Duration::from_secs(3);

/// Clones in a Kubernetes cluster. Any number of processes may have the same.
pub struct KubeProvisioner {
    options: KubeOptions,
    health: watch::Sender<Health>,
    cluster: Mutex<Option<Arc<Cluster>>>,
    progress: Arc<ProgressReports>,
}

impl KubeProvisioner {
    /// A provisioner that works as soon as [`Provisioner::run`] runs.
    #[must_use]
    pub fn new(options: KubeOptions) -> Self {
        Self {
            options,
            health: watch::Sender::new(Health::Starting),
            cluster: Mutex::default(),
            progress: Arc::default(),
        }
    }

    /// Whether clones can be created.
    async fn check(&self) -> Health {
        let cluster = match self.connect().await {
            Ok(cluster) => cluster,
            Err(why) => return Health::Unavailable(format!("the cluster cannot be used: {why}")),
        };
        let checked = async {
            cluster.definition.check().await?;
            // Whether the instances can be read: the role may lack something.
            cluster.list().await?;
            cluster.database.check().await
        };
        match checked.await {
            Ok(()) => Health::Ready,
            Err(error) => Health::Unavailable(error.to_string()),
        }
    }

    async fn connect(&self) -> Result<Arc<Cluster>, String> {
        if let Some(cluster) = self.cluster.lock().clone() {
            return Ok(cluster);
        }
        let cluster = Arc::new(Cluster::new(self.options.clone(), Arc::clone(&self.progress)).await?);
        *self.cluster.lock() = Some(Arc::clone(&cluster));
        Ok(cluster)
    }

    fn report(&self, health: Health) {
        if *self.health.borrow() == health {
            return;
        }
        match &health {
            Health::Ready => tracing::info!(
                clones = %self.options.addresses, namespace = self.options.namespace, "clones can be created"
            ),
            Health::Unavailable(why) => tracing::warn!(why, "clones cannot be created"),
            Health::Starting | Health::Waiting => {}
        }
        self.health.send_replace(health);
    }

    fn cluster(&self) -> Result<Arc<Cluster>, ProvisionError> {
        self.cluster.lock().clone().ok_or_else(|| {
            ProvisionError::Unavailable(match &*self.health.borrow() {
                Health::Unavailable(why) => why.clone(),
                Health::Ready | Health::Starting | Health::Waiting => "it is starting".to_owned(),
            })
        })
    }
}

#[async_trait]
impl Provisioner for KubeProvisioner {
    fn id(&self) -> String {
        format!("kro {}/{}", self.options.group, self.options.namespace)
    }

    async fn run(&self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let health =
                tokio::select! { health = self.check() => health, () = shutdown.cancelled() => break };
            let interval = if health == Health::Ready { CHECK_INTERVAL } else { RETRY_INTERVAL };
            self.report(health);
            tokio::select! { () = tokio::time::sleep(interval) => {} () = shutdown.cancelled() => {} }
        }
        *self.cluster.lock() = None;
        self.report(Health::Starting);
    }

    fn watch_health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    fn call_limit(&self) -> Duration {
        // A call may take back what it made.
        self.options.limits.total + self.options.limits.delete
    }

    fn watch_progress(&self, name: &CloneName) -> Option<watch::Receiver<String>> {
        Some(self.progress.watch(name))
    }

    async fn create(&self, spec: &CloneSpec) -> Result<CloneInfo, ProvisionError> {
        self.cluster()?.create(spec).await
    }

    async fn match_source(&self, name: &CloneName, facts: &SourceFacts) -> Result<CloneInfo, ProvisionError> {
        self.cluster()?.match_source(name, facts).await
    }

    async fn list(&self) -> Result<Vec<CloneInfo>, ProvisionError> {
        self.cluster()?.list_infos().await
    }

    async fn set_aside(&self) -> SetAside {
        let Ok(cluster) = self.cluster() else { return SetAside::default() };
        let clones = cluster.list().await.map(|listing| listing.unreadable).unwrap_or_default();
        SetAside { clones, unclaimed: Vec::new() }
    }

    async fn access(&self, name: &CloneName) -> Result<Access, ProvisionError> {
        self.cluster()?.access(name).await
    }

    async fn ensure_access(&self, name: &CloneName) -> Result<Access, ProvisionError> {
        self.cluster()?.ensure_access(name).await
    }

    async fn publish(&self, name: &CloneName, expires_at: Timestamp) -> Result<CloneInfo, ProvisionError> {
        self.cluster()?.publish(name, expires_at).await
    }

    async fn extend(&self, name: &CloneName, expires_at: Timestamp) -> Result<CloneInfo, ProvisionError> {
        self.cluster()?.extend(name, expires_at).await
    }

    async fn delete(&self, name: &CloneName) -> Result<(), ProvisionError> {
        self.cluster()?.delete(name).await
    }

    async fn sweep(&self, has_unfinished_task: HasUnfinishedTask<'_>) -> Result<SweepReport, ProvisionError> {
        self.cluster()?.sweep(has_unfinished_task).await
    }
}

//! Keeps the registry of clones, which the API shows, up to date with the provisioner, and deletes clones whose time is
//! over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;
use wpclone_clones::{CloneEntry, CloneLookup, CloneRegistry, RegistryError};
use wpclone_provision::{Access, CloneInfo, CloneName, Phase, Provisioner};
use wpclone_queue::{Queue, TaskLookup, TaskRecord};
use wpclone_service::seal::Sealer;
use wpclone_service::sealed_clone::{CloneSecrets, seal_clone};
use wpclone_task::{SiteUrl, StoredRequest, TaskId};

/// How often clones are published and swept.
const INTERVAL: Duration = Duration::from_secs(15);

/// Publishes the provisioner's clones to the registry.
#[derive(Clone)]
pub(crate) struct RegistrySync {
    pub(crate) provisioner: Arc<dyn Provisioner>,
    pub(crate) clones: CloneRegistry,
    pub(crate) queue: Queue,
    pub(crate) sealer: Sealer,
}

/// The task that a clone was created for.
enum CloneTask {
    Found(Box<TaskRecord>),
    /// The queue does not know it, or not any more.
    Missing,
    /// Whether there is one cannot be known: the queue cannot be reached, or the record cannot be read.
    Unreadable(String),
}

impl CloneTask {
    /// Whether the clone has to stay because of its task.
    fn is_unfinished(&self) -> bool {
        match self {
            Self::Found(task) => !task.state.is_final(),
            Self::Missing => false,
            Self::Unreadable(_) => true,
        }
    }
}

impl RegistrySync {
    /// Publishes and sweeps now and then; never returns.
    pub(crate) async fn run(&self) {
        loop {
            // Also while no clone can be created, because WordPress is missing: existing clones run and expire.
            if let Err(error) = self.publish().await {
                tracing::debug!(%error, "the clones could not be published");
            }
            self.sweep().await;
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Deletes clones whose time is over. A clone whose task cannot be read is kept.
    async fn sweep(&self) {
        let Ok(clones) = self.provisioner.list().await else { return };
        let mut unfinished = HashMap::new();
        for clone in &clones {
            let task = self.task_of(clone).await;
            if let CloneTask::Unreadable(error) = &task {
                tracing::warn!(clone = %clone.name, task.id = clone.task, error, "a clone's task cannot be read; the clone is kept");
            }
            unfinished.insert(clone.name.clone(), task.is_unfinished());
        }
        let has_unfinished_task = |clone: &CloneInfo| unfinished.get(&clone.name).copied().unwrap_or(true);
        match self.provisioner.sweep(&has_unfinished_task).await {
            Ok(swept) => {
                for name in swept.expired.iter().chain(&swept.abandoned) {
                    tracing::info!(clone = %name, "a clone has expired");
                    self.remove(name).await;
                }
            }
            Err(error) => tracing::warn!(%error, "clones could not be swept"),
        }
    }

    /// Publishes all clones.
    async fn publish(&self) -> Result<(), RegistryError> {
        let time = self.clones.now().await?;
        let Ok(clones) = self.provisioner.list().await else { return Ok(()) };
        let unreadable = self.provisioner.set_aside().await.clones;
        let mut entries = Vec::new();
        for info in &clones {
            if let (Ok(access), Some(source)) =
                (self.provisioner.access(&info.name).await, self.source_of(info).await)
            {
                entries.extend(self.entry(info, &access, &source));
            }
        }
        for clone in &unreadable {
            let listed = self.listed(&clone.name).await?;
            entries.extend(listed.map(|entry| CloneEntry { phase: Phase::Unreadable, ..entry }));
        }
        let id = self.provisioner.id();
        if entries.len() == clones.len() + unreadable.len() {
            return self.clones.publish(&id, &time, &entries).await;
        }
        // A publication removes what it does not name, and a clone of which not everything is known exists all the same.
        for entry in &entries {
            self.clones.put(&id, entry).await?;
        }
        Ok(())
    }

    /// Publishes a clone that has changed.
    pub(crate) async fn refresh(&self, info: &CloneInfo) {
        if let (Ok(access), Some(source)) =
            (self.provisioner.access(&info.name).await, self.source_of(info).await)
        {
            self.put(info, &access, &source).await;
        }
    }

    /// Publishes a clone. An error is logged only: the next publication repeats it.
    pub(crate) async fn put(&self, info: &CloneInfo, access: &Access, source: &SiteUrl) {
        let Some(entry) = self.entry(info, access, source) else { return };
        if let Err(error) = self.clones.put(&self.provisioner.id(), &entry).await {
            tracing::warn!(%error, clone = %info.name, "the clone could not be put into the registry");
        }
    }

    /// Removes a deleted clone from the registry. An error is logged only: the next publication repeats it.
    pub(crate) async fn remove(&self, name: &CloneName) {
        if let Err(error) = self.clones.remove(name).await {
            tracing::warn!(%error, clone = %name, "the deleted clone could not be removed from the registry");
        }
    }

    fn entry(&self, info: &CloneInfo, access: &Access, source: &SiteUrl) -> Option<CloneEntry> {
        let secrets = CloneSecrets { password: access.password.clone(), login_key: access.login_key.clone() };
        let effective_isolation = serde_json::to_value(info.effective_isolation).ok()?;
        Some(CloneEntry {
            name: info.name.clone(),
            url: SiteUrl::parse(&info.url).ok()?,
            phase: info.phase,
            task: info.task.parse().ok()?,
            owner: info.owner.clone(),
            source: source.clone(),
            username: access.username.clone(),
            created_at: info.created_at,
            deadline: info.deadline,
            expires_at: info.expires_at,
            isolation: info.isolation,
            effective_isolation: effective_isolation.as_object().cloned().unwrap_or_else(Map::new),
            sealed: seal_clone(&self.sealer, &info.name, &secrets).ok(),
        })
    }

    /// The site that a clone is a copy of: its task says so, or, when the task is not kept any more, the registry.
    async fn source_of(&self, info: &CloneInfo) -> Option<SiteUrl> {
        if let CloneTask::Found(task) = self.task_of(info).await
            && let StoredRequest::Clone { source, .. } = &task.request
        {
            return Some(source.url.clone());
        }
        self.listed(&info.name).await.ok().flatten().map(|entry| entry.source)
    }

    /// The clone as the registry last had it.
    async fn listed(&self, name: &CloneName) -> Result<Option<CloneEntry>, RegistryError> {
        Ok(match self.clones.get(name).await? {
            CloneLookup::Found(entry) => Some(*entry),
            CloneLookup::Gone(deleted) => Some(deleted.entry),
            CloneLookup::NotFound | CloneLookup::Unreadable => None,
        })
    }

    async fn task_of(&self, clone: &CloneInfo) -> CloneTask {
        let id: TaskId = match clone.task.parse() {
            Ok(id) => id,
            Err(_) => return CloneTask::Unreadable("its id is not valid".into()),
        };
        match self.queue.get(id).await {
            Ok(TaskLookup::Found(task)) => CloneTask::Found(task),
            Ok(TaskLookup::Gone | TaskLookup::NotFound) => CloneTask::Missing,
            Ok(TaskLookup::Unreadable) => CloneTask::Unreadable("another version wrote its record".into()),
            Err(error) => CloneTask::Unreadable(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use jiff::Timestamp;
    use parking_lot::Mutex;
    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;
    use wpclone_provision::{
        CloneSpec, EffectiveIsolation, HasUnfinishedTask, Health, Isolation, ProvisionError, SetAside,
        SourceFacts, SweepReport, UnreadableClone,
    };
    use wpclone_queue::QueueOptions;
    use wpclone_test_redis::Redis;

    use super::*;

    /// Lists what it is given, and notes what a sweep would keep.
    #[derive(Default)]
    struct FakeProvisioner {
        clones: Mutex<Vec<CloneInfo>>,
        set_aside: Mutex<SetAside>,
        kept: Mutex<Vec<(CloneName, bool)>>,
    }

    #[async_trait]
    impl Provisioner for FakeProvisioner {
        fn id(&self) -> String {
            "fake".into()
        }

        async fn run(&self, _: CancellationToken) {
            unreachable!()
        }

        fn watch_health(&self) -> watch::Receiver<Health> {
            unreachable!()
        }

        async fn create(&self, _: &CloneSpec) -> Result<CloneInfo, ProvisionError> {
            unreachable!()
        }

        async fn match_source(&self, _: &CloneName, _: &SourceFacts) -> Result<CloneInfo, ProvisionError> {
            unreachable!()
        }

        async fn list(&self) -> Result<Vec<CloneInfo>, ProvisionError> {
            Ok(self.clones.lock().clone())
        }

        async fn set_aside(&self) -> SetAside {
            self.set_aside.lock().clone()
        }

        async fn access(&self, _: &CloneName) -> Result<Access, ProvisionError> {
            Ok(access())
        }

        async fn ensure_access(&self, _: &CloneName) -> Result<Access, ProvisionError> {
            unreachable!()
        }

        async fn publish(&self, _: &CloneName, _: Timestamp) -> Result<CloneInfo, ProvisionError> {
            unreachable!()
        }

        async fn extend(&self, _: &CloneName, _: Timestamp) -> Result<CloneInfo, ProvisionError> {
            unreachable!()
        }

        async fn delete(&self, _: &CloneName) -> Result<(), ProvisionError> {
            unreachable!()
        }

        async fn sweep(
            &self,
            has_unfinished_task: HasUnfinishedTask<'_>,
        ) -> Result<SweepReport, ProvisionError> {
            let decide = |clone: &CloneInfo| (clone.name.clone(), has_unfinished_task(clone));
            *self.kept.lock() = self.clones.lock().iter().map(decide).collect();
            Ok(SweepReport::default())
        }
    }

    fn access() -> Access {
        Access {
            url: "http://127.0.0.1:8090/x".into(),
            username: "wpclone-x".into(),
            password: "password".into(),
            migrator_key: "key".into(),
            login_key: "0".repeat(64).into(),
        }
    }

    fn clone(n: u32, task: &str) -> CloneInfo {
        let any: TaskId = format!("01890000-0000-7000-8000-00000000000{n}").parse().unwrap();
        let name = CloneName::derive(Timestamp::UNIX_EPOCH, any, 0);
        CloneInfo {
            url: format!("http://127.0.0.1:8090/{name}"),
            name,
            task: task.into(),
            owner: "alice".into(),
            phase: Phase::Published,
            created_at: Timestamp::UNIX_EPOCH,
            deadline: Timestamp::UNIX_EPOCH,
            expires_at: None,
            isolation: Isolation::Shared,
            effective_isolation: EffectiveIsolation {
                own_user: true,
                own_network: true,
                own_database_server: false,
            },
            facts: SourceFacts::default(),
            table_prefix: "wp_".into(),
            wordpress: "6.8".into(),
            php: "8.2".into(),
        }
    }

    fn sync(redis: &Redis, provisioner: &Arc<FakeProvisioner>) -> RegistrySync {
        RegistrySync {
            provisioner: Arc::clone(provisioner) as _,
            clones: CloneRegistry::new(&redis.url()).unwrap(),
            queue: Queue::new(&redis.url(), QueueOptions::default()).unwrap(),
            sealer: Sealer::new_key("a").unwrap().parse().unwrap(),
        }
    }

    const TASK: &str = "01890000-0000-7000-8000-0000000000aa";

    #[tokio::test]
    async fn a_clone_whose_task_cannot_be_read_is_kept() {
        let (redis, provisioner) = (Redis::start().await, Arc::<FakeProvisioner>::default());
        // As another version may have written it.
        redis.command::<()>(&format!("SET {{wpclone}}:task:{TASK} 9-of-another-version")).await;
        let missing = TASK.replace("aa", "bb");
        let clones = [clone(1, TASK), clone(2, "not an id"), clone(3, &missing)];
        *provisioner.clones.lock() = clones.to_vec();
        sync(&redis, &provisioner).sweep().await;
        let kept: Vec<bool> = provisioner.kept.lock().iter().map(|(_, kept)| *kept).collect();
        assert_eq!(kept, [true, true, false], "only of the last it is known that there is no task");
    }

    #[tokio::test]
    async fn a_clone_that_cannot_be_read_stays_listed_as_unreadable() {
        let (redis, provisioner) = (Redis::start().await, Arc::<FakeProvisioner>::default());
        let (sync, info) = (sync(&redis, &provisioner), clone(1, TASK));
        sync.put(&info, &access(), &SiteUrl::parse("https://source.example").unwrap()).await;
        let unreadable =
            UnreadableClone { name: info.name.clone(), reason: "clone.json is not valid".into() };
        provisioner.set_aside.lock().clones.push(unreadable);
        for _ in 0..2 {
            sync.publish().await.unwrap();
            let listed = sync.listed(&info.name).await.unwrap().unwrap();
            assert_eq!((listed.phase, listed.owner.as_str()), (Phase::Unreadable, "alice"));
            assert_eq!(sync.clones.list(None, None, 10).await.unwrap().clones.len(), 1);
        }
        // Its task is not kept any more; what it is a copy of is still known.
        *provisioner.set_aside.lock() = SetAside::default();
        provisioner.clones.lock().push(info.clone());
        sync.publish().await.unwrap();
        let listed = sync.listed(&info.name).await.unwrap().unwrap();
        assert_eq!(
            (listed.phase, listed.source.to_string()),
            (Phase::Published, "https://source.example".into())
        );
    }
}

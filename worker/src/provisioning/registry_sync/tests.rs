use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wpclone_provision::{
    Access, CloneSpec, EffectiveIsolation, HasUnfinishedTask, Health, Isolation, ProvisionError, SetAside,
    SourceFacts, SweepReport,
};
use wpclone_queue::QueueOptions;
use wpclone_service::sealed_clone::open_clone;
use wpclone_task::{ExposeSecret as _, TaskId};
use wpclone_test_redis::Redis;

use super::*;

/// Lists what it is given, and notes what a sweep would keep.
#[derive(Default)]
struct FakeProvisioner {
    clones: Mutex<Vec<CloneInfo>>,
    set_aside: Mutex<SetAside>,
    kept: Mutex<Vec<(CloneName, bool)>>,
    /// The clone whose secrets it cannot tell.
    without_access: Mutex<Option<CloneName>>,
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

    fn call_limit(&self) -> Duration {
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

    async fn access(&self, name: &CloneName) -> Result<Access, ProvisionError> {
        if *self.without_access.lock() == Some(name.clone()) {
            return Err(ProvisionError::Unreadable { name: name.clone(), reason: "a broken disk".into() });
        }
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

    async fn sweep(&self, has_unfinished_task: HasUnfinishedTask<'_>) -> Result<SweepReport, ProvisionError> {
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

/// The clone of this task.
fn clone(n: u32) -> CloneInfo {
    let task: TaskId = format!("01890000-0000-7000-8000-00000000000{n}").parse().unwrap();
    let name = CloneName::derive(Timestamp::UNIX_EPOCH, task, 0);
    CloneInfo {
        url: format!("http://127.0.0.1:8090/{name}"),
        name,
        task,
        owner: "alice".into(),
        source: SiteUrl::parse("https://source.example").unwrap(),
        username: "wpclone-x".into(),
        phase: Phase::Published,
        problem: None,
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
        location: None,
    }
}

fn sync(redis: &Redis, provisioner: &Arc<FakeProvisioner>) -> RegistrySync {
    RegistrySync {
        provisioner: Arc::clone(provisioner) as _,
        clones: CloneRegistry::new(&redis.url()).unwrap(),
        queue: Queue::new(&redis.url(), QueueOptions::default()).unwrap(),
        sealer: Sealer::new_key("a").unwrap().parse().unwrap(),
        metrics: Metrics::new(),
    }
}

async fn listed(sync: &RegistrySync) -> Vec<CloneEntry> {
    sync.clones.list(None, None, 10).await.unwrap().clones
}

#[tokio::test]
async fn a_clone_whose_task_cannot_be_read_is_kept() {
    let (redis, provisioner) = (Redis::start().await, Arc::<FakeProvisioner>::default());
    let clones = [clone(1), clone(2), clone(3)];
    *provisioner.clones.lock() = clones.to_vec();
    let sync = sync(&redis, &provisioner);
    // As another version may have written it.
    let key = format!("{{wpclone}}:task:{}", clones[1].task);
    redis.command::<()>(&format!("SET {key} 9-of-another-version")).await;
    let unknown = sync.sweep().await.unwrap();
    assert_eq!(unknown.0, clones[1].name);
    let kept: Vec<bool> = provisioner.kept.lock().iter().map(|(_, kept)| *kept).collect();
    assert_eq!(kept, [false, true, false], "of the others it is known that there is no task");
}

#[tokio::test]
async fn while_the_queue_cannot_be_reached_all_clones_are_kept() {
    let (mut redis, provisioner) = (Redis::start().await, Arc::<FakeProvisioner>::default());
    *provisioner.clones.lock() = vec![clone(1), clone(2)];
    let sync = sync(&redis, &provisioner);
    redis.kill();
    assert!(sync.sweep().await.is_some());
    assert!(provisioner.kept.lock().iter().all(|(_, kept)| *kept));
}

#[tokio::test]
async fn a_clone_that_is_kept_longer_than_its_task_is_listed_also_in_an_empty_registry() {
    let (redis, provisioner) = (Redis::start().await, Arc::<FakeProvisioner>::default());
    let sync = sync(&redis, &provisioner);
    *provisioner.clones.lock() = vec![clone(1), clone(2)];
    for _ in 0..2 {
        sync.publish().await.unwrap();
        let found = listed(&sync).await;
        assert_eq!(found.len(), 2);
        for entry in found {
            assert_eq!(entry.source.to_string(), "https://source.example");
            let secrets = open_clone(&sync.sealer, &entry.name, entry.sealed.as_deref().unwrap()).unwrap();
            assert_eq!(secrets.password.expose_secret(), "password");
        }
        redis.command::<()>("FLUSHALL").await;
    }
}

#[tokio::test]
async fn clones_that_cannot_be_logged_in_to_do_not_stop_the_publication_of_the_others() {
    let (redis, provisioner) = (Redis::start().await, Arc::<FakeProvisioner>::default());
    let sync = sync(&redis, &provisioner);
    *provisioner.clones.lock() = vec![clone(1), clone(2), clone(3), clone(4)];
    sync.publish().await.unwrap();
    // One is being deleted, of one the secrets are unreadable, one is gone; the last one does not start.
    let mut changed = vec![clone(1), clone(2), clone(4)];
    changed[0].phase = Phase::Deleting;
    *provisioner.without_access.lock() = Some(clone(2).name);
    let problem = CloneProblem::new(CloneProblemKind::NotStarting, "php-fpm ended");
    changed[2].problem = Some(problem.clone());
    *provisioner.clones.lock() = changed;
    sync.publish().await.unwrap();
    let found = listed(&sync).await;
    let of = |n: u32| found.iter().find(|entry| entry.name == clone(n).name);
    assert_eq!((of(1).unwrap().phase, of(1).unwrap().sealed.is_some()), (Phase::Deleting, false));
    assert!(of(2).unwrap().sealed.is_some(), "its older entry stays");
    assert!(of(3).is_none(), "it is gone");
    assert_eq!(of(4).unwrap().problem, Some(problem));
}

#[tokio::test]
async fn a_clone_that_cannot_be_read_is_listed_with_the_reason() {
    let (redis, provisioner) = (Redis::start().await, Arc::<FakeProvisioner>::default());
    let (sync, info) = (sync(&redis, &provisioner), clone(1));
    sync.put(&info).await;
    let unreadable =
        UnreadableClone { name: info.name.clone(), reason: "clone.json is not valid".into(), info: None };
    provisioner.set_aside.lock().clones.push(unreadable);
    for _ in 0..2 {
        sync.publish().await.unwrap();
        let found = listed(&sync).await;
        assert_eq!(found.len(), 1);
        let problem = found[0].problem.as_ref().unwrap();
        assert_eq!((found[0].phase, found[0].owner.as_str()), (Phase::Unreadable, "alice"));
        assert_eq!(
            (problem.kind, problem.detail.as_str()),
            (CloneProblemKind::Unreadable, "clone.json is not valid")
        );
    }
    // Its record can be read, but not its secrets: what it is is known without the registry.
    redis.command::<()>("FLUSHALL").await;
    provisioner.set_aside.lock().clones[0].info = Some(Box::new(info.clone()));
    sync.publish().await.unwrap();
    assert_eq!(listed(&sync).await[0].phase, Phase::Unreadable);
    *provisioner.set_aside.lock() = SetAside::default();
    provisioner.clones.lock().push(info);
    sync.publish().await.unwrap();
    let found = &listed(&sync).await[0];
    assert_eq!((found.phase, &found.problem), (Phase::Published, &None));
}

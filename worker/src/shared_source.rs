//! The set-up of a clone's source, shared with clones of the same source: the first task sets it up, those that come while it
//! is read use that, and the last one removes the migrator.

use serde::{Deserialize, Serialize};
use wpclone_migrator::VERSION;
use wpclone_queue::{Claim, Lease, Queue, QueueError, SiteLeave};
use wpclone_service::seal::Sealer;
use wpclone_task::{Code, PreparedSite, Problem, Progress, Role, SiteKey, Step, StepOutput, TaskId};

use crate::queue_retry::store_with_retry;

/// The field that the migrator's key is sealed for.
const KEY_FIELD: &str = "shared.source";

/// Why a clone fails that would wait for others for ever.
const STUCK: &str = "Workers of another version, or with other seal keys, have set the source up for this clone and for \
     others that wait as well; one of them sets it up anew. Run the task again.";

/// The source of a claimed step's task.
pub(crate) struct SharedSource {
    queue: Queue,
    lease: Lease,
    sealer: Sealer,
    /// `None` for a task that reads no source.
    site: Option<SiteKey>,
    /// What another task has stored for the step that prepares the source.
    stored: Option<String>,
    /// How many tasks may read it at once.
    limit: u32,
}

/// A set-up as it is stored for others.
#[derive(Serialize, Deserialize)]
struct SharedSetUp {
    /// Of the migrator.
    version: String,
    /// The task that the key is sealed for.
    task: TaskId,
    sealed_key: String,
    site: PreparedSite,
}

/// What a step that prepares the source finds.
pub(crate) enum Found {
    /// Another task has set it up.
    SetUp(Box<PreparedSite>),
    /// The step sets it up.
    Nothing,
    /// Others read it, and this worker cannot use what they have stored.
    NotUsable,
}

impl SharedSource {
    pub(crate) fn of(queue: &Queue, claim: &Claim, sealer: &Sealer, limit: u32) -> Self {
        let site = claim.request.read_site();
        let stored = claim.shared.clone().filter(|_| claim.step == Step::Prepare.as_str());
        Self { queue: queue.clone(), lease: claim.lease.clone(), sealer: sealer.clone(), site, stored, limit }
    }

    /// What another task has stored for this step. Where this worker cannot use it, the step sets the source up itself, once
    /// nobody else reads it.
    ///
    /// # Errors
    /// The queue did not answer, or all that read the source wait until they have it alone, and another one is to get it.
    pub(crate) async fn find(&self) -> Result<Found, Box<Problem>> {
        let (Some(site), Some(stored)) = (&self.site, &self.stored) else { return Ok(Found::Nothing) };
        let (found, message) = match self.read(stored) {
            Ok(set_up) => {
                (Found::SetUp(Box::new(set_up)), "Using the migrator that another clone has set up")
            }
            Err(why) => {
                tracing::warn!(why, "the set-up that another clone has stored cannot be used");
                match self.call(|| self.queue.hold_site_alone(&self.lease, site)).await? {
                    SiteLeave::Last => return Ok(Found::Nothing),
                    SiteLeave::Stuck => return Err(Box::new(Problem::new(Code::WorkerFault, STUCK))),
                    SiteLeave::Others | SiteLeave::Left => {}
                }
                (Found::NotUsable, "Waiting for clones of the same site, whose set-up this worker cannot use")
            }
        };
        let progress = Progress { percent: 0, message: message.to_owned() };
        self.call(|| self.queue.heartbeat(&self.lease, Some(&progress))).await?;
        Ok(found)
    }

    fn read(&self, stored: &str) -> Result<PreparedSite, String> {
        let SharedSetUp { version, task, sealed_key, site } =
            serde_json::from_str(stored).map_err(|_| "it is malformed".to_owned())?;
        if version != VERSION {
            return Err(format!("its migrator has the version {version}"));
        }
        let api_key = self.sealer.open(task, KEY_FIELD, &sealed_key).map_err(|error| error.to_string())?;
        Ok(PreparedSite { api_key, ..site })
    }

    /// Shares the set-up that this step has made. Without that, others wait until the task ends.
    pub(crate) async fn share(&self, output: &StepOutput) {
        let (Some(site), StepOutput::Prepared(Role::Source, prepared)) = (&self.site, output) else { return };
        if let Err(error) = self.try_share(site, prepared).await {
            tracing::warn!(error, "the set-up of the source is not shared");
        }
    }

    async fn try_share(&self, site: &SiteKey, prepared: &PreparedSite) -> Result<(), String> {
        let task = self.lease.task;
        let sealed_key = self.sealer.seal(task, KEY_FIELD, &prepared.api_key).map_err(|e| e.to_string())?;
        let set_up = SharedSetUp { version: VERSION.to_owned(), task, sealed_key, site: prepared.clone() };
        let set_up = serde_json::to_string(&set_up).map_err(|error| error.to_string())?;
        let shared = || self.queue.share_site(&self.lease, site, self.limit, &set_up);
        store_with_retry(shared).await.map_err(|error| error.to_string())
    }

    /// The task does not read its source any more. Returns whether it is the last one that has: then it removes what it has
    /// left there.
    ///
    /// # Errors
    /// The queue did not answer.
    pub(crate) async fn leave(&self) -> Result<bool, Box<Problem>> {
        let Some(site) = &self.site else { return Ok(true) };
        let left = self.call(|| self.queue.leave_site(&self.lease, site)).await?;
        Ok(left == SiteLeave::Last)
    }

    async fn call<T, F>(&self, call: impl FnMut() -> F) -> Result<T, Box<Problem>>
    where
        F: Future<Output = Result<T, QueueError>>,
    {
        store_with_retry(call).await.map_err(|error| {
            let detail = format!("Who reads the source cannot be found out: {error}.");
            Box::new(Problem::new(Code::WorkerFault, detail))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wpclone_queue::{NewTask, QueueOptions, StoredOutput};
    use wpclone_task::{ExposeSecret as _, Stage};
    use wpclone_test_redis::Redis;

    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn sealer() -> Sealer {
        Sealer::new_key("test").unwrap().parse().unwrap()
    }

    fn prepared() -> StepOutput {
        let facts = json!({"wordpress": "6.8", "php": "8.2.1", "prefix": "wp_", "memory_limit": null,
            "max_execution_time": 30, "max_input_vars": 1000, "charset": "utf8mb4", "collation": "", "constants": {}});
        let site = json!({"url": "https://a.example", "plugin_status": "installed", "facts": facts});
        let site: PreparedSite = serde_json::from_value(site).unwrap();
        StepOutput::Prepared(Role::Source, Box::new(PreparedSite { api_key: KEY.into(), ..site }))
    }

    /// Claims the preparation of a new clone; the step beside it is done.
    async fn claim(queue: &Queue) -> Claim {
        let request = json!({"kind": "clone", "source": {"url": "https://a.example", "username": "admin"},
            "ttl_minutes": 60, "isolation": "shared", "remove_migrator": true});
        let request = serde_json::from_value(request).unwrap();
        let task = NewTask::new(request, "sealed".into(), "alice".into());
        let task = NewTask { share_key: Some("a-login".into()), ..task };
        queue.enqueue(&task).await.unwrap();
        let provision = queue.claim("worker", &[Stage::Provisioning]).await.unwrap().unwrap();
        queue.complete(&provision.lease, &StoredOutput::default()).await.unwrap();
        queue.claim("worker", &[Stage::Browser]).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn what_one_step_stores_another_one_uses_if_it_has_the_seal_key() {
        let redis = Redis::start().await;
        let queue = Queue::new(&redis.url(), QueueOptions::default()).unwrap();
        let (sealer, other) = (sealer(), sealer());
        let source = |claim: &Claim, sealer| SharedSource::of(&queue, claim, sealer, 2);
        let first = claim(&queue).await;
        let of_first = source(&first, &sealer);
        assert!(matches!(of_first.find().await, Ok(Found::Nothing)));
        of_first.share(&prepared()).await;
        assert!(
            !redis
                .command::<Vec<String>>("HVALS {wpclone}:site_share:a.example")
                .await
                .concat()
                .contains(KEY)
        );

        let second = claim(&queue).await;
        let Ok(Found::SetUp(site)) = source(&second, &sealer).find().await else { panic!("it is not used") };
        assert_eq!((site.api_key.expose_secret(), site.facts.prefix.as_str()), (KEY, "wp_"));
        // A worker that cannot open it waits until nobody else reads the source, and sets it up then.
        assert!(matches!(source(&second, &other).find().await, Ok(Found::NotUsable)));
        assert!(!of_first.leave().await.unwrap());
        assert!(matches!(source(&second, &other).find().await, Ok(Found::Nothing)));
        assert!(source(&second, &sealer).leave().await.unwrap(), "it has the source alone");
    }

    #[tokio::test]
    async fn of_two_that_cannot_use_what_is_stored_one_fails_and_the_other_shares_its_own() {
        let redis = Redis::start().await;
        let queue = Queue::new(&redis.url(), QueueOptions::default()).unwrap();
        let (lost, sealer) = (sealer(), sealer());
        let source = |claim: &Claim| SharedSource::of(&queue, claim, &sealer, 2);
        let mut first = claim(&queue).await;
        SharedSource::of(&queue, &first, &lost, 2).share(&prepared()).await;
        let second = claim(&queue).await;
        // The first one's worker was lost before its step was complete.
        first.shared.clone_from(&second.shared);
        assert!(matches!(source(&first).find().await, Ok(Found::NotUsable)));
        let Err(problem) = source(&second).find().await else { panic!("it waits for ever") };
        assert_eq!(problem.code, Code::WorkerFault);
        assert!(problem.detail.ends_with("Run the task again."), "{}", problem.detail);
        assert!(!source(&second).leave().await.unwrap());
        assert!(matches!(source(&first).find().await, Ok(Found::Nothing)));
        source(&first).share(&prepared()).await;
        assert!(matches!(source(&claim(&queue).await).find().await, Ok(Found::SetUp(_))));
    }

    #[tokio::test]
    async fn a_set_up_with_another_version_of_the_migrator_is_not_used() {
        let redis = Redis::start().await;
        let queue = Queue::new(&redis.url(), QueueOptions::default()).unwrap();
        let (sealer, first) = (sealer(), claim(&queue).await);
        SharedSource::of(&queue, &first, &sealer, 2).share(&prepared()).await;
        let mut second = claim(&queue).await;
        let stored = second.shared.take().unwrap();
        second.shared = Some(stored.replace(&format!("\"version\":\"{VERSION}\""), "\"version\":\"0.0.1\""));
        assert_ne!(second.shared.as_ref(), Some(&stored));
        let found = SharedSource::of(&queue, &second, &sealer, 2).find().await;
        assert!(matches!(found, Ok(Found::NotUsable)));
    }
}

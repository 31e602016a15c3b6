//! A real Redis for each test, and short words for what tests do with it.

use serde_json::json;
use wpclone_queue::{
    Claim, Enqueued, Found, Idempotency, Lease, Limits, NewTask, Queue, QueueOptions, StepOutput, TaskRecord,
};
use wpclone_task::{Code, Plan, Problem, SiteKey, SiteUrl, Stage, StepPlan, TaskId};
pub(crate) use wpclone_test_redis::Redis;

/// What tests of the queue do with a Redis.
pub(crate) trait Queues {
    /// A queue with its defaults.
    fn queue(&self) -> Queue {
        self.queue_with(QueueOptions::default())
    }

    fn queue_with(&self, options: QueueOptions) -> Queue;

    /// Makes a lease run out.
    async fn run_out(&self, claim: &Claim);

    /// Makes a delayed step due.
    async fn make_due(&self, claim: &Claim);

    /// Waits until its clock has gone on, so that what comes is younger than what was.
    async fn next_millisecond(&self);

    /// Whether this text is in any string that it keeps.
    async fn holds(&self, text: &str) -> bool;
}

impl Queues for Redis {
    fn queue_with(&self, options: QueueOptions) -> Queue {
        Queue::new(&self.url(), options).unwrap()
    }

    async fn run_out(&self, claim: &Claim) {
        self.ask::<()>(&format!("ZADD {{wpclone}}:leases:{} XX 1 {}", claim.stage, member(&claim.lease)))
            .await;
    }

    async fn make_due(&self, claim: &Claim) {
        self.ask::<()>(&format!("ZADD {{wpclone}}:delayed:{} XX 1 {}", claim.stage, member(&claim.lease)))
            .await;
    }

    async fn next_millisecond(&self) {
        let now = async || {
            let time: Vec<u64> = self.ask("TIME").await;
            time[0] * 1000 + time[1] / 1000
        };
        let before = now().await;
        while now().await == before {}
    }

    async fn holds(&self, text: &str) -> bool {
        let mut connection = self.connect().await.unwrap();
        let keys: Vec<String> = self.ask("KEYS *").await;
        for key in keys {
            let value: Option<String> = redis::cmd("GET").arg(key).query_async(&mut connection).await.ok();
            if value.is_some_and(|value| value.contains(text)) {
                return true;
            }
        }
        false
    }
}

fn member(lease: &Lease) -> String {
    format!("{}:{}", lease.task, lease.step)
}

/// What stands for the sealed secrets of a request.
pub(crate) const SECRETS: &str = "sealed-secrets";

/// A /setup task on a site of this name.
pub(crate) fn task(site: &str) -> NewTask {
    let request =
        json!({"kind": "setup", "url": format!("https://{site}"), "username": "admin", "role": "source"});
    NewTask {
        id: TaskId::new(),
        request: serde_json::from_value(request).unwrap(),
        sealed_secrets: SECRETS.into(),
        owner: "alice".into(),
        traceparent: None,
        idempotency: None,
        sealed_callback: None,
        limits: Limits::default(),
    }
}

pub(crate) fn owned(mut task: NewTask, owner: &str) -> NewTask {
    task.owner = owner.into();
    task
}

pub(crate) fn idempotent(mut task: NewTask, key: &str, fingerprints: &[&str]) -> NewTask {
    let fingerprints = fingerprints.iter().map(|f| (*f).to_owned()).collect();
    task.idempotency = Some(Idempotency { key: key.into(), fingerprints });
    task
}

/// A plan from lines of `stage name`, phases separated by `|`: `"browser a, transfer b | browser c"`.
pub(crate) fn plan(text: &str) -> Plan {
    let step = |step: &str| {
        let (stage, name) = step.trim().split_once(' ').unwrap();
        StepPlan { name: name.into(), stage: stage.parse().unwrap() }
    };
    text.split('|').map(|phase| phase.split(',').map(step).collect()).collect()
}

pub(crate) fn sites(names: &[&str]) -> Vec<SiteKey> {
    names.iter().map(|n| SiteUrl::parse(&format!("https://{n}")).unwrap().key()).collect()
}

pub(crate) fn problem(code: Code) -> Problem {
    Problem::new(code, "It went wrong.")
}

/// What tests do with a queue, each expecting it to work.
pub(crate) trait Short {
    async fn accept(&self, task: &NewTask) -> TaskId;
    async fn take(&self) -> Claim;
    async fn nothing_ready(&self);
    async fn task(&self, id: TaskId) -> TaskRecord;
    async fn done(&self, claim: &Claim);
}

impl Short for Queue {
    async fn accept(&self, task: &NewTask) -> TaskId {
        assert_eq!(self.enqueue(task).await.unwrap(), Enqueued::New(task.id));
        task.id
    }

    async fn take(&self) -> Claim {
        self.claim("w1", Stage::ALL).await.unwrap().expect("a step is ready")
    }

    async fn nothing_ready(&self) {
        assert!(self.claim("w1", Stage::ALL).await.unwrap().is_none(), "no step is ready");
    }

    async fn task(&self, id: TaskId) -> TaskRecord {
        match self.get(id).await.unwrap() {
            Found::Task(task) => *task,
            other => panic!("{id} is {other:?}"),
        }
    }

    async fn done(&self, claim: &Claim) {
        self.complete(&claim.lease, &StepOutput::default()).await.unwrap();
    }
}

//! The reports of a step's end, with a real queue.

use serde_json::{Value, json};
use wpclone_artifacts::Artifacts;
use wpclone_queue::{EnqueueOutcome, NewTask, QueueOptions, TaskLookup, TaskRecord};
use wpclone_task::{SecretString, State, TRUNCATED, TaskId, Transferred};
use wpclone_test_redis::Redis;

use super::*;
use crate::browser::{BrowserAvailability, BrowserSettings, Deadlines};
use crate::net::EgressRules;

struct Fixture {
    _redis: Redis,
    executor: StepExecutor,
}

impl Fixture {
    async fn start() -> Self {
        let redis = Redis::start().await;
        let queue = Queue::new(&redis.url(), QueueOptions::default()).unwrap();
        let artifacts = Artifacts::new(&redis.url(), 1 << 20).unwrap();
        let settings = BrowserSettings { browser: None, driver: None, remote: None, has_sandbox: true };
        let availability = BrowserAvailability::new(settings, std::env::temp_dir());
        let second = Duration::from_secs(1);
        let browser = BrowserStage {
            availability: availability.clone(),
            deadlines: Deadlines { part: second, soft: second, hard: second },
            egress: EgressRules::default(),
            artifacts: artifacts.clone(),
        };
        let transfer = TransferStage {
            egress: EgressRules::default(),
            browser: availability,
            artifacts,
            clone_max_bytes: u64::MAX,
        };
        let executor = StepExecutor {
            queue,
            sealer: Sealer::new_key("test").unwrap().parse().unwrap(),
            browser,
            transfer,
            provisioning: None,
            reads_per_source: 2,
            metrics: Metrics::new(),
            release: CancellationToken::new(),
        };
        Self { _redis: redis, executor }
    }

    /// A claimed step of a new task.
    async fn claim(&self) -> Claim {
        let request =
            json!({"kind": "setup", "url": "https://a.example", "username": "admin", "role": "source"});
        let request = serde_json::from_value(request).unwrap();
        let task = NewTask::new(request, "sealed".into(), "alice".into());
        let accepted = self.executor.queue.enqueue(&task).await.unwrap();
        assert_eq!(accepted, EnqueueOutcome::Accepted(task.id));
        self.executor.queue.claim("worker", Stage::ALL).await.unwrap().unwrap()
    }

    async fn task(&self, id: TaskId) -> TaskRecord {
        match self.executor.queue.get(id).await.unwrap() {
            TaskLookup::Found(task) => *task,
            other => panic!("{id} is {other:?}"),
        }
    }

    /// Checks that no step is leased or ready: nothing is repeated when a lease would expire.
    async fn nothing_is_left(&self) {
        let depth = self.executor.queue.stats().await.unwrap().stages[&Stage::Browser];
        assert_eq!((depth.running, depth.ready, depth.delayed), (0, 0, 0));
    }
}

/// The output of a transfer from a site that reports this.
fn transferred(fidelity: Value) -> StepOutput {
    let source_api_key = Some(SecretString::from("k".repeat(64)));
    StepOutput::Transferred(Transferred { fidelity, source_api_key, target: None })
}

#[tokio::test]
async fn a_result_that_a_site_made_too_large_is_truncated_and_the_task_succeeds() {
    let fixture = Fixture::start().await;
    let claim = fixture.claim().await;
    let names: Vec<String> =
        (0..5000).map(|n| format!("wp-content/uploads/{n}-{}.jpg", "x".repeat(200))).collect();
    let output = transferred(json!({"rows": 7, "omitted_files": names, "notes": "y".repeat(1 << 20)}));
    let report = fixture.executor.complete(&claim, output, Some(true));
    assert_eq!(report.outcome(), "succeeded");
    assert!(fixture.executor.report(&claim, report, Vec::new).await.is_none());

    let task = fixture.task(claim.lease.task).await;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    let result = task.result.as_ref().unwrap();
    assert_eq!((&result[TRUNCATED], &result["fidelity"]["rows"]), (&json!(true), &json!(7)));
    fixture.nothing_is_left().await;
}

#[tokio::test]
async fn a_result_that_fits_is_stored_as_it_is() {
    let fixture = Fixture::start().await;
    let claim = fixture.claim().await;
    let report = fixture.executor.complete(&claim, transferred(json!({"rows": 7})), None);
    fixture.executor.report(&claim, report, Vec::new).await;
    let task = fixture.task(claim.lease.task).await;
    assert_eq!((task.state, task.result.unwrap().get(TRUNCATED)), (State::Succeeded, None));
}

#[tokio::test]
async fn a_step_whose_end_the_queue_rejects_fails_at_once_with_a_code() {
    let fixture = Fixture::start().await;
    let claim = fixture.claim().await;
    let large = json!({"page": "x".repeat(MAX_RESULT_BYTES)});
    let output = StoredOutput { result: large.as_object().unwrap().clone(), sealed: None };
    let report = Report::Complete(output, Some(true));
    assert!(fixture.executor.report(&claim, report, Vec::new).await.is_none());

    let task = fixture.task(claim.lease.task).await;
    let problem = task.problem.as_ref().unwrap();
    assert_eq!((task.state, problem.code), (State::Failed, Code::ResultTooLarge));
    assert!(problem.changed_target && !problem.retryable, "{problem:#?}");
    fixture.nothing_is_left().await;
}

#[tokio::test]
async fn secrets_that_are_too_large_for_the_queue_fail_the_step_with_a_code() {
    let fixture = Fixture::start().await;
    let claim = fixture.claim().await;
    let source_api_key = Some(SecretString::from("k".repeat(MAX_RESULT_BYTES)));
    let output = StepOutput::Transferred(Transferred { fidelity: json!({}), source_api_key, target: None });
    let report = fixture.executor.complete(&claim, output, None);
    fixture.executor.report(&claim, report, Vec::new).await;
    let task = fixture.task(claim.lease.task).await;
    assert_eq!(task.problem.map(|problem| problem.code), Some(Code::ResultTooLarge));
    fixture.nothing_is_left().await;
}

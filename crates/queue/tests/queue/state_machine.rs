//! Random operations on the queue and its model: workers that do not get an answer, stall, are killed, and write under expired leases; owners
//! that cancel and replay, and take turns; a clock that changes; parallel steps; tasks on several sites, and tasks that share one. Each result must be
//! the model's.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use wpclone_queue::{
    CancelOutcome, Claim, ClaimAttempt, FailOutcome, OwnerLimits, Queue, QueueError, QueueOptions,
    ReplayOutcome, SiteLock, StoredOutput,
};
use wpclone_task::{Code, Progress, Stage, State, StepPlan};

use crate::cleanup_support::{claim_early, left_on};
use crate::model::{LEASE, Model, OWNERS, Place, Role, Step, Task};
use crate::support::*;

const SITES: [&str; 3] = ["a.example", "b.example", "c.example"];
/// The first is the key of most tasks that share their site.
const SHARE_KEYS: [&str; 4] = ["k:1", "k:1", "k:1", "k:2"];
const PLANS: [&str; 5] = [
    "browser x",
    "browser x, browser y | browser z",
    "browser x | browser y, browser z",
    "browser x | browser y? ! browser z",
    "browser x, browser y? | browser z ! browser v, browser w",
];

/// An operation. Its numbers choose one of the tasks or leases so far, ended and expired ones included.
#[derive(Debug, Clone)]
enum Operation {
    Enqueue {
        sites: usize,
        plan: usize,
        owner: usize,
        /// One of the keys by which it shares its site, or a higher number for none.
        share: usize,
    },
    /// Shares the task's site with others.
    Share {
        lease: usize,
        limit: usize,
    },
    Leave {
        lease: usize,
        only_as_last: bool,
    },
    /// Asked for twice when the first answer is lost.
    Claim {
        first_lost: bool,
        /// One of the owners, or a higher number for none.
        passed_over: usize,
    },
    Heartbeat {
        lease: usize,
        percent: u8,
    },
    Complete {
        lease: usize,
        and_claim: bool,
    },
    Fail {
        lease: usize,
        again: bool,
    },
    Stop {
        lease: usize,
    },
    Release {
        lease: usize,
    },
    KeepSession {
        lease: usize,
        ended: bool,
    },
    Cancel {
        task: usize,
    },
    ExpireLease {
        lease: usize,
    },
    MakeDue {
        lease: usize,
    },
    Replay {
        task: usize,
    },
    AdvanceClock {
        by: i64,
    },
    Sweep,
}

/// Changes of the clock (ms), larger than a whole run takes.
const CLOCK_CHANGES: [i64; 4] = [40_000, -40_000, 24 * 3600 * 1000, -24 * 3600 * 1000];

fn operation() -> impl Strategy<Value = Operation> {
    let which = 0..64_usize;
    prop_oneof![
        5 => (0..8_usize, 0..PLANS.len(), 0..OWNERS.len(), 0..2 * SHARE_KEYS.len())
            .prop_map(|(sites, plan, owner, share)| Operation::Enqueue { sites, plan, owner, share }),
        4 => (which.clone(), 1..4_usize).prop_map(|(lease, limit)| Operation::Share { lease, limit }),
        2 => (which.clone(), any::<bool>())
            .prop_map(|(lease, only_as_last)| Operation::Leave { lease, only_as_last }),
        8 => (any::<bool>(), 0..2 * OWNERS.len())
            .prop_map(|(first_lost, passed_over)| Operation::Claim { first_lost, passed_over }),
        2 => (which.clone(), 0..5_u8).prop_map(|(lease, p)| Operation::Heartbeat { lease, percent: p * 25 }),
        4 => (which.clone(), any::<bool>())
            .prop_map(|(lease, and_claim)| Operation::Complete { lease, and_claim }),
        3 => (which.clone(), any::<bool>()).prop_map(|(lease, again)| Operation::Fail { lease, again }),
        1 => which.clone().prop_map(|lease| Operation::Stop { lease }),
        1 => which.clone().prop_map(|lease| Operation::Release { lease }),
        2 => (which.clone(), any::<bool>())
            .prop_map(|(lease, ended)| Operation::KeepSession { lease, ended }),
        1 => which.clone().prop_map(|task| Operation::Cancel { task }),
        3 => which.clone().prop_map(|lease| Operation::ExpireLease { lease }),
        2 => which.clone().prop_map(|lease| Operation::MakeDue { lease }),
        2 => which.prop_map(|task| Operation::Replay { task }),
        1 => (0..CLOCK_CHANGES.len()).prop_map(|n| Operation::AdvanceClock { by: CLOCK_CHANGES[n] }),
        3 => Just(Operation::Sweep),
    ]
}

/// The model, the real queue, and all leases so far.
struct World<'a> {
    redis: &'a Redis,
    queue: Queue,
    model: Model,
    leases: Vec<Claim>,
}

impl World<'_> {
    async fn run(&mut self, operation: &Operation) {
        let lease = |n: usize| self.leases.get(n.checked_rem(self.leases.len())?).cloned();
        match operation {
            Operation::Enqueue { sites, plan, owner, share } => {
                let share_key = SHARE_KEYS.get(*share).copied();
                self.enqueue(*sites, PLANS[*plan], OWNERS[*owner], share_key).await;
            }
            Operation::Claim { first_lost, passed_over } => {
                self.claim(*first_lost, OWNERS.get(*passed_over).copied()).await;
            }
            Operation::Sweep => {
                let leases: Vec<String> = self.redis.command("ZRANGE {wpclone}:leases:browser 0 -1").await;
                self.queue.sweep().await.unwrap();
                let parse = |lease: &String| {
                    let (task, step) = lease.split_once(':').unwrap();
                    (task.parse().unwrap(), step.parse().unwrap())
                };
                self.model.sweep(&leases.iter().map(parse).collect::<Vec<_>>());
            }
            Operation::Cancel { task } => self.cancel(*task).await,
            Operation::ExpireLease { lease: n } => {
                if let Some(claim) = lease(*n).filter(|c| self.model.alive(c)) {
                    self.redis.expire_lease(&claim).await;
                    let place = &mut self.model.task_of(&claim).step_of(&claim).place;
                    if let Place::Leased { left, .. } = place {
                        *left = i64::MIN;
                    }
                }
            }
            Operation::MakeDue { lease: n } => {
                if let Some(claim) = lease(*n) {
                    self.make_due(&claim).await;
                }
            }
            Operation::Replay { task } => self.replay(*task).await,
            Operation::AdvanceClock { by } => {
                self.redis.advance_clock(*by).await;
                self.model.advance_clock(*by);
            }
            Operation::Heartbeat { lease: n, .. }
            | Operation::Complete { lease: n, .. }
            | Operation::Fail { lease: n, .. }
            | Operation::Stop { lease: n }
            | Operation::Release { lease: n }
            | Operation::KeepSession { lease: n, .. }
            | Operation::Share { lease: n, .. }
            | Operation::Leave { lease: n, .. } => {
                if let Some(claim) = lease(*n) {
                    self.write(operation, &claim).await;
                }
            }
        }
        self.model.start_ready_tasks();
        self.model.note_waiting_owners();
        self.compare().await;
    }

    async fn enqueue(
        &mut self,
        chosen: usize,
        steps: &str,
        owner: &'static str,
        share_key: Option<&'static str>,
    ) {
        let mut on: Vec<&str> = (0..3).filter(|n| chosen & (1 << n) != 0).map(|n| SITES[n]).collect();
        if share_key.is_some() {
            on = vec![SITES[chosen % 2]];
        }
        let new = owned(task("x.example"), owner);
        let plan = plan(steps);
        let locks =
            sites(&on).into_iter().map(|site| SiteLock { site, share_key: share_key.map(str::to_owned) });
        self.queue.enqueue_with_plan(&new, &plan, locks, 0).await.unwrap();
        let role = |step: &StepPlan| if step.optional { Role::Optional } else { Role::Needed };
        let phases = plan.phases.iter().enumerate();
        let steps = phases.flat_map(|(n, steps)| steps.iter().map(move |step| Step::new(n, role(step))));
        let last = plan.clean_up.iter().map(|_| Step::new(plan.phases.len(), Role::CleansUp));
        self.model.tasks.push(Task {
            id: new.id,
            owner,
            sites: on,
            share_key,
            left: false,
            steps: steps.chain(last).collect(),
            phase: 0,
            born: self.model.clock_offset,
            secrets: None,
            replays: 0,
            started: false,
            ending: None,
            optional_failed: false,
            cleaning: None,
            state: State::Queued,
            compared: false,
        });
    }

    async fn claim(&mut self, first_lost: bool, passed_over: Option<&'static str>) -> Option<Claim> {
        let attempt = ClaimAttempt::passing_over(passed_over.map(str::to_owned));
        let claim = self.queue.claim_with("w", &[Stage::Browser], &attempt).await.unwrap();
        if first_lost {
            let again = self.queue.claim_with("w", &[Stage::Browser], &attempt).await.unwrap();
            assert_eq!(again.map(|c| c.lease), claim.as_ref().map(|c| c.lease.clone()), "the same lease");
        }
        self.claimed(claim, passed_over)
    }

    /// Compares a claim with the model's.
    fn claimed(&mut self, claim: Option<Claim>, passed_over: Option<&str>) -> Option<Claim> {
        let got = claim.as_ref().map(|c| {
            let n = self.model.tasks.iter().position(|t| t.id == c.lease.task).unwrap();
            (n, c.lease.step as usize)
        });
        self.model.check_claim(got, passed_over);
        let claim = claim?;
        let reads = self.model.reads(claim.lease.task) && self.model.task_of(&claim).phase == 0;
        assert_eq!(
            claim.shared.as_deref(),
            reads.then_some("what it runs on"),
            "what the first reader has stored"
        );
        assert!(self.leases.iter().all(|old| old.lease.token < claim.lease.token), "tokens rise");
        let task = self.model.task_of(&claim);
        task.state = State::Running;
        let step = task.step_of(&claim);
        assert_eq!((claim.attempts, claim.crashes), (step.attempts, step.crashes));
        assert_eq!(claim.kept_session.is_some(), step.session, "the session of an earlier attempt");
        step.best = step.best.max(step.percent);
        (step.percent, step.begun) = (0, true);
        step.place = Place::Leased { token: claim.lease.token, left: LEASE, confirmed: false };
        self.leases.push(claim.clone());
        Some(claim)
    }

    async fn cancel(&mut self, n: usize) {
        let Some(n) = n.checked_rem(self.model.tasks.len()) else {
            return;
        };
        let task = &mut self.model.tasks[n];
        let expected = match (task.state.is_final(), &task.ending) {
            (true, _) => CancelOutcome::AlreadyFinished,
            _ if task.stop(State::Cancelled) => CancelOutcome::Cancelled,
            _ => CancelOutcome::Requested,
        };
        assert_eq!(self.queue.cancel(task.id).await.unwrap(), expected);
    }

    async fn replay(&mut self, n: usize) {
        let Some(n) = n.checked_rem(self.model.tasks.len()) else {
            return;
        };
        self.redis.next_millisecond().await;
        let mut task = self.model.tasks.remove(n);
        let expected = match (task.state, task.secrets) {
            (State::Failed, Some(1..)) => ReplayOutcome::Queued,
            (State::Failed, _) => ReplayOutcome::SecretsGone,
            (state, _) => ReplayOutcome::NotFailed(state),
        };
        assert_eq!(self.queue.replay(task.id, None, OwnerLimits::default()).await.unwrap(), expected);
        if expected == ReplayOutcome::Queued {
            task.replay();
            task.born = self.model.clock_offset;
            self.model.tasks.push(task); // its age begins anew
        } else {
            self.model.tasks.insert(n, task);
        }
        self.redis.next_millisecond().await;
    }

    async fn make_due(&mut self, claim: &Claim) {
        let step = self.model.task_of(claim).step_of(claim);
        if matches!(step.place, Place::Delayed { .. }) {
            step.place = Place::Delayed { left: i64::MIN };
            self.redis.make_due(claim).await;
        }
    }

    /// Writes under a lease: accepted exactly when the lease is valid.
    async fn write(&mut self, operation: &Operation, claim: &Claim) {
        let alive = self.model.alive(claim);
        if let Operation::Share { .. } | Operation::Leave { .. } = operation {
            return self.write_sharing(operation, claim, alive).await;
        }
        let task = self.model.task_of(claim);
        let must_stop = task.must_stop(claim.lease.step as usize);
        let mut next = None;
        let lost = match operation {
            Operation::Heartbeat { percent, .. } => {
                let progress = Progress { percent: *percent, message: "On it.".into() };
                let beat = self.queue.heartbeat(&claim.lease, Some(&progress)).await;
                if alive {
                    assert_eq!(beat.as_ref().unwrap().cancel_requested, must_stop);
                    let step = task.step_of(claim);
                    step.place = Place::Leased { token: claim.lease.token, left: LEASE, confirmed: true };
                    step.percent = step.percent.max(*percent);
                    if step.percent > step.best {
                        step.crashes = 0;
                    }
                }
                beat.err()
            }
            Operation::Complete { and_claim: true, .. } => {
                let output = StoredOutput::default();
                let attempt = ClaimAttempt::new();
                match self.queue.complete_and_claim(&claim.lease, &output, &[Stage::Browser], &attempt).await
                {
                    Ok((done, claim_of_next)) => {
                        assert_eq!(done, task.completed(claim));
                        // As after a lost answer.
                        let again =
                            self.queue.complete_and_claim(&claim.lease, &output, &[Stage::Browser], &attempt);
                        match (again.await, &claim_of_next) {
                            (Ok((_, Some(again))), Some(next)) => assert_eq!(again.lease, next.lease),
                            (Err(QueueError::LeaseLost), None) => {}
                            other => panic!("{other:?}"),
                        }
                        next = Some(claim_of_next);
                        None
                    }
                    Err(e) => Some(e),
                }
            }
            Operation::Complete { .. } => {
                let done = self.queue.complete(&claim.lease, &StoredOutput::default()).await;
                if alive {
                    assert_eq!(*done.as_ref().unwrap(), task.completed(claim));
                }
                done.err()
            }
            Operation::Fail { again, .. } => {
                let code = if *again { Code::SiteUnreachable } else { Code::CapMissing };
                // An hour's wait ends the task; this one keeps the step delayed until the model makes it due.
                let failed = self.queue.fail(&claim.lease, &problem(code).with("retry_after", 300)).await;
                if alive {
                    let failed = failed.as_ref().unwrap();
                    match task.failed(claim, *again) {
                        Some(expected) => assert_eq!(*failed, expected),
                        None => assert!(matches!(failed, FailOutcome::Retrying(_))),
                    }
                }
                failed.err()
            }
            Operation::Stop { .. } => {
                let stopped = self.queue.confirm_cancel(&claim.lease).await;
                if alive {
                    task.step_of(claim).place = Place::Ended(State::Cancelled);
                    task.stop(State::Cancelled);
                }
                stopped.err()
            }
            Operation::KeepSession { ended, .. } => {
                // Of no site of the task, so that the locks which the task keeps while it cleans up are those of the model.
                let session = (!ended).then(|| left_on("elsewhere.example"));
                let kept = self.queue.keep_session(&claim.lease, session.as_ref()).await;
                if alive {
                    let step = task.step_of(claim);
                    step.session = !ended;
                    if let Place::Leased { confirmed, .. } = &mut step.place {
                        *confirmed = true;
                    }
                }
                kept.err()
            }
            _ => {
                let released = self.queue.release(&claim.lease).await;
                if alive && must_stop {
                    task.step_of(claim).place = Place::Ended(State::Cancelled);
                    task.finish_if_done();
                } else if alive {
                    task.step_of(claim).place = Place::Ready { front: true };
                }
                released.err()
            }
        };
        match lost {
            None => assert!(alive, "an expired lease was accepted: {operation:?}"),
            Some(QueueError::LeaseLost) => assert!(!alive, "a valid lease was rejected: {operation:?}"),
            Some(e) => panic!("{e}"),
        }
        if let Some(claim) = next {
            self.model.start_ready_tasks();
            self.claimed(claim, None);
        }
    }

    /// Shares or leaves a task's site under a lease.
    async fn write_sharing(&mut self, operation: &Operation, claim: &Claim, alive: bool) {
        let site = self.model.task_of(claim).sites.first().copied().unwrap_or("x.example");
        let key = &sites(&[site])[0];
        let lost = match operation {
            Operation::Share { limit, .. } => {
                let of_queue = u32::try_from(*limit).unwrap();
                let shared = self.queue.share_site(&claim.lease, key, of_queue, "what it runs on").await;
                if alive {
                    self.model.share(claim, *limit);
                }
                shared.err()
            }
            Operation::Leave { only_as_last, .. } => {
                let left = match only_as_last {
                    true => self.queue.hold_site_alone(&claim.lease, key).await,
                    false => self.queue.leave_site(&claim.lease, key).await,
                };
                if alive {
                    let expected = self.model.leave(claim, site, *only_as_last);
                    assert_eq!(left.as_ref().unwrap(), &expected, "{claim:?}");
                }
                left.err()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(matches!(lost, Some(QueueError::LeaseLost)), !alive, "{operation:?}: {lost:?}");
        if alive && let Place::Leased { confirmed, .. } = &mut self.model.task_of(claim).step_of(claim).place
        {
            *confirmed = true;
        }
    }

    /// Asserts that every task is in the model's state, and has the sites that it has in the model.
    async fn compare(&mut self) {
        for expected in self.model.tasks.iter_mut().filter(|t| !t.compared) {
            expected.compared = expected.state.is_final();
            let real = self.queue.task(expected.id).await;
            assert_eq!((real.state, real.replays), (expected.state, expected.replays), "{expected:?}");
            let shown = |s: &&Step| s.role != Role::CleansUp || s.place != Place::Idle;
            for (step, real) in expected.steps.iter().filter(shown).zip(&real.steps) {
                let state = match step.place {
                    Place::Ended(state) => state,
                    _ if step.begun => State::Running,
                    _ => State::Queued,
                };
                assert_eq!(
                    (real.state, real.attempts, real.crashes),
                    (state, step.attempts, step.crashes),
                    "{expected:?}"
                );
            }
        }
        for site in SITES {
            let mut holders: Vec<String> =
                self.model.holders(site).iter().map(|t| t.id.to_string()).collect();
            let lock =
                self.redis.command::<Option<String>>(&format!("HGET {{wpclone}}:site_locks {site}")).await;
            let mut readers: Vec<String> =
                self.redis.command(&format!("SMEMBERS {{wpclone}}:site_readers:{site}")).await;
            holders.sort();
            readers.sort();
            if let Some(share) = self.model.shares.get(site) {
                assert_eq!((lock.as_deref(), &readers), (Some("~"), &holders), "who reads {site}");
                assert!(holders.len() <= share.limit && !holders.is_empty(), "{site}: {holders:?}");
                let mut keys = self.model.holders(site).into_iter().map(|t| t.share_key);
                assert!(keys.all(|key| key == Some(share.key)), "{site}: {share:?}");
            } else {
                assert!(
                    holders.len() <= 1 && readers.is_empty(),
                    "two tasks on {site}: {holders:?} {readers:?}"
                );
                assert_eq!(lock.filter(|holder| !holder.is_empty()), holders.pop(), "who has {site}");
            }
        }
    }

    /// Completes everything without faults: every task ends as in the model.
    async fn drain(&mut self) {
        for claim in self.leases.clone() {
            if self.model.alive(&claim) {
                self.run(&Operation::ExpireLease {
                    lease: self.leases.iter().position(|c| c.lease == claim.lease).unwrap(),
                })
                .await;
            }
        }
        while self.model.tasks.iter().any(|t| !t.state.is_final()) {
            for claim in self.leases.clone() {
                self.make_due(&claim).await;
            }
            self.run(&Operation::Sweep).await;
            while let Some(claim) = self.claim(false, None).await {
                self.write(&Operation::Complete { lease: 0, and_claim: false }, &claim).await;
                self.model.start_ready_tasks();
            }
            self.compare().await;
        }
        self.model.tasks.iter_mut().for_each(|t| t.compared = false);
        self.compare().await; // no end was changed by anything after it
        let depth = self.queue.stats().await.unwrap().stages[&Stage::Browser];
        assert_eq!(depth, Default::default(), "nothing is left in any queue");
        // Sessions that tasks have kept until their end.
        while let Some(cleanup) = claim_early(self.redis, &self.queue).await {
            self.queue.complete(&cleanup.lease, &StoredOutput::default()).await.unwrap();
        }
        assert_eq!(self.redis.command::<Vec<String>>("KEYS *:site*").await, [""; 0], "no lock is left");
    }
}

#[test]
fn the_queue_behaves_like_its_model() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let redis = runtime.block_on(Redis::start());
    runtime.block_on(redis.command::<()>("CONFIG SET appendfsync no"));
    let config = Config {
        cases: 30 * u32::try_from(wpclone_test_redis::rounds(2)).unwrap(),
        failure_persistence: None,
        ..Config::default()
    };
    let runs = prop::collection::vec(operation(), 20..80);
    let outcome = TestRunner::new(config).run(&runs, |operations| {
        runtime.block_on(async {
            redis.command::<()>("FLUSHALL").await;
            // The clock moves by days; no task may be deleted because of that.
            let finished_retention = std::time::Duration::from_secs(10_000 * 24 * 3600);
            let queue = redis.queue_with(QueueOptions { finished_retention, ..QueueOptions::default() });
            let mut world = World { redis: &redis, queue, model: Model::default(), leases: Vec::new() };
            for operation in &operations {
                world.run(operation).await;
            }
            world.drain().await;
        });
        Ok(())
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
}

//! Large numbers. What the queue costs is read from Redis: how many commands a call of it makes, and how much of the
//! processor they take, among few tasks and among many.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures_util::future::join_all;
use wpclone_queue::{CancelOutcome, Claim, Queue, QueueOptions, TaskFilter};
use wpclone_task::{Code, Stage, State, TaskId};
use wpclone_test_redis::{Fsync, Options};

use crate::support::*;

/// How many calls are under way at once when a queue is filled.
const AT_ONCE: usize = 500;
/// The most that a sweep does of each thing.
const BATCH: u32 = 100;

async fn fast_redis() -> Redis {
    Redis::start_with(Options::default().fsync(Fsync::Never)).await
}

/// Accepts so many tasks, each on the site that is named for it.
async fn fill(queue: &Queue, tasks: usize, site: impl Fn(usize) -> String) {
    for begin in (0..tasks).step_by(AT_ONCE) {
        let end = tasks.min(begin + AT_ONCE);
        let tasks: Vec<_> = (begin..end).map(|n| task(&site(n))).collect();
        join_all(tasks.iter().map(|task| queue.accept(task))).await;
    }
}

#[tokio::test]
async fn ten_thousand_delayed_steps_due_at_once_are_each_done_once_in_bounded_sweeps() {
    const TASKS: usize = 10_000;
    let redis = fast_redis().await;
    let now = Duration::ZERO;
    let queue = redis.queue_with(QueueOptions { backoff_base: now, ..QueueOptions::default() });
    fill(&queue, TASKS, |n| format!("s{n}.example")).await;
    let unreachable = problem(Code::SiteUnreachable);
    for _ in 0..TASKS / AT_ONCE {
        let fail = async || queue.fail(&queue.take().await.lease, &unreachable).await.unwrap();
        join_all((0..AT_ONCE).map(|_| fail())).await;
    }
    assert_eq!(queue.stats().await.unwrap().stages[&Stage::Browser].delayed, TASKS as u64);

    let (mut promoted, mut done) = (0, HashSet::new());
    while promoted < TASKS {
        let swept = queue.sweep().await.unwrap();
        assert!(0 < swept.promoted && swept.promoted <= BATCH, "{swept:?}");
        promoted += swept.promoted as usize;
        assert!(swept.more || promoted == TASKS, "a full batch is followed by another");
        // Others get at the queue between two sweeps.
        let claims = join_all((0..BATCH).map(|_| queue.claim("w", Stage::OF_TASKS))).await;
        let claims: Vec<Claim> = claims.into_iter().filter_map(Result::unwrap).collect();
        for claim in &claims {
            assert!(done.insert(claim.lease.task), "{claim:?}");
        }
        join_all(claims.iter().map(|claim| queue.done(claim))).await;
    }
    assert_eq!(done.len(), TASKS);
    queue.nothing_ready().await;
    let depth = &queue.stats().await.unwrap().stages[&Stage::Browser];
    assert_eq!((depth.outstanding, depth.delayed, depth.waiting_for_site), (0, 0, 0));
}

/// What a call costs Redis when it is made [`TIMES`] times.
#[derive(Debug)]
struct Cost {
    /// How often each command is run, by scripts among others.
    commands: BTreeMap<String, u64>,
    /// Processor time of Redis' main thread, in µs.
    processor: u64,
}

/// A site that many tasks wait for.
const CROWDED: &str = "crowded.example";

/// How often a call is made to see what it costs.
const TIMES: usize = 20;

/// What calls cost, by name.
struct Costs<'a> {
    redis: &'a Redis,
    found: BTreeMap<&'static str, Cost>,
}

impl Costs<'_> {
    async fn of(&mut self, name: &'static str, mut call: impl AsyncFnMut()) {
        call().await; // Redis knows the script from now on
        let (before, busy) = (commands(self.redis).await, processor(self.redis).await);
        for _ in 0..TIMES {
            call().await;
        }
        let processor = processor(self.redis).await - busy;
        let mut commands = commands(self.redis).await;
        for (name, count) in &mut commands {
            *count -= before.get(name).copied().unwrap_or_default();
        }
        // Those of the connections that look.
        commands.retain(|name, count| *count > 0 && !["info", "hello", "client|setinfo"].contains(&&**name));
        self.found.insert(name, Cost { commands, processor });
    }
}

async fn commands(redis: &Redis) -> BTreeMap<String, u64> {
    let info: String = redis.command("INFO commandstats").await;
    let count = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    info.lines().filter_map(count).collect()
}

async fn processor(redis: &Redis) -> u64 {
    let info: String = redis.command("INFO cpu").await;
    let micros = |name: &str| {
        let seconds: f64 = info.lines().find_map(|l| l.strip_prefix(name)).unwrap().parse().unwrap();
        Duration::from_secs_f64(seconds).as_micros()
    };
    let spent = micros("used_cpu_user_main_thread:") + micros("used_cpu_sys_main_thread:");
    u64::try_from(spent).unwrap()
}

/// What everything costs among the tasks that wait. Takes fewer of them than it makes.
async fn costs(redis: &Redis, queue: &Queue) -> BTreeMap<&'static str, Cost> {
    let mut costs = Costs { redis, found: BTreeMap::new() };
    let newest = queue.list(&TaskFilter::default(), None, 100).await.unwrap().tasks;
    let somewhere = newest[60].id.to_string();
    let mut unwanted = newest.iter().map(|task| task.id);
    let page = async |filter: TaskFilter, after: Option<&str>| {
        assert_eq!(queue.list(&filter, after, 10).await.unwrap().tasks.len(), 10);
    };

    let accept = async |site: &str| assert!(queue.accept(&task(site)).await > newest[0].id);
    costs.of("enqueue on a crowded site", async || accept(CROWDED).await).await;
    costs.of("enqueue on a free site", async || accept(&format!("{}.example", TaskId::new())).await).await;
    costs.of("stats", async || drop(queue.stats().await.unwrap())).await;
    costs.of("get", async || drop(queue.task(newest[0].id).await)).await;
    costs.of("first page", async || page(TaskFilter::default(), None).await).await;
    costs.of("a page", async || page(TaskFilter::default(), Some(&somewhere)).await).await;
    let state = Some(State::Queued);
    costs
        .of("page of a state", async || page(TaskFilter { state, ..TaskFilter::default() }, None).await)
        .await;
    let owner = Some("alice".to_owned());
    costs
        .of("page of an owner", async || {
            page(TaskFilter { owner: owner.clone(), ..TaskFilter::default() }, None).await
        })
        .await;
    costs
        .of("cancel", async || {
            assert_eq!(queue.cancel(unwanted.next().unwrap()).await.unwrap(), CancelOutcome::Cancelled);
        })
        .await;
    costs
        .of("claim, heartbeat, complete", async || {
            let claim = queue.take().await;
            queue.heartbeat(&claim.lease, None).await.unwrap();
            queue.done(&claim).await;
        })
        .await;
    costs
        .of("claim, release, claim, fail", async || {
            queue.release(&queue.take().await.lease).await.unwrap();
            queue.fail(&queue.take().await.lease, &problem(Code::AuthBadCredentials)).await.unwrap();
        })
        .await;
    costs.found
}

/// Compares what calls cost among a few waiting tasks with what they cost among many.
async fn costs_no_more_among(many: usize) {
    let redis = fast_redis().await;
    let queue = redis.queue();
    fill(&queue, 200, |n| format!("few{n}.example")).await;
    let few = costs(&redis, &queue).await;
    fill(&queue, many / 10, |_| CROWDED.into()).await;
    fill(&queue, many, |n| format!("many{n}.example")).await;
    let many = costs(&redis, &queue).await;
    for (name, few) in few {
        let many = &many[name];
        // About the same: now and then something comes up.
        let (few_run, many_run): (u64, u64) = (few.commands.values().sum(), many.commands.values().sum());
        assert!(many_run < 2 * few_run, "{name}: {few:?} {many:?}");
        // Anything that looks at all of them would take hundreds of times as much.
        assert!(many.processor < 10 * few.processor + 10_000, "{name}: {few:?} {many:?}");
    }
    for _ in 0..TIMES {
        // A part that has much to do goes on with the next sweep.
        let before: u64 = commands(&redis).await.values().sum();
        queue.sweep().await.unwrap();
        let made = commands(&redis).await.values().sum::<u64>() - before;
        assert!(made < u64::from(BATCH) * 20, "a sweep made {made} commands");
    }
}

#[tokio::test]
async fn fifty_thousand_waiting_tasks_make_no_call_slower() {
    costs_no_more_among(50_000).await;
}

#[tokio::test]
#[ignore = "the long form: `./dev test long`"]
async fn long_a_million_waiting_tasks_make_no_call_slower() {
    costs_no_more_among(1_000_000).await;
}

//! Killed programs and failing networks during real work.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use parking_lot::Mutex;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::sleep;
use wpclone_queue::{Queue, QueueOptions, TaskFilter};
use wpclone_task::{Role, State, TaskId, TaskView};
use wpclone_test_redis::{Direction, Proxy, rounds};
use wpclone_tests::{Client, HeldLoginPage, Result, Site, TestApp, Version, until};

const PATIENCE: Duration = Duration::from_secs(180);

/// The idempotency keys that were sent, and the task of each response.
#[derive(Debug, Clone, Default)]
struct Answers(Arc<Mutex<BTreeMap<String, Option<TaskId>>>>);

impl Answers {
    fn put(&self, key: String, task: Option<TaskId>) {
        self.0.lock().insert(key, task);
    }

    fn all(&self) -> BTreeMap<String, Option<TaskId>> {
        self.0.lock().clone()
    }

    fn accepted(&self) -> usize {
        self.all().values().flatten().count()
    }
}

/// Sends a request with an idempotency key; `None` without a response.
async fn submit(client: &Client, key: &str) -> Result<Option<TaskId>> {
    let body = json!({"url": format!("http://127.0.0.1:9/{key}"), "username": "admin", "password": key});
    let request = client.request(Method::POST, "/setup").header("idempotency-key", key).json(&body);
    let Ok(answer) = request.send().await else { return Ok(None) };
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    // The response body may be cut off.
    Ok(answer.json::<TaskView>().await.ok().map(|task| task.id))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_killed_while_it_acknowledges_loses_no_task_and_makes_none_twice() -> Result {
    let mut app = TestApp::builder().workers(0).start().await?;
    let (client, answers) = (app.client()?, Answers::default());
    let enough = Arc::new(AtomicBool::new(false));
    let clients = (0..4).map(|name| {
        let (client, answers, enough) = (client.clone(), answers.clone(), Arc::clone(&enough));
        tokio::spawn(async move {
            for n in 0.. {
                let key = format!("{name}-{n}");
                answers.put(key.clone(), None);
                let task = submit(&client, &key).await?;
                answers.put(key, task);
                if enough.load(Ordering::Relaxed) {
                    break;
                }
                if task.is_none() {
                    sleep(Duration::from_millis(20)).await;
                }
            }
            Result::<()>::Ok(())
        })
    });
    let clients: Vec<_> = clients.collect();
    for round in 0..rounds(5) {
        let wanted = answers.accepted() + 5 + 7 * (round % 5);
        let more = async || answers.accepted() >= wanted;
        until("more tasks to be accepted", PATIENCE, Some(&app.api.log()), more).await?;
        app.api.kill9().await?;
        app.api.restart().await?;
    }
    enough.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no client fails")?;
    }

    let answers = answers.all();
    for id in answers.values().flatten() {
        assert_eq!(client.task(*id).await?.state, State::Queued);
    }
    let mut tasks = Vec::new();
    for (key, answered) in &answers {
        let again = submit(&client, key).await?.expect("an answer");
        assert!(answered.is_none_or(|id| id == again), "{key} was answered with {answered:?}, then {again}");
        tasks.push(again);
    }
    tasks.sort_unstable();
    tasks.dedup();
    assert_eq!(tasks.len(), answers.len(), "each key has a task of its own");
    assert_eq!(all_tasks(&queue(&app)).await, tasks, "and there is no other");
    Ok(())
}

fn queue(app: &TestApp) -> Queue {
    Queue::new(&app.redis.url(), QueueOptions::default()).expect("a URL")
}

/// The ids of all tasks, oldest first.
async fn all_tasks(queue: &Queue) -> Vec<TaskId> {
    let (mut tasks, mut cursor) = (Vec::new(), None);
    loop {
        let page = queue.list(&TaskFilter::default(), cursor.as_deref(), 100).await.expect("a page");
        tasks.extend(page.tasks.iter().map(|task| task.id));
        cursor = page.next;
        if cursor.is_none() {
            tasks.reverse();
            return tasks;
        }
    }
}

/// When the lease of a task's only step ends if nobody renews it; since 1970.
async fn lease_end(app: &TestApp, id: TaskId) -> Duration {
    let mut redis = crate::redis_client::connect(app).await;
    let mut score = redis::cmd("ZSCORE");
    score.arg("{wpclone}:leases:browser").arg(format!("{id}:0"));
    Duration::from_millis(score.query_async(&mut redis).await.expect("a lease"))
}

/// When an entry of a folder, or of a folder in it, was added or removed last; since 1970. The test itself may be late.
fn last_change(folder: &Path) -> Result<Duration> {
    let mut last = folder.metadata()?.modified()?;
    for entry in folder.read_dir()?.flatten() {
        last = last.max(entry.metadata()?.modified()?);
    }
    Ok(last.duration_since(UNIX_EPOCH).expect("a time after 1970"))
}

#[tokio::test]
async fn a_worker_that_loses_redis_ends_its_browser_in_time_and_continues_when_redis_is_back() -> Result {
    let site = Site::builder(Version::Bookworm).start().await?;
    let held_page = HeldLoginPage::of(&site)?;
    // Longer than a lease: it is not this deadline that ends the browser.
    let mut app = TestApp::builder().workers(0).env("WPCLONE_DEADLINE_PART", "120").start().await?;
    let client = app.client()?;
    let server: SocketAddr =
        app.redis.url().trim_start_matches("redis://").trim_end_matches('/').parse().expect("an address");
    let proxy = Proxy::start(server).await;
    app.add_worker(&[("WPCLONE_REDIS_URL", &proxy.url())]).await?;
    let task = client.setup(&site, &site.admin(), Role::Source).await?;
    held_page.wait_until_asked(Some(&app.workers[0].log())).await?;
    assert!(!app.workers[0].leftovers().is_empty(), "a browser is at work");

    proxy.hold(&[Direction::ToServer, Direction::ToClient]);
    let lease_end = lease_end(&app, task.id).await;
    let log = app.workers[0].log();
    let gone = async || app.workers[0].leftovers().is_empty();
    until("the browser to end", PATIENCE, Some(&log), gone).await?;
    let ended = last_change(&app.workers[0].tmp())?;
    assert!(ended < lease_end, "its browser ended {ended:?}, and its lease {lease_end:?} after 1970");

    held_page.release()?;
    app.add_worker(&[]).await?;
    let done = client.wait(task.id).await?;
    assert_eq!((done.state, done.attempts), (State::Succeeded, 0), "{done:#?}");

    // The first worker resumes and continues.
    proxy.heal().await;
    app.workers[1].terminate().await?;
    let next = client.setup(&site, &site.admin(), Role::Source).await?;
    assert_eq!(client.wait(next.id).await?.state, State::Succeeded);
    assert_eq!(client.task(task.id).await?, done, "it changed nothing of what another has done");
    Ok(())
}

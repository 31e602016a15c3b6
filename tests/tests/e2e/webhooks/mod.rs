//! Webhooks: the ends of tasks are reported to their callback URLs, signed, retried for some hours, and never into a private
//! network. Receivers are stubs; api, workers and Redis are real.

mod receiver;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use wpclone_task::{Code, State as TaskState, TaskId, TaskView};
use wpclone_tests::{Client, Result, Stub, TestApp, TestAppBuilder, until};

use receiver::{Receiver, Reply};

const NEW: &str = "whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3LW5ldyE=";
const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const CANARY: &str = "canary-7f3a91c4";
/// The time limit of each wait.
const TIMEOUT: Duration = Duration::from_secs(180);

fn app() -> TestAppBuilder {
    TestApp::builder()
        .env("WPCLONE_WEBHOOK_SECRETS", &format!("{NEW} {OLD}"))
        .env("WPCLONE_ALLOW_PRIVATE_CALLBACKS", "127.0.0.1")
}

fn body(callback: &str) -> Value {
    json!({"url": "http://site.invalid", "username": "admin", "password": CANARY, "callback_url": callback})
}

/// A task that ended without a worker: cancelled while queued.
async fn ended(client: &Client, callback: &str) -> Result<TaskId> {
    let id = client.accepted("/setup", &body(callback)).await?.id;
    assert_eq!(client.post(&format!("/tasks/{id}/cancel"), &json!({})).await?.status(), 202);
    Ok(id)
}

/// Waits until the task's callback is in this state.
async fn callback_in_state(client: &Client, id: TaskId, state: TaskState) -> Result<TaskView> {
    let in_state = async || {
        client.task(id).await.is_ok_and(|task| task.callback.is_some_and(|call| call.state == state))
    };
    until(&format!("the callback to be {state}"), TIMEOUT, None, in_state).await?;
    client.task(id).await
}

/// Makes all delayed or leased deliveries due now.
async fn make_due(app: &TestApp, what: &str) {
    let mut redis = crate::redis_client::connect(app).await;
    let key = format!("{{wpclone}}:{what}:webhook");
    let waiting: Vec<String> =
        redis::cmd("ZRANGE").arg(&key).arg(0).arg(-1).query_async(&mut redis).await.expect("a zset");
    for member in waiting {
        let changed: u32 = redis::cmd("ZADD")
            .arg(&key)
            .arg("XX")
            .arg(1)
            .arg(member)
            .query_async(&mut redis)
            .await
            .expect("due");
        assert_eq!(changed, 0, "none is added");
    }
}

async fn metrics(app: &TestApp) -> Result<String> {
    let last = app.workers.last().expect("a worker");
    Ok(reqwest::get(format!("{}/metrics", last.url())).await?.text().await?)
}

/// Waits until the worker has counted so many deliveries with this outcome. It counts one after Redis has its end.
async fn counted(app: &TestApp, outcome: &str, code: &str, count: u32) -> Result {
    let line = format!("wpclone_worker_deliveries_total{{outcome=\"{outcome}\",code=\"{code}\"}} {count}\n");
    until(&line, TIMEOUT, None, async || metrics(app).await.is_ok_and(|text| text.contains(&line))).await
}

#[tokio::test]
async fn the_end_of_a_task_is_delivered_once_signed_and_the_callback_url_is_never_shown() -> Result {
    let receiver = Receiver::start(|_| Reply::Status(204)).await?;
    let page = Stub::page("<html><body>Hello</body></html>").await?;
    let app = app().env("RUST_LOG", "trace").env("WPCLONE_LOG_FORMAT", "json").start().await?;
    let client = app.client()?;
    let mut body = body(&receiver.url());
    body["url"] = page.url().into();
    let id = client.accepted("/setup", &body).await?.id;
    let task = callback_in_state(&client, id, TaskState::Succeeded).await?;
    assert_eq!(
        (task.state, task.problem.as_ref().map(|p| p.code)),
        (TaskState::Failed, Some(Code::NotWordPress))
    );

    let requests = receiver.requests();
    let [request] = &requests[..] else { panic!("not delivered once: {requests:#?}") };
    assert_eq!(request.line, format!("POST /hook/{CANARY}?key={CANARY}"));
    assert_eq!(request.headers["content-type"], "application/json");
    assert!(request.headers["user-agent"].starts_with("wpclone/"));
    let message: Value = serde_json::from_slice(&request.body)?;
    let finished = json!(task.finished_at);
    assert_eq!(
        message,
        json!({
            "type": "task.failed", "timestamp": finished,
            "data": {
                "id": id, "kind": "setup", "state": "failed", "created_at": task.created_at,
                "finished_at": finished, "href": format!("/tasks/{id}"),
                "problem": {"code": "NOT_WORDPRESS", "title": Code::NotWordPress.title()},
            },
        })
    );
    for secret in [NEW, OLD] {
        assert!(request.is_from_us(secret), "{request:#?}");
    }
    let mut forged = request.clone();
    forged.body = String::from_utf8_lossy(&request.body).replace("failed", "succeeded").into();
    assert!(!forged.is_from_us(NEW));
    counted(&app, "delivered", "", 1).await?;

    let shown = client.get(&format!("/tasks/{id}")).await?.text().await?;
    assert!(!shown.contains(CANARY) && !shown.contains("callback_url"), "{shown}");
    app.workers[0].terminate().await?;
    app.api.terminate().await?;
    let mut written = vec![app.api.log(), app.workers[0].log()];
    for file in std::fs::read_dir(app.redis.data().join("appendonlydir"))? {
        written.push(file?.path());
    }
    assert!(written.len() > 3, "{written:?}");
    for file in written {
        let text = String::from_utf8_lossy(&std::fs::read(&file)?).into_owned();
        assert!(!text.contains(CANARY), "{} holds the canary", file.display());
        assert!(!text.contains(&OLD[6..]), "{} holds the secret", file.display());
    }
    Ok(())
}

#[tokio::test]
async fn a_failed_delivery_is_retried_with_the_same_message() -> Result {
    let receiver = Receiver::start(|before| Reply::Status([500, 503, 200][before])).await?;
    let mut app = app().workers(0).start().await?;
    let client = app.client()?;
    let id = ended(&client, &receiver.url()).await?;
    app.add_worker(&[]).await?;
    for times in 1..=2 {
        receiver.wait_for_requests(times).await?;
        callback_in_state(&client, id, TaskState::Queued).await?;
        make_due(&app, "delayed").await;
    }
    let task = callback_in_state(&client, id, TaskState::Succeeded).await?;
    assert_eq!(task.state, TaskState::Cancelled);
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    for again in &requests {
        assert_eq!((again.id(), &again.body), (requests[0].id(), &requests[0].body));
        assert!(again.is_from_us(NEW), "{again:#?}");
    }
    assert_ne!(requests[0].id(), id.to_string(), "a message is not its task");
    counted(&app, "retrying", "CALLBACK_FAILED", 2).await
}

#[tokio::test]
async fn a_410_response_ends_the_delivery_and_is_reported_to_the_owner() -> Result {
    let receiver = Receiver::start(|_| Reply::Status(410)).await?;
    let mut app = app().env("RUST_LOG", "info").workers(0).start().await?;
    let client = app.client()?;
    let id = ended(&client, &receiver.url().replace("127.0.0.1", "localhost")).await?;
    app.add_worker(&[]).await?;
    let task = callback_in_state(&client, id, TaskState::Failed).await?;
    assert_eq!(task.callback.and_then(|call| call.code), Some(Code::CallbackRefused));
    assert_eq!(receiver.requests().len(), 1);
    let log = std::fs::read_to_string(app.workers[0].log())?;
    assert!(
        log.contains("sending the webhook") && !log.contains("localhost"),
        "the host must not be logged: {log}"
    );
    counted(&app, "failed", "CALLBACK_REFUSED", 1).await
}

#[tokio::test]
async fn a_redirect_is_not_followed() -> Result {
    let elsewhere = Receiver::start(|_| Reply::Status(200)).await?;
    let to = elsewhere.url();
    let receiver = Receiver::start(move |_| Reply::To(to.clone())).await?;
    let mut app = app().workers(0).start().await?;
    let client = app.client()?;
    ended(&client, &receiver.url()).await?;
    app.add_worker(&[]).await?;
    let failed = async || {
        metrics(&app).await.is_ok_and(|text| text.contains("outcome=\"retrying\",code=\"CALLBACK_FAILED\""))
    };
    until("the redirect to be a failure", TIMEOUT, None, failed).await?;
    assert!(!receiver.requests().is_empty() && elsewhere.requests().is_empty());
    Ok(())
}

#[tokio::test]
async fn callbacks_never_connect_to_private_networks() -> Result {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let mut app = app().workers(0).start().await?;
    let client = app.client()?;
    let mut ids = Vec::new();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",
        "169.254.169.254",
        "168.63.129.16",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fd00:ec2::254]",
    ];
    for host in hosts {
        ids.push(ended(&client, &format!("http://{host}:{port}/")).await?);
    }
    // Sites on loopback stay allowed: that is another setting.
    app.add_worker(&[("WPCLONE_ALLOW_PRIVATE_CALLBACKS", "10.99.0.0/16")]).await?;
    for id in &ids {
        let task = callback_in_state(&client, *id, TaskState::Failed).await?;
        assert_eq!(task.callback.and_then(|call| call.code), Some(Code::CallbackNotAllowed));
    }
    counted(&app, "failed", "CALLBACK_NOT_ALLOWED", 15).await?;
    let come = listener.accept();
    assert!(come.is_err(), "a worker connected: {come:?}");
    Ok(())
}

#[tokio::test]
async fn callbacks_never_reach_what_the_worker_itself_uses_even_in_an_allowed_network() -> Result {
    let receiver = Receiver::start(|_| Reply::Status(200)).await?;
    let mut app = app().workers(0).start().await?;
    let client = app.client()?;
    let redis = app.redis.url();
    let redis_port = redis.rsplit(':').next().and_then(|rest| rest.split('/').next()).expect("a port");
    let at_redis = ended(&client, &format!("http://127.0.0.1:{redis_port}/")).await?;
    let allowed = ended(&client, &receiver.url()).await?;
    app.add_worker(&[]).await?;
    let task = callback_in_state(&client, at_redis, TaskState::Failed).await?;
    assert_eq!(task.callback.and_then(|call| call.code), Some(Code::CallbackNotAllowed));
    callback_in_state(&client, allowed, TaskState::Succeeded).await?;
    Ok(())
}

#[tokio::test]
async fn a_callback_url_with_a_login_is_rejected() -> Result {
    let app = app().workers(0).start().await?;
    let client = app.client()?;
    for url in
        ["http://user@example.com/", "http://user:password@example.com/", "http://example.com@127.0.0.1/"]
    {
        let answer = client.post("/setup", &body(url)).await?;
        assert_eq!(answer.status(), 422, "{url}");
        let text = answer.text().await?;
        assert!(text.contains("must not contain a user name or password"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_delivery_survives_the_worker_that_died_during_it() -> Result {
    let never = Arc::new(Semaphore::new(0));
    let reply = move |before| if before == 0 { Reply::When(Arc::clone(&never)) } else { Reply::Status(200) };
    let receiver = Receiver::start(reply).await?;
    // As `./dev up` configures it.
    let mut app = TestApp::builder().callbacks().workers(0).start().await?;
    let client = app.client()?;
    let id = ended(&client, &receiver.url()).await?;
    app.add_worker(&[]).await?;
    receiver.wait_for_requests(1).await?;
    app.workers[0].kill9().await?;
    app.add_worker(&[]).await?;
    make_due(&app, "leases").await;
    callback_in_state(&client, id, TaskState::Succeeded).await?;
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!((requests[0].id(), &requests[0].body), (requests[1].id(), &requests[1].body));
    assert!(requests[1].is_from_us(app.webhook_secret().expect("a secret")));
    Ok(())
}

#[tokio::test]
async fn a_stalled_receiver_does_not_delay_others() -> Result {
    let never = Arc::new(Semaphore::new(0));
    let stalled = Receiver::start(move |_| Reply::When(Arc::clone(&never))).await?;
    let quick = Receiver::start(|_| Reply::Status(200)).await?;
    let mut app = app().workers(0).start().await?;
    let client = app.client()?;
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(ended(&client, &stalled.url()).await?);
    }
    app.add_worker(&[]).await?;
    stalled.wait_for_requests(2).await?;
    let deferred = async || metrics(&app).await.is_ok_and(|text| text.contains(r#"outcome="deferred""#));
    until("the others to be deferred", TIMEOUT, None, deferred).await?;
    // Another host, to the worker.
    let id = ended(&client, &quick.url().replace("127.0.0.1", "localhost")).await?;
    callback_in_state(&client, id, TaskState::Succeeded).await?;
    let calls = metrics(&app).await?;
    assert!(!calls.contains("retrying"), "the stalled ones are still being waited for: {calls}");
    assert_eq!(stalled.requests().len(), 2, "more calls than slots, and two at a time");
    for id in ids {
        let call = client.task(id).await?.callback.expect("a call");
        assert_eq!((call.state, call.code), (TaskState::Queued, None));
    }
    Ok(())
}

#[tokio::test]
async fn an_owner_whose_hosts_do_not_answer_delays_no_webhooks_of_others() -> Result {
    // Connections are accepted by the kernel, and nobody reads.
    let silent: Vec<_> =
        (2..10).map(|n| TcpListener::bind((Ipv4Addr::new(127, 0, 0, n), 0)).expect("a port")).collect();
    let quick = Receiver::start(|_| Reply::Status(200)).await?;
    let app = app().workers(0).token("mallory", "user", "").token("alice", "user", "");
    let mut app = app.env("WPCLONE_ALLOW_PRIVATE_CALLBACKS", "127.0.0.0/8").start().await?;
    let (mallory, alice) = (app.client_as("mallory")?, app.client_as("alice")?);
    for host in silent.iter().chain(&silent) {
        ended(&mallory, &format!("http://{}/", host.local_addr().expect("an address"))).await?;
    }
    app.add_worker(&[]).await?;
    let running = async || {
        let mut redis = crate::redis_client::connect(&app).await;
        let mut count = redis::cmd("ZCARD");
        count.arg("{wpclone}:leases:webhook");
        count.query_async::<u32>(&mut redis).await.expect("a zset")
    };
    until("all that may wait to do so", TIMEOUT, None, async || running().await >= 4).await?;
    let id = ended(&alice, &quick.url()).await?;
    callback_in_state(&alice, id, TaskState::Succeeded).await?;
    let calls = metrics(&app).await?;
    assert!(!calls.contains("retrying"), "those of mallory are still being waited for: {calls}");
    assert_eq!(running().await, 4);
    Ok(())
}

#[tokio::test]
async fn a_worker_without_the_seal_key_leaves_the_delivery_to_one_that_has_it() -> Result {
    let receiver = Receiver::start(|_| Reply::Status(200)).await?;
    let mut app = app().workers(0).start().await?;
    let client = app.client()?;
    let id = ended(&client, &receiver.url()).await?;
    let other = "other:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    app.add_worker(&[("WPCLONE_SEAL_KEYS", other)]).await?;
    counted(&app, "retrying", "WORKER_FAULT", 1).await?;
    app.workers[0].terminate().await?;
    app.add_worker(&[]).await?;
    make_due(&app, "delayed").await;
    callback_in_state(&client, id, TaskState::Succeeded).await?;
    assert_eq!(receiver.requests().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_terminated_worker_finishes_its_delivery_or_releases_it() -> Result {
    let answer = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&answer);
    let receiver = Receiver::start(move |_| Reply::When(Arc::clone(&permits))).await?;
    let mut app = app().workers(0).start().await?;
    let client = app.client()?;

    // Within the drain time the delivery succeeds.
    let first = ended(&client, &receiver.url()).await?;
    app.add_worker(&[]).await?;
    receiver.wait_for_requests(1).await?;
    app.workers[0].signal(rustix::process::Signal::TERM)?;
    let drains = async || std::fs::read_to_string(app.workers[0].log()).is_ok_and(|l| l.contains("draining"));
    until("the worker to drain", TIMEOUT, Some(&app.workers[0].log()), drains).await?;
    answer.add_permits(1);
    until("the worker to end", TIMEOUT, None, async || app.workers[0].status().is_some()).await?;
    callback_in_state(&client, first, TaskState::Succeeded).await?;

    // Without drain time another worker takes it at once, and it does not count as an attempt.
    let second = ended(&client, &receiver.url()).await?;
    app.add_worker(&[("WPCLONE_DRAIN", "0")]).await?;
    receiver.wait_for_requests(2).await?;
    app.workers[1].terminate().await?;
    app.add_worker(&[]).await?;
    receiver.wait_for_requests(3).await?;
    answer.add_permits(2);
    callback_in_state(&client, second, TaskState::Succeeded).await?;
    let requests = receiver.requests();
    assert_eq!(requests[1].id(), requests[2].id());
    assert_ne!(requests[0].id(), requests[1].id());
    Ok(())
}

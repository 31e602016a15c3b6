//! The ends of tasks are told to their callback addresses: signed, again until somebody has heard, and never into a
//! private network. Receivers are stubs; api, workers and Redis are real.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use wpclone_task::{Code, State as TaskState, TaskId, TaskView};
use wpclone_tests::{Client, Result, Stub, TestApp, TestAppBuilder, until};

const NEW: &str = "whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3LW5ldyE=";
const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const CANARY: &str = "canary-7f3a91c4";
/// How long what should happen may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the documentation tells receivers to do.
const GUIDE: &str = include_str!("../../docs/WEBHOOKS.md");

/// A request as it arrived.
#[derive(Debug, Clone)]
struct Heard {
    line: String,
    headers: BTreeMap<String, String>,
    body: Bytes,
}

impl Heard {
    fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// Whether the documentation's own code, run by PHP, finds that it is from us.
    fn is_from_us(&self, secret: &str) -> bool {
        let code = GUIDE.split("```php\n").nth(1).and_then(|rest| rest.split("```").next()).expect("code");
        let run = "[$secret, $headers, $body] = json_decode(file_get_contents('php://stdin'), true); \
                   echo is_from_wpclone($secret, $headers, base64_decode($body)) ? 'yes' : 'no';";
        let mut php = Command::new("php")
            .args(["-r", &format!("{code}{run}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("php");
        use base64::Engine as _;
        let body = base64::engine::general_purpose::STANDARD.encode(&self.body);
        let input = json!([secret, self.headers, body]).to_string();
        php.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("php reads");
        let said = php.wait_with_output().expect("php ends");
        assert!(said.status.success(), "{said:?}");
        said.stdout == b"yes"
    }
}

/// What a receiver does with its n-th request.
enum Reply {
    Status(u16),
    To(String),
    /// Answers 200 when the semaphore has a permit.
    When(Arc<Semaphore>),
}

type Kept = Arc<Mutex<Vec<Heard>>>;
type Judge = Arc<dyn Fn(usize) -> Reply + Send + Sync>;

/// A receiver of callbacks.
struct Receiver {
    stub: Stub,
    heard: Kept,
}

impl Receiver {
    async fn start(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Result<Self> {
        let heard = Kept::default();
        let state = (Arc::clone(&heard), Arc::new(reply) as Judge);
        let stub = Stub::start(Router::new().fallback(take).with_state(state)).await?;
        Ok(Self { stub, heard })
    }

    fn url(&self) -> String {
        format!("{}/hook/{CANARY}?key={CANARY}", self.stub.url())
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("kept").clone()
    }

    async fn has_heard(&self, times: usize) -> Result {
        until(&format!("{times} calls"), PATIENCE, None, async || self.heard().len() >= times).await
    }
}

async fn take(
    State((heard, reply)): State<(Kept, Judge)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |v: &axum::http::HeaderValue| v.to_str().expect("text").to_owned();
    let headers = headers.iter().map(|(n, v)| (n.to_string(), text(v))).collect();
    let before = {
        let mut heard = heard.lock().expect("kept");
        heard.push(Heard { line: format!("{method} {uri}"), headers, body });
        heard.len() - 1
    };
    match reply(before) {
        Reply::Status(status) => StatusCode::from_u16(status).expect("a status").into_response(),
        Reply::To(url) => (StatusCode::TEMPORARY_REDIRECT, [("location", url)]).into_response(),
        Reply::When(permits) => {
            permits.acquire().await.expect("open").forget();
            StatusCode::OK.into_response()
        }
    }
}

fn app() -> TestAppBuilder {
    TestApp::builder()
        .env("WPCLONE_WEBHOOK_SECRETS", &format!("{NEW} {OLD}"))
        .env("WPCLONE_ALLOW_PRIVATE_CALLBACKS", "127.0.0.1")
}

fn body(callback: &str) -> Value {
    json!({"url": "http://site.invalid", "username": "admin", "password": CANARY, "callback_url": callback})
}

/// A task that has ended without a worker: cancelled while it waited.
async fn ended(client: &Client, callback: &str) -> Result<TaskId> {
    let id = client.accepted("/setup", &body(callback)).await?.id;
    assert_eq!(client.post(&format!("/tasks/{id}/cancel"), &json!({})).await?.status(), 202);
    Ok(id)
}

/// Waits until the task says that its call stands so.
async fn called(client: &Client, id: TaskId, state: TaskState) -> Result<TaskView> {
    let stands = async || client.task(id).await.is_ok_and(|task| task.callback == Some(state));
    until(&format!("the callback to be {state}"), PATIENCE, None, stands).await?;
    client.task(id).await
}

/// Makes all that is put off for later, or leased, due at this moment.
async fn make_due(app: &TestApp, what: &str) {
    let client = redis::Client::open(app.redis.url()).expect("a URL");
    let mut redis = client.get_multiplexed_async_connection().await.expect("Redis");
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

fn delivery(outcome: &str, code: &str, count: u32) -> String {
    format!("wpclone_worker_deliveries_total{{outcome=\"{outcome}\",code=\"{code}\"}} {count}\n")
}

#[tokio::test]
async fn the_end_of_a_task_is_told_once_and_signed_and_its_address_shown_nowhere() -> Result {
    let receiver = Receiver::start(|_| Reply::Status(204)).await?;
    let page = Stub::page("<html><body>Hello</body></html>").await?;
    let app = app().env("RUST_LOG", "trace").env("WPCLONE_LOG_FORMAT", "json").start().await?;
    let client = app.client()?;
    let mut body = body(&receiver.url());
    body["url"] = page.url().into();
    let id = client.accepted("/setup", &body).await?.id;
    let task = called(&client, id, TaskState::Succeeded).await?;
    assert_eq!(
        (task.state, task.problem.as_ref().map(|p| p.code)),
        (TaskState::Failed, Some(Code::NotWordPress))
    );

    let heard = receiver.heard();
    let [heard] = &heard[..] else { panic!("told once: {heard:#?}") };
    assert_eq!(heard.line, format!("POST /hook/{CANARY}?key={CANARY}"));
    assert_eq!(heard.headers["content-type"], "application/json");
    assert!(heard.headers["user-agent"].starts_with("wpclone/"));
    let told: Value = serde_json::from_slice(&heard.body)?;
    let finished = json!(task.finished_at);
    assert_eq!(
        told,
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
        assert!(heard.is_from_us(secret), "{heard:#?}");
    }
    let mut forged = heard.clone();
    forged.body = String::from_utf8_lossy(&heard.body).replace("failed", "succeeded").into();
    assert!(!forged.is_from_us(NEW));
    assert!(metrics(&app).await?.contains(&delivery("delivered", "", 1)));

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
async fn a_receiver_that_fails_is_told_again_the_same() -> Result {
    let receiver = Receiver::start(|before| Reply::Status([500, 503, 200][before])).await?;
    let mut app = app().workers(0).start().await?;
    let client = app.client()?;
    let id = ended(&client, &receiver.url()).await?;
    app.add_worker(&[]).await?;
    for times in 1..=2 {
        receiver.has_heard(times).await?;
        called(&client, id, TaskState::Queued).await?;
        make_due(&app, "delayed").await;
    }
    let task = called(&client, id, TaskState::Succeeded).await?;
    assert_eq!(task.state, TaskState::Cancelled);
    let heard = receiver.heard();
    assert_eq!(heard.len(), 3);
    for again in &heard {
        assert_eq!((again.id(), &again.body), (heard[0].id(), &heard[0].body));
        assert!(again.is_from_us(NEW), "{again:#?}");
    }
    assert_ne!(heard[0].id(), id.to_string(), "a message is not its task");
    let metrics = metrics(&app).await?;
    assert!(metrics.contains(&delivery("retrying", "CALLBACK_FAILED", 2)), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_told_nothing_more() -> Result {
    let receiver = Receiver::start(|_| Reply::Status(410)).await?;
    let mut app = app().workers(0).start().await?;
    let client = app.client()?;
    let id = ended(&client, &receiver.url()).await?;
    app.add_worker(&[]).await?;
    called(&client, id, TaskState::Failed).await?;
    assert_eq!(receiver.heard().len(), 1);
    assert!(metrics(&app).await?.contains(&delivery("failed", "CALLBACK_REFUSED", 1)));
    Ok(())
}

#[tokio::test]
async fn a_redirect_leads_nowhere() -> Result {
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
    until("the redirect to be a failure", PATIENCE, None, failed).await?;
    assert!(!receiver.heard().is_empty() && elsewhere.heard().is_empty());
    Ok(())
}

#[tokio::test]
async fn nobody_in_a_private_network_is_connected_to() -> Result {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let mut app = app().workers(0).start().await?;
    let client = app.client()?;
    let mut ids = Vec::new();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "169.254.169.254", "[::1]"] {
        ids.push(ended(&client, &format!("http://{host}:{port}/")).await?);
    }
    // Sites on loopback stay allowed: that is another setting.
    app.add_worker(&[("WPCLONE_ALLOW_PRIVATE_CALLBACKS", "10.99.0.0/16")]).await?;
    for id in &ids {
        called(&client, *id, TaskState::Failed).await?;
    }
    let metrics = metrics(&app).await?;
    assert!(metrics.contains(&delivery("failed", "CALLBACK_NOT_ALLOWED", 6)), "{metrics}");
    let come = listener.accept();
    assert!(come.is_err(), "somebody connected: {come:?}");
    Ok(())
}

#[tokio::test]
async fn a_delivery_outlives_the_worker_that_died_over_it() -> Result {
    let never = Arc::new(Semaphore::new(0));
    let reply = move |before| if before == 0 { Reply::When(Arc::clone(&never)) } else { Reply::Status(200) };
    let receiver = Receiver::start(reply).await?;
    let mut app = app().workers(0).start().await?;
    let client = app.client()?;
    let id = ended(&client, &receiver.url()).await?;
    app.add_worker(&[]).await?;
    receiver.has_heard(1).await?;
    app.workers[0].kill9().await?;
    app.add_worker(&[]).await?;
    make_due(&app, "leases").await;
    called(&client, id, TaskState::Succeeded).await?;
    let heard = receiver.heard();
    assert_eq!(heard.len(), 2);
    assert_eq!((heard[0].id(), &heard[0].body), (heard[1].id(), &heard[1].body));
    Ok(())
}

#[tokio::test]
async fn a_stalled_receiver_holds_up_nobody_else() -> Result {
    let never = Arc::new(Semaphore::new(0));
    let stalled = Receiver::start(move |_| Reply::When(Arc::clone(&never))).await?;
    let quick = Receiver::start(|_| Reply::Status(200)).await?;
    let mut app = app().workers(0).start().await?;
    let client = app.client()?;
    for _ in 0..5 {
        ended(&client, &stalled.url()).await?;
    }
    app.add_worker(&[]).await?;
    stalled.has_heard(5).await?;
    let id = ended(&client, &quick.url()).await?;
    called(&client, id, TaskState::Succeeded).await?;
    let calls = metrics(&app).await?;
    assert!(!calls.contains("retrying"), "the stalled ones are still being waited for: {calls}");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_ends_finishes_its_call_or_gives_it_back() -> Result {
    let answer = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&answer);
    let receiver = Receiver::start(move |_| Reply::When(Arc::clone(&permits))).await?;
    let mut app = app().workers(0).start().await?;
    let client = app.client()?;

    // Time enough: the call ends well.
    let first = ended(&client, &receiver.url()).await?;
    app.add_worker(&[]).await?;
    receiver.has_heard(1).await?;
    app.workers[0].signal(rustix::process::Signal::TERM)?;
    let drains = async || std::fs::read_to_string(app.workers[0].log()).is_ok_and(|l| l.contains("draining"));
    until("the worker to drain", PATIENCE, Some(&app.workers[0].log()), drains).await?;
    answer.add_permits(1);
    until("the worker to end", PATIENCE, None, async || app.workers[0].status().is_some()).await?;
    called(&client, first, TaskState::Succeeded).await?;

    // No time: another worker has it at once, and it counts as no attempt.
    let second = ended(&client, &receiver.url()).await?;
    app.add_worker(&[("WPCLONE_DRAIN", "0")]).await?;
    receiver.has_heard(2).await?;
    app.workers[1].terminate().await?;
    app.add_worker(&[]).await?;
    receiver.has_heard(3).await?;
    answer.add_permits(2);
    called(&client, second, TaskState::Succeeded).await?;
    let heard = receiver.heard();
    assert_eq!(heard[1].id(), heard[2].id());
    assert_ne!(heard[0].id(), heard[1].id());
    Ok(())
}

//! A webhook receiver, and the verification code of the documentation.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::Semaphore;
use wpclone_tests::{Result, Stub, until};

use crate::webhooks::{CANARY, TIMEOUT};

/// The documentation for receivers.
const GUIDE: &str = include_str!("../../../../docs/WEBHOOKS.md");

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedRequest {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

impl ReceivedRequest {
    pub(crate) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// Whether the documentation's own PHP code accepts the signature. Header names are spelled
    /// as php-fpm passes them.
    pub(crate) fn is_from_us(&self, secret: &str) -> bool {
        let code = GUIDE.split("```php\n").nth(1).and_then(|rest| rest.split("```").next()).expect("code");
        // Only the function: the code after it needs a web request.
        let code = &code[..=code.find("\n}\n").expect("a function") + 2];
        let headers: BTreeMap<String, &String> =
            self.headers.iter().map(|(name, value)| (capitalised(name), value)).collect();
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
        let input = json!([secret, headers, body]).to_string();
        php.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("php reads");
        let said = php.wait_with_output().expect("php ends");
        assert!(said.status.success(), "{said:?}");
        said.stdout == b"yes"
    }
}

/// `webhook-id` as `Webhook-Id`.
fn capitalised(name: &str) -> String {
    let word = |word: &str| format!("{}{}", word[..1].to_uppercase(), &word[1..]);
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

/// How a receiver responds to its n-th request.
pub(crate) enum Reply {
    Status(u16),
    To(String),
    /// Answers 200 when the semaphore has a permit.
    When(Arc<Semaphore>),
}

type Requests = Arc<Mutex<Vec<ReceivedRequest>>>;
type ReplyFor = Arc<dyn Fn(usize) -> Reply + Send + Sync>;

/// A webhook receiver.
pub(crate) struct Receiver {
    stub: Stub,
    requests: Requests,
}

impl Receiver {
    pub(crate) async fn start(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Result<Self> {
        let requests = Requests::default();
        let state = (Arc::clone(&requests), Arc::new(reply) as ReplyFor);
        let stub = Stub::start(Router::new().fallback(take).with_state(state)).await?;
        Ok(Self { stub, requests })
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/hook/{CANARY}?key={CANARY}", self.stub.url())
    }

    pub(crate) fn requests(&self) -> Vec<ReceivedRequest> {
        self.requests.lock().expect("kept").clone()
    }

    pub(crate) async fn wait_for_requests(&self, times: usize) -> Result {
        until(&format!("{times} calls"), TIMEOUT, None, async || self.requests().len() >= times).await
    }
}

async fn take(
    State((requests, reply)): State<(Requests, ReplyFor)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |v: &axum::http::HeaderValue| v.to_str().expect("text").to_owned();
    let headers = headers.iter().map(|(n, v)| (n.to_string(), text(v))).collect();
    let before = {
        let mut requests = requests.lock().expect("kept");
        requests.push(ReceivedRequest { line: format!("{method} {uri}"), headers, body });
        requests.len() - 1
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

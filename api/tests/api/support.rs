//! Each test has its own Redis and its own API.

use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wpclone_api::settings::PublicUrl;
use wpclone_api::state::{Limits, SharedApp};
use wpclone_api::tokens::Tokens;
use wpclone_clones::CloneEntry;
use wpclone_queue::{Claim, Lease, StoredOutput};
use wpclone_service::seal::Sealer;
use wpclone_service::sealed_clone::{CloneSecrets, seal_clone};
use wpclone_service::sealed_task::seal_result;
use wpclone_service::settings::{Check, Common, CommonArgs};
use wpclone_service::webhook::WebhookSecrets;
use wpclone_task::{
    AppPasswordResult, CloneExpiry, CloneName, ClonePhase, Isolation, OutputParts, Progress, Provisioned,
    SecretString, Stage, StepOutput, TaskId, Transferred,
};
use wpclone_test_redis::Redis;

/// The timeout of every wait in the tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(50);

/// Polls until the condition holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

/// An API in this process.
pub(crate) struct Api {
    pub(crate) redis: Redis,
    pub(crate) app: SharedApp,
    pub(crate) address: String,
    client: Client,
    ending: CancellationToken,
    _tokens: Option<tempfile::NamedTempFile>,
}

/// How to start an [`Api`].
pub(crate) struct Setup {
    pub(crate) tokens: Option<&'static [(&'static str, &'static str)]>,
    pub(crate) public_url: Option<&'static str>,
    pub(crate) limits: Limits,
    /// Additional routes.
    pub(crate) extra: axum::Router<SharedApp>,
    pub(crate) background: bool,
    /// Whether webhook secrets are configured.
    pub(crate) webhooks: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            tokens: None,
            public_url: None,
            limits: Limits::default(),
            extra: axum::Router::new(),
            background: false,
            webhooks: true,
        }
    }
}

/// The secret of the token with this name.
pub(crate) fn token(name: &str) -> String {
    format!("token-of-{name}")
}

/// A line of the tokens file.
pub(crate) fn token_line(name: &str, scope: &str) -> String {
    format!("{name}:{}:{scope}\n", hex::encode(Sha256::digest(token(name))))
}

pub(crate) fn common(redis_url: &str) -> Common {
    let args = CommonArgs {
        redis_url: Some(redis_url.to_owned()),
        seal_keys: Some(Sealer::new_key("test").unwrap()),
        webhook_secrets: Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()),
        artifacts_mib: "16".into(),
        log_format: "json".into(),
        otlp_endpoint: None,
        check_config: false,
    };
    args.check(&mut Check::default()).unwrap()
}

impl Api {
    /// Starts without tokens.
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    /// Starts with tokens of these names and scopes.
    pub(crate) async fn with_tokens(tokens: &'static [(&'static str, &'static str)]) -> Self {
        Self::with(Setup { tokens: Some(tokens), ..Setup::default() }).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let redis = Redis::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let file = setup.tokens.map(|tokens| {
            let file = tempfile::NamedTempFile::new().unwrap();
            let lines: String = tokens.iter().map(|(name, scope)| token_line(name, scope)).collect();
            std::fs::write(file.path(), lines).unwrap();
            file
        });
        let tokens = file.as_ref().map(|f| Tokens::open(f.path().to_str().unwrap()).unwrap());
        let public_url = setup
            .public_url
            .map_or_else(|| PublicUrl::from_listener(address), |url| PublicUrl::parse(url).ok());
        let mut common = common(&redis.url());
        if !setup.webhooks {
            common.webhook_secrets = WebhookSecrets::default();
        }
        let app = wpclone_api::state::App::new(&common, tokens, public_url.unwrap(), setup.limits);
        let app = Arc::new(app.unwrap());
        let routes = wpclone_api::router::routes().merge(setup.extra);
        let ending = app.shutdown.clone();
        if setup.background {
            tokio::spawn(wpclone_api::background::run(app.clone()));
        }
        let router = wpclone_api::router::with_middleware(routes, &app);
        tokio::spawn(wpclone_api::server::serve(
            listener,
            router,
            setup.limits.write_timeout,
            256,
            ending.clone(),
        ));
        let client =
            Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE).build().unwrap();
        Self { redis, app, address: format!("http://{address}"), client, ending, _tokens: file }
    }

    pub(crate) fn rewrite_tokens(&self, lines: &str) {
        std::fs::write(self._tokens.as_ref().unwrap().path(), lines).unwrap();
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.address))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// Requests an application password on this site and returns the task's id.
    pub(crate) async fn ask(&self, site: &str, name: Option<&str>) -> String {
        let mut request = self.post("/create-app-password").json(&body(site));
        if let Some(name) = name {
            request = request.bearer_auth(token(name));
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let task: Value = answer.json().await.unwrap();
        task["id"].as_str().unwrap().to_owned()
    }

    /// Requests a clone of this site and returns the task's id.
    pub(crate) async fn ask_for_clone(&self, site: &str, name: Option<&str>) -> TaskId {
        let mut request = self.post("/clone").json(&json!({ "source": body(site) }));
        if let Some(name) = name {
            request = request.bearer_auth(token(name));
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let task: Value = answer.json().await.unwrap();
        task["id"].as_str().unwrap().parse().unwrap()
    }

    /// A clone of this name as a provisioning worker publishes it, for an hour.
    pub(crate) fn clone_entry(&self, name: &str, owner: &str) -> CloneEntry {
        let name: CloneName = name.parse().unwrap();
        let secrets = CloneSecrets { password: "pw-of-it".into(), login_key: "0b".repeat(32).into() };
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
        CloneEntry {
            url: format!("http://127.0.0.1:8090/{name}").try_into().unwrap(),
            phase: ClonePhase::Published,
            problem: None,
            task: TaskId::new(),
            owner: owner.into(),
            source: "https://shop.example".to_owned().try_into().unwrap(),
            username: "wpclone-abcd".into(),
            created_at: now - 2.minutes(),
            deadline: now + 28.minutes(),
            expires_at: Some(now + 1.hours()),
            isolation: Isolation::Shared,
            effective_isolation: json!({"own_user": true}).as_object().unwrap().clone(),
            location: None,
            sealed: Some(seal_clone(&self.app.sealer, &name, &secrets).unwrap()),
            name,
        }
    }

    pub(crate) async fn put(&self, entry: &CloneEntry) {
        self.app.clones.put("here", entry).await.unwrap();
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        self.get(path).send().await.unwrap().json().await.unwrap()
    }

    /// Claims a browser step, as a worker would.
    pub(crate) async fn claim(&self) -> Claim {
        self.claim_of(Stage::Browser).await
    }

    /// Claims a step of this stage.
    pub(crate) async fn claim_of(&self, stage: Stage) -> Claim {
        let claim = self.app.queue.claim("worker-1", &[stage]).await;
        let claim = claim.unwrap().expect("a step is ready");
        // As a worker confirms it before it begins.
        self.app.queue.heartbeat(&claim.lease, None).await.unwrap();
        claim
    }

    pub(crate) async fn progress(&self, lease: &Lease, percent: u8, message: &str) {
        let progress = Progress { percent, message: message.into() };
        self.app.queue.heartbeat(lease, Some(&progress)).await.unwrap();
    }

    /// Completes a step with this application password.
    pub(crate) async fn complete(&self, lease: &Lease, password: &str) {
        let result = StepOutput::AppPassword(AppPasswordResult {
            application_password: SecretString::from(password),
            username: "admin".into(),
            uuid: "5e2b".into(),
            app_name: "wpclone".into(),
        })
        .into_parts();
        self.achieve(lease, "create-app-password", &result).await;
    }

    /// Completes a step of this name.
    pub(crate) async fn achieve(&self, lease: &Lease, step: &str, result: &OutputParts) {
        let output = StoredOutput {
            sealed: seal_result(&self.app.sealer, lease.task, step, result).unwrap(),
            result: result.public.clone(),
        };
        self.app.queue.complete(lease, &output).await.unwrap();
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.ending.cancel();
    }
}

pub(crate) fn body(site: &str) -> Value {
    json!({"url": site, "username": "admin", "password": "correct horse"})
}

/// Checks that a response is a problem of this code, and returns its body.
pub(crate) async fn problem(answer: Response, status: u16, code: &str) -> Map<String, Value> {
    assert_eq!(answer.status().as_u16(), status, "{}", answer.url());
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let Value::Object(problem) = answer.json().await.unwrap() else { panic!("a problem is an object") };
    assert_eq!(problem["code"], code);
    assert_eq!(problem["type"], format!("/problems/{code}"));
    assert_eq!(problem["status"], status);
    assert_eq!(problem["instance"], id);
    assert!(problem["title"].is_string() && problem["user_action"].is_string());
    problem
}

/// A clone task that has succeeded, with its result.
pub(crate) async fn cloned(api: &Api) -> TaskId {
    let id = api.ask_for_clone("https://shop.example", None).await;
    let entry = api.clone_entry("clone-20261123-163105-abcdef", "local");
    api.put(&CloneEntry { task: id, ..entry.clone() }).await;
    let result = |step: &str| match step {
        "provision" => StepOutput::Provisioned(Provisioned {
            name: entry.name.clone(),
            url: entry.url.as_str().to_owned(),
            username: entry.username.clone(),
            password: "pw-of-it".into(),
            migrator_key: "0a".repeat(32).into(),
            effective_isolation: json!({"own_user": true, "own_network": false}),
        }),
        "transfer" => StepOutput::Transferred(Transferred {
            fidelity: json!({
                "tables": 14, "rows": 30_211, "files": 812, "file_bytes": 9_120_004, "changed_values": 96,
                "replaced_addresses": 204, "unreplaced_addresses": {"root-relative": 3}, "omitted": {"session": 2, "not-exported": 5},
                "warnings": ["The table wp_log was read twice."],
            }),
            source_api_key: None,
            target: None,
        }),
        "publish" => {
            StepOutput::CloneExpiry(CloneExpiry { name: entry.name.clone(), expires_at: entry.expires_at })
        }
        _ => StepOutput::Nothing,
    };
    loop {
        let claim = api.app.queue.claim("worker-1", Stage::OF_TASKS).await.unwrap();
        let Some(claim) = claim else { break id };
        api.achieve(&claim.lease, &claim.step, &result(&claim.step).into_parts()).await;
    }
}

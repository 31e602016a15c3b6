//! Nothing that the system writes holds a credential: not Redis, logs, spans, events, artifacts or answers.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use serde_json::{Value, json};
use wpclone_task::{Code, Role, State as TaskState, TaskView};
use wpclone_tests::{Client, Result, Site, Stub, TestApp, TestAppBuilder, User, Version};

/// Contains quotes, a backslash, spaces at both ends, and non-ASCII letters.
const PASSWORD: &str = " canary-7f3a\"'\\&<ü ";
const WRONG: &str = "canary-wrong'é/&91c4";

/// A site that echoes the password wherever it can: slashed and not, in several escapings, to the console, and so
/// far down that it lies at every size limit.
const ECHO: &str = r#"add_action('login_footer', function () {
    $sent = $_POST['pwd'] ?? ''; if ($sent === '') { return; }
    $plain = wp_unslash($sent);
    foreach ([$sent, $plain] as $p) {
        foreach ([esc_html($p), esc_attr($p), json_encode($p), wp_json_encode($p, JSON_UNESCAPED_UNICODE), rawurlencode($p),
            strtolower(rawurlencode($p)), urlencode($p), base64_encode($p), strtoupper($p)] as $form) {
            echo '<script>console.log("' . str_repeat('x', 990) . '" + ' . json_encode($form) . ')</script>';
            echo '<!-- ' . $form . ' -->';
        }
    }
    echo '<p>' . str_repeat('y', (1 << 20) - 20000) . esc_html($plain) . esc_html($plain) . '</p>';
});"#;

/// Writes the cookies of every login to a file of the site, and shows an editor's on a page of wp-admin that fails.
const SESSIONS: &str = r#"foreach (['set_auth_cookie', 'set_logged_in_cookie'] as $action) {
    add_action($action, function ($cookie) { file_put_contents(WP_CONTENT_DIR . '/sessions', "$cookie\n", FILE_APPEND); });
}
add_action('admin_init', function () {
    if (wp_doing_ajax() || current_user_can('manage_options')) { return; }
    status_header(500);
    foreach ($_COOKIE as $value) {
        foreach ([$value, rawurlencode($value), urlencode($value), base64_encode($value)] as $form) {
            echo '<!-- ' . $form . ' --><script>console.log(' . json_encode($form) . ')</script>';
        }
    }
    exit;
});"#;

/// The bodies of all trace exports.
type Spans = Arc<Mutex<Vec<u8>>>;

async fn collector() -> Result<(Stub, Spans)> {
    let spans = Spans::default();
    let take = |State(spans): State<Spans>, body: Bytes| async move {
        spans.lock().expect("spans").extend_from_slice(&body);
    };
    let stub = Stub::start(Router::new().fallback(take).with_state(Arc::clone(&spans))).await?;
    Ok((stub, spans))
}

/// The spellings of a secret: plain, without spaces, escaped for JSON, HTML, URLs and forms, in base64.
fn spellings(secret: &str) -> Vec<String> {
    use base64::Engine as _;
    let json = Value::from(secret).to_string();
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    vec![
        secret.trim().to_owned(),
        secret.replace(' ', ""),
        json.trim_matches(['"', ' ']).to_owned(),
        html.replace('\'', "&#039;").trim().to_owned(),
        form.replace('+', "%20").trim_matches(['%', '2', '0']).to_owned(),
        form.trim_matches('+').to_owned(),
        base64::engine::general_purpose::STANDARD.encode(secret),
    ]
}

fn assert_free_of(place: &str, written: &[u8], secrets: &[String]) {
    let text = String::from_utf8_lossy(written);
    for spelling in secrets.iter().flat_map(|s| spellings(s)) {
        assert!(!text.contains(&spelling), "{place} holds `{spelling}`");
    }
}

async fn events_and_artifacts(client: &Client, task: &TaskView) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for path in [task.links.events.clone()].into_iter().chain(task.artifacts.iter().map(|a| a.href.clone())) {
        let answer = client.get(&path).await?;
        assert_eq!(answer.status(), 200, "{path}");
        found.push((path, answer.bytes().await?.to_vec()));
    }
    Ok(found)
}

/// An app that logs and traces as much as possible, with tokens `owner` and `other`.
fn verbose_app(builder: TestAppBuilder, collector: &Stub) -> TestAppBuilder {
    let builder = builder.token("owner", "user", "").token("other", "user", "").env("RUST_LOG", "trace");
    builder.env("WPCLONE_LOG_FORMAT", "json").env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
}

/// Tokens and seal keys.
fn app_secrets(app: &TestApp) -> Vec<String> {
    let keys = app.env().iter().filter(|(name, _)| name == "WPCLONE_SEAL_KEYS");
    let keys = keys.map(|(_, keys)| keys["lab:".len()..].to_owned());
    app.tokens().iter().map(|token| token.secret.clone()).chain(keys).collect()
}

/// Stops the app, and checks its logs, Redis' files and the spans.
async fn assert_stores_are_clean(app: &TestApp, spans: &Spans, secrets: &[String]) -> Result {
    // Stopped with SIGTERM, so that every span is exported.
    app.workers[0].terminate().await?;
    app.api.terminate().await?;
    for program in [&app.api, &app.workers[0]] {
        let log = std::fs::read(program.log())?;
        assert!(!log.is_empty());
        assert_free_of("a log", &log, secrets);
    }
    let mut files = 0;
    let mut folders = vec![app.redis.data().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)?.flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                files += 1;
                assert_free_of("Redis' file", &std::fs::read(entry.path())?, secrets);
            }
        }
    }
    assert!(files > 0, "Redis has written");

    let spans = spans.lock().expect("spans").clone();
    assert!(!spans.is_empty(), "spans were sent");
    assert_free_of("a span", &spans, secrets);
    Ok(())
}

#[tokio::test]
async fn no_credential_is_written_anywhere() -> Result {
    let (collector, spans) = collector().await?;
    let builder = Site::builder(Version::Trixie).admin_password(PASSWORD).mu_plugin("echo", ECHO);
    let builder = builder.mu_plugin("sessions", SESSIONS).user("eve", "editor", "canary-of-an-editor");
    let site = builder.start().await?;
    let app = verbose_app(TestApp::builder(), &collector).start().await?;
    let (owner, other, operator) = (app.client_as("owner")?, app.client_as("other")?, app.client()?);
    let wrong = User { password: WRONG.into(), ..site.admin() };
    let setup = owner.wait(owner.setup(&site, &site.admin(), Role::Target).await?.id).await?;
    let made = owner.wait(owner.app_password(&site, &site.admin(), "canary").await?.id).await?;
    let failed = owner.wait(owner.setup(&site, &wrong, Role::Source).await?.id).await?;
    let eve = site.user("eve").expect("an editor");
    let shown = owner.wait(owner.setup(&site, &eve, Role::Source).await?.id).await?;
    assert_eq!(
        [setup.state, made.state, failed.state, shown.state],
        [TaskState::Succeeded, TaskState::Succeeded, TaskState::Failed, TaskState::Failed]
    );

    let secret = |task: &TaskView, field: &str| -> String {
        let result = task.result.as_ref().expect("a result");
        result[field].as_str().unwrap_or_else(|| panic!("{field} is shown to its owner")).to_owned()
    };
    let mut secrets = vec![
        PASSWORD.to_owned(),
        WRONG.to_owned(),
        eve.password.clone(),
        secret(&setup, "api_key"),
        secret(&made, "application_password"),
    ];
    secrets.extend(app_secrets(&app));
    let sessions = std::fs::read_to_string(site.tree().join("wp-content/sessions"))?;
    assert!(sessions.lines().count() >= 6, "two cookies of three logins");
    // As WordPress makes them, and as they are sent.
    let encoded = |cookie: &str| url::form_urlencoded::byte_serialize(cookie.as_bytes()).collect::<String>();
    secrets.extend(sessions.lines().flat_map(|cookie| [cookie.to_owned(), encoded(cookie)]));

    for task in [&setup, &made, &failed, &shown] {
        for (place, written) in events_and_artifacts(&owner, task).await? {
            assert_free_of(&place, &written, &secrets);
        }
        assert_eq!(other.get(&task.links.self_).await?.status(), 404, "another's task is no task");
        let seen = operator.get(&task.links.self_).await?.bytes().await?;
        assert_free_of("an operator's view", &seen, &secrets);
    }
    // Validation errors do not repeat the values that were sent.
    let bad = json!({"url": "nonsense", "username": "a", "password": PASSWORD, "extra": WRONG});
    let answer = owner.post("/setup", &bad).await?;
    assert_eq!(answer.status(), 422);
    assert_free_of("an error body", &answer.bytes().await?, &secrets);
    for path in ["/queue", "/metrics", "/tasks"] {
        assert_free_of(path, &operator.get(path).await?.bytes().await?, &secrets);
    }

    assert_stores_are_clean(&app, &spans, &secrets).await
}

/// A licence plugin that is bound to an address and blocks logins at any other: a clone's login fails, and its page
/// echoes the clone's own password.
const LICENCE: &str = "add_filter('authenticate', function ($user) { $bound = get_option('licensed_for'); \
    return !$bound || $bound === md5(home_url()) ? $user : new WP_Error('licence', 'Not licensed here.'); }, 99);";

/// All credentials of a task's clone: those returned to its owner, and those in its secrets file.
async fn clone_credentials(app: &TestApp, owner: &Client, task: &TaskView) -> Result<(String, Vec<String>)> {
    let result = Value::from(task.result.clone().expect("a result"));
    let name = result["clone"]["name"].as_str().expect("a clone").to_owned();
    let password = result["clone"]["password"].as_str().expect("it is shown to its owner").to_owned();
    let path = format!("/clones/{name}");
    let shown: Value = owner.get(&path).await?.json().await?;
    assert_eq!(shown["password"], password, "its owner gets it there too");
    let link: Value = owner.post(&format!("{path}/login"), &Value::Null).await?.json().await?;
    let link = link["url"].as_str().expect("a link").to_owned();
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    assert_eq!(http.get(&link).send().await?.status(), 302, "it logs in");
    let key = link.rsplit('=').next().expect("a key").to_owned();
    let signature = key.rsplit('.').next().expect("a signature").to_owned();
    let file = app.clones_state().expect("clones").join("clones").join(&name).join("secrets.json");
    let stored: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let stored = stored.as_object().expect("fields").iter().filter(|(field, _)| *field != "username");
    let mut keys: Vec<_> = stored.filter_map(|(_, value)| Some(value.as_str()?.to_owned())).collect();
    assert!(keys.len() >= 4 && keys.contains(&password), "the clone's own");
    keys.extend([key, signature]);
    Ok((name, keys))
}

#[tokio::test]
async fn no_credential_of_a_clone_or_its_source_is_written_anywhere() -> Result {
    let (collector, spans) = collector().await?;
    let site = Site::builder(Version::Bookworm).admin_password(PASSWORD).mu_plugin("echo", ECHO);
    let site = site.mu_plugin("licence", LICENCE).start().await?;
    let app = verbose_app(TestApp::builder().clones(Version::Bookworm), &collector).start().await?;
    let (owner, other, operator) = (app.client_as("owner")?, app.client_as("other")?, app.client()?);
    let clone = async |user: &User| -> Result<TaskView> {
        let body = json!({"source": site.login(user), "remove_migrator": false});
        owner.wait(owner.accepted("/clone", &body).await?.id).await
    };
    let made = clone(&site.admin()).await?;
    let refused = clone(&User { password: WRONG.into(), ..site.admin() }).await?;
    site.eval_php("update_option('licensed_for', md5(home_url()));").await?;
    let broken = clone(&site.admin()).await?;
    let code = |task: &TaskView| task.problem.as_ref().map(|problem| problem.code);
    assert_eq!(made.state, TaskState::Succeeded, "{:?}", made.problem);
    assert_eq!([code(&refused), code(&broken)], [Some(Code::AuthBadCredentials), Some(Code::CloneBroken)]);

    let mut secrets = vec![PASSWORD.to_owned(), WRONG.to_owned()];
    let mut views = vec!["/clones".to_owned()];
    for task in [&made, &broken] {
        let key = task.result.as_ref().and_then(|result| result["source_api_key"].as_str());
        secrets.push(key.expect("the source's key is shown to its owner").to_owned());
        let (name, keys) = clone_credentials(&app, &owner, task).await?;
        secrets.extend(keys);
        views.push(format!("/clones/{name}"));
        let logs = app.clones_state().expect("clones").join("clones").join(&name).join("log");
        for log in std::fs::read_dir(logs)?.flatten() {
            assert_free_of("a clone's log", &std::fs::read(log.path())?, &secrets);
        }
    }
    secrets.extend(app_secrets(&app));
    for (task, echoed) in [(&made, false), (&refused, true), (&broken, true)] {
        let all = events_and_artifacts(&owner, task).await?;
        for (place, written) in &all {
            assert_free_of(place, written, &secrets);
        }
        let marks = all.iter().any(|(_, written)| String::from_utf8_lossy(written).contains("[redacted]"));
        assert_eq!(marks, echoed, "a login that failed echoed the password, which was taken out");
        assert_eq!(other.get(&task.links.self_).await?.status(), 404, "another's task is no task");
        views.push(task.links.self_.clone());
    }
    views.extend(["/queue", "/metrics", "/tasks"].map(str::to_owned));
    for path in views {
        let answer = operator.get(&path).await?;
        assert_eq!(answer.status(), 200, "{path}");
        assert_free_of(&format!("an operator's {path}"), &answer.bytes().await?, &secrets);
    }
    let metrics = reqwest::get(format!("{}/metrics", app.workers[0].url())).await?;
    assert_free_of("a worker's metrics", &metrics.bytes().await?, &secrets);
    assert_stores_are_clean(&app, &spans, &secrets).await
}

#[tokio::test]
async fn a_trace_spans_the_request_and_the_worker() -> Result {
    let (collector, spans) = collector().await?;
    let site = Site::builder(Version::Bookworm).start().await?;
    let app = TestApp::builder().env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()).start().await?;
    let client = app.client()?;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let body = json!({"url": site.url(), "username": "admin", "password": "wrong-on-purpose"});
    let request = client
        .request(reqwest::Method::POST, "/setup")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    let task: TaskView = request.json(&body).send().await?.json().await?;
    client.wait(task.id).await?;
    app.workers[0].terminate().await?;
    app.api.terminate().await?;

    let log = std::fs::read_to_string(app.workers[0].log())?;
    assert!(log.contains(trace), "the worker's lines tell the trace");
    let spans = spans.lock().expect("spans").clone();
    let id = hex::decode(trace).expect("hex");
    let at = |service: &str| spans.windows(service.len()).any(|w| w == service.as_bytes());
    assert!(at("wpclone-api") && at("wpclone-worker"));
    assert!(
        spans.windows(id.len()).filter(|w| *w == id).count() >= 3,
        "request, step and more are of one trace"
    );
    Ok(())
}

//! Authentication, scopes, sessions and the origin check.

use reqwest::{Method, StatusCode};
use wpclone_api::sessions::COOKIE;

use crate::support::{Api, Setup, body, eventually, problem, token, token_line};

const THREE: &[(&str, &str)] = &[("alice", "user"), ("root", "operator"), ("prom", "metrics")];

#[tokio::test]
async fn without_a_valid_token_only_open_paths_respond() {
    let api = Api::with_tokens(THREE).await;
    for path in
        ["/tasks", "/queue", "/metrics", "/events", "/tasks/x", "/tasks/x/events", "/tasks/x/artifacts/y"]
    {
        let answer = api.get(path).send().await.unwrap();
        assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"wpclone\"");
        problem(answer, 401, "UNAUTHENTICATED").await;
    }
    for wrong in ["Bearer nonsense", "Bearer ", "Basic YTpi", "token-of-alice"] {
        let answer = api.get("/tasks").header("Authorization", wrong).send().await.unwrap();
        problem(answer, 401, "UNAUTHENTICATED").await;
    }
    let cookie = api.get("/tasks").header("Cookie", format!("{COOKIE}=nonsense")).send().await.unwrap();
    problem(cookie, 401, "UNAUTHENTICATED").await;
    problem(
        api.post("/setup").json(&body("https://a.example")).send().await.unwrap(),
        401,
        "UNAUTHENTICATED",
    )
    .await;
    for path in ["/healthz", "/readyz", "/openapi.json", "/docs", "/problems/POISON"] {
        assert_eq!(api.get(path).send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
    let lower = api.get("/tasks").header("Authorization", "bearer token-of-alice").send().await.unwrap();
    assert_eq!(lower.status(), StatusCode::OK);
}

#[tokio::test]
async fn each_scope_has_its_operations() {
    let api = Api::with_tokens(THREE).await;
    for (name, path, status) in [
        ("alice", "/tasks", 200),
        ("alice", "/queue", 403),
        ("alice", "/metrics", 403),
        ("prom", "/tasks", 403),
        ("prom", "/events", 403),
        ("prom", "/queue", 200),
        ("prom", "/metrics", 200),
        ("root", "/tasks", 200),
        ("root", "/queue", 200),
        ("root", "/metrics", 200),
    ] {
        let answer = api.get(path).bearer_auth(token(name)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{name} {path}");
        if status == 403 {
            problem(answer, 403, "FORBIDDEN").await;
        }
    }
    let asked = api.post("/setup").bearer_auth(token("prom")).json(&body("https://a.example"));
    problem(asked.send().await.unwrap(), 403, "FORBIDDEN").await;
}

#[tokio::test]
async fn a_token_removed_from_the_file_loses_access_and_so_does_its_session() {
    let api = Api::with_tokens(THREE).await;
    let cookie = sign_in(&api, "alice").await;
    let by_cookie = || api.get("/tasks").header("Cookie", &cookie).send();
    assert_eq!(by_cookie().await.unwrap().status(), StatusCode::OK);
    api.rewrite_tokens(&token_line("root", "operator"));
    eventually("alice is refused", || async {
        by_cookie().await.unwrap().status() == StatusCode::UNAUTHORIZED
    })
    .await;
    problem(api.get("/tasks").bearer_auth(token("alice")).send().await.unwrap(), 401, "UNAUTHENTICATED")
        .await;
    assert_eq!(api.get("/tasks").bearer_auth(token("root")).send().await.unwrap().status(), StatusCode::OK);
}

async fn sign_in(api: &Api, name: &str) -> String {
    let form = [("token", token(name)), ("next", "/dashboard/tasks".into())];
    let answer = api.post("/sign-in").form(&form).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(answer.headers()["location"], "/dashboard/tasks");
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{part}");
    }
    assert!(!cookie.contains("Secure"));
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_begins_with_a_token_and_ends_with_signing_out() {
    let api = Api::with_tokens(THREE).await;
    let cookie = sign_in(&api, "alice").await;
    let (_, id) = cookie.split_once('=').unwrap();
    let held = String::from_utf8_lossy(&api.redis.raw_files()).into_owned();
    assert!(!held.contains(id) && !held.contains(&token("alice")), "Redis has only hashes");

    let asked = api.post("/setup").header("Cookie", &cookie).json(&body("https://a.example"));
    assert_eq!(asked.send().await.unwrap().status(), StatusCode::ACCEPTED);
    let out = api.post("/sign-out").header("Cookie", &cookie).send().await.unwrap();
    assert_eq!(out.status(), StatusCode::SEE_OTHER);
    assert!(out.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    problem(api.get("/tasks").header("Cookie", &cookie).send().await.unwrap(), 401, "UNAUTHENTICATED").await;
}

#[tokio::test]
async fn behind_https_the_cookie_is_for_https_alone() {
    let api = Api::with(Setup {
        tokens: Some(THREE),
        public_url: Some("https://wpclone.example"),
        ..Setup::default()
    })
    .await;
    let answer = api
        .post("/sign-in")
        .header("Origin", "https://wpclone.example")
        .form(&[("token", token("root"))])
        .send()
        .await
        .unwrap();
    assert!(answer.headers()["set-cookie"].to_str().unwrap().ends_with("; Secure"));
}

#[tokio::test]
async fn the_sign_in_form_refuses_unknown_tokens_and_metrics_tokens() {
    let api = Api::with_tokens(THREE).await;
    for (name, why) in [("nobody", "not valid"), ("prom", "the scope metrics")] {
        let answer = api.post("/sign-in").form(&[("token", token(name))]).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert!(answer.headers().get("set-cookie").is_none());
        let page = answer.text().await.unwrap();
        assert!(page.contains(why) && !page.contains(&token(name)));
    }
}

#[tokio::test]
async fn a_request_from_another_origin_changes_nothing() {
    let api = Api::with_tokens(THREE).await;
    let post = |origin: &str| {
        api.post("/setup")
            .bearer_auth(token("alice"))
            .header("Origin", origin)
            .json(&body("https://a.example"))
            .send()
    };
    let port = api.address.rsplit(':').next().unwrap();
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1", &format!("https://127.0.0.1:{port}")]
    {
        problem(post(origin).await.unwrap(), 403, "ORIGIN_REFUSED").await;
    }
    assert_eq!(post(&api.address).await.unwrap().status(), StatusCode::ACCEPTED);
    let read = api.get("/tasks").bearer_auth(token("alice")).header("Origin", "https://evil.example");
    let read = read.send().await.unwrap();
    assert_eq!(read.status(), StatusCode::OK);
    assert!(
        read.headers().get("access-control-allow-origin").is_none(),
        "a page of another origin cannot read it"
    );
}

#[tokio::test]
async fn without_tokens_only_loopback_hosts_are_served() {
    let api = Api::start().await;
    let port = api.address.rsplit(':').next().unwrap();
    for (host, status) in [
        (format!("localhost:{port}"), 200),
        ("127.0.0.1".to_owned(), 200),
        ("[::1]:8080".to_owned(), 200),
        (format!("rebound.example:{port}"), 403),
        ("127.0.0.1.evil.example".to_owned(), 403),
    ] {
        let answer = api.request(Method::GET, "/tasks").header("Host", &host).send().await.unwrap();
        assert_eq!(answer.status(), status, "{host}");
        if status == 403 {
            problem(answer, 403, "HOST_REFUSED").await;
        }
    }
    // A page loaded under another loopback name may send requests to that name.
    let asked = api
        .post("/setup")
        .header("Host", format!("localhost:{port}"))
        .header("Origin", format!("http://localhost:{port}"))
        .json(&body("https://a.example"));
    assert_eq!(asked.send().await.unwrap().status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn with_tokens_any_host_is_served() {
    let api = Api::with_tokens(THREE).await;
    let answer = api.get("/tasks").header("Host", "wpclone.example").bearer_auth(token("alice"));
    assert_eq!(answer.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn another_cookie_of_the_same_name_does_not_end_a_session() {
    let api = Api::with_tokens(THREE).await;
    let own = sign_in(&api, "alice").await;
    let with = |others: usize| {
        let others = format!("{COOKIE}=other; ").repeat(others);
        api.get("/tasks").header("Cookie", format!("{others}{own}")).send()
    };
    assert_eq!(with(3).await.unwrap().status(), StatusCode::OK);
    problem(with(4).await.unwrap(), 401, "UNAUTHENTICATED").await;
}

#[tokio::test]
async fn a_token_has_twenty_sessions_and_the_oldest_ends_first() {
    let api = Api::with_tokens(THREE).await;
    let other = sign_in(&api, "root").await;
    let mut cookies = Vec::new();
    for _ in 0..20 {
        cookies.push(sign_in(&api, "alice").await);
    }
    let status = |cookie: &str| {
        let request = api.get("/tasks").header("Cookie", cookie);
        async move { request.send().await.unwrap().status() }
    };
    // A session that was ended does not count.
    api.post("/sign-out").header("Cookie", &cookies[5]).send().await.unwrap();
    cookies.push(sign_in(&api, "alice").await);
    assert_eq!(status(&cookies[0]).await, StatusCode::OK);
    cookies.push(sign_in(&api, "alice").await);
    assert_eq!(status(&cookies[0]).await, StatusCode::UNAUTHORIZED);
    for cookie in [&cookies[1], &cookies[21], &other] {
        assert_eq!(status(cookie).await, StatusCode::OK);
    }
}

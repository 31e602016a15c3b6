//! Authentication, scopes and the origin check.

use reqwest::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wpclone_task::SESSION_COOKIE;

use crate::sessions::sign_in;
use crate::support::{Api, PATIENCE, body, problem, token};

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
    let cookie =
        api.get("/tasks").header("Cookie", format!("{SESSION_COOKIE}=nonsense")).send().await.unwrap();
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
async fn pages_of_other_origins_may_link_to_the_api_and_nothing_else() {
    let api = Api::with_tokens(THREE).await;
    let cookie = sign_in(&api, "alice").await;
    let send = |method: Method, path: &str, metadata: [&str; 3]| {
        let [site, mode, dest] = metadata;
        api.request(method, path)
            .header("Cookie", &cookie)
            .header("Sec-Fetch-Site", site)
            .header("Sec-Fetch-Mode", mode)
            .header("Sec-Fetch-Dest", dest)
            .send()
    };
    for (method, path, metadata, allowed) in [
        (Method::GET, "/tasks", ["same-origin", "cors", "empty"], true),
        (Method::GET, "/tasks", ["none", "navigate", "document"], true),
        (Method::GET, "/tasks", ["same-site", "navigate", "document"], true),
        (Method::GET, "/tasks", ["cross-site", "navigate", "document"], true),
        (Method::GET, "/tasks", ["cross-site", "navigate", "iframe"], false),
        (Method::GET, "/tasks", ["same-site", "no-cors", "image"], false),
        (Method::GET, "/events", ["same-site", "cors", "empty"], false),
        (Method::POST, "/sign-out", ["same-site", "navigate", "document"], false),
        (Method::POST, "/sign-out", ["cross-site", "navigate", "document"], false),
        (Method::POST, "/sign-out", ["same-origin", "navigate", "document"], true),
    ] {
        let answer = send(method.clone(), path, metadata).await.unwrap();
        match allowed {
            true => assert!(
                answer.status().is_success() || answer.status().is_redirection(),
                "{path} {metadata:?}"
            ),
            false => drop(problem(answer, 403, "ORIGIN_REFUSED").await),
        }
    }
}

#[tokio::test]
async fn without_tokens_a_request_that_a_proxy_forwards_is_refused() {
    let api = Api::start().await;
    for header in [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "x-forwarded",
        "Forwarded",
        "Via",
        "X-Real-IP",
        "True-Client-IP",
        "X-Cluster-Client-IP",
        "CF-Connecting-IP",
        "X-Envoy-External-Address",
        "X-Original-Host",
    ] {
        // The proxy has put its own address of the API into Host.
        for (method, path) in [(Method::GET, "/tasks"), (Method::POST, "/setup"), (Method::GET, "/")] {
            let answer = api.request(method, path).header(header, "203.0.113.7").send().await.unwrap();
            problem(answer, 403, "FORWARDED_REFUSED").await;
        }
    }
    // nginx as it is installed.
    let answer = raw(&api, "GET /tasks HTTP/1.0\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains(" 403 ") && answer.contains("FORWARDED_REFUSED"), "{answer}");
    // With tokens they are served, whoever forwards them.
    let api = Api::with_tokens(THREE).await;
    let answer = api.get("/tasks").bearer_auth(token("alice")).header("X-Forwarded-For", "203.0.113.7");
    assert_eq!(answer.send().await.unwrap().status(), StatusCode::OK);
}

/// Sends bytes and returns everything until the API closes.
async fn raw(api: &Api, request: &str) -> String {
    let mut stream = TcpStream::connect(api.address.strip_prefix("http://").unwrap()).await.unwrap();
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the API closes");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_request_whose_host_is_not_definite_is_refused() {
    let api = Api::start().await;
    for (target, hosts) in [
        ("/tasks", "Host: localhost\r\nHost: evil.example\r\n"),
        ("/tasks", "Host: evil.example\r\nHost: localhost\r\n"),
        ("/tasks", "Host: evil.example@localhost\r\n"),
        ("/tasks", "Host: localhost:evil\r\n"),
        ("/tasks", "Host: localhost, evil.example\r\n"),
        ("http://localhost/tasks", "Host: evil.example\r\n"),
        ("http://evil@localhost/tasks", "Host: localhost\r\n"),
    ] {
        let answer = raw(&api, &format!("GET {target} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{target} {hosts}: {answer}");
    }
    for (target, host) in [("/tasks", "localhost."), ("http://evil.example/tasks", "evil.example")] {
        let answer =
            raw(&api, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.contains("HOST_REFUSED"), "{target} {host}: {answer}");
    }
    for (target, host) in [("/tasks", "LOCALHOST"), ("http://localhost/tasks", "LocalHost")] {
        let answer =
            raw(&api, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{target} {host}: {answer}");
    }
}

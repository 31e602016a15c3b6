//! Sessions of the dashboard and their cookie.

use reqwest::StatusCode;
use wpclone_task::{HOST_SESSION_COOKIE, SESSION_COOKIE};

use crate::support::{Api, Setup, body, eventually, problem, token, token_line};

const THREE: &[(&str, &str)] = &[("alice", "user"), ("root", "operator"), ("prom", "metrics")];

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

pub(crate) async fn sign_in(api: &Api, name: &str) -> String {
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
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with(&format!("{HOST_SESSION_COOKIE}=")) && cookie.contains("; Path=/;"));
    assert!(cookie.ends_with("; Secure") && !cookie.contains("Domain"));
    // A cookie without the prefix, which a page of another host or port can set, is no session.
    let id = cookie.split(['=', ';']).nth(1).unwrap();
    let status = |cookies: String| {
        let request = api.get("/tasks").header("Cookie", cookies);
        async move { request.send().await.unwrap().status() }
    };
    assert_eq!(status(format!("{SESSION_COOKIE}={id}")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(format!("{SESSION_COOKIE}=planted; {HOST_SESSION_COOKIE}={id}")).await, StatusCode::OK);
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
async fn a_planted_session_cookie_makes_nobody_work_in_another_session() {
    let api = Api::with_tokens(THREE).await;
    let (own, attackers) = (sign_in(&api, "root").await, sign_in(&api, "alice").await);
    // The browser sends the cookie with the longer path first.
    for cookies in [format!("{attackers}; {own}"), format!("{own}; {attackers}"), format!("{own}; {own}")] {
        let page = api.get("/dashboard/tasks").header("Accept", "text/html").header("Cookie", &cookies);
        let page = page.send().await.unwrap();
        assert_eq!(page.status(), StatusCode::SEE_OTHER, "{cookies}");
        assert!(page.headers()["location"].to_str().unwrap().starts_with("/sign-in"));
        // Each cookie that the request may have been sent with is removed.
        let removed: Vec<&str> =
            page.headers().get_all("set-cookie").iter().map(|v| v.to_str().unwrap()).collect();
        for path in ["/", "/dashboard", "/dashboard/", "/dashboard/tasks"] {
            let of_path = removed.iter().filter(|c| c.contains(&format!("; Path={path}; Max-Age=0")));
            assert_eq!(of_path.count(), 1, "{path}: {removed:?}");
        }
        let refused = api.post("/setup").header("Cookie", &cookies).json(&body("https://a.example"));
        let refused = problem(refused.send().await.unwrap(), 401, "UNAUTHENTICATED").await;
        assert!(refused["detail"].as_str().unwrap().contains("two session cookies"));
    }
    // A token counts whatever the cookies are, and a session alone goes on.
    let with_token =
        api.get("/tasks").bearer_auth(token("root")).header("Cookie", format!("{attackers}; {own}"));
    assert_eq!(with_token.send().await.unwrap().status(), StatusCode::OK);
    // Another cookie that is no text does not hide the session.
    let mut cookies = b"planted=\xff\xfe; ".to_vec();
    cookies.extend_from_slice(own.as_bytes());
    assert_eq!(api.get("/tasks").header("Cookie", cookies).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn signing_in_starts_a_new_session_and_ends_the_one_that_the_browser_had() {
    let api = Api::with_tokens(THREE).await;
    let planted = sign_in(&api, "alice").await;
    let form = [("token", token("root"))];
    let answer = api.post("/sign-in").header("Cookie", &planted).form(&form).send().await.unwrap();
    let own = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    assert_ne!(own, planted);
    assert_eq!(api.get("/queue").header("Cookie", own).send().await.unwrap().status(), StatusCode::OK);
    problem(api.get("/tasks").header("Cookie", &planted).send().await.unwrap(), 401, "UNAUTHENTICATED").await;
    // An id that the browser brings is never taken over.
    let chosen = format!("{SESSION_COOKIE}={}", "ab".repeat(32));
    let answer = api.post("/sign-in").header("Cookie", &chosen).form(&form).send().await.unwrap();
    assert_ne!(answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap(), chosen);
    problem(api.get("/tasks").header("Cookie", &chosen).send().await.unwrap(), 401, "UNAUTHENTICATED").await;
}

#[tokio::test]
async fn sessions_are_not_read_or_written_in_a_redis_of_another_layout() {
    let api = Api::with_tokens(THREE).await;
    let cookie = sign_in(&api, "alice").await;
    assert_eq!(api.get("/healthz").send().await.unwrap().status(), StatusCode::OK);
    let mut redis = api.redis.connect().await.unwrap();
    let () = redis::cmd("SET").arg("{wpclone}:layout").arg("999").query_async(&mut redis).await.unwrap();
    let keys = async |mut redis: redis::aio::MultiplexedConnection| {
        let keys: Vec<String> = redis::cmd("KEYS").arg("*session*").query_async(&mut redis).await.unwrap();
        keys.len()
    };
    let before = keys(redis.clone()).await;
    problem(api.get("/tasks").header("Cookie", &cookie).send().await.unwrap(), 503, "QUEUE_UNAVAILABLE")
        .await;
    let form = [("token", token("alice"))];
    problem(api.post("/sign-in").form(&form).send().await.unwrap(), 503, "QUEUE_UNAVAILABLE").await;
    let out = api.post("/sign-out").header("Cookie", &cookie).send().await.unwrap();
    let out = problem(out, 503, "QUEUE_UNAVAILABLE").await;
    assert!(out["detail"].as_str().unwrap().contains("layout 999"), "{out:?}");
    assert_eq!(keys(redis).await, before);
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

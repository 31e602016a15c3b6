//! The dashboard's pages as HTML, without a browser.

use reqwest::StatusCode;
use wpclone_clones::CloneEntry;
use wpclone_task::{ClonePhase, Code, Problem};

use crate::operations::report;
use crate::support::{Api, cloned, token};

async fn page(api: &Api, path: &str) -> String {
    let answer = api.get(path).header("Accept", "text/html").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
    let text = answer.text().await.unwrap();
    for inline in ["<style", " style=", " onclick=", "javascript:"] {
        assert!(!text.contains(inline), "{path} has {inline}");
    }
    assert!(
        text.matches("<script").count() == 1 && text.contains("<script defer src=\"/assets/dashboard.js?v=")
    );
    assert!(text.len() < 60 << 10, "{path} has {} bytes", text.len());
    text
}

#[tokio::test]
async fn an_empty_dashboard_suggests_what_to_do() {
    let api = Api::start().await;
    for path in ["/", "/dashboard/tasks"] {
        let text = page(&api, path).await;
        assert!(text.contains("No tasks yet") && text.contains(&format!("{}/setup", api.address)), "{path}");
    }
    let clones = page(&api, "/dashboard/clones").await;
    assert!(clones.contains("No clones.") && clones.contains(&format!("{}/clone", api.address)));
    assert!(page(&api, "/dashboard/workers").await.contains("No worker has reported"));
    assert!(page(&api, "/dashboard/tasks?q=x").await.contains("No task matches"));
}

#[tokio::test]
async fn the_overview_says_in_words_whether_the_queue_keeps_up() {
    let api = Api::start().await;
    assert!(page(&api, "/").await.contains("No worker is running."));
    api.ask("https://a.example", None).await;
    assert!(page(&api, "/").await.contains("No worker serves browser work: 1 task waits."));
    api.app.queue.report_worker(&report("worker-1")).await.unwrap();
    let text = page(&api, "/").await;
    assert!(text.contains("All keeping up.") && text.contains("a.example"));
    assert!(!text.contains("stage-webhook"), "nobody starts a worker for callbacks");
}

#[tokio::test]
async fn a_task_page_shows_the_outcome_and_never_a_secret() {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let claim = api.claim().await;
    api.progress(&claim.lease, 30, "Logging in.").await;
    let text = page(&api, &format!("/dashboard/tasks/{id}")).await;
    assert!(text.contains("Logging in.") && text.contains("value=\"30\"") && text.contains("Cancel task"));
    api.app.artifacts.put(claim.lease.task, "local", "after.png", "image/png", b"x").await.unwrap();
    api.complete(&claim.lease, "canary").await;
    let text = page(&api, &format!("/dashboard/tasks/{id}")).await;
    assert!(text.contains("data-secret=\"application_password\"") && !text.contains("canary"));
    assert!(
        text.contains(&format!("src=\"/tasks/{id}/artifacts/after.png\""))
            && text.contains("loading=\"lazy\"")
    );
    assert!(!text.contains("Cancel task"));
}

#[tokio::test]
async fn a_failed_task_opens_the_step_that_failed_and_says_what_to_do() {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let claim = api.claim().await;
    let problem = Problem::new(Code::CapMissing, "<b>editor</b> is no administrator.");
    api.app.queue.fail(&claim.lease, &problem).await.unwrap();
    let text = page(&api, &format!("/dashboard/tasks/{id}")).await;
    assert!(text.contains("href=\"/problems/CAP_MISSING\"") && text.contains(Code::CapMissing.user_action()));
    assert!(text.contains("<details open>") && text.contains("The site was not changed."));
    assert!(
        !text.contains("<b>editor") && text.contains("&#60;b&#62;editor"),
        "what comes from a site is text"
    );
}

#[tokio::test]
async fn the_clones_page_lists_clones_and_deleted_clones() {
    let api = Api::with_tokens(&[("alice", "user"), ("root", "operator")]).await;
    let name = |n: u32| format!("clone-20261123-1631{n:02}-abcdef");
    for n in 0..22 {
        api.put(&api.clone_entry(&name(n), "alice")).await;
    }
    let making =
        CloneEntry { phase: ClonePhase::Creating, expires_at: None, ..api.clone_entry(&name(30), "alice") };
    api.put(&making).await;
    api.put(&api.clone_entry(&name(31), "alice")).await;
    api.app.clones.remove(&name(31).parse().unwrap()).await.unwrap();
    let page = async |path: &str, who: &str| {
        let request = api.get(path).header("Accept", "text/html").bearer_auth(token(who));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    };
    let first = page("/dashboard/clones", "alice").await;
    assert_eq!(first.matches("<li class=\"card").count(), 20);
    assert!(first.contains("shop.example") && first.contains("data-countdown") && first.contains("creating"));
    assert!(first.contains(&format!("data-login=\"/clones/{}/login\"", name(21))));
    assert!(!first.contains(&format!("data-login=\"/clones/{}/login\"", name(30))), "not yet");
    assert!(first.contains("Ended within the last day") && first.contains(&name(31)));
    assert!(!first.contains("pw-of-it") && !first.contains("<dt>Owner"));
    assert!(first.len() < 60 << 10, "{}", first.len());
    let (_, rest) = first.split_once("rel=\"next\" href=\"").unwrap();
    let second = page(&rest.split('"').next().unwrap().replace("&#38;", "&"), "alice").await;
    assert_eq!(second.matches("<li class=\"card").count(), 3);
    let seen = page("/dashboard/clones", "root").await;
    assert!(seen.contains("<dt>Owner</dt><dd>alice") && !seen.contains("data-login"));
}

#[tokio::test]
async fn a_clones_result_is_readable_and_without_secrets() {
    let api = Api::start().await;
    let id = cloned(&api).await;
    let text = page(&api, &format!("/dashboard/tasks/{id}")).await;
    for part in [
        "Clone</h3>",
        "href=\"http://127.0.0.1:8090/clone-20261123-163105-abcdef\"",
        "data-secret=\"clone.password\"",
        "data-countdown",
        "Copied content</h3>",
        "<dt>unreplaced addresses</dt><dd>3 root relative",
        "<dt>source.username</dt>",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("pw-of-it"), "a secret is never in a page");
    assert!(!text.contains("source_api_key") && !text.contains("source api key"), "it was removed");
}

#[tokio::test]
async fn long_lists_page_and_keep_their_filters() {
    let api = Api::start().await;
    for n in 0..22 {
        api.ask(&format!("https://shop-{n}.example"), None).await;
    }
    let first = page(&api, "/dashboard/tasks?q=shop&state=queued&kind=").await;
    assert_eq!(first.matches("<tr id=").count(), 20);
    let (_, rest) = first.split_once("rel=\"next\" href=\"").unwrap();
    let next = rest.split('"').next().unwrap().replace("&#38;", "&");
    assert!(next.contains("state=queued") && next.contains("q=shop"), "{next}");
    let second = page(&api, &next).await;
    assert_eq!(second.matches("<tr id=").count(), 2);
    assert!(second.contains(">Newest</a>") && !second.contains("rel=\"next\""));
}

#[tokio::test]
async fn a_visitor_without_a_session_signs_in_and_returns_to_the_page() {
    let api = Api::with_tokens(&[("alice", "user"), ("root", "operator")]).await;
    let answer = api.get("/dashboard/tasks?q=a%20b").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let form = answer.headers()["location"].to_str().unwrap().to_owned();
    assert!(page(&api, &form).await.contains("name=\"next\" value=\"/dashboard/tasks?q=a%20b\""));

    let as_user = |path: &str| api.get(path).header("Accept", "text/html").bearer_auth(token("alice")).send();
    let overview = as_user("/").await.unwrap().text().await.unwrap();
    assert!(
        !overview.contains("Workers") && !overview.contains("worker is running"),
        "users see their own tasks"
    );
    let workers = as_user("/dashboard/workers").await.unwrap();
    assert_eq!(workers.status(), StatusCode::FORBIDDEN);
    assert!(workers.text().await.unwrap().contains("FORBIDDEN"));
}

#[tokio::test]
async fn errors_are_pages_for_people_and_problems_for_programs() {
    let mut api = Api::start().await;
    for path in ["/nothing", "/dashboard/tasks/nonsense"] {
        let answer = api.get(path).header("Accept", "text/html,*/*").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/html"), "{path}");
    }
    let for_programs = api.get("/tasks/nonsense").header("Accept", "text/html").send().await.unwrap();
    crate::support::problem(for_programs, 404, "TASK_NOT_FOUND").await;
    api.redis.kill();
    let answer = api.get("/").header("Accept", "text/html").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text().await.unwrap().contains("The queue cannot be reached"));
}

//! The life cycle of a clone, and failures that leave none.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use wpclone_task::{Code, State, TaskView};
use wpclone_tests::{Result, Site, TestApp, Version, until};

use crate::clone::checker::Pair;
use crate::clone::{PLUGIN, assert_nothing_left, at, cloned, problem, start_visited, transfer_has_begun};

#[tokio::test]
async fn a_site_is_cloned_to_its_own_address_and_can_be_deleted() -> Result {
    let site = Site::builder(Version::Bookworm).start().await?;
    site.eval_php(
        "wp_insert_post(['post_title' => 'Hello from the source', 'post_status' => 'publish', \
         'post_content' => 'See ' . home_url('/about/') . ' or <a href=\"/here/\">here</a>.']); \
         $item = wp_insert_post(['post_type' => 'nav_menu_item', 'post_status' => 'publish']); \
         update_post_meta($item, '_menu_item_url', '/there/');",
    )
    .await?;
    let app = TestApp::builder().clones_from_scratch(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let url = at(&task, "/clone/url").as_str().unwrap().to_owned();
    assert!(at(&task, "/fidelity/rows").as_u64().unwrap() > 0, "{task:#?}");
    // Its path differs from the source's, so root-relative addresses lead elsewhere and are reported.
    assert!(at(&task, "/fidelity/unreplaced_addresses/root-relative").as_u64().unwrap() >= 2, "{task:#?}");
    let http = reqwest::Client::builder().build()?;
    let front = http.get(format!("{url}/")).send().await?.text().await?;
    assert!(front.contains("Hello from the source"), "{front}");
    assert!(front.contains(&format!("{url}/about/")) && !front.contains(&site.url()), "{front}");
    let names: Vec<_> = task.artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
    for name in ["fidelity.json", "clone-front-page.png", "clone-dashboard.png"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }

    let name = at(&task, "/clone/name").as_str().unwrap();
    let list: Value = client.get("/clones").await?.json().await?;
    assert_eq!(list["clones"][0]["name"], name, "{list}");
    let answer = client.request(reqwest::Method::DELETE, &format!("/clones/{name}")).send().await?;
    assert_eq!(answer.status(), 202);
    let deleting: TaskView = answer.json().await?;
    assert_eq!(client.wait(deleting.id).await?.state, State::Succeeded);
    assert_eq!(http.get(format!("{url}/")).send().await?.status(), 410);
    assert_eq!(client.get(&format!("/clones/{name}")).await?.status(), 410);
    Ok(())
}

#[tokio::test]
async fn a_clone_can_have_its_own_host_and_database_server() -> Result {
    let site = Site::builder(Version::Bookworm).content(5).start().await?;
    let app =
        TestApp::builder().clones(Version::Bookworm).env("WPCLONE_CLONE_ROUTING", "host").start().await?;
    let client = app.client()?;
    let body = json!({"source": site.login(&site.admin()), "isolation": "dedicated"});
    let task = client.accepted("/clone", &body).await?;
    let task = client.wait(task.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    let (name, url) = (at(&task, "/clone/name").as_str().unwrap(), at(&task, "/clone/url").as_str().unwrap());
    let url = reqwest::Url::parse(url).unwrap();
    assert_eq!((url.host_str().unwrap(), url.path()), (format!("{name}.localhost").as_str(), "/"));
    assert_eq!(at(&task, "/clone/effective_isolation/own_database_server"), true);
    assert!(app.clones_state().unwrap().join("mariadb").join(name).is_dir());
    // Its path is its source's, so root-relative addresses still work.
    assert_eq!(at(&task, "/fidelity/unreplaced_addresses").get("root-relative"), None);
    let here = ([127, 0, 0, 1], url.port().unwrap()).into();
    let http = reqwest::Client::builder().resolve(url.host_str().unwrap(), here).build()?;
    for page in ["", "?p=1"] {
        let answer = http.get(url.join(page).unwrap()).send().await?;
        assert_eq!(answer.status(), 200);
        let text = answer.text().await?;
        assert!(text.contains(url.as_str()) && !text.contains(&site.url()), "{text}");
    }
    let deleting: TaskView =
        client.request(reqwest::Method::DELETE, &format!("/clones/{name}")).send().await?.json().await?;
    assert_eq!(client.wait(deleting.id).await?.state, State::Succeeded);
    assert!(!app.clones_state().unwrap().join("mariadb").join(name).exists());
    assert_nothing_left(&app, &client).await
}

#[tokio::test]
async fn nothing_is_left_of_a_clone_whose_source_rejects_the_login() -> Result {
    let site = Site::builder(Version::Bookworm).start().await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let mut wrong = site.admin();
    wrong.password = "not this one".into();
    let task = client.accepted("/clone", &json!({"source": site.login(&wrong)})).await?;
    let task = client.wait(task.id).await?;
    assert_eq!(
        task.problem.as_ref().map(|problem| problem.code),
        Some(Code::AuthBadCredentials),
        "{task:#?}"
    );
    let discard = task.steps.iter().find(|step| step.name == "discard").unwrap();
    assert_eq!(discard.state, State::Succeeded, "{task:#?}");
    let list: Value = client.get("/clones").await?.json().await?;
    assert_eq!(list["clones"], json!([]));
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_of_a_clone_whose_source_has_no_space_for_the_migrator() -> Result {
    // A stub of a full disk: what PHP says of one, in the place where WordPress takes an upload.
    let full = "add_filter('wp_handle_upload_prefilter', function ($file) { \
        $file['error'] = 'Failed to write file to disk.'; return $file; });";
    let site = Site::builder(Version::Bookworm).mu_plugin("full", full).start().await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = client.accepted("/clone", &json!({"source": site.login(&site.admin())})).await?;
    let task = client.wait(task.id).await?;
    let problem = problem(&task);
    assert_eq!((problem.code, problem.changed_target), (Code::SiteFatal, false), "{task:#?}");
    assert!(problem.detail.contains("Failed to write file to disk"), "{}", problem.detail);
    assert!(!site.tree().join(PLUGIN).exists());
    assert_nothing_left(&app, &client).await
}

#[tokio::test]
async fn a_clone_keeps_running_and_expires_while_the_wordpress_template_is_missing() -> Result {
    let site = Site::builder(Version::Bookworm).start().await?;
    let mut app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let front = format!("{}/", at(&task, "/clone/url").as_str().unwrap());
    let name = at(&task, "/clone/name").as_str().unwrap();
    let answers =
        async |expected: u16| reqwest::get(&front).await.is_ok_and(|answer| answer.status() == expected);
    app.workers[0].terminate().await?;
    app.add_worker(&[("WPCLONE_WORDPRESS_DIR", "/nonexistent")]).await?;
    until("the clone to respond", Duration::from_secs(180), None, async || answers(200).await).await?;
    let reported = |text: &str| text.contains("clones: unavailable") && text.contains("/nonexistent");
    app.workers[1]
        .until_ready_says("the missing WordPress to be reported", Duration::from_secs(180), reported)
        .await?;

    app.workers[1].terminate().await?;
    // It expires meanwhile.
    let file = app.clones_state().unwrap().join("clones").join(name).join("clone.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&file).unwrap())?;
    assert!(record["info"]["expires_at"].is_string(), "{record}");
    record["info"]["expires_at"] = json!("2026-01-01T00:00:00Z");
    fs::write(&file, record.to_string()).unwrap();
    app.workers[1].restart().await?;
    until("the clone to be gone", Duration::from_secs(180), None, async || answers(410).await).await?;
    let gone = async || client.get(&format!("/clones/{name}")).await.is_ok_and(|a| a.status() == 410);
    until("the API to report it", Duration::from_secs(180), None, gone).await?;
    assert_nothing_left(&app, &client).await
}

#[tokio::test]
async fn another_worker_continues_the_transfer_of_a_killed_one() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm).content(200)).await?;
    let mut app = TestApp::builder().clones(Version::Bookworm).start().await?;
    app.add_worker(&[]).await?;
    let client = app.client()?;
    let task = client.accepted("/clone", &json!({"source": site.login(&site.admin())})).await?;
    client.wait_until(task.id, "its transfer", transfer_has_begun).await?;
    // Only one of them owns the clones' state; either may do the transfer.
    app.workers[0].kill9().await?;
    let task = client.wait(task.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    Pair::of(&site, &app, &client, &task).await?.assert_equal().await
}

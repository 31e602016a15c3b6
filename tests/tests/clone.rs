//! POST /clone: a live WordPress becomes a true copy at an address of its own, which expires.

use serde_json::{Value, json};
use wpclone_task::{Code, State, TaskView};
use wpclone_tests::{Client, Result, Site, TestApp, User, Version};

fn login(site: &Site, user: &User) -> Value {
    json!({"url": site.url(), "username": user.name, "password": user.password})
}

async fn cloned(client: &Client, body: Value) -> Result<TaskView> {
    let task = client.accepted("/clone", &body).await?;
    let task = client.wait(task.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    Ok(task)
}

fn at<'a>(task: &'a TaskView, pointer: &str) -> &'a Value {
    let result = task.result.as_ref().unwrap_or_else(|| panic!("no result: {task:#?}"));
    let mut parts = pointer.split('/').skip(1);
    let first = parts.next().and_then(|first| result.get(first));
    parts.fold(first, |value, part| value?.get(part)).unwrap_or_else(|| panic!("{pointer} in {result:#?}"))
}

#[tokio::test]
async fn a_site_is_copied_to_an_address_of_its_own_and_can_be_taken_away() -> Result {
    let site = Site::builder(Version::Bookworm).start().await?;
    site.eval_php(
        "wp_insert_post(['post_title' => 'Hello from the source', 'post_status' => 'publish', \
         'post_content' => 'See ' . home_url('/about/') . ' for more.']);",
    )
    .await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, json!({"source": login(&site, &site.admin()), "ttl_minutes": 30})).await?;
    let url = at(&task, "/clone/url").as_str().unwrap().to_owned();
    assert!(at(&task, "/fidelity/rows").as_u64().unwrap() > 0, "{task:#?}");
    let http = reqwest::Client::builder().build()?;
    let front = http.get(format!("{url}/")).send().await?.text().await?;
    assert!(front.contains("Hello from the source"), "{front}");
    assert!(front.contains(&format!("{url}/about/")) && !front.contains(&site.url()), "{front}");
    let names: Vec<_> = task.artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
    assert!(names.contains(&"fidelity.json") && names.contains(&"copy-front.png"), "{names:?}");

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

/// What REST tells of a site's content, without its address.
async fn content(url: &str) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for what in ["posts", "pages", "categories", "tags", "comments", "users", "media"] {
        let route = format!("{url}/index.php?rest_route=/wp/v2/{what}&per_page=100&orderby=id");
        let text = reqwest::get(route).await?.text().await?;
        let escaped = url.replace('/', "\\/");
        let neutral = text.replace(&escaped, "SITE").replace(url, "SITE");
        all.push(serde_json::from_str(&neutral)?);
    }
    Ok(all)
}

#[tokio::test]
async fn a_site_of_another_version_below_a_prefix_is_the_same_in_its_copy() -> Result {
    let site = Site::builder(Version::Trixie).prefix("/a/blog").content(30).start().await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, json!({"source": login(&site, &site.admin())})).await?;
    let url = at(&task, "/clone/url").as_str().unwrap();
    let (source, copy) = (content(&site.url()).await?, content(url).await?);
    for (source, copy) in source.iter().zip(&copy) {
        assert!(source.is_array(), "{source}");
        assert_eq!(source, copy);
    }
    let front = reqwest::get(format!("{url}/")).await?.text().await?;
    assert!(
        front.contains(&format!("ver={}", site.wordpress())),
        "the copy runs WordPress {}",
        site.wordpress()
    );
    let report = task.artifacts.iter().find(|artifact| artifact.name == "fidelity.json").unwrap();
    let fidelity: Value = client.get(&report.href).await?.json().await?;
    for table in fidelity["tables"].as_array().unwrap() {
        let left_out: u64 =
            table["left_out"].as_object().map_or(0, |all| all.values().filter_map(Value::as_u64).sum());
        assert_eq!(
            table["source_rows"].as_u64().unwrap(),
            table["target_rows"].as_u64().unwrap() + left_out,
            "{table}"
        );
    }
    assert!(fidelity["files"]["core"].as_u64().unwrap() > 500, "{}", fidelity["files"]);
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_of_a_clone_whose_source_lets_nobody_in() -> Result {
    let site = Site::builder(Version::Bookworm).start().await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let mut nobody = site.admin();
    nobody.password = "not this one".into();
    let task = client.accepted("/clone", &json!({"source": login(&site, &nobody)})).await?;
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
async fn a_worker_that_is_killed_while_it_copies_is_followed_by_another() -> Result {
    let site = Site::builder(Version::Bookworm).content(200).start().await?;
    let mut app = TestApp::builder().clones(Version::Bookworm).start().await?;
    app.add_worker(&[]).await?;
    let client = app.client()?;
    let task = client.accepted("/clone", &json!({"source": login(&site, &site.admin())})).await?;
    client
        .wait_until(task.id, "its transfer", |task| {
            task.steps.iter().any(|step| step.name == "transfer" && step.started_at.is_some())
        })
        .await?;
    // The clones' state belongs to one of them, and the transfer to either.
    app.workers[0].kill9().await?;
    let task = client.wait(task.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    let url = at(&task, "/clone/url").as_str().unwrap();
    assert_eq!(content(&site.url()).await?, content(url).await?);
    Ok(())
}

//! Setup and application passwords, from the API through a worker's browser to a real WordPress.

use std::process::Command;

use serde_json::Value;
use wpclone_task::{Role, State, TaskView};
use wpclone_tests::{Client, HeldLoginPage, Result, Site, TestApp, Version};

/// A plain HTTP client, like a customer's own program.
fn http() -> reqwest::Client {
    reqwest::Client::builder().build().expect("a client")
}

fn text<'a>(task: &'a TaskView, field: &str) -> &'a str {
    task.result.as_ref().and_then(|r| r[field].as_str()).unwrap_or_else(|| panic!("{field} in {task:#?}"))
}

fn artifact_names(task: &TaskView) -> Vec<&str> {
    task.artifacts.iter().map(|a| a.name.as_str()).collect()
}

async fn done(client: &Client, task: TaskView) -> Result<TaskView> {
    let task = client.wait(task.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    Ok(task)
}

/// Sets a site up twice, makes two application passwords, and checks the site itself.
async fn setup_and_app_passwords(site: Site) -> Result {
    let app = TestApp::start().await?;
    let (client, admin) = (app.client()?, site.admin());

    let task = done(&client, client.setup(&site, &admin, Role::Source).await?).await?;
    assert_eq!(text(&task, "plugin_status"), "installed");
    assert_eq!(task.result.as_ref().map(|r| &r["import_enabled"]), Some(&Value::Bool(false)));
    let key = text(&task, "api_key").to_owned();
    assert_eq!(key.len(), 64);
    assert_eq!(artifact_names(&task), ["before.png", "after.png"]);
    assert_eq!(task.progress.percent, 100);

    // The access window is open: the same key, nothing to install, import as requested.
    let task = done(&client, client.setup(&site, &admin, Role::Target).await?).await?;
    assert_eq!(text(&task, "plugin_status"), "unchanged");
    assert_eq!(text(&task, "api_key"), key);
    assert_eq!(task.result.as_ref().map(|r| &r["import_enabled"]), Some(&Value::Bool(true)));

    let first = done(&client, client.app_password(&site, &admin, "my app").await?).await?;
    let second = done(&client, client.app_password(&site, &admin, "my app").await?).await?;
    assert_eq!(text(&first, "app_name"), "my app");
    assert!(text(&second, "app_name").starts_with("my app ("), "another's name is left alone");
    for task in [&first, &second] {
        let me = http()
            .get(format!("{}/index.php?rest_route=/wp/v2/users/me&context=edit", site.url()))
            .basic_auth(text(task, "username"), Some(text(task, "application_password")))
            .send()
            .await?;
        assert_eq!(me.status(), 200);
        let me: Value = me.json().await?;
        assert_eq!(me["roles"][0], "administrator");
    }
    let names = site.eval_php("echo json_encode(wp_list_pluck(WP_Application_Passwords::get_user_application_passwords(1), 'name'));");
    let names: Vec<String> = serde_json::from_str(&names.await?)?;
    assert_eq!(names, [text(&first, "app_name"), text(&second, "app_name")]);

    let ours: Vec<String> =
        site.debug_log().lines().filter(|l| l.contains("wpclone")).map(str::to_owned).collect();
    assert_eq!(ours, Vec::<String>::new(), "no warning of WordPress or PHP is about us");
    app.workers[0].clean().await?;
    Ok(())
}

#[tokio::test]
async fn at_the_root_of_wordpress_6_1() -> Result {
    setup_and_app_passwords(Site::builder(Version::Bookworm).debug().start().await?).await
}

#[tokio::test]
async fn below_a_path_of_wordpress_6_8_in_arabic() -> Result {
    setup_and_app_passwords(
        Site::builder(Version::Trixie).prefix("/a/blog").locale("ar").debug().start().await?,
    )
    .await
}

#[tokio::test]
async fn at_the_root_of_the_current_wordpress() -> Result {
    setup_and_app_passwords(Site::builder(Version::Sid).host("localhost").debug().start().await?).await
}

#[tokio::test]
#[ignore = "the long form: `./dev test long`"]
async fn below_a_path_of_wordpress_6_5() -> Result {
    setup_and_app_passwords(Site::builder(Version::Npm).prefix("/blog").debug().start().await?).await
}

#[tokio::test]
async fn an_older_or_inactive_migrator_is_updated_and_activated() -> Result {
    let site = Site::builder(Version::Trixie).start().await?;
    let app = TestApp::start().await?;
    let (client, admin) = (app.client()?, site.admin());
    done(&client, client.setup(&site, &admin, Role::Source).await?).await?;

    site.eval_php("require_once ABSPATH.'wp-admin/includes/plugin.php'; deactivate_plugins('wpclone-migrator/wpclone-migrator.php');").await?;
    let task = done(&client, client.setup(&site, &admin, Role::Source).await?).await?;
    assert_eq!(text(&task, "plugin_status"), "activated");

    let main = "wp-content/plugins/wpclone-migrator/wpclone-migrator.php";
    let php = std::fs::read_to_string(site.tree().join(main))?;
    let current = text(&task, "plugin_version").to_owned();
    site.put(main, &php.replace(&current, "0.0.1"))?;
    let task = done(&client, client.setup(&site, &admin, Role::Source).await?).await?;
    assert_eq!(text(&task, "plugin_status"), "updated");
    assert_eq!(text(&task, "plugin_version"), current);
    Ok(())
}

#[tokio::test]
async fn the_admin_email_interstitial_is_skipped_without_an_answer() -> Result {
    let site = Site::builder(Version::Trixie).start().await?;
    site.eval_php("update_option('admin_email_lifespan', time() - 1);").await?;
    let app = TestApp::start().await?;
    let client = app.client()?;
    done(&client, client.setup(&site, &site.admin(), Role::Source).await?).await?;
    let due = site.eval_php("echo get_option('admin_email_lifespan') < time() ? 'due' : 'answered';").await?;
    assert_eq!(due.trim(), "due", "whether the address is right is for the site's people to say");
    Ok(())
}

#[tokio::test]
async fn a_site_that_answers_only_browsers_is_set_up_by_the_browser() -> Result {
    // Everything but the login requires a header that only browsers send.
    let site = Site::builder(Version::Trixie)
        .nginx(
            "set $robot \"\"; if ($http_sec_fetch_mode = \"\") { set $robot \"1\"; } \
                if ($request_uri ~ \"/wp-admin/\") { set $robot \"${robot}1\"; } \
                if ($robot = \"11\") { return 403; }",
        )
        .start()
        .await?;
    let app = TestApp::start().await?;
    let client = app.client()?;
    let task = done(&client, client.setup(&site, &site.admin(), Role::Source).await?).await?;
    assert_eq!(text(&task, "plugin_status"), "installed");
    Ok(())
}

#[tokio::test]
async fn twenty_tasks_on_four_sites_with_two_browsers_never_run_concurrently_on_a_site() -> Result {
    let app = TestApp::builder().slots(2).start().await?;
    let client = app.client()?;
    let mut sites = Vec::new();
    for _ in 0..4 {
        sites.push(Site::builder(Version::Bookworm).start().await?);
    }
    let mut tasks = Vec::new();
    for round in 0..5 {
        for site in &sites {
            let role = if round % 2 == 0 { Role::Source } else { Role::Target };
            tasks.push(client.setup(site, &site.admin(), role).await?);
        }
    }
    let mut ended: Vec<TaskView> = Vec::new();
    for task in tasks {
        ended.push(done(&client, task).await?);
    }
    for (index, one) in ended.iter().enumerate() {
        assert_eq!((one.attempts, one.crashes), (0, 0), "{one:#?}");
        for other in ended.iter().skip(index + 1).filter(|other| same_site(one, other)) {
            assert!(
                one.finished_at <= other.started_at || other.finished_at <= one.started_at,
                "{one:#?} met {other:#?}"
            );
        }
    }
    Ok(())
}

fn same_site(one: &TaskView, other: &TaskView) -> bool {
    one.request.subject() == other.request.subject()
}

#[tokio::test]
async fn a_killed_worker_leaves_nothing_and_another_worker_finishes() -> Result {
    let site = Site::builder(Version::Trixie).start().await?;
    let mut app = TestApp::builder().start().await?;
    let client = app.client()?;
    let held_page = HeldLoginPage::of(&site)?;
    let task = client.setup(&site, &site.admin(), Role::Source).await?;
    held_page.wait_until_asked(Some(&app.workers[0].log())).await?;
    assert!(!app.workers[0].leftovers().is_empty(), "a browser is at work");

    app.workers[0].kill9().await?;
    // The supervisor cleans up without any worker.
    app.workers[0].clean().await?;

    held_page.release()?;
    app.add_worker(&[]).await?;
    let task = done(&client, task).await?;
    assert_eq!(
        task.attempts, 0,
        "a crash is no failed attempt; it is forgotten once the next worker got further"
    );
    Ok(())
}

#[tokio::test]
async fn a_terminated_worker_releases_its_task_without_counting_an_attempt() -> Result {
    let site = Site::builder(Version::Bookworm).start().await?;
    let mut app = TestApp::builder().env("WPCLONE_DRAIN", "0").start().await?;
    let client = app.client()?;
    let held_page = HeldLoginPage::of(&site)?;
    let task = client.setup(&site, &site.admin(), Role::Source).await?;
    held_page.wait_until_asked(Some(&app.workers[0].log())).await?;
    app.workers[0].terminate().await?;
    assert!(app.workers[0].leftovers().is_empty());
    held_page.release()?;
    app.add_worker(&[]).await?;
    let task = done(&client, task).await?;
    assert_eq!((task.attempts, task.crashes), (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_cancelled_task_stops_its_browser() -> Result {
    let site = Site::builder(Version::Bookworm).start().await?;
    let app = TestApp::builder().start().await?;
    let client = app.client()?;
    let held_page = HeldLoginPage::of(&site)?;
    let task = client.setup(&site, &site.admin(), Role::Source).await?;
    held_page.wait_until_asked(Some(&app.workers[0].log())).await?;
    let answer = client.post(&format!("/tasks/{}/cancel", task.id), &Value::Null).await?;
    assert_eq!(answer.status(), 202);
    let task = client.wait(task.id).await?;
    assert_eq!(task.state, State::Cancelled);
    app.workers[0].clean().await?;
    Ok(())
}

#[tokio::test]
async fn the_command_line_does_the_job_and_prints_plain_text_to_a_pipe() -> Result {
    let site = Site::builder(Version::Bookworm).start().await?;
    let app = TestApp::start().await?;
    let admin = site.admin();
    let run = |args: &[&str]| {
        Command::new(wpclone_tests::built("wpclone").expect("built"))
            .args(args)
            .env("WPCLONE_URL", app.api.url())
            .env("WPCLONE_TOKEN", &app.tokens()[0].secret)
            .env("WPCLONE_SITE_PASSWORD", &admin.password)
            .output()
            .expect("it runs")
    };
    let out = run(&["setup", &site.url(), "--username", &admin.name]);
    assert!(out.status.success(), "{out:?}");
    assert!(!out.stderr.contains(&0x1b) && !out.stdout.contains(&0x1b), "no control characters in a pipe");
    let out = run(&["app-password", &site.url(), "--username", &admin.name, "--json"]);
    assert!(out.status.success(), "{out:?}");
    let task: TaskView = serde_json::from_slice(&out.stdout)?;
    assert_eq!(text(&task, "username"), admin.name);
    Ok(())
}

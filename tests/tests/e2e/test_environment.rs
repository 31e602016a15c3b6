//! The lab itself: its services are real, isolated from each other, and leave nothing behind.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use reqwest::{Client, StatusCode, redirect};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use wpclone_tests::{
    Fsync, Hit, Lab, LabError, Redis, Result, Site, Stub, TestApp, User, Version, is_free, until,
};

fn http() -> Client {
    Client::builder()
        .redirect(redirect::Policy::none())
        .timeout(Duration::from_secs(60))
        .build()
        .expect("a client")
}

/// Whether WordPress accepts this login, with a single POST.
async fn logs_in(site: &Site, user: &User) -> Result<bool> {
    let form = [("log", &user.name), ("pwd", &user.password)];
    let answer = http().post(format!("{}/wp-login.php", site.url())).form(&form).send().await?;
    let cookies = answer.headers().get_all("set-cookie");
    let has_session = cookies.iter().any(|c| c.as_bytes().starts_with(b"wordpress_logged_in_"));
    assert_eq!(has_session, answer.status() == StatusCode::FOUND);
    Ok(has_session)
}

async fn works(version: Version, prefix: &str, wordpress: &str) -> Result {
    let site = Site::builder(version).prefix(prefix).debug().start().await?;
    assert!(site.wordpress().starts_with(wordpress), "{}", site.wordpress());
    let page = http().get(format!("{}/wp-login.php", site.url())).send().await?.text().await?;
    assert!(page.contains("id=\"loginform\"") || page.contains("id='loginform'"), "{page}");
    let rest: Value = http().get(format!("{}/wp-json/", site.url())).send().await?.json().await?;
    assert_eq!(rest["url"], site.url().as_str());
    assert!(rest["authentication"]["application-passwords"].is_object(), "{}", rest["authentication"]);
    assert!(logs_in(&site, &site.admin()).await?);
    let wrong = User { password: "wrong".into(), ..site.admin() };
    assert!(!logs_in(&site, &wrong).await?);
    assert_eq!(site.logins().await?, 2);
    assert_eq!(
        site.eval_php("echo wp_get_environment_type(), ' ', get_bloginfo('url');").await?,
        format!("local {}", site.url())
    );
    let front = http().get(format!("{}/hello-world/", site.url())).send().await?;
    assert_eq!(front.status(), StatusCode::OK, "addresses without index.php work");
    Ok(())
}

#[tokio::test]
async fn wordpress_6_1_works_at_the_root() -> Result {
    works(Version::Bookworm, "", "6.1").await
}

#[tokio::test]
async fn wordpress_6_1_works_below_a_path() -> Result {
    works(Version::Bookworm, "/blog", "6.1").await
}

#[tokio::test]
async fn wordpress_6_8_works_at_the_root() -> Result {
    works(Version::Trixie, "", "6.8").await
}

#[tokio::test]
async fn wordpress_6_8_works_below_a_path() -> Result {
    works(Version::Trixie, "/a/blog", "6.8").await
}

#[tokio::test]
async fn wordpress_7_works_at_the_root() -> Result {
    works(Version::Sid, "", "7.").await
}

#[tokio::test]
async fn wordpress_7_works_below_a_path() -> Result {
    works(Version::Sid, "/blog", "7.").await
}

#[tokio::test]
#[ignore = "the long form: `./dev test long`"]
async fn wordpress_6_5_works_below_a_path() -> Result {
    works(Version::Npm, "/blog", "6.5").await
}

#[tokio::test]
async fn two_sites_share_nothing() -> Result {
    let build = || Site::builder(Version::Trixie);
    let (one, two) = tokio::try_join!(build().start(), build().start())?;
    one.eval_php("update_option('blogname', 'One');").await?;
    assert_eq!(two.eval_php("echo get_option('blogname');").await?, "A site of the lab");
    one.put("wp-includes/version.php", "<?php $wp_version = 'changed';")?;
    assert!(!std::fs::read_to_string(two.tree().join("wp-includes/version.php"))?.contains("changed"));
    Ok(())
}

#[tokio::test]
async fn a_site_is_configured_as_its_builder_says() -> Result {
    let site = Site::builder(Version::Bookworm)
        .prefix("/blog")
        .host("localhost")
        .locale("de_DE")
        .environment(None)
        .constant("DISALLOW_FILE_MODS", "true")
        .user("ed", "editor", "ed's \"pass\" \\ word")
        .admin_password("canary-1")
        .nginx("location = {base}/gone { return 410; }")
        .ini("upload_max_filesize", "3M")
        .content(12)
        .debug()
        .mu_plugin("say", "add_action('init', fn() => error_log('said by a plugin'));")
        .start()
        .await?;
    assert!(site.url().starts_with("http://localhost:") && site.url().ends_with("/blog"));
    let page = http().get(site.url() + "/wp-login.php").send().await?.text().await?;
    assert!(page.contains("lang=\"de-DE\"") && page.contains("Passwort"), "{page}");
    assert!(logs_in(&site, &site.user("ed").unwrap()).await?);
    assert!(logs_in(&site, &site.admin()).await?);
    let rest: Value = http().get(site.url() + "/wp-json/").send().await?.json().await?;
    assert_eq!(rest["authentication"], serde_json::json!([]), "no application passwords without https");
    assert_eq!(http().get(site.url() + "/gone").send().await?.status(), StatusCode::GONE);
    assert_eq!(site.eval_php("var_export(wp_is_file_mod_allowed('x'));").await?, "false");
    assert_eq!(site.sql("SELECT COUNT(*) FROM wp_posts WHERE post_type = 'attachment'").await?.trim(), "3");
    let pictures =
        site.eval_php("echo wp_get_attachment_url(get_posts('post_type=attachment')[0]->ID);").await?;
    assert_eq!(http().get(pictures).send().await?.status(), StatusCode::OK);
    assert!(site.debug_log().contains("said by a plugin"));
    site.put_mu_plugin("say", "add_action('init', fn() => wp_die('replaced', '', ['response' => 418]));")?;
    assert_eq!(http().get(site.url()).send().await?.status().as_u16(), 301, "nginx adds the slash");
    assert_eq!(http().get(site.url() + "/").send().await?.status().as_u16(), 418);
    site.remove_mu_plugin("say")?;
    assert_eq!(http().get(site.url() + "/").send().await?.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn a_site_records_its_requests() -> Result {
    let site = Site::builder(Version::Trixie).start().await?;
    assert_eq!(site.hits().await?, []);
    http().get(site.url() + "/nowhere/?a=1").send().await?;
    let hit = Hit { scheme: "http".into(), method: "GET".into(), path: "/nowhere/?a=1".into(), status: 404 };
    assert_eq!(site.hits().await?, [hit]);
    Ok(())
}

#[tokio::test]
async fn a_site_goes_down_and_comes_back() -> Result {
    let mut site = Site::builder(Version::Trixie).start().await?;
    site.stop_web();
    assert!(http().get(site.url()).send().await.unwrap_err().is_connect());
    site.start_web().await?;
    assert_eq!(http().get(site.url()).send().await?.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn a_site_can_have_an_untrusted_certificate() -> Result {
    let site = Site::builder(Version::Trixie).tls().environment(None).start().await?;
    assert!(http().get(site.url()).send().await.is_err());
    let trusting = Client::builder().danger_accept_invalid_certs(true).build().unwrap();
    let rest: Value = trusting.get(site.url() + "/wp-json/").send().await?.json().await?;
    assert!(rest["authentication"]["application-passwords"].is_object(), "https has application passwords");
    assert_eq!(site.hits().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_dropped_site_leaves_no_process_folder_or_schema() -> Result {
    let site = Site::builder(Version::Trixie).start().await?;
    let schema = site.sql("SELECT DATABASE()").await?.trim().to_owned();
    assert!(Lab::shared().schemas().await?.contains(&schema));
    let (tree, url) = (site.tree(), site.url());
    let folder = tree.parent().unwrap().to_owned();
    assert!(!processes_about(&folder).is_empty());
    drop(site);
    assert_eq!(processes_about(&folder), [""; 0]);
    assert!(!folder.exists());
    assert!(!Lab::shared().schemas().await?.contains(&schema));
    assert!(is_free(url.rsplit(':').next().unwrap().parse().unwrap()));
    Ok(())
}

#[tokio::test]
async fn redis_keeps_what_it_acknowledged_when_it_is_killed() -> Result {
    let mut redis = Redis::start(Fsync::Always).await?;
    let ask = async |words: &[&str]| {
        let mut cli = Command::new("redis-cli");
        let out = cli.arg("-u").arg(redis.url()).args(words).output().await.unwrap();
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(ask(&["SET", "a", "kept"]).await, "OK");
    assert_eq!(ask(&["CONFIG", "GET", "appendonly"]).await, "appendonly\nyes");
    let url = redis.url();
    redis.kill9().await?;
    redis.start_again().await?;
    assert_eq!(redis.url(), url);
    let out = Command::new("redis-cli").args(["-u", &url, "GET", "a"]).output().await?;
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "kept");
    Ok(())
}

#[tokio::test]
async fn stubs_send_what_no_wordpress_sends() -> Result {
    let big = Stub::answering(200, &[("content-type", "application/json")], vec![b'x'; 10 << 20]).await?;
    assert_eq!(http().get(big.url()).send().await?.bytes().await?.len(), 10 << 20);
    let away = Stub::redirecting("http://example.invalid/x").await?;
    let answer = http().get(away.url() + "/wp-login.php").send().await?;
    assert_eq!(
        (answer.status(), &answer.headers()["location"]),
        (StatusCode::FOUND, &"http://example.invalid/x".parse().unwrap())
    );
    let silent = Stub::hanging().await?;
    let response = http().get(silent.url()).timeout(Duration::from_millis(200)).send().await;
    assert!(response.unwrap_err().is_timeout());
    Ok(())
}

#[tokio::test]
async fn the_app_starts_stops_and_starts_again() -> Result {
    let mut app = TestApp::builder().token("reader", "metrics", "").start().await?;
    assert_eq!(app.client()?.queue().await?.workers.len(), 1);
    assert_eq!(app.client_as("reader")?.get("/tasks").await?.status(), StatusCode::FORBIDDEN);
    assert_eq!(app.workers[0].terminate().await?, "exit status: 0");
    assert!(app.workers[0].leftovers().is_empty());
    app.workers[0].restart().await?;
    assert_eq!(http().get(app.workers[0].url() + "/readyz").send().await?.status(), StatusCode::OK);
    let url = app.api.url();
    app.api.kill9().await?;
    assert_eq!(app.api.status().as_deref(), Some("signal: 9 (SIGKILL)"));
    app.api.restart().await?;
    assert_eq!(app.api.url(), url);
    assert!(app.client()?.tasks().await?.tasks.is_empty());
    Ok(())
}

#[tokio::test]
async fn leftovers_of_a_killed_program_are_detected() -> Result {
    let app = TestApp::builder().workers(0).start().await?;
    let sleeper = app.api.tmp().join("folder");
    std::fs::create_dir(&sleeper)?;
    assert!(app.api.leftovers().is_empty(), "an empty folder is where tasks' folders would be");
    std::fs::write(sleeper.join("file"), "")?;
    let mut child = Command::new("sleep").arg("600").current_dir(&sleeper).kill_on_drop(true).spawn()?;
    app.api.kill9().await?;
    let left = app.api.leftovers();
    assert_eq!(left.processes.len(), 1, "{left:?}");
    assert!(
        left.processes[0].starts_with("sleep 600") && left.files[0].ends_with("/folder/file"),
        "{left:?}"
    );
    assert!(app.api.clean_within(Duration::from_millis(200)).await.is_err());
    child.kill().await?;
    std::fs::remove_file(sleeper.join("file"))?;
    app.api.clean().await
}

/// The rest of this test is `holds_a_site_until_it_is_killed`, in a process of its own.
#[tokio::test]
async fn a_killed_test_process_leaves_nothing() -> Result {
    let me = std::env::current_exe()?;
    let mut child = Command::new(me)
        .args(["--exact", "test_environment::holds_a_site_until_it_is_killed", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let folder = loop {
        let line = lines.next_line().await?.expect("it says where it works");
        if let Some((_, folder)) = line.split_once("works in ") {
            break folder.to_owned();
        }
    };
    assert!(processes_about(folder.as_ref()).len() > 4, "MariaDB, Redis, PHP, nginx and their supervisors");
    child.kill().await?;
    let gone = async || !Path::new(&folder).exists() && processes_about(folder.as_ref()).is_empty();
    until("all of it to be gone", Duration::from_secs(180), None, gone).await?;
    let around = Path::new(&folder).parent().expect("a folder around it");
    let gone = async || !around.exists();
    until("the folder around it to be gone", Duration::from_secs(120), None, gone).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "run by `a_killed_test_process_leaves_nothing`"]
async fn holds_a_site_until_it_is_killed() -> Result {
    let _site = Site::builder(Version::Trixie).start().await?;
    let _redis = Redis::start(Fsync::EverySecond).await?;
    println!("works in {}", Lab::shared().folder().await?.display());
    std::future::pending::<()>().await;
    Ok(())
}

#[tokio::test]
async fn missing_programs_are_named() {
    let missing = wpclone_tests::built("no-such-program").unwrap_err();
    assert!(matches!(missing, LabError::Missing { .. }));
    assert!(format!("{missing:?}").contains("cargo build --workspace --bins"), "{missing:?}");
    let missing = Site::builder(Version::Trixie).locale("xx_XX").start().await.unwrap_err();
    assert!(format!("{missing:?}").contains("xx_XX"), "{missing:?}");
}

/// Command lines of processes that work in this folder or name it.
fn processes_about(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("Linux").flatten();
    let mut found = Vec::new();
    for entry in entries
        .filter(|e| e.file_name().to_string_lossy().parse::<u32>().is_ok_and(|p| p != std::process::id()))
    {
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        let works = std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        if works || words.contains(&*folder.to_string_lossy()) {
            found.push(words);
        }
    }
    found
}

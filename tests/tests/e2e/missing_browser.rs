//! A worker whose browser is missing serves its other stages, and the browser stage once the browser is there.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use wpclone_task::{Role, Stage, State};
use wpclone_tests::{Result, Site, TestApp, Version, until};

#[tokio::test]
async fn a_worker_without_a_browser_serves_its_other_stages_until_the_browser_is_installed() -> Result {
    let site = Site::builder(Version::Bookworm).start().await?;
    let mut app = TestApp::builder().workers(0).start().await?;
    let folder = tempfile::tempdir()?;
    let browser = folder.path().join("chromium-headless-shell");
    let named = browser.display().to_string();
    app.add_worker(&[("WPCLONE_BROWSER_BINARY", &named), ("WPCLONE_STAGES", "browser,transfer")]).await?;
    let ready = reqwest::get(format!("{}/readyz", app.workers[0].url())).await?;
    assert_eq!(ready.status(), 200);
    let why = format!("browser: not served, Chromium is missing at {named}");
    let told = |text: &str| text.contains(&why);
    app.workers[0].until_ready_says("readiness to say why", Duration::from_secs(120), told).await?;

    let client = app.client()?;
    let task = client.setup(&site, &site.admin(), Role::Source).await?;
    let log = app.workers[0].log();
    let reported = async || {
        let queue = client.queue().await.expect("the queue");
        queue.workers.first().is_some_and(|worker| worker.stages.keys().eq([&Stage::Transfer]))
    };
    until("the worker's report", Duration::from_secs(120), Some(&log), reported).await?;
    // Longer than the longest wait between two claims.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(client.task(task.id).await?.state, State::Queued);

    let installed = ["/usr/lib/chromium/chromium-headless-shell", "/usr/bin/chromium"];
    let installed = installed.iter().find(|path| Path::new(path).is_file()).expect("a Chromium");
    symlink(installed, &browser)?;
    let task = client.wait(task.id).await?;
    assert_eq!((task.state, task.attempts), (State::Succeeded, 0), "{task:#?}");
    let ready = reqwest::get(format!("{}/readyz", app.workers[0].url())).await?.text().await?;
    assert!(!ready.contains("browser:"), "{ready}");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_does_not_serve_the_browser_stage_needs_no_browser() -> Result {
    let mut app = TestApp::builder().workers(0).start().await?;
    let nowhere = [("WPCLONE_BROWSER_BINARY", "/nonexistent"), ("WPCLONE_DRIVER_BINARY", "/nonexistent")];
    let more = [nowhere[0], nowhere[1], ("WPCLONE_STAGES", "transfer")];
    let worker = app.add_worker(&more).await?;
    let text = reqwest::get(format!("{}/readyz", worker.url())).await?.text().await?;
    assert!(!text.contains("browser"), "{text}");
    Ok(())
}

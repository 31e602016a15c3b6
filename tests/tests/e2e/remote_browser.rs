//! A worker whose browsers run in another container of its pod: the driver there is not the worker's to start.

use std::time::Duration;

use serde_json::json;
use wpclone_task::{Role, State};
use wpclone_tests::{
    HeldLoginPage, Program, Result, Site, TestApp, Version, WebDriver, processes_with, until,
};

const LIMIT: Duration = Duration::from_secs(180);

/// The settings of a worker beside a driver: in a container Chromium's sandbox does not work.
fn settings(url: &str) -> [(&str, &str); 2] {
    [("WPCLONE_WEBDRIVER_URL", url), ("WPCLONE_UNSAFE_NO_BROWSER_SANDBOX", "true")]
}

/// Whether something below the worker is a browser or its driver.
fn has_browser(worker: &Program) -> bool {
    let tag = worker.tmp().display().to_string();
    !processes_with(&[&tag, "chrom"]).is_empty()
}

#[tokio::test]
async fn a_site_is_cloned_by_the_browsers_of_another_container_which_end_with_their_steps() -> Result {
    let site = Site::builder(Version::Bookworm).content(5).start().await?;
    let driver = WebDriver::start().await?;
    let mut app = TestApp::builder().clones(Version::Bookworm).workers(0).start().await?;
    app.add_worker(&settings(&driver.url())).await?;
    let client = app.client()?;
    let task = client.accepted("/clone", &json!({"source": site.login(&site.admin())})).await?;
    let page = HeldLoginPage::of(&site)?;
    page.wait_until_asked(Some(&app.workers[0].log())).await?;
    assert!(!driver.browsers().await?.is_empty());
    assert!(!has_browser(&app.workers[0]), "the worker has started a browser of its own");
    page.release()?;
    let task = client.wait(task.id).await?;
    assert_eq!((task.state, task.attempts), (State::Succeeded, 0), "{task:#?}");
    let names: Vec<_> = task.artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
    assert!(names.contains(&"clone-front-page.png"), "{names:?}");
    driver.clean().await?;
    app.workers[0].clean().await
}

#[tokio::test]
async fn a_driver_that_crashes_costs_an_attempt_and_its_stage_waits_until_it_is_back() -> Result {
    let site = Site::builder(Version::Bookworm).start().await?;
    let mut driver = WebDriver::start().await?;
    let mut app = TestApp::builder().workers(0).start().await?;
    app.add_worker(&settings(&driver.url())).await?;
    let client = app.client()?;
    let page = HeldLoginPage::of(&site)?;
    let task = client.setup(&site, &site.admin(), Role::Source).await?;
    page.wait_until_asked(Some(&app.workers[0].log())).await?;
    driver.kill9().await?;
    let why = format!("browser: not served, the driver at {} does not respond", driver.url());
    let waits = |text: &str| text.contains(&why);
    app.workers[0].until_ready_says("readiness to say why the stage waits", LIMIT, waits).await?;
    let next = client.setup(&site, &site.admin(), Role::Source).await?;

    page.release()?;
    driver.start_again().await?;
    let next = client.wait(next.id).await?;
    assert_eq!((next.state, next.attempts), (State::Succeeded, 0), "{next:#?}");
    // The first has lost one attempt with its browser, before its password was sent.
    let task = client.wait(task.id).await?;
    assert_eq!((task.state, task.attempts), (State::Succeeded, 1), "{task:#?}");
    assert_eq!(site.logins().await?, 2);
    driver.clean().await
}

#[tokio::test]
async fn browsers_of_a_killed_worker_are_ended_by_the_next() -> Result {
    let site = Site::builder(Version::Bookworm).start().await?;
    let driver = WebDriver::start().await?;
    let mut app = TestApp::builder().workers(0).start().await?;
    app.add_worker(&settings(&driver.url())).await?;
    let client = app.client()?;
    let page = HeldLoginPage::of(&site)?;
    let task = client.setup(&site, &site.admin(), Role::Source).await?;
    page.wait_until_asked(Some(&app.workers[0].log())).await?;
    app.workers[0].kill9().await?;
    let [left] = &driver.browsers().await?[..] else { panic!("not one browser") };
    page.release()?;
    app.workers[0].restart().await?;
    let is_ended = async || driver.browsers().await.is_ok_and(|browsers| !browsers.contains(left));
    until("the dead worker's browser to end", LIMIT, Some(&app.workers[0].log()), is_ended).await?;
    let task = client.wait(task.id).await?;
    assert_eq!((task.state, task.attempts), (State::Succeeded, 0), "{task:#?}");
    driver.clean().await
}

#[tokio::test]
async fn a_driver_of_another_machine_is_refused() -> Result {
    let mut app = TestApp::builder().workers(0).start().await?;
    let refused =
        app.add_worker(&settings("http://10.0.0.1:9515")).await.expect_err("another machine").to_string();
    assert!(refused.contains("WPCLONE_WEBDRIVER_URL") && refused.contains("exit status: 64"), "{refused}");
    Ok(())
}

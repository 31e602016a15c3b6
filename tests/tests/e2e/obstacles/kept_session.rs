//! A step that is tried again goes on with the session of its first login: the password is sent once.

use std::time::Duration;

use wpclone_task::TaskId;
use wpclone_tests::until;

use crate::obstacles::session::sessions;
use crate::obstacles::*;
use crate::site_cleanup::until_cleaned_up;

/// Holds a page that is asked for after the login until there is a file `answer`, at most for two minutes.
const HOLD_INSTALLATION: &str = "add_action('load-plugin-install.php', function () { \
    touch(WP_CONTENT_DIR . '/held'); \
    for ($i = 0; $i < 2400 && !is_file(WP_CONTENT_DIR . '/answer'); $i++) { usleep(50000); clearstatcache(); } });";
/// A busy machine needs long for what takes a second.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether Redis has a session that is kept for another attempt, or for a clean-up.
async fn is_kept(app: &TestApp) -> Result<bool> {
    let redis = redis::Client::open(app.redis.url()).expect("a URL");
    let mut redis = redis.get_multiplexed_async_connection().await.expect("Redis");
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await.expect("the keys");
    for key in keys {
        let fields: Option<Vec<String>> = redis::cmd("HGETALL").arg(&key).query_async(&mut redis).await.ok();
        let text: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut redis).await.ok();
        let words = fields.into_iter().flatten().chain(text);
        if words.into_iter().any(|word| word.contains("session_of")) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A setup whose first attempt has logged in and waits for a page.
struct Held {
    site: Site,
    app: TestApp,
    client: Client,
    id: TaskId,
}

impl Held {
    async fn start(version: Version) -> Result<Self> {
        let site = Site::builder(version).mu_plugin("hold", HOLD_INSTALLATION).start().await?;
        let app = TestApp::builder()
            .stages("browser,transfer")
            .env("WPCLONE_DEADLINE_PART", "100")
            .env("WPCLONE_DRAIN", "1")
            .start()
            .await?;
        let client = app.client()?;
        let id = client.setup(&site, &site.admin(), Role::Source).await?.id;
        let held = async || site.tree().join("wp-content/held").is_file();
        until("the page after the login", PATIENCE, Some(&app.workers[0].log()), held).await?;
        assert!(is_kept(&app).await?, "the session is stored before the next page is asked for");
        Ok(Self { site, app, client, id })
    }

    fn release(&self) -> Result {
        self.site.put("wp-content/answer", "")
    }

    /// The task at its end: the password was sent once, and nothing is left of the session.
    async fn ended(&self) -> Result<TaskView> {
        let task = self.client.wait(self.id).await?;
        // Where the site did not answer the logout in time.
        until_cleaned_up(&self.app, &self.client).await?;
        assert_eq!(self.site.logins().await?, 1, "the password was sent again: {task:#?}");
        assert!(!is_kept(&self.app).await?, "{task:#?}");
        assert_eq!(sessions(&self.site).await?, "0", "{task:#?}");
        Ok(task)
    }
}

#[tokio::test]
async fn a_page_that_stalls_once_after_the_login_costs_one_login() -> Result {
    let php = "add_action('load-plugin-install.php', function () { \
        if (!is_file(WP_CONTENT_DIR . '/stalled')) { touch(WP_CONTENT_DIR . '/stalled'); sleep(90); } });";
    for version in [Version::Bookworm, Version::Sid] {
        let site = Site::builder(version).mu_plugin("stalls", php).start().await?;
        let builder = TestApp::builder().stages("browser,transfer");
        let app = builder.env("WPCLONE_DEADLINE_PART", "15").start().await?;
        let client = app.client()?;
        let task = client.wait(client.setup(&site, &site.admin(), Role::Source).await?.id).await?;
        assert_eq!(task.state, State::Succeeded, "{task:#?}");
        assert!(task.attempts >= 1, "the first attempt was to fail: {task:#?}");
        assert_eq!(site.logins().await?, 1);
        until_cleaned_up(&app, &client).await?;
        assert!(!is_kept(&app).await?);
        assert_eq!(sessions(&site).await?, "0");
    }
    Ok(())
}

#[tokio::test]
async fn another_worker_goes_on_with_the_session_of_a_lost_or_stopped_one() -> Result {
    for is_killed in [true, false] {
        let mut held = Held::start(Version::Trixie).await?;
        if is_killed {
            held.app.workers[0].kill9().await?;
        } else {
            held.app.workers[0].terminate().await?;
        }
        held.release()?;
        held.app.add_worker(&[]).await?;
        let task = held.ended().await?;
        assert_eq!(task.state, State::Succeeded, "{task:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_kept_session_that_the_site_has_ended_costs_one_login() -> Result {
    let mut held = Held::start(Version::Bookworm).await?;
    held.app.workers[0].kill9().await?;
    let php = "foreach (get_users() as $user) { WP_Session_Tokens::get_instance($user->ID)->destroy_all(); }";
    held.site.eval_php(php).await?;
    held.release()?;
    held.app.workers[0].restart().await?;
    let task = held.ended().await?;
    let problem = problem(task, Code::SessionLost);
    assert!(problem.detail.contains("not sent again") && !problem.changed_target, "{problem:#?}");

    // A replay is its owner's decision.
    held.client.post(&format!("/tasks/{}/replay", held.id), &json!({})).await?;
    let task = held.client.wait(held.id).await?;
    assert_eq!((task.state, held.site.logins().await?), (State::Succeeded, 2), "{task:#?}");
    Ok(())
}

#[tokio::test]
async fn a_session_ends_with_a_cancelled_task_whether_its_worker_is_there_or_lost() -> Result {
    for is_killed in [false, true] {
        let mut held = Held::start(Version::Trixie).await?;
        if is_killed {
            held.app.workers[0].kill9().await?;
        }
        held.client.post(&format!("/tasks/{}/cancel", held.id), &json!({})).await?;
        let task = held.client.wait(held.id).await?;
        assert_eq!(task.state, State::Cancelled, "{task:#?}");
        held.release()?;
        if is_killed {
            assert!(is_kept(&held.app).await?, "nobody has ended the session yet");
            held.app.workers[0].restart().await?;
        }
        held.ended().await?;
    }
    Ok(())
}

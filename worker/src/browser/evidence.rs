//! What is kept of a task for people to look at: pictures before and after, and of a failure all that was seen. Texts
//! are cleaned of the task's secrets before they are cut; a page whose words hold one is not pictured. (A site that
//! means to show a secret in a form that we do not know cannot be stopped from it.)

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde_json::json;
use tokio::time::timeout;
use wpclone_artifacts::Artifacts;
use wpclone_task::{Redactor, SecretString, TaskId};

use super::wordpress::Trouble;
use super::{Browser, BrowserError, wait};
use crate::net::{Gate, Http};

/// A page that is still loading after this is pictured as it is.
const PICTURE_LIMIT: Duration = Duration::from_secs(5);
/// How long the console may take to be read.
const CONSOLE_LIMIT: Duration = Duration::from_secs(5);
/// The most of a page that is kept.
const MAX_PAGE: usize = 1 << 20;
/// Taken besides, so that no secret is cut in half before it can be found: six times the longest.
const SLACK: usize = 32 << 10;

/// Empties every field that holds a secret, and brings what matters into view.
const PREPARE: &str = "
    for (const field of document.querySelectorAll(
        'input[type=password], #wpclone-migrator-key, #new-application-password-value, input.code[readonly]')) field.value = '';
    const point = arguments[0] && document.querySelector(arguments[0]);
    if (point) point.scrollIntoView({ block: 'center', behavior: 'instant' });
    return document.documentElement.innerText.slice(0, 500000);";
const LOADED: &str = "return document.readyState === 'complete' ? true : null";
/// Shows a page that was not fetched by the browser.
const SHOW: &str = "document.open(); document.write(arguments[0]); document.close(); return true";
const ON_A_SITE: &str = "return location.protocol.startsWith('http')";
const SOURCE: &str = "return document.documentElement.outerHTML.slice(0, arguments[0])";

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Keeps the evidence of one task.
pub(crate) struct Evidence<'a> {
    artifacts: &'a Artifacts,
    task: TaskId,
    /// What the names of artifacts begin with.
    of: &'static str,
    redactor: Mutex<Redactor>,
}

impl<'a> Evidence<'a> {
    pub(crate) fn new(
        artifacts: &'a Artifacts,
        task: TaskId,
        of: &'static str,
        secrets: &[SecretString],
    ) -> Self {
        Self { artifacts, task, of, redactor: Mutex::new(Redactor::new(secrets)) }
    }

    fn redactor(&self) -> MutexGuard<'_, Redactor> {
        self.redactor.lock()
    }

    /// One secret more to leave out, as soon as it is known.
    pub(crate) fn secret(&self, secret: &SecretString) {
        self.redactor().add(secret);
    }

    /// The text without any secret.
    pub(crate) fn clean(&self, text: &str) -> String {
        self.redactor().clean(text)
    }

    fn finds(&self, text: &str) -> bool {
        self.redactor().finds(text)
    }

    /// A picture of the page that is open. `point`: what to show of a long page.
    pub(crate) async fn picture(&self, browser: &dyn Browser, name: &str, point: Option<&str>) {
        let _ = wait(browser, LOADED, vec![], PICTURE_LIMIT).await;
        let taken = async {
            let words = browser.run(PREPARE, vec![json!(point)]).await?;
            if self.finds(words.as_str().unwrap_or_default()) {
                tracing::warn!(artifact = name, "the page shows a secret and is not pictured");
                return Ok(None);
            }
            browser.screenshot().await.map(Some)
        };
        match taken.await {
            Ok(Some(png)) => self.keep(name, "image/png", &png).await,
            Ok(None) => {}
            Err::<_, BrowserError>(error) => {
                tracing::warn!(%error, artifact = name, "no picture could be taken")
            }
        }
    }

    /// Everything about a failure: the page that shows it, its picture, and the logs.
    pub(crate) async fn failure(
        &self,
        browser: Option<&dyn Browser>,
        http: &Http,
        gate: &Gate,
        trouble: &Trouble,
    ) {
        let visits =
            gate.visits().into_iter().map(|v| format!("connect {}:{} {:?}", v.host, v.port, v.outcome));
        let lines: Vec<String> = http.log().into_iter().chain(visits).collect();
        self.keep_text("network.log", TEXT, &lines.join("\n")).await;
        let answered = trouble.answer.as_ref().map(|answer| self.clean(&answer.text()));
        if let Some(page) = &answered {
            self.keep_text("failure.html", HTML, page).await;
        }
        let Some(browser) = browser else { return };
        // A browser that has seen nothing of the site has nothing to show.
        if answered.is_none() && browser.run(ON_A_SITE, vec![]).await.ok() != Some(json!(true)) {
            return;
        }
        if let Some(page) = &answered {
            let _ = browser.run(SHOW, vec![json!(page)]).await;
        } else if let Ok(open) = browser.run(SOURCE, vec![json!(MAX_PAGE + SLACK)]).await {
            self.keep_text("failure.html", HTML, open.as_str().unwrap_or_default()).await;
        }
        self.picture(browser, "failure.png", None).await;
        if let Ok(Ok(lines)) = timeout(CONSOLE_LIMIT, browser.console()).await
            && !lines.is_empty()
        {
            self.keep_text("console.log", TEXT, &lines.join("\n")).await;
        }
    }

    async fn keep_text(&self, name: &str, kind: &str, text: &str) {
        let clean = self.clean(text);
        let end = clean.floor_char_boundary(MAX_PAGE);
        self.keep(name, kind, &clean.as_bytes()[..end]).await;
    }

    async fn keep(&self, name: &str, kind: &str, bytes: &[u8]) {
        let name = format!("{}{name}", self.of);
        if let Err(error) = self.artifacts.put(self.task, &name, kind, bytes).await {
            tracing::warn!(%error, artifact = name, "an artifact was not kept");
        }
    }
}

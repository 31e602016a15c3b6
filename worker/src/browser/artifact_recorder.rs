//! The artifacts of a browser step: screenshots before and after, and the page and logs of a failure. Texts are
//! redacted before they are cut; no screenshot is taken of a page that shows a secret. (A secret that a site deliberately
//! shows in an unknown form is not recognized.)

use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::time::timeout;
use wpclone_artifacts::Artifacts;
use wpclone_task::{Redactor, SecretString, SiteText, TaskId};

use super::wordpress::StepError;
use super::{Browser, BrowserError, wait};
use crate::net::{EgressProxy, SiteClient};

/// A page that is still loading after this is captured as it is.
const LOAD_DEADLINE: Duration = Duration::from_secs(5);
/// The deadline of reading a page and of hiding its secrets.
const PREPARE_DEADLINE: Duration = Duration::from_secs(10);
/// The deadline of reading the console.
const CONSOLE_DEADLINE: Duration = Duration::from_secs(5);
/// The most bytes of a page that are stored.
const MAX_PAGE: usize = 1 << 20;
/// Read beyond that, so that no secret is cut in half before it is redacted: six times the longest.
const SLACK: usize = 32 << 10;

/// Empties every field that holds a secret, and scrolls to what matters; returns the page's text.
const PREPARE: &str = "
    for (const field of document.querySelectorAll(
        'input[type=password], #wpclone-migrator-key, #new-application-password-value, input.code[readonly]')) field.value = '';
    const point = arguments[0] && document.querySelector(arguments[0]);
    if (point) point.scrollIntoView({ block: 'center', behavior: 'instant' });
    return document.documentElement.innerText.slice(0, 500000);";
/// Whether the page and what belongs to it have loaded.
pub(super) const LOADED: &str = "return document.readyState === 'complete' ? true : null";
/// Shows a page that the browser did not load itself.
const SHOW: &str = "document.open(); document.write(arguments[0]); document.close(); return true";
const ON_A_SITE: &str = "return location.protocol.startsWith('http')";
const SOURCE: &str = "return document.documentElement.outerHTML.slice(0, arguments[0])";

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Stores the artifacts of one step.
pub(crate) struct ArtifactRecorder<'a> {
    artifacts: &'a Artifacts,
    task: TaskId,
    owner: &'a str,
    /// What the names of its artifacts begin with.
    prefix: &'static str,
    redactor: Mutex<Redactor>,
}

impl<'a> ArtifactRecorder<'a> {
    pub(crate) fn new(
        artifacts: &'a Artifacts,
        task: TaskId,
        owner: &'a str,
        prefix: &'static str,
        secrets: &[SecretString],
    ) -> Self {
        Self { artifacts, task, owner, prefix, redactor: Mutex::new(Redactor::new(secrets)) }
    }

    /// Adds a secret to those that are redacted.
    pub(crate) fn add_secret(&self, secret: &SecretString) {
        self.redactor.lock().add(secret);
    }

    /// The text without any secret.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.redactor.lock().redact(text)
    }

    fn has_secret(&self, text: &str) -> bool {
        self.redactor.lock().finds_secret(text)
    }

    /// Stores a screenshot of the current page. `scroll_to`: a CSS selector of what to show of a long page.
    pub(crate) async fn screenshot(&self, browser: &dyn Browser, name: &str, scroll_to: Option<&str>) {
        let _ = wait(browser, LOADED, vec![], LOAD_DEADLINE).await;
        let taken = async {
            let words = browser.run_within(PREPARE, vec![json!(scroll_to)], PREPARE_DEADLINE).await?;
            if self.has_secret(words.as_str().unwrap_or_default()) {
                tracing::warn!(artifact = name, "the page shows a secret; no screenshot is taken");
                return Ok(None);
            }
            browser.screenshot().await.map(Some)
        };
        match taken.await {
            Ok(Some(png)) => self.store(name, "image/png", &png).await,
            Ok(None) => {}
            Err::<_, BrowserError>(error) => {
                tracing::warn!(%error, artifact = name, "the screenshot could not be taken")
            }
        }
    }

    /// Stores everything about a failure: the page that shows it, its screenshot, and the logs.
    pub(crate) async fn store_failure(
        &self,
        browser: Option<&dyn Browser>,
        http: &SiteClient,
        proxy: &EgressProxy,
        error: &StepError,
    ) {
        let attempts =
            proxy.attempts().into_iter().map(|v| format!("connect {}:{} {:?}", v.host, v.port, v.outcome));
        self.store_lines("network.log", http.log().into_iter().chain(attempts)).await;
        let page_of_error = error.response.as_ref().map(|response| self.redact(&response.text()));
        if let Some(page) = &page_of_error {
            self.store_text("failure.html", HTML, page).await;
        }
        let Some(browser) = browser else { return };
        // A browser that has loaded no page of the site has nothing to show.
        if page_of_error.is_none() && browser.run(ON_A_SITE, vec![]).await.ok() != Some(json!(true)) {
            return;
        }
        if let Some(page) = &page_of_error {
            let _ = browser.run(SHOW, vec![json!(page)]).await;
        } else if let Ok(open) = browser.run(SOURCE, vec![json!(MAX_PAGE + SLACK)]).await {
            self.store_text("failure.html", HTML, open.as_str().unwrap_or_default()).await;
        }
        self.screenshot(browser, "failure.png", None).await;
        if let Ok(Ok(lines)) = timeout(CONSOLE_DEADLINE, browser.console()).await
            && !lines.is_empty()
        {
            self.store_lines("console.log", lines).await;
        }
    }

    /// Stores lines that may quote a site.
    async fn store_lines(&self, name: &str, lines: impl IntoIterator<Item = String>) {
        let lines: Vec<String> = lines.into_iter().map(|line| SiteText::from(line).into()).collect();
        self.store_text(name, TEXT, &lines.join("\n")).await;
    }

    async fn store_text(&self, name: &str, kind: &str, text: &str) {
        let redacted = self.redact(text);
        let end = redacted.floor_char_boundary(MAX_PAGE);
        self.store(name, kind, &redacted.as_bytes()[..end]).await;
    }

    async fn store(&self, name: &str, kind: &str, bytes: &[u8]) {
        let name = format!("{}{name}", self.prefix);
        if let Err(error) = self.artifacts.put(self.task, self.owner, &name, kind, bytes).await {
            tracing::warn!(%error, artifact = name, "an artifact could not be stored");
        }
    }
}

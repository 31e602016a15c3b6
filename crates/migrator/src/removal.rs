//! Taking the migrator off a site.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::adaptive_batch::AdaptiveBatch;
use crate::client::{Client, MAX_JSON_BYTES, read};
use crate::error::ClientError;
use crate::retry::with_retries;

#[derive(Deserialize)]
struct Removal {
    done: bool,
    #[serde(default)]
    remaining: Vec<String>,
    probe_url: Option<Url>,
}

/// How it went with the removal of a migrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovalReport {
    /// What could not be removed, as the site said: `files`.
    pub remaining: Vec<String>,
    /// Whether a file of it can still be fetched; `None` where that cannot be told.
    pub still_served: Option<bool>,
    /// Whether it still answers.
    pub still_responds: bool,
}

impl RemovalReport {
    /// Whether nothing of it is left.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.remaining.is_empty() && self.still_served != Some(true) && !self.still_responds
    }
}

impl Client {
    /// Takes the migrator off the site, with all that it made there, and looks from outside whether it is gone.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove(&self) -> Result<RemovalReport, ClientError> {
        let mut batch = AdaptiveBatch::new(5000);
        loop {
            let answer: Removal = with_retries(&mut batch, |budget| async move {
                Ok((self.ask("remove", &json!({"ms": budget.ms}), true).await?, 0))
            })
            .await?;
            if answer.done {
                let still_served = match answer.probe_url {
                    Some(probe) => self.is_there(&probe).await,
                    None => None,
                };
                let still_responds = matches!(self.status().await, Ok(_) | Err(ClientError::Forbidden));
                return Ok(RemovalReport { remaining: answer.remaining, still_served, still_responds });
            }
        }
    }

    /// Whether a file of the plugin is there; `None` where that cannot be told. Only on the site itself: it is the
    /// site that names the address.
    async fn is_there(&self, probe: &Url) -> Option<bool> {
        if probe.origin() != self.site.origin() {
            return None;
        }
        let answer = self.http.get(probe.clone()).timeout(self.deadline).send().await.ok()?;
        match answer.status() {
            StatusCode::OK => {
                let body = read(answer, MAX_JSON_BYTES).await.ok()?;
                Some(String::from_utf8_lossy(&body).contains("GNU GENERAL PUBLIC LICENSE"))
            }
            status => status.is_client_error().then_some(false),
        }
    }
}

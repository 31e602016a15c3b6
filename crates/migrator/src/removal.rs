//! Removing the migrator from a site.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::adaptive_batch::AdaptiveBatch;
use crate::client::Client;
use crate::error::ClientError;
use crate::paging::Steps;
use crate::retry::with_retries;
use crate::transport::{MAX_JSON_BYTES, read};

/// What a site may report as left: kinds of things, of which there is one.
const MAX_REMAINING: usize = 10;
const MAX_REMAINING_CHARS: usize = 100;

#[derive(Deserialize)]
struct RemovalResponse {
    done: bool,
    #[serde(default)]
    remaining: Vec<String>,
    probe_url: Option<Url>,
}

/// The result of removing a migrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovalReport {
    /// What could not be deleted, as the site reported: `files`.
    pub remaining: Vec<String>,
    /// Whether a file of the plugin is still served; `None` if that is unknown.
    pub still_served: Option<bool>,
    /// Whether the migrator still responds.
    pub still_responds: bool,
}

impl RemovalReport {
    /// Whether nothing of the migrator remains.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.remaining.is_empty() && self.still_served != Some(true) && !self.still_responds
    }
}

impl Client {
    /// Removes the migrator and everything it created from the site, and checks from outside that it is gone. `job`: the
    /// caller's own import into the site, which is ended. With another import in progress nothing is removed, which is the
    /// error `job_in_progress`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove(&self, job: Option<&str>) -> Result<RemovalReport, ClientError> {
        let (mut batch, mut steps) = (AdaptiveBatch::new(5000), Steps::new("remove"));
        loop {
            let response: RemovalResponse = with_retries(&mut batch, |budget| async move {
                Ok((self.post_json("remove", &json!({"ms": budget.ms, "job": job}), true).await?, 0))
            })
            .await?;
            if response.done {
                let still_served = match response.probe_url {
                    Some(probe) => self.is_served(&probe).await,
                    None => None,
                };
                let still_responds = matches!(self.status().await, Ok(_) | Err(ClientError::Forbidden));
                let remaining = response.remaining.into_iter().take(MAX_REMAINING);
                let remaining =
                    remaining.map(|name| name.chars().take(MAX_REMAINING_CHARS).collect()).collect();
                return Ok(RemovalReport { remaining, still_served, still_responds });
            }
            steps.not_done()?;
        }
    }

    /// Whether a file of the plugin is served; `None` if that is unknown. Only addresses of the site itself are requested, because
    /// the site chooses the address.
    async fn is_served(&self, probe: &Url) -> Option<bool> {
        if probe.origin() != self.site.origin() {
            return None;
        }
        let response = self.http.get(probe.clone()).timeout(self.deadline).send().await.ok()?;
        match response.status() {
            StatusCode::OK => {
                let body = read(response, MAX_JSON_BYTES).await.ok()?;
                Some(String::from_utf8_lossy(&body).contains("GNU GENERAL PUBLIC LICENSE"))
            }
            status => status.is_client_error().then_some(false),
        }
    }
}

//! Taking the migrator off a site.

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::client::{Client, MOST_JSON, read};
use crate::error::ClientError;
use crate::pace::{Pace, patiently};

#[derive(Deserialize)]
struct Removal {
    done: bool,
    #[serde(default)]
    left: Vec<String>,
    probe: Option<Url>,
}

/// How it went with the removal of a migrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// What could not be removed, as the site said: `files`.
    pub left: Vec<String>,
    /// Whether a file of it can still be fetched; `None` where that cannot be told.
    pub seen: Option<bool>,
    /// Whether it still answers.
    pub answers: bool,
}

impl Removed {
    /// Whether nothing of it is left.
    #[must_use]
    pub fn wholly(&self) -> bool {
        self.left.is_empty() && self.seen != Some(true) && !self.answers
    }
}

impl Client {
    /// Takes the migrator off the site, with all that it made there, and looks from outside whether it is gone.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove(&self) -> Result<Removed, ClientError> {
        let mut pace = Pace::new(5000);
        loop {
            let answer: Removal = patiently(&mut pace, |budget| async move {
                Ok((self.ask("remove", &json!({"ms": budget.ms}), true).await?, 0))
            })
            .await?;
            if answer.done {
                let seen = match answer.probe {
                    Some(probe) => self.is_there(&probe).await,
                    None => None,
                };
                let answers = matches!(self.status().await, Ok(_) | Err(ClientError::Refused));
                return Ok(Removed { left: answer.left, seen, answers });
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
                let body = read(answer, MOST_JSON).await.ok()?;
                Some(String::from_utf8_lossy(&body).contains("GNU GENERAL PUBLIC LICENSE"))
            }
            status => status.is_client_error().then_some(false),
        }
    }
}

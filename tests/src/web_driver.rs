//! A chromedriver that runs beside a worker, as in the browsers' container of a pod.

use std::time::Duration;

use serde_json::Value;

use crate::service::{Launch, Service};
use crate::util::{free_port, installed, until};
use crate::{LabError, Result};

/// How long a driver may take to end a browser, on a busy machine.
const END_LIMIT: Duration = Duration::from_secs(60);

/// The driver. Dropping it ends it and its browsers.
#[derive(Debug)]
pub struct WebDriver {
    port: u16,
    service: Option<Service>,
}

impl WebDriver {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// It did not start.
    pub async fn start() -> Result<Self> {
        let mut driver = Self { port: free_port()?, service: None };
        driver.start_again().await?;
        Ok(driver)
    }

    /// Starts it after it was killed, on the same port.
    ///
    /// # Errors
    /// It did not start.
    pub async fn start_again(&mut self) -> Result<()> {
        let program = installed("chromedriver")?;
        // As browser-image/Dockerfile starts it.
        let launch = Launch::new("chromedriver", program).args([format!("--port={}", self.port)]);
        let service = Service::start(launch).await?;
        service.ready(|| async { self.browsers().await.is_ok() }).await?;
        self.service = Some(service);
        Ok(())
    }

    /// Where it is, as a worker is told.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The sessions of its browsers.
    ///
    /// # Errors
    /// It does not respond.
    pub async fn browsers(&self) -> Result<Vec<String>> {
        let url = format!("{}/sessions", self.url());
        let sessions: Value = crate::client::http()?.get(&url).send().await?.json().await?;
        let ids = sessions["value"].as_array().into_iter().flatten();
        Ok(ids.filter_map(|session| Some(session["id"].as_str()?.to_owned())).collect())
    }

    /// Waits until no browser is left.
    ///
    /// # Errors
    /// One is left after a minute.
    pub async fn clean(&self) -> Result<()> {
        let is_clean = async || self.browsers().await.is_ok_and(|browsers| browsers.is_empty());
        until("the driver's browsers to end", END_LIMIT, None, is_clean).await
    }

    /// Kills it with its browsers, as when its container crashes.
    ///
    /// # Errors
    /// It does not die.
    pub async fn kill9(&mut self) -> Result<()> {
        match self.service.take() {
            Some(service) => service.kill9().await,
            None => Err(LabError::Missing {
                what: "a running chromedriver".into(),
                help: "start it before you kill it",
            }),
        }
    }
}

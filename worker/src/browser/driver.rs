//! The driver of one browser: started for it here, or one that runs beside the worker.

use std::net::SocketAddr;

use super::BrowserError;
use super::limited_connector::DriverEndpoint;
use super::local_driver::LocalDriver;
use super::remote_driver::RemoteDriver;
use super::webdriver::WebDriver;
use crate::net::EgressProxy;
use crate::running_steps::RunningBrowser;

/// A chromedriver that can start a browser.
pub(super) enum Driver {
    /// Started for this browser.
    Local(Box<LocalDriver>),
    /// Not started by the worker.
    Remote(RemoteDriver),
}

impl Driver {
    /// Waits until it is ready.
    pub(super) async fn ready(&mut self) -> Result<DriverEndpoint, BrowserError> {
        match self {
            Self::Local(driver) => driver.ready().await,
            Self::Remote(driver) => Ok(driver.endpoint()),
        }
    }

    /// Lets the browser reach this proxy; returns where the proxy is for the browser.
    pub(super) fn connect_proxy(&self, proxy: &EgressProxy) -> Result<SocketAddr, BrowserError> {
        match self {
            Self::Local(driver) => driver.connect_proxy(proxy),
            // It has the worker's loopback.
            Self::Remote(_) => Ok(proxy.address()),
        }
    }

    /// Where its browser runs.
    pub(super) fn running_browser(&self) -> Option<RunningBrowser> {
        match self {
            Self::Local(driver) => {
                driver.supervisor_pid().map(|supervisor| RunningBrowser::Local { supervisor })
            }
            Self::Remote(_) => Some(RunningBrowser::Remote),
        }
    }

    /// Ends its browser. Of one that runs here no process is left then. A remote driver ends a browser that it is still
    /// starting as soon as that has started.
    pub(super) async fn stop(self, browser: Option<WebDriver>) {
        match (self, browser) {
            (Self::Local(driver), _) => driver.stop().await,
            (Self::Remote(_), Some(browser)) => browser.end().await,
            (Self::Remote(_), None) => {}
        }
    }
}

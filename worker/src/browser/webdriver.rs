//! A browser by W3C WebDriver (fantoccini), with the few commands of chromedriver that the standard lacks.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use fantoccini::error::{CmdError, NewSessionError};
use fantoccini::wd::{Capabilities, TimeoutConfiguration, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder};
use serde_json::{Value, json};
use url::Url;

use super::limited_connector::{DriverEndpoint, LimitedConnector};
use super::{Browser, BrowserError, Cookie};

/// A command of WebDriver takes milliseconds; one that takes this long never ends.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// The deadline of a script that sends a request. The driver ends it before [`COMMAND_LIMIT`].
const REQUEST_LIMIT: Duration = Duration::from_secs(29);
/// The shortest deadline of a script that the driver gets.
const MIN_SCRIPT_LIMIT: Duration = Duration::from_millis(50);
/// A cold start on a busy machine.
const SESSION_LIMIT: Duration = Duration::from_secs(30);
/// The deadline of a session's end, for which the driver waits for the browser's processes. A browser that loads a page ends
/// within moments; one that hangs is killed by its driver.
pub(super) const END_LIMIT: Duration = Duration::from_secs(20);

/// Runs before a page's own scripts. A dialog would stop the page, and every command until somebody has answered it.
const NO_DIALOGS: &str = "
    window.alert = () => undefined; window.confirm = () => false; window.prompt = () => null;
    window.print = () => undefined;
    addEventListener('beforeunload', (event) => event.stopImmediatePropagation(), true);";

/// How a browser is started.
pub(super) struct BrowserOptions<'a> {
    /// Its path, without links.
    pub(super) browser: &'a Path,
    /// Whether its own sandbox is on.
    pub(super) has_sandbox: bool,
    /// How it identifies itself to sites; `None` for its own way.
    pub(super) user_agent: Option<&'a str>,
}

/// A Chromium behind chromedriver.
pub(crate) struct WebDriver {
    client: Client,
    /// The deadline of scripts that the driver knows.
    script_limit: tokio::sync::Mutex<Option<Duration>>,
}

impl WebDriver {
    /// Starts a browser that reaches the world through the SOCKS5 proxy at `proxy` and no other way.
    pub(crate) async fn start(
        driver: DriverEndpoint,
        options: &BrowserOptions<'_>,
        proxy: SocketAddr,
    ) -> Result<Self, BrowserError> {
        let url = driver.url();
        let mut builder = ClientBuilder::new(LimitedConnector::new(driver));
        builder.capabilities(capabilities(options, proxy));
        // The driver itself waits longer for a browser that has ended than we do for the session.
        let client = limited(SESSION_LIMIT, builder.connect(&url))
            .await
            .map_err(|_| BrowserError::Gone("it does not start in time".into()))?
            .map_err(|e| BrowserError::Gone(session_error(&e)))?;
        let browser = Self { client, script_limit: tokio::sync::Mutex::default() };
        browser.cdp("Page.setDownloadBehavior", json!({ "behavior": "deny" })).await?;
        browser.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": NO_DIALOGS })).await?;
        Ok(browser)
    }

    /// Ends the browser; returns when the driver says that it has ended.
    pub(crate) async fn end(self) {
        match tokio::time::timeout(END_LIMIT, self.client.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::warn!("a browser may run on: its driver does not respond"),
            Err(_) => tracing::warn!("a browser does not end in time"),
        }
    }

    /// Has the driver end scripts after this time.
    async fn limit_scripts(&self, limit: Duration) -> Result<(), BrowserError> {
        let limit = limit.max(MIN_SCRIPT_LIMIT);
        let mut known = self.script_limit.lock().await;
        if *known != Some(limit) {
            // A command that is dropped may have arrived.
            *known = None;
            let timeouts = TimeoutConfiguration::new(Some(limit), None, None);
            self.command(self.client.update_timeouts(timeouts)).await?;
            *known = Some(limit);
        }
        Ok(())
    }

    async fn cdp(&self, command: &'static str, params: Value) -> Result<Value, BrowserError> {
        self.vendor("goog/cdp/execute", json!({ "cmd": command, "params": params })).await
    }

    async fn vendor(&self, path: &'static str, body: Value) -> Result<Value, BrowserError> {
        self.command(self.client.issue_cmd(Vendor { path, body })).await
    }

    async fn command<T>(&self, call: impl Future<Output = Result<T, CmdError>>) -> Result<T, BrowserError> {
        limited(COMMAND_LIMIT, call).await?.map_err(|error| match error {
            CmdError::Standard(e) if e.error() == "invalid session id" => {
                BrowserError::Gone("its session has ended".into())
            }
            // chromedriver: `disconnected`, `tab crashed`, `chrome not reachable` come as `unknown error`.
            CmdError::Standard(e) if e.error() == "unknown error" && is_death(&e.message) => {
                BrowserError::Gone("it crashed".into())
            }
            CmdError::Standard(e) if e.error() == "timeout" || e.error() == "script timeout" => {
                BrowserError::Slow
            }
            // The message may quote the page, so only the kind is reported.
            CmdError::Standard(e) => BrowserError::Refused(e.error().to_owned()),
            CmdError::NotJson(_) | CmdError::Json(_) | CmdError::NotW3C(_) => {
                BrowserError::Refused("a response that is not WebDriver".into())
            }
            _ => BrowserError::Gone("the driver does not respond".into()),
        })
    }
}

/// Not "no such execution context": that is what a page between two documents says, and it is asked again.
fn is_death(message: &str) -> bool {
    ["disconnected", "crashed", "not reachable"].iter().any(|m| message.contains(m))
}

async fn limited<T>(limit: Duration, call: impl Future<Output = T>) -> Result<T, BrowserError> {
    tokio::time::timeout(limit, call).await.map_err(|_| BrowserError::Slow)
}

fn session_error(error: &NewSessionError) -> String {
    match error {
        NewSessionError::SessionNotCreated(e) => {
            format!("no session: {}", e.message.lines().next().unwrap_or_default())
        }
        _ => "the driver gave no session".to_owned(),
    }
}

fn capabilities(options: &BrowserOptions<'_>, proxy: SocketAddr) -> Capabilities {
    let mut args = vec![
        format!("--proxy-server=socks5://{proxy}"),
        // Chromium would go to loopback addresses past the proxy.
        "--proxy-bypass-list=<-loopback>".to_owned(),
        // No name is resolved but by the proxy (Chromium's own advice for SOCKS).
        format!("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE {}", proxy.ip()),
        // The headless shell knows this by the first name, Chromium by the second.
        "--force-webrtc-ip-handling-policy=disable_non_proxied_udp".to_owned(),
        "--webrtc-ip-handling-policy=disable_non_proxied_udp".to_owned(),
        // No port for the driver: whoever reached it could control the browser.
        "--remote-debugging-pipe".to_owned(),
        "--window-size=1280,900".to_owned(),
    ];
    // For every window, also one that a page opens.
    args.extend(options.user_agent.map(|user_agent| format!("--user-agent={user_agent}")));
    args.extend(
        [
            // The headless shell would open as many windows as a page wants. Chromium has a blocker of its own.
            "--block-new-web-contents",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-default-apps",
            "--disable-dev-shm-usage",
            "--disable-extensions",
            "--disable-gpu",
            "--disable-quic",
            "--disable-sync",
            "--hide-scrollbars",
            "--mute-audio",
            "--no-default-browser-check",
            "--no-first-run",
        ]
        .map(str::to_owned),
    );
    // The headless shell runs only so.
    if !options.browser.file_name().is_some_and(|name| name.to_string_lossy().contains("headless-shell")) {
        args.push("--headless=new".into());
    }
    if !options.has_sandbox {
        args.push("--no-sandbox".into());
    }
    let all = json!({
        "browserName": "chrome",
        // We wait for what we need ourselves.
        "pageLoadStrategy": "none",
        // Of a dialog that opens all the same, such as one for a user and password.
        "unhandledPromptBehavior": "dismiss",
        "goog:loggingPrefs": { "browser": "ALL" },
        "goog:chromeOptions": { "binary": options.browser, "args": args, "excludeSwitches": ["disable-popup-blocking"] },
    });
    match all {
        Value::Object(all) => all,
        _ => Capabilities::new(),
    }
}

/// A command that only chromedriver knows.
#[derive(Debug)]
struct Vendor {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

#[async_trait::async_trait]
impl Browser for WebDriver {
    async fn go(&self, url: &Url) -> Result<(), BrowserError> {
        self.command(self.client.goto(url.as_str())).await
    }

    async fn url(&self) -> Result<Url, BrowserError> {
        self.command(self.client.current_url()).await
    }

    async fn run_within(
        &self,
        script: &str,
        args: Vec<Value>,
        deadline: Duration,
    ) -> Result<Value, BrowserError> {
        self.limit_scripts(deadline).await?;
        self.command(self.client.execute(script, args)).await
    }

    async fn run_async(&self, script: &str, args: Vec<Value>) -> Result<Value, BrowserError> {
        self.limit_scripts(REQUEST_LIMIT).await?;
        self.command(self.client.execute_async(script, args)).await
    }

    async fn stop_loading(&self) -> Result<(), BrowserError> {
        self.cdp("Page.stopLoading", json!({})).await.map(drop)
    }

    async fn cookies(&self) -> Result<Vec<Cookie>, BrowserError> {
        let all = self.cdp("Network.getAllCookies", json!({})).await?;
        serde_json::from_value(all["cookies"].clone())
            .map_err(|_| BrowserError::Refused("cookies that are none".into()))
    }

    async fn set_cookies(&self, site: &Url, cookies: &[Cookie]) -> Result<(), BrowserError> {
        let param = |cookie: &Cookie| {
            let mut param = serde_json::to_value(cookie).ok()?;
            // Without a domain it is for the host of the address.
            if !cookie.domain.starts_with('.') {
                param["domain"] = Value::Null;
            }
            param["url"] = site.join(&cookie.path).ok()?.as_str().into();
            param.as_object_mut()?.retain(|_, value| !value.is_null());
            Some(param)
        };
        let params: Vec<Value> = cookies.iter().filter_map(param).collect();
        self.cdp("Network.setCookies", json!({ "cookies": params })).await.map(drop)
    }

    async fn screenshot(&self) -> Result<Vec<u8>, BrowserError> {
        self.command(self.client.screenshot()).await
    }

    async fn block(&self, patterns: &[&str]) -> Result<(), BrowserError> {
        self.cdp("Network.enable", json!({})).await?;
        self.cdp("Network.setBlockedURLs", json!({ "urls": patterns })).await.map(drop)
    }

    async fn console(&self) -> Result<Vec<String>, BrowserError> {
        let entries = self.vendor("se/log", json!({ "type": "browser" })).await?;
        let line = |e: &Value| {
            format!("{} {}", e["level"].as_str().unwrap_or("?"), e["message"].as_str().unwrap_or_default())
        };
        Ok(entries.as_array().into_iter().flatten().take(300).map(line).collect())
    }
}

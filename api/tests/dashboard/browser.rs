//! A real browser: Chromium, driven by chromedriver.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use wpclone_supervisor::{Confinement, ProcessSpec, Supervised, unique_folder};

use crate::support::{PATIENCE, eventually};

/// How long a test may take.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(900);
/// Not /usr/bin/chromium-headless-shell: chromedriver would stop that script and leave the browser running.
const CHROMIUM: &str = "/usr/lib/chromium/chromium-headless-shell";
const AXE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dashboard/node/node_modules/axe-core/axe.min.js");

/// A chromedriver under a supervisor process.
pub(crate) struct Driver {
    supervised: Supervised,
    url: String,
    _base: tempfile::TempDir,
}

impl Driver {
    pub(crate) async fn start() -> Self {
        for file in [CHROMIUM, AXE] {
            assert!(Path::new(file).exists(), "{file} is missing: ./dev install installs it");
        }
        let base = tempfile::TempDir::new().unwrap();
        let spec = ProcessSpec {
            program: PathBuf::from("chromedriver"),
            args: vec!["--port=0".into()],
            env: ["PATH", "HOME"]
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
                .collect(),
            folder: unique_folder(base.path(), "browser"),
            grace: Duration::ZERO,
            run_as: None,
            confinement: Confinement::default(),
        };
        let mut supervised = Supervised::spawn(spec).await.unwrap();
        let mut lines = BufReader::new(supervised.stdout().unwrap()).lines();
        let port = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, port)) = line.split_once("successfully on port ") {
                    return port.trim_end_matches('.').to_owned();
                }
            }
            panic!("chromedriver does not start (is chromium-driver installed?)")
        });
        let port = port.await.expect("chromedriver reports its port");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { supervised, url: format!("http://127.0.0.1:{port}"), _base: base }
    }

    pub(crate) async fn browser(&self) -> Browser {
        let Value::Object(capabilities) = json!({
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {
                "binary": CHROMIUM,
                // As root Chromium has no sandbox; the pages are our own.
                "args": ["--no-sandbox", "--hide-scrollbars", "--force-color-profile=srgb"],
            },
        }) else {
            unreachable!()
        };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client = builder.capabilities(capabilities).connect(&self.url).await.unwrap();
        Browser { client }
    }

    pub(crate) async fn stop(mut self) {
        self.supervised.stop().await;
    }
}

/// A window of the browser.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) client: Client,
}

/// A command of chromedriver that is not part of W3C WebDriver.
#[derive(Debug)]
struct VendorCommand(&'static str, Value);

impl WebDriverCompatibleCommand for VendorCommand {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.0))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.1.to_string()))
    }
}

impl Browser {
    pub(crate) async fn close(self) {
        let _ = self.client.close().await;
    }

    pub(crate) async fn cdp(&self, command: &str, params: Value) -> Value {
        let body = json!({"cmd": command, "params": params});
        self.client.issue_cmd(VendorCommand("goog/cdp/execute", body)).await.unwrap()
    }

    pub(crate) async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    pub(crate) async fn script(&self, script: &str) -> Value {
        self.client.execute(script, vec![]).await.unwrap()
    }

    /// Waits until an expression is true. A navigation aborts the commands that run meanwhile: they are repeated.
    pub(crate) async fn until(&self, what: &str, script: &str) {
        let script = format!("return !!({script})");
        eventually(what, || async {
            self.client.execute(&script, vec![]).await.is_ok_and(|value| value == true)
        })
        .await;
    }

    /// Waits for an element, also where scripts are disabled.
    pub(crate) async fn until_found(&self, selector: &str) {
        eventually(selector, || async { self.client.find(Locator::Css(selector)).await.is_ok() }).await;
    }

    pub(crate) async fn text(&self, selector: &str) -> String {
        let found = self.client.find(Locator::Css(selector)).await;
        found.unwrap_or_else(|_| panic!("there is no {selector}")).text().await.unwrap()
    }

    pub(crate) async fn click(&self, selector: &str) {
        let found = self.client.find(Locator::Css(selector)).await;
        let found = found.unwrap_or_else(|_| panic!("there is no {selector}"));
        found.click().await.unwrap();
    }

    pub(crate) async fn set_screen(&self, width: u32, dark: bool) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.cdp("Emulation.setEmulatedMedia", features).await;
    }

    /// Fails when axe reports a violation.
    pub(crate) async fn assert_accessible(&self, page: &str) {
        let axe = std::fs::read_to_string(AXE).unwrap();
        self.script(&axe).await;
        let run = "const done = arguments[arguments.length - 1];
            axe.run(document, {preload: false, resultTypes: ['violations']}).then(
                (result) => done(result.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html + ' ' + n.failureSummary).join('; '))),
                (error) => done([String(error)]));";
        let violations = self.client.execute_async(run, vec![]).await.unwrap();
        assert_eq!(violations, json!([]), "{page}");
    }

    /// The browser's console: script errors, and what the Content-Security-Policy blocked.
    pub(crate) async fn console_errors(&self) -> Value {
        self.client.issue_cmd(VendorCommand("se/log", json!({"type": "browser"}))).await.unwrap()
    }

    /// Saves a screenshot of the whole page in the folder `WPCLONE_PICTURES`, if that is set.
    pub(crate) async fn save_screenshot(&self, name: &str) {
        let Ok(folder) = std::env::var("WPCLONE_PICTURES") else {
            return;
        };
        let height = self.script("return document.documentElement.scrollHeight").await;
        let width = self.script("return innerWidth").await;
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let taken = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let taken = self.cdp("Page.captureScreenshot", taken).await;
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), bytes).unwrap();
    }
}

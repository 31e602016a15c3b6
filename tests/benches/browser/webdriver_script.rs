//! A plain WebDriver script: one window, type, click, wait for the next page, as by hand.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use fantoccini::elements::Element;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use wpclone_migrator::{PLUGIN, SETTINGS_PAGE};
use wpclone_supervisor::{Confinement, ProcessSpec, Supervised, unique_folder};
use wpclone_tests::{Lab, Site, built, free_port, until};

use crate::run::{Run, Watch};

const DRIVER: &str = "/usr/bin/chromedriver";
const BROWSER: &str = "/usr/bin/chromium";
const START_LIMIT: Duration = Duration::from_secs(20);
const PAGE_LIMIT: Duration = Duration::from_secs(20);
/// The same interval as the worker's, so that polling makes no difference.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// Does the job in its own browser, which is always removed.
pub(crate) async fn run(site: &Site, zip: &Path) -> Result<Run> {
    let folder = unique_folder(&Lab::shared().folder().await?, "plain");
    let mut watch = Watch::start();
    let port = free_port()?;
    let mut driver = start_driver(port, folder).await?;
    let done = drive(port, site, zip, &mut watch).await;
    // Only for the bench: a plain script would leave chromedriver running.
    driver.stop().await;
    let (key, password) = done?;
    let (laps, beside) = (watch.stop(), Vec::new());
    Ok(Run { laps, beside, key, password })
}

/// A killed chromedriver leaves its browsers running; the supervisor ends them.
async fn start_driver(port: u16, folder: std::path::PathBuf) -> Result<Supervised> {
    let path = std::env::var("PATH").unwrap_or_default();
    let spec = ProcessSpec {
        program: DRIVER.into(),
        args: vec![format!("--port={port}")],
        env: vec![("PATH".into(), path), ("HOME".into(), folder.display().to_string())],
        folder,
        grace: Duration::ZERO,
        run_as: None,
        confinement: Confinement::default(),
    };
    Ok(Supervised::spawn_with(&built("lab")?, spec, Stdio::null(), Stdio::null()).await?)
}

async fn drive(port: u16, site: &Site, zip: &Path, watch: &mut Watch) -> Result<(String, String)> {
    let listens = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
    until("chromedriver", START_LIMIT, None, listens).await?;
    let mut builder = ClientBuilder::new(HttpConnector::new());
    builder.capabilities(capabilities());
    let client = builder.connect(&format!("http://127.0.0.1:{port}")).await?;
    watch.lap("start driver and browser");
    let script = Script { client, site };
    script.log_in().await?;
    watch.lap("login, to the dashboard");
    script.upload(zip).await?;
    watch.lap("upload");
    script.click(r#"#wpbody-content a[href*="action=activate"]"#).await?;
    script.find(&format!(r#"tr.active[data-plugin="{PLUGIN}.php"]"#)).await?;
    watch.lap("activate");
    let key = script.key().await?;
    watch.lap("open and read the key");
    let password = script.app_password().await?;
    watch.lap("application password");
    script.client.close().await?;
    watch.lap("quit");
    Ok((key, password))
}

fn capabilities() -> Capabilities {
    let mut args = vec!["--headless=new", "--disable-dev-shm-usage"];
    // Chromium's sandbox refuses to work for root.
    if rustix::process::geteuid().is_root() {
        args.push("--no-sandbox");
    }
    let options = json!({ "binary": BROWSER, "args": args });
    Capabilities::from_iter([
        ("browserName".to_owned(), Value::from("chrome")),
        ("goog:chromeOptions".to_owned(), options),
    ])
}

struct Script<'a> {
    client: Client,
    site: &'a Site,
}

impl Script<'_> {
    async fn open(&self, path: &str) -> Result<()> {
        Ok(self.client.goto(&format!("{}/{path}", self.site.url())).await?)
    }

    async fn find(&self, css: &str) -> Result<Element> {
        let wait = self.client.wait().at_most(PAGE_LIMIT).every(POLL_INTERVAL);
        let found = wait.for_element(Locator::Css(css)).await;
        found.with_context(|| format!("waited for {css}"))
    }

    async fn click(&self, css: &str) -> Result<()> {
        let clicked = self.find(css).await?.click().await;
        clicked.with_context(|| format!("clicked {css}"))
    }

    async fn type_into(&self, css: &str, text: &str) -> Result<()> {
        let typed = self.find(css).await?.send_keys(text).await;
        typed.with_context(|| format!("typed into {css}"))
    }

    async fn value(&self, css: &str) -> Result<String> {
        let value = self.find(css).await?.prop("value").await?;
        value.with_context(|| format!("{css} has no value"))
    }

    async fn log_in(&self) -> Result<()> {
        let admin = self.site.admin();
        self.open("wp-login.php").await?;
        self.type_into("#user_login", &admin.name).await?;
        self.type_into("#user_pass", &admin.password).await?;
        self.click("#wp-submit").await?;
        self.find("#wpadminbar").await.map(drop)
    }

    async fn upload(&self, zip: &Path) -> Result<()> {
        self.open("wp-admin/plugin-install.php?tab=upload").await?;
        self.type_into("#pluginzip", &zip.display().to_string()).await?;
        self.click("#install-plugin-submit").await?;
        self.find(r#"#wpbody-content a[href*="action=activate"]"#).await.map(drop)
    }

    async fn key(&self) -> Result<String> {
        self.open(&format!("wp-admin/{SETTINGS_PAGE}")).await?;
        self.click("#wpclone-migrator-send").await?;
        self.value("#wpclone-migrator-key").await
    }

    async fn app_password(&self) -> Result<String> {
        self.open("wp-admin/profile.php").await?;
        self.type_into("#new_application_password_name", "bench").await?;
        self.click("#do_new_application_password").await?;
        self.value("#new-application-password-value").await
    }
}

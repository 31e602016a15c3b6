//! The worker's settings.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::net::AllowedNetworks;
use wpclone_service::settings::{Check, Common, CommonArgs, Redaction};
use wpclone_task::Stage;

use crate::browser::{BrowserSettings, Deadlines, RemoteDriver};
use crate::provisioning::{ProvisioningArgs, ProvisioningSettings};

/// The setting that lets browsers run without Chromium's sandbox.
pub(crate) const NO_BROWSER_SANDBOX: &str = "WPCLONE_UNSAFE_NO_BROWSER_SANDBOX";

/// wpclone-worker: claims steps of tasks and does them.
///
/// Every setting is a flag and an environment variable. Faults are named all at once (exit code 64).
#[derive(Debug, clap::Parser)]
#[command(name = "wpclone-worker", version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Where health, readiness and metrics are served
    #[arg(long, env = "WPCLONE_ADMIN_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    admin_listen: String,
    /// Stages to serve, comma-separated
    #[arg(
        long,
        env = "WPCLONE_STAGES",
        value_name = "STAGES",
        default_value = "provisioning,browser,transfer"
    )]
    stages: String,
    /// Steps of the browser stage to do at once: a browser takes some 300 MB
    #[arg(long, env = "WPCLONE_SLOTS_BROWSER", value_name = "N", default_value = "2")]
    slots_browser: String,
    /// Steps of the provisioning stage to do at once: they mostly wait
    #[arg(long, env = "WPCLONE_SLOTS_PROVISIONING", value_name = "N", default_value = "4")]
    slots_provisioning: String,
    /// Steps of the transfer stage to do at once: they take bandwidth, and some 50 MB each. Where there are several tokens,
    /// one slot is kept free of each owner's
    #[arg(long, env = "WPCLONE_SLOTS_TRANSFER", value_name = "N", default_value = "2")]
    slots_transfer: String,
    /// Clones of one source that read it at once
    #[arg(long, env = "WPCLONE_READS_PER_SOURCE", value_name = "N", default_value = "2")]
    reads_per_source: String,
    #[command(flatten)]
    clones: ProvisioningArgs,
    /// Chromium or its headless shell; found in the usual places
    #[arg(long, env = "WPCLONE_BROWSER_BINARY", value_name = "FILE")]
    browser_binary: Option<PathBuf>,
    /// chromedriver of the same version; found in the usual places
    #[arg(long, env = "WPCLONE_DRIVER_BINARY", value_name = "FILE")]
    driver_binary: Option<PathBuf>,
    /// The chromedriver that runs beside this worker and for it alone, such as http://127.0.0.1:9515, instead of starting one:
    /// for pods whose browsers are in a container of their own. WPCLONE_BROWSER_BINARY is a path there
    #[arg(long, env = "WPCLONE_WEBDRIVER_URL", value_name = "URL")]
    webdriver_url: Option<String>,
    /// Run browsers without Chromium's sandbox, for machines where it does not work: a page can then take over its browser
    #[arg(long, env = NO_BROWSER_SANDBOX, value_name = "BOOL", default_value = "false")]
    unsafe_no_browser_sandbox: String,
    /// Private networks that sites may be in, such as 10.0.0.0/8,127.0.0.1
    #[arg(long, env = "WPCLONE_ALLOW_PRIVATE_SITES", value_name = "NETWORKS", default_value = "")]
    allow_private_sites: String,
    /// Private networks that callbacks may go to, such as 10.0.0.0/8,127.0.0.1
    #[arg(long, env = "WPCLONE_ALLOW_PRIVATE_CALLBACKS", value_name = "NETWORKS", default_value = "")]
    allow_private_callbacks: String,
    /// Seconds that one part of a step, such as the login, may take
    #[arg(long, env = "WPCLONE_DEADLINE_PART", value_name = "SECONDS", default_value = "45")]
    deadline_part: String,
    /// Seconds after which a step ends in order, with pictures of where it stood
    #[arg(long, env = "WPCLONE_DEADLINE_SOFT", value_name = "SECONDS", default_value = "150")]
    deadline_soft: String,
    /// Seconds after which a step and its browser are ended whatever they do
    #[arg(long, env = "WPCLONE_DEADLINE_HARD", value_name = "SECONDS", default_value = "180")]
    deadline_hard: String,
    /// Seconds that running steps may go on after a SIGTERM, before they are given back
    #[arg(long, env = "WPCLONE_DRAIN", value_name = "SECONDS", default_value = "25")]
    drain: String,
}

/// The settings, checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) common: Common,
    pub(crate) admin_listen: SocketAddr,
    /// With how many steps of each are done at once.
    pub(crate) stages: Vec<(Stage, u32)>,
    /// How many clones of one source read it at once.
    pub(crate) reads_per_source: u32,
    pub(crate) clones: ProvisioningSettings,
    pub(crate) browser: BrowserSettings,
    pub(crate) networks: AllowedNetworks,
    pub(crate) callback_networks: AllowedNetworks,
    pub(crate) deadlines: Deadlines,
    pub(crate) drain: Duration,
}

impl Args {
    pub(crate) fn check(&self, check: &mut Check) -> Option<Settings> {
        let common = self.common.check(check);
        let admin_listen = check.parsed("WPCLONE_ADMIN_LISTEN", &self.admin_listen);
        let stages = stages(&self.stages, check);
        let mut slots = |name, raw| check.number(name, raw, 1..=64).and_then(|n| u32::try_from(n).ok());
        let browser = slots("WPCLONE_SLOTS_BROWSER", &self.slots_browser);
        let provisioning = slots("WPCLONE_SLOTS_PROVISIONING", &self.slots_provisioning);
        let transfer = slots("WPCLONE_SLOTS_TRANSFER", &self.slots_transfer);
        let reads = check.number("WPCLONE_READS_PER_SOURCE", &self.reads_per_source, 1..=16);
        let provisions = stages.as_ref().is_some_and(|stages| stages.contains(&Stage::Provisioning));
        let clones = self.clones.check(provisions, check);
        let no_sandbox = check.parsed::<bool>(NO_BROWSER_SANDBOX, &self.unsafe_no_browser_sandbox);
        if no_sandbox == Some(true) {
            check.warn(NO_BROWSER_SANDBOX, "is set: a page can take over the browser that shows it");
        }
        let programs = BrowserSettings {
            browser: self.browser_binary.clone(),
            driver: self.driver_binary.clone(),
            remote: self.remote_driver(check),
            has_sandbox: no_sandbox != Some(true),
        };
        if stages.as_ref().is_some_and(|stages| stages.contains(&Stage::Browser)) && programs.remote.is_none()
        {
            check.show("WPCLONE_BROWSER_BINARY", &program(programs.browser()), Redaction::None);
            check.show("WPCLONE_DRIVER_BINARY", &program(programs.driver()), Redaction::None);
        }
        let networks = allowed("WPCLONE_ALLOW_PRIVATE_SITES", &self.allow_private_sites, check);
        let callback_networks =
            allowed("WPCLONE_ALLOW_PRIVATE_CALLBACKS", &self.allow_private_callbacks, check);
        let deadlines = self.deadlines(check);
        let drain = check.number("WPCLONE_DRAIN", &self.drain, 0..=3600).map(Duration::from_secs);
        Some(Settings {
            common: common?,
            admin_listen: admin_listen?,
            stages: with_slots(stages?, provisioning?, browser?, transfer?),
            reads_per_source: u32::try_from(reads?).ok()?,
            clones: clones?,
            browser: programs,
            networks: networks?,
            callback_networks: callback_networks?,
            deadlines: deadlines?,
            drain: drain?,
        })
    }

    fn remote_driver(&self, check: &mut Check) -> Option<RemoteDriver> {
        const NAME: &str = "WPCLONE_WEBDRIVER_URL";
        let url = self.webdriver_url.as_deref().filter(|url| !url.is_empty())?;
        if self.driver_binary.is_some() {
            check.fault("WPCLONE_DRIVER_BINARY", format!("names a program that is not started with {NAME}"));
        }
        check.parsed(NAME, url)
    }

    fn deadlines(&self, check: &mut Check) -> Option<Deadlines> {
        let mut seconds = |name, raw| check.number(name, raw, 1..=3600).map(Duration::from_secs);
        let part = seconds("WPCLONE_DEADLINE_PART", &self.deadline_part);
        let soft = seconds("WPCLONE_DEADLINE_SOFT", &self.deadline_soft);
        let hard = seconds("WPCLONE_DEADLINE_HARD", &self.deadline_hard);
        let deadlines = Deadlines { part: part?, soft: soft?, hard: hard? };
        if deadlines.part >= deadlines.soft || deadlines.soft >= deadlines.hard {
            check.fault(
                "WPCLONE_DEADLINE_PART",
                "must be less than WPCLONE_DEADLINE_SOFT, and that less than WPCLONE_DEADLINE_HARD",
            );
        }
        Some(deadlines)
    }
}

fn allowed(name: &str, text: &str, check: &mut Check) -> Option<AllowedNetworks> {
    if text.is_empty() { Some(AllowedNetworks::default()) } else { check.parsed(name, text) }
}

fn program(path: Option<PathBuf>) -> String {
    path.map_or_else(|| "not found".to_owned(), |path| path.display().to_string())
}

fn with_slots(stages: Vec<Stage>, provisioning: u32, browser: u32, transfer: u32) -> Vec<(Stage, u32)> {
    let slots = |stage| match stage {
        Stage::Provisioning => provisioning,
        Stage::Transfer => transfer,
        Stage::Browser | Stage::Webhook | Stage::Cleanup => browser,
    };
    stages.into_iter().map(|stage| (stage, slots(stage))).collect()
}

fn stages(text: &str, check: &mut Check) -> Option<Vec<Stage>> {
    const NAME: &str = "WPCLONE_STAGES";
    let mut stages = Vec::new();
    for name in text.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        match name.parse::<Stage>() {
            Ok(stage) if !Stage::OF_TASKS.contains(&stage) => {
                check.fault(NAME, format!("names `{stage}`, which every worker serves"))
            }
            Ok(stage) if !stages.contains(&stage) => stages.push(stage),
            Ok(_) => {}
            Err(error) => check.fault(NAME, error),
        }
    }
    if stages.is_empty() {
        check.fault(NAME, "names no stage");
    }
    check.show(NAME, text, Redaction::None);
    Some(stages)
}

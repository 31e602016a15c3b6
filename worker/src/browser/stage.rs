//! A step of the browser stage, from its claim to its evidence.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wpclone_artifacts::Artifacts;
use wpclone_guard::unique_folder;
use wpclone_migrator::VERSION;
use wpclone_service::networks::Networks;
use wpclone_task::{
    Code, CreateAppPasswordRequest, Outcome, Problem, Progress, Request, SecretString, SetupRequest,
    SetupResult, Stage, TaskId,
};

use super::driver::Driver;
use super::engine::WebDriver;
use super::evidence::Evidence;
use super::wordpress::{self, Admin, Done, Trouble};
use super::{Browser, Programs};
use crate::net::{Gate, Http};

/// How long a request over plain HTTP may take, and a part of a step, and a step before it ends in order, and before it
/// is ended whatever it does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    pub(crate) step: Duration,
    pub(crate) soft: Duration,
    pub(crate) hard: Duration,
}

/// What the queue is to hear of a step while it goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) progress: Progress,
    /// Whether the site was altered, or is again as it was; `None` while this attempt has not touched it.
    pub(crate) changed: Option<bool>,
}

/// A step to do.
pub(crate) struct Job {
    pub(crate) task: TaskId,
    pub(crate) request: Request,
    pub(crate) secrets: Vec<SecretString>,
    pub(crate) news: watch::Sender<News>,
    /// Cancelled when the step must stop: its owner wants it, the lease is lost, or the worker goes.
    pub(crate) stop: CancellationToken,
    /// Told the process that all of the step's browser descends from.
    pub(crate) browser_pid: watch::Sender<Option<u32>>,
}

/// How a step ended.
pub(crate) enum End {
    Done(Outcome),
    Failed(Problem),
    Stopped,
}

/// What a step says while it goes on, and what it has done to the site.
pub(crate) struct Ledger<'a> {
    news: &'a watch::Sender<News>,
    evidence: &'a Evidence<'a>,
    achieved: Mutex<Vec<String>>,
}

impl Ledger<'_> {
    /// Progress; never goes back.
    pub(crate) fn say(&self, percent: u8, message: &str) {
        tracing::info!(percent, "{message}");
        self.news.send_modify(|news| {
            news.progress = Progress {
                percent: news.progress.percent.max(percent),
                message: message.to_owned(),
            };
        });
    }

    /// Something that stays, whatever comes after.
    pub(crate) fn achieved(&self, what: impl Into<String>) {
        self.achieved
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what.into());
    }

    /// From here on the site may have been altered.
    pub(crate) fn changed(&self) {
        self.news.send_modify(|news| news.changed = Some(true));
    }

    /// What was altered is as it was, in earlier attempts too.
    pub(crate) fn unchanged(&self) {
        self.news.send_modify(|news| news.changed = Some(false));
    }

    /// A secret that has become known.
    pub(crate) fn secret(&self, secret: &SecretString) {
        self.evidence.secret(secret);
    }

    fn complete(&self, mut problem: Problem) -> Problem {
        problem
            .achieved
            .clone_from(&self.achieved.lock().unwrap_or_else(PoisonError::into_inner));
        problem.changed_target = self.news.borrow().changed.unwrap_or(false);
        problem.detail = self.evidence.clean(&problem.detail);
        problem.at(Stage::Browser)
    }
}

/// Does steps of the browser stage.
pub(crate) struct BrowserStage {
    pub(crate) programs: Programs,
    pub(crate) user_agent: String,
    pub(crate) deadlines: Deadlines,
    pub(crate) networks: Networks,
    pub(crate) artifacts: Artifacts,
    /// Where the folders of tasks lie.
    pub(crate) folders: PathBuf,
}

/// What a step works with once it has a browser.
struct Tools<'a> {
    browser: &'a dyn Browser,
    http: &'a Http,
    ledger: &'a Ledger<'a>,
    evidence: &'a Evidence<'a>,
    step: Duration,
}

impl BrowserStage {
    /// Does one step. Whatever comes of it, no process and no folder of it is left.
    pub(crate) async fn run(&self, job: &Job) -> End {
        let evidence = Evidence::new(&self.artifacts, job.task, &job.secrets);
        let ledger = Ledger {
            news: &job.news,
            evidence: &evidence,
            achieved: Mutex::default(),
        };
        let driver = tokio::sync::Mutex::new(None);
        let end = tokio::select! {
            biased;
            () = job.stop.cancelled() => End::Stopped,
            done = timeout(self.deadlines.hard, self.work(job, &ledger, &driver)) => match done {
                Ok(Ok(outcome)) => End::Done(outcome),
                Ok(Err(trouble)) => End::Failed(ledger.complete(trouble.problem)),
                Err(_) => End::Failed(ledger.complete(too_long("The task", self.deadlines.hard))),
            },
        };
        if let Some(driver) = driver.into_inner() {
            let driver: Driver = driver;
            driver.stop().await;
        }
        job.browser_pid.send_replace(None);
        end
    }

    async fn work(
        &self,
        job: &Job,
        ledger: &Ledger<'_>,
        driver: &tokio::sync::Mutex<Option<Driver>>,
    ) -> Done<Outcome> {
        let fault = |e: &dyn std::error::Error| {
            Problem::new(Code::WorkerFault, format!("There is no way out to sites: {e}."))
        };
        let gate = Arc::new(Gate::open(self.networks.clone()).await.map_err(|e| fault(&e))?);
        let http =
            Http::new(Arc::clone(&gate), &self.user_agent, self.deadlines.step).map_err(|e| fault(&e))?;
        ledger.say(2, "Looking at the site and starting a browser");
        let given = &job.request.login().site;
        // The browser takes as long to start as the site to answer.
        let (site, browser) = tokio::join!(wordpress::find(&http, given), self.start(job, &gate, driver));
        let (site, browser) = match (site, browser) {
            (Ok(site), Ok(browser)) => (site, browser),
            (Err(trouble), browser) => {
                let browser = browser.ok();
                ledger
                    .evidence
                    .failure(
                        browser.as_ref().map(|b| b as &dyn Browser),
                        &http,
                        &gate,
                        &trouble,
                    )
                    .await;
                return Err(trouble);
            }
            (_, Err(trouble)) => return Err(trouble),
        };
        let tools = Tools {
            browser: &browser,
            http: &http,
            ledger,
            evidence: ledger.evidence,
            step: self.deadlines.step,
        };
        let done = timeout(self.deadlines.soft, tools.go(job, &site)).await;
        let done = done.unwrap_or_else(|_| Err(too_long("The task", self.deadlines.soft).into()));
        if let Err(trouble) = &done {
            ledger
                .evidence
                .failure(Some(&browser), &http, &gate, trouble)
                .await;
        }
        done
    }

    async fn start(
        &self,
        job: &Job,
        gate: &Gate,
        slot: &tokio::sync::Mutex<Option<Driver>>,
    ) -> Done<WebDriver> {
        let driver = Driver::start(&self.programs, unique_folder(&self.folders, "task")).await?;
        job.browser_pid.send_replace(driver.guard_pid());
        let url = driver.url();
        *slot.lock().await = Some(driver);
        Ok(WebDriver::start(&url, &self.programs, &self.user_agent, gate.address()).await?)
    }
}

fn too_long(what: &str, limit: Duration) -> Problem {
    Problem::new(
        Code::Deadline,
        format!("{what} took longer than {} seconds.", limit.as_secs()),
    )
}

impl Tools<'_> {
    async fn go(&self, job: &Job, site: &wpclone_task::SiteUrl) -> Done<Outcome> {
        match &job.request {
            Request::Setup(request) => self.setup(request, site).await.map(Outcome::Setup),
            Request::CreateAppPassword(request) => self
                .app_password(job.task, request, site)
                .await
                .map(Outcome::AppPassword),
        }
    }

    /// A part of the step within its deadline.
    async fn part<T>(&self, name: &str, work: impl Future<Output = Done<T>>) -> Done<T> {
        timeout(self.step, work)
            .await
            .unwrap_or_else(|_| Err(Trouble::from(too_long(name, self.step)).into()))
    }

    async fn enter<'a>(
        &'a self,
        site: &'a wpclone_task::SiteUrl,
        login: &'a wpclone_task::Login,
        landing: &'static str,
    ) -> Done<Admin<'a>> {
        self.ledger.say(15, "Logging in");
        let entering = Admin::enter(site, self.http, self.browser, login, landing, self.step);
        let admin = self.part("The login", entering).await?;
        self.ledger.say(25, "Logged in");
        Ok(admin)
    }

    async fn setup(&self, request: &SetupRequest, site: &wpclone_task::SiteUrl) -> Done<SetupResult> {
        const PLUGINS: &str = "wp-admin/plugins.php";
        let row = format!("tr[data-plugin='{}.php']", wpclone_migrator::PLUGIN);
        let admin = self.enter(site, &request.login, PLUGINS).await?;
        self.evidence
            .picture(self.browser, "before.png", Some(&row))
            .await;
        let plugin_status = self
            .part("Installing the migrator", wordpress::install(&admin, self.ledger))
            .await?;
        self.ledger.say(75, "Opening the migrator and reading its key");
        let key = self
            .part(
                "Reading the key",
                wordpress::open_migrator(&admin, request.role, self.ledger),
            )
            .await?;
        self.ledger.secret(&key);
        self.ledger.say(85, "Asking the migrator with its key");
        let status = self
            .part(
                "Asking the migrator",
                wordpress::prove_migrator(&admin, &key, self.step),
            )
            .await?;
        let wanted = request.role == wpclone_task::Role::Target;
        if status.plugin_version != VERSION || status.import_enabled != wanted {
            let detail = "Another version of the migrator answers, or not the one that was set up: is a cache in between?";
            return Err(Trouble::new(Code::MigratorUnreachable, detail).into());
        }
        self.ledger.say(95, "The migrator answers to its key");
        self.browser.go(&site.at(PLUGINS)).await?;
        self.evidence.picture(self.browser, "after.png", Some(&row)).await;
        Ok(SetupResult {
            api_key: key,
            plugin_status,
            plugin_version: status.plugin_version,
            import_enabled: status.import_enabled,
        })
    }

    async fn app_password(
        &self,
        task: TaskId,
        request: &CreateAppPasswordRequest,
        site: &wpclone_task::SiteUrl,
    ) -> Done<wpclone_task::AppPasswordResult> {
        const PROFILE: &str = "wp-admin/profile.php";
        const SECTION: &str = "#application-passwords-section";
        let admin = self.enter(site, &request.login, PROFILE).await?;
        self.evidence
            .picture(self.browser, "before.png", Some(SECTION))
            .await;
        let making = wordpress::create_app_password(&admin, task, &request.app_name, self.ledger);
        let made = self.part("Making the application password", making).await?;
        self.ledger.say(95, "The application password works");
        self.browser.go(&site.at(PROFILE)).await?;
        self.evidence
            .picture(self.browser, "after.png", Some(SECTION))
            .await;
        Ok(made)
    }
}

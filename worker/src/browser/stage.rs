//! A step of the browser stage, from its claim to its evidence.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;
use wpclone_artifacts::Artifacts;
use wpclone_guard::unique_folder;
use wpclone_migrator::VERSION;
use wpclone_service::networks::Networks;
use wpclone_task::{
    AppPasswordResult, Code, CreateAppPasswordRequest, Login, Outcome, Problem, Request, Role, SecretString,
    SetupRequest, SetupResult, SiteUrl, TaskId,
};

use super::driver::Driver;
use super::engine::WebDriver;
use super::evidence::Evidence;
use super::ledger::{Ledger, News};
use super::wordpress::{self, Admin, Done, PLUGINS_PAGE, PROFILE_PAGE, PROFILE_SECTION, Trouble, plugin_row};
use super::{Browser, BrowserError, Programs};
use crate::net::{Gate, Http};

/// How long the picture from after may take.
const PICTURE_LIMIT: Duration = Duration::from_secs(15);

/// How long things may take: a request or one part of a step, such as the login; the work of a step; and the step with
/// its evidence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    pub(crate) step: Duration,
    pub(crate) soft: Duration,
    pub(crate) hard: Duration,
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
    step: Duration,
}

/// What an attempt has at hand, whatever has become of it.
struct Scene {
    gate: Arc<Gate>,
    http: Http,
    driver: tokio::sync::Mutex<Option<Driver>>,
    browser: OnceLock<WebDriver>,
}

impl Scene {
    fn browser(&self) -> Option<&dyn Browser> {
        self.browser.get().map(|browser| browser as &dyn Browser)
    }
}

impl BrowserStage {
    /// Does one step. Whatever comes of it, no process and no folder of it is left.
    pub(crate) async fn run(&self, job: &Job) -> End {
        let evidence = Evidence::new(&self.artifacts, job.task, &job.secrets);
        let ledger = Ledger::new(&job.news, &evidence);
        let scene = match self.scene().await {
            Ok(scene) => scene,
            Err(problem) => return End::Failed(ledger.complete(*problem)),
        };
        let end = tokio::select! {
            biased;
            () = job.stop.cancelled() => End::Stopped,
            end = self.attempt(job, &ledger, &scene) => end,
        };
        if let Some(driver) = scene.driver.into_inner() {
            driver.stop().await;
        }
        job.browser_pid.send_replace(None);
        end
    }

    async fn scene(&self) -> Result<Scene, Box<Problem>> {
        let fault = |e: &dyn std::error::Error| {
            Box::new(Problem::new(Code::WorkerFault, format!("There is no way out to sites: {e}.")))
        };
        let gate = Arc::new(Gate::open(self.networks.clone()).await.map_err(|e| fault(&e))?);
        let http =
            Http::new(Arc::clone(&gate), &self.user_agent, self.deadlines.step).map_err(|e| fault(&e))?;
        Ok(Scene { gate, http, driver: tokio::sync::Mutex::default(), browser: OnceLock::new() })
    }

    /// The work until the soft deadline; what is left until the hard one is for keeping evidence, which never hides
    /// the trouble that it is about.
    async fn attempt(&self, job: &Job, ledger: &Ledger<'_>, scene: &Scene) -> End {
        let Deadlines { soft, hard, .. } = self.deadlines;
        let done = timeout(soft, self.work(job, ledger, scene)).await;
        let trouble = match done.unwrap_or_else(|_| Err(too_long("The task", soft).into())) {
            Ok(outcome) => return End::Done(outcome),
            Err(trouble) => trouble,
        };
        let keeping = ledger.evidence.failure(scene.browser(), &scene.http, &scene.gate, &trouble);
        if timeout(hard - soft, keeping).await.is_err() {
            tracing::warn!("not all evidence could be kept in time");
        }
        End::Failed(ledger.complete(trouble.problem))
    }

    async fn work(&self, job: &Job, ledger: &Ledger<'_>, scene: &Scene) -> Done<Outcome> {
        ledger.say(2, "Looking at the site and starting a browser");
        let given = &job.request.login().site;
        // The browser takes as long to start as the site to answer.
        let (site, browser) = tokio::join!(wordpress::find(&scene.http, given), self.start(job, scene));
        let site = site?;
        let tools = Tools { browser: browser?, http: &scene.http, ledger, step: self.deadlines.step };
        tools.go(job, &site).await
    }

    async fn start<'a>(&self, job: &Job, scene: &'a Scene) -> Done<&'a dyn Browser> {
        let mut slot = scene.driver.lock().await;
        // In its slot before it is awaited: whoever stops us finds it there.
        let driver = slot.insert(Driver::spawn(&self.programs, unique_folder(&self.folders, "task")).await?);
        job.browser_pid.send_replace(driver.guard_pid());
        let url = driver.ready().await?;
        let browser = WebDriver::start(&url, &self.programs, &self.user_agent, scene.gate.address()).await?;
        Ok(scene.browser.get_or_init(|| browser))
    }
}

fn too_long(what: &str, limit: Duration) -> Problem {
    Problem::new(Code::Deadline, format!("{what} took longer than {} seconds.", limit.as_secs()))
}

impl Tools<'_> {
    async fn go(&self, job: &Job, site: &SiteUrl) -> Done<Outcome> {
        match &job.request {
            Request::Setup(request) => self.setup(request, site).await.map(Outcome::Setup),
            Request::CreateAppPassword(request) => {
                self.app_password(job.task, request, site).await.map(Outcome::AppPassword)
            }
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
        site: &'a SiteUrl,
        login: &'a Login,
        landing: &'static str,
    ) -> Done<Admin<'a>> {
        self.ledger.say(15, "Logging in");
        let entering = Admin::enter(site, self.http, self.browser, login, landing, self.ledger, self.step);
        let admin = self.part("The login", entering).await?;
        self.ledger.say(25, "Logged in");
        Ok(admin)
    }

    /// The picture from after. What was done and proven does not fail for it.
    async fn after(&self, page: &Url, point: &str) {
        let pictured = async {
            self.browser.go(page).await?;
            self.ledger.evidence.picture(self.browser, "after.png", Some(point)).await;
            Ok::<_, BrowserError>(())
        };
        match timeout(PICTURE_LIMIT, pictured).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "there is no picture from after"),
            Err(_) => tracing::warn!("the picture from after took too long"),
        }
    }

    async fn setup(&self, request: &SetupRequest, site: &SiteUrl) -> Done<SetupResult> {
        let row = plugin_row("");
        let admin = self.enter(site, &request.login, PLUGINS_PAGE).await?;
        self.ledger.evidence.picture(self.browser, "before.png", Some(&row)).await;
        let plugin_status =
            self.part("Installing the migrator", wordpress::install(&admin, self.ledger)).await?;
        self.ledger.say(75, "Opening the migrator and reading its key");
        let key =
            self.part("Reading the key", wordpress::open_migrator(&admin, request.role, self.ledger)).await?;
        self.ledger.secret(&key);
        self.ledger.say(85, "Asking the migrator with its key");
        let status =
            self.part("Asking the migrator", wordpress::prove_migrator(&admin, &key, self.step)).await?;
        let wanted = request.role == Role::Target;
        if status.plugin_version != VERSION || status.import_enabled != wanted {
            let detail = "Another version of the migrator answers, or not the one that was set up: is a cache in between?";
            return Err(Trouble::new(Code::MigratorUnreachable, detail).into());
        }
        self.ledger.say(95, "The migrator answers to its key");
        self.after(&site.at(PLUGINS_PAGE), &row).await;
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
        site: &SiteUrl,
    ) -> Done<AppPasswordResult> {
        let admin = self.enter(site, &request.login, PROFILE_PAGE).await?;
        self.ledger.evidence.picture(self.browser, "before.png", Some(PROFILE_SECTION)).await;
        let making = wordpress::create_app_password(&admin, task, &request.app_name, self.ledger);
        let made = self.part("Making the application password", making).await;
        if made.is_err() && self.ledger.has_changed() {
            match timeout(self.step, wordpress::forget_app_password(&admin, task)).await {
                Ok(Ok(())) => self.ledger.unchanged(),
                _ => tracing::warn!("an application password that was made may be left on the site"),
            }
        }
        let made = made?;
        self.ledger.say(95, "The application password works");
        self.after(&site.at(PROFILE_PAGE), PROFILE_SECTION).await;
        Ok(made)
    }
}

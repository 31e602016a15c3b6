//! A step of the browser stage, from its claim to its evidence.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use url::Url;
use wpclone_artifacts::Artifacts;
use wpclone_guard::unique_folder;
use wpclone_migrator::{Client, Key, VERSION};
use wpclone_task::{
    AppPasswordResult, CloneDestination, CloneRequest, Code, CreateAppPasswordRequest, ExposeSecret as _,
    Login, Outcome, Prepared, Problem, Request, Role, SecretString, SetupRequest, SetupResult, SiteUrl,
    TaskId,
};

use super::driver::Driver;
use super::engine::WebDriver;
use super::evidence::Evidence;
use super::ledger::{Ledger, Part};
use super::wordpress::{self, Admin, Done, PLUGINS_PAGE, PROFILE_PAGE, PROFILE_SECTION, Trouble, plugin_row};
use super::{Browser, BrowserError, Programs};
use crate::job::{End, Job};
use crate::net::{Gate, Http, Ways};

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

/// What a step of this stage does.
enum Work<'a> {
    Setup {
        login: &'a Login,
        role: Role,
    },
    AppPassword(&'a CreateAppPasswordRequest),
    /// Of a clone: a site is set up so that content can come from it, or go to it.
    Prepare {
        login: &'a Login,
        role: Role,
        remove: bool,
    },
    /// Of a clone: the copy is looked at as its owner will.
    Look {
        login: Login,
        source: &'a SiteUrl,
    },
}

impl<'a> Work<'a> {
    fn of(job: &'a Job) -> Option<Self> {
        match (&job.request, job.step.as_str()) {
            (Request::Setup(SetupRequest { login, role }), _) => Some(Self::Setup { login, role: *role }),
            (Request::CreateAppPassword(request), _) => Some(Self::AppPassword(request)),
            (Request::Clone(CloneRequest { source, remove_migrator, .. }), "prepare") => {
                Some(Self::Prepare { login: source, role: Role::Source, remove: *remove_migrator })
            }
            (
                Request::Clone(CloneRequest {
                    destination: CloneDestination::Target(target),
                    remove_migrator,
                    ..
                }),
                "prepare-target",
            ) => Some(Self::Prepare { login: target, role: Role::Target, remove: *remove_migrator }),
            (Request::Clone(CloneRequest { source, destination, .. }), "look") => {
                let login = match destination {
                    CloneDestination::Clone { .. } => job.login_of_clone()?,
                    // It has the source's users now.
                    CloneDestination::Target(target) => Login { site: target.site.clone(), ..source.clone() },
                };
                Some(Self::Look { login, source: &source.site })
            }
            _ => None,
        }
    }

    fn login(&self) -> &Login {
        match self {
            Self::Setup { login, .. } | Self::Prepare { login, .. } => login,
            Self::Look { login, .. } => login,
            Self::AppPassword(request) => &request.login,
        }
    }
}

/// Does steps of the browser stage.
pub(crate) struct BrowserStage {
    pub(crate) programs: Programs,
    pub(crate) user_agent: String,
    pub(crate) deadlines: Deadlines,
    pub(crate) ways: Ways,
    pub(crate) artifacts: Artifacts,
    /// Where the folders of tasks lie.
    pub(crate) folders: PathBuf,
}

/// What a step works with once it has a browser.
pub(super) struct Tools<'a> {
    pub(super) browser: &'a dyn Browser,
    pub(super) http: &'a Http,
    pub(super) gate: &'a Gate,
    pub(super) ledger: &'a Ledger<'a>,
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
        let (of, part) = match (&job.request, job.step.as_str()) {
            (Request::Clone(_), "prepare") => ("", Part::Source),
            (Request::Clone(_), "prepare-target") => ("target-", Part::Target),
            (Request::Clone(CloneRequest { destination: CloneDestination::Clone { .. }, .. }), "look") => {
                ("", Part::Copy)
            }
            _ => ("", Part::Target),
        };
        let evidence = Evidence::new(&self.artifacts, job.task, of, &job.secrets);
        let ledger = Ledger::new(&job.news, &evidence, part);
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
        let gate = Arc::new(Gate::open(self.ways.clone()).await.map_err(|e| fault(&e))?);
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
        let work = Work::of(job).ok_or_else(|| {
            Trouble::new(Code::WorkerFault, format!("The browser stage has no step `{}`.", job.step))
        })?;
        let given = &work.login().site;
        // The browser takes as long to start as the site to answer.
        let (site, browser) = tokio::join!(wordpress::find(&scene.http, given), self.start(job, scene));
        let site = site?;
        let (http, gate) = (&scene.http, &*scene.gate);
        let tools = Tools { browser: browser?, http, gate, ledger, step: self.deadlines.step };
        tools.go(job.task, &work, &site).await
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
    async fn go(&self, task: TaskId, work: &Work<'_>, site: &SiteUrl) -> Done<Outcome> {
        match work {
            Work::Setup { login, role } => self.setup(login, *role, site).await.map(Outcome::Setup),
            Work::AppPassword(request) => {
                self.app_password(task, request, site).await.map(Outcome::AppPassword)
            }
            Work::Prepare { login, role, remove } => {
                let SetupResult { api_key, plugin_status, .. } = self.setup(login, *role, site).await?;
                let facts = match self.facts(site, &api_key).await {
                    Ok(facts) => facts,
                    Err(trouble) => {
                        // Nobody after us would know its key.
                        if *remove {
                            self.take_off(site, &api_key).await;
                        }
                        return Err(trouble);
                    }
                };
                Ok(Outcome::Prepared(Prepared {
                    role: *role,
                    site: site.clone(),
                    plugin_status,
                    facts,
                    api_key,
                }))
            }
            Work::Look { login, source } => self.look(login, source, site).await.map(Outcome::Looked),
        }
    }

    /// A part of the step within its deadline.
    pub(super) async fn part<T>(&self, name: &str, work: impl Future<Output = Done<T>>) -> Done<T> {
        timeout(self.step, work)
            .await
            .unwrap_or_else(|_| Err(Trouble::from(too_long(name, self.step)).into()))
    }

    pub(super) async fn enter<'a>(
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

    async fn setup(&self, login: &Login, role: Role, site: &SiteUrl) -> Done<SetupResult> {
        let row = plugin_row("");
        let admin = self.enter(site, login, PLUGINS_PAGE).await?;
        self.ledger.evidence.picture(self.browser, "before.png", Some(&row)).await;
        let plugin_status =
            self.part("Installing the migrator", wordpress::install(&admin, self.ledger)).await?;
        self.ledger.say(75, "Opening the migrator and reading its key");
        let key = self.part("Reading the key", wordpress::open_migrator(&admin, role, self.ledger)).await?;
        self.ledger.secret(&key);
        self.ledger.say(85, "Asking the migrator with its key");
        let status =
            self.part("Asking the migrator", wordpress::prove_migrator(&admin, &key, self.step)).await?;
        let wanted = role == Role::Target;
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

    /// Takes the migrator off again, as well as can be.
    async fn take_off(&self, site: &SiteUrl, key: &SecretString) {
        let Ok(key) = key.expose_secret().parse::<Key>() else { return };
        let client = Client::new(self.http.bare().clone(), site.url().clone(), key);
        if !matches!(timeout(self.step, client.remove()).await, Ok(Ok(removed)) if removed.is_complete()) {
            tracing::warn!("something of the migrator is left on the site");
        }
    }

    /// What a site runs on, as its migrator tells it.
    async fn facts(&self, site: &SiteUrl, key: &SecretString) -> Done<Value> {
        let key: Key = key
            .expose_secret()
            .parse()
            .map_err(|_| Trouble::new(Code::UnexpectedAnswer, "The migrator's key is none."))?;
        let client = Client::new(self.http.bare().clone(), site.url().clone(), key);
        let asking = async {
            client.manifest().await.map_err(|error| {
                Trouble::new(
                    Code::MigratorUnreachable,
                    format!("The migrator does not tell what the site runs on: {error}."),
                )
                .into()
            })
        };
        let manifest = self.part("Asking what the site runs on", asking).await?;
        if manifest.wordpress.multisite {
            return Err(Trouble::new(Code::MultisiteUnsupported, "The site is a network of sites.").into());
        }
        Ok(json!({
            "wordpress": manifest.wordpress.version, "php": manifest.php.version, "prefix": manifest.wordpress.prefix,
            "memory_limit": manifest.limits.memory_bytes, "max_execution_time": manifest.limits.max_execution_s,
            "max_input_vars": manifest.limits.max_input_vars,
        }))
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

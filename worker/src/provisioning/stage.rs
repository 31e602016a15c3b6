//! The provisioning stage: makes clones and unmakes them, and keeps what others see of them true.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use tokio::time::timeout;
use wpclone_clones::{CloneEntry, CloneRegistry, RegistryError};
use wpclone_provision::{Access, CloneInfo, CloneSpec, PhpLimits, ProvisionError, Provisioner, SourceFacts};
use wpclone_queue::{Queue, TaskLookup, TaskRecord};
use wpclone_service::seal::Sealer;
use wpclone_service::sealed_clone::{CloneSecrets, seal_clone};
use wpclone_task::{
    CloneDestination, CloneName, CloneRequest, Code, Outcome, Problem, Provisioned, Request, SiteUrl, Stage,
    StoredRequest, TaskId, Ttl,
};

use crate::job::{End, Job, News};

/// How long a clone may take until it is published; pushed on while its task is unfinished.
const UNPUBLISHED: SignedDuration = SignedDuration::from_mins(30);
/// How often clones are told of, and those whose time is over are taken away.
const UPKEEP: Duration = Duration::from_secs(15);
/// The longest that a step may take.
const LONGEST: Duration = Duration::from_secs(300);

/// Does steps of the provisioning stage.
#[derive(Clone)]
pub(crate) struct Provisioning {
    pub(crate) provisioner: Arc<dyn Provisioner>,
    pub(crate) clones: CloneRegistry,
    pub(crate) queue: Queue,
    pub(crate) sealer: Sealer,
    /// Who tells of these clones: the same after a restart.
    pub(crate) teller: String,
}

type Done<T> = Result<T, Box<Problem>>;

impl Provisioning {
    /// Does one step.
    pub(crate) async fn run(&self, job: &Job) -> End {
        let late = |_| Box::new(Problem::new(Code::Deadline, "The clone was not ready within five minutes."));
        let done = tokio::select! {
            done = timeout(LONGEST, self.work(job)) => done.map_err(late).and_then(|done| done),
            () = job.stop.cancelled() => return End::Stopped,
        };
        match done {
            Ok(outcome) => End::Done(outcome),
            Err(problem) => End::Failed(problem.at(Stage::Provisioning)),
        }
    }

    async fn work(&self, job: &Job) -> Done<Outcome> {
        let own = CloneName::derive(job.created_at, job.task, job.replays);
        match (&job.request, job.step.as_str()) {
            (Request::Clone(request), "provision") => self.provision(job, request, own).await,
            (Request::Clone(_), "adapt") => self.adapt(job, &own).await,
            (Request::Clone(_), "open") => {
                say(job, 50, "Adding an administrator for you");
                self.provisioner.ensure_access(&own).await.map_err(problem)?;
                Ok(Outcome::Nothing)
            }
            (
                Request::Clone(CloneRequest { destination: CloneDestination::Clone { ttl, .. }, .. }),
                "publish",
            ) => {
                let info = self.provisioner.publish(&own, after(Timestamp::now(), *ttl)).await;
                self.kept(&own, info).await
            }
            (Request::Clone(_), "discard") => self.delete(&own).await,
            (Request::ExtendClone(clone, ttl), _) => {
                let info = self.provisioner.extend(&clone.name, after(job.created_at, *ttl)).await;
                self.kept(&clone.name, info).await
            }
            (Request::DeleteClone(clone), _) => self.delete(&clone.name).await,
            (_, step) => {
                let detail = format!("The provisioning stage has no step `{step}`.");
                Err(Box::new(Problem::new(Code::WorkerFault, detail)))
            }
        }
    }

    async fn provision(&self, job: &Job, request: &CloneRequest, name: CloneName) -> Done<Outcome> {
        let CloneDestination::Clone { isolation, .. } = request.destination else {
            return Err(Box::new(Problem::new(Code::WorkerFault, "The request makes no clone.")));
        };
        say(job, 10, "Making a WordPress to copy into");
        let spec = CloneSpec {
            name: name.clone(),
            task: job.task.to_string(),
            owner: job.owner.clone(),
            deadline: Timestamp::now() + UNPUBLISHED,
            isolation,
            facts: SourceFacts::default(),
            room: 0,
        };
        let info = self.provisioner.provision(&spec).await.map_err(problem)?;
        let access = self.provisioner.access(&name).await.map_err(problem)?;
        self.tell(&info, &access, &request.source.site).await;
        say(job, 90, "The clone is there, and empty");
        Ok(Outcome::Provisioned(Provisioned {
            name,
            url: access.url,
            username: access.username,
            password: access.password,
            migrator_key: access.migrator_key,
            separation: serde_json::to_value(info.separation).unwrap_or(Value::Null),
        }))
    }

    /// The clone gets what its source has.
    async fn adapt(&self, job: &Job, name: &CloneName) -> Done<Outcome> {
        let source =
            job.before.get("prepare").and_then(|prepared| prepared.result.get("source")?.get("facts"));
        let text = |field: &str| Some(source?.get(field)?.as_str()?.to_owned());
        let number = |field: &str| source?.get(field)?.as_u64();
        let facts = SourceFacts {
            table_prefix: text("prefix"),
            php: text("php"),
            limits: PhpLimits {
                memory_limit: number("memory_limit"),
                max_execution_time: number("max_execution_time"),
                max_input_vars: number("max_input_vars"),
                ..PhpLimits::default()
            },
        };
        say(job, 50, "Fitting the clone to its source");
        self.provisioner.adapt(name, &facts).await.map_err(problem)?;
        Ok(Outcome::Nothing)
    }

    async fn kept(&self, name: &CloneName, info: Result<CloneInfo, ProvisionError>) -> Done<Outcome> {
        let info = info.map_err(problem)?;
        self.upkeep_of(&info).await;
        Ok(Outcome::Kept(name.clone(), info.expires_at))
    }

    async fn delete(&self, name: &CloneName) -> Done<Outcome> {
        self.provisioner.delete(name).await.map_err(problem)?;
        if let Err(error) = self.clones.remove(name).await {
            tracing::warn!(%error, clone = %name, "the registry was not told that the clone is gone");
        }
        Ok(Outcome::Kept(name.clone(), None))
    }

    // --- what others see ---------------------------------------------------------------------------------------------

    /// Takes away what has expired, and tells of the rest, as long as it is awaited.
    pub(crate) async fn upkeep(&self) {
        loop {
            // Also when none can be made, because WordPress is missing: those that there are run, and end.
            if let Err(error) = self.publish().await {
                tracing::debug!(%error, "the registry was not told of the clones");
            }
            self.sweep().await;
            tokio::time::sleep(UPKEEP).await;
        }
    }

    async fn sweep(&self) {
        let Ok(clones) = self.provisioner.list().await else { return };
        let mut unfinished = HashMap::new();
        for clone in &clones {
            // Who cannot be asked about is taken for unfinished: a clone too much is better than one too few.
            let is = match self.task_of(clone).await {
                Some(task) => !task.state.is_final(),
                None => self.queue.redis_warnings().await.is_err(),
            };
            unfinished.insert(clone.name.clone(), is);
        }
        let is_unfinished = |clone: &CloneInfo| unfinished.get(&clone.name).copied().unwrap_or(true);
        match self.provisioner.sweep(&is_unfinished).await {
            Ok(swept) => {
                for name in swept.expired.iter().chain(&swept.abandoned) {
                    tracing::info!(clone = %name, "a clone's time was over");
                    if let Err(error) = self.clones.remove(name).await {
                        tracing::debug!(%error, clone = %name, "the registry was not told that the clone is gone");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "clones were not swept"),
        }
    }

    /// Tells of all clones.
    async fn publish(&self) -> Result<(), RegistryError> {
        let moment = self.clones.now().await?;
        let Ok(clones) = self.provisioner.list().await else { return Ok(()) };
        let mut entries = Vec::new();
        for info in &clones {
            let source = self.task_of(info).await.and_then(|task| source_of(&task));
            if let (Ok(access), Some(source)) = (self.provisioner.access(&info.name).await, source) {
                entries.extend(self.entry(info, &access, &source));
            }
        }
        if entries.len() == clones.len() {
            return self.clones.publish(&self.teller, &moment, &entries).await;
        }
        // Who is not named is taken for gone, and a clone of which not all is known is there all the same.
        for entry in &entries {
            self.clones.put(&self.teller, entry).await?;
        }
        Ok(())
    }

    async fn upkeep_of(&self, info: &CloneInfo) {
        let source = self.task_of(info).await.and_then(|task| source_of(&task));
        if let (Ok(access), Some(source)) = (self.provisioner.access(&info.name).await, source) {
            self.tell(info, &access, &source).await;
        }
    }

    async fn tell(&self, info: &CloneInfo, access: &Access, source: &SiteUrl) {
        let Some(entry) = self.entry(info, access, source) else { return };
        if let Err(error) = self.clones.put(&self.teller, &entry).await {
            tracing::warn!(%error, clone = %info.name, "the registry was not told of the clone");
        }
    }

    fn entry(&self, info: &CloneInfo, access: &Access, source: &SiteUrl) -> Option<CloneEntry> {
        let secrets = CloneSecrets { password: access.password.clone(), login_key: access.login_key.clone() };
        let separation = serde_json::to_value(info.separation).ok()?;
        Some(CloneEntry {
            name: info.name.clone(),
            url: SiteUrl::parse(&info.url).ok()?,
            phase: info.phase,
            task: info.task.parse().ok()?,
            owner: info.owner.clone(),
            source: source.clone(),
            username: access.username.clone(),
            created_at: info.created_at,
            deadline: info.deadline,
            expires_at: info.expires_at,
            isolation: info.isolation,
            separation: separation.as_object().cloned().unwrap_or_else(Map::new),
            sealed: seal_clone(&self.sealer, &info.name, &secrets).ok(),
        })
    }

    async fn task_of(&self, clone: &CloneInfo) -> Option<TaskRecord> {
        let id: TaskId = clone.task.parse().ok()?;
        match self.queue.get(id).await {
            Ok(TaskLookup::Found(task)) => Some(*task),
            _ => None,
        }
    }
}

fn source_of(task: &TaskRecord) -> Option<SiteUrl> {
    match &task.request {
        StoredRequest::Clone { source, .. } => Some(source.url.clone()),
        _ => None,
    }
}

fn after(from: Timestamp, ttl: Ttl) -> Timestamp {
    from + SignedDuration::from_mins(ttl.minutes().into())
}

fn say(job: &Job, percent: u8, message: &str) {
    tracing::info!(percent, "{message}");
    job.news.send_modify(|news: &mut News| {
        news.progress.percent = news.progress.percent.max(percent);
        message.clone_into(&mut news.progress.message);
    });
}

fn problem(error: ProvisionError) -> Box<Problem> {
    let code = error.code().parse().unwrap_or(Code::WorkerFault);
    Box::new(Problem::new(code, format!("{error}.")))
}

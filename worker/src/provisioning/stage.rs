//! Runs the steps of the provisioning stage.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::timeout;
use wpclone_provision::{CloneInfo, CloneSpec, PhpLimits, ProvisionError, Provisioner, SourceFacts};
use wpclone_task::{
    CloneDestination, CloneName, CloneRequest, Code, Outcome, Problem, Provisioned, Request, Stage, Ttl,
};

use super::registry_sync::RegistrySync;
use crate::job::{End, Job, News};

/// How long a clone may stay unpublished; postponed while its task is unfinished.
const PUBLICATION_TIMEOUT: SignedDuration = SignedDuration::from_mins(30);
/// The most time that a step may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(300);

/// Runs the steps of the provisioning stage.
#[derive(Clone)]
pub(crate) struct Provisioning {
    pub(crate) provisioner: Arc<dyn Provisioner>,
    pub(crate) registry: RegistrySync,
}

type StepResult<T> = Result<T, Box<Problem>>;

impl Provisioning {
    /// Runs a step.
    pub(crate) async fn run(&self, job: &Job) -> End {
        let too_slow = |_| Box::new(Problem::new(Code::Deadline, "The clone was not ready within five minutes."));
        let result = tokio::select! {
            result = timeout(STEP_TIMEOUT, self.run_step(job)) => result.map_err(too_slow).flatten(),
            () = job.stop.cancelled() => return End::Stopped,
        };
        match result {
            Ok(outcome) => End::Done(outcome),
            Err(problem) => End::Failed(problem.at(Stage::Provisioning)),
        }
    }

    async fn run_step(&self, job: &Job) -> StepResult<Outcome> {
        let own = CloneName::derive(job.created_at, job.task, job.replays);
        match (&job.request, job.step.as_str()) {
            (Request::Clone(request), "provision") => self.create(job, request, own).await,
            (Request::Clone(_), "adapt") => self.match_source(job, &own).await,
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
                self.updated(&own, info).await
            }
            (Request::Clone(_), "discard") => self.delete(&own).await,
            (Request::ExtendClone(clone, ttl), _) => {
                let info = self.provisioner.extend(&clone.name, after(job.created_at, *ttl)).await;
                self.updated(&clone.name, info).await
            }
            (Request::DeleteClone(clone), _) => self.delete(&clone.name).await,
            (_, step) => {
                let detail = format!("The provisioning stage has no step `{step}`.");
                Err(Box::new(Problem::new(Code::WorkerFault, detail)))
            }
        }
    }

    async fn create(&self, job: &Job, request: &CloneRequest, name: CloneName) -> StepResult<Outcome> {
        let CloneDestination::Clone { isolation, .. } = request.destination else {
            return Err(Box::new(Problem::new(Code::WorkerFault, "The request creates no clone.")));
        };
        say(job, 10, "Creating a WordPress to copy into");
        let spec = CloneSpec {
            name: name.clone(),
            task: job.task.to_string(),
            owner: job.owner.clone(),
            deadline: Timestamp::now() + PUBLICATION_TIMEOUT,
            isolation,
        };
        let info = self.provisioner.create(&spec).await.map_err(problem)?;
        let access = self.provisioner.access(&name).await.map_err(problem)?;
        self.registry.put(&info, &access, &request.source.site).await;
        say(job, 90, "The clone is ready to be filled");
        Ok(Outcome::Provisioned(Provisioned {
            name,
            url: access.url,
            username: access.username,
            password: access.password,
            migrator_key: access.migrator_key,
            effective_isolation: serde_json::to_value(info.effective_isolation).unwrap_or(Value::Null),
        }))
    }

    /// Gives the clone its source's table prefix, PHP and limits.
    async fn match_source(&self, job: &Job, name: &CloneName) -> StepResult<Outcome> {
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
        say(job, 50, "Matching the clone's PHP and table prefix to its source");
        self.provisioner.match_source(name, &facts).await.map_err(problem)?;
        Ok(Outcome::Nothing)
    }

    async fn updated(
        &self,
        name: &CloneName,
        info: Result<CloneInfo, ProvisionError>,
    ) -> StepResult<Outcome> {
        let info = info.map_err(problem)?;
        self.registry.refresh(&info).await;
        Ok(Outcome::Kept(name.clone(), info.expires_at))
    }

    async fn delete(&self, name: &CloneName) -> StepResult<Outcome> {
        self.provisioner.delete(name).await.map_err(problem)?;
        self.registry.remove(name).await;
        Ok(Outcome::Kept(name.clone(), None))
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
    let code = match &error {
        ProvisionError::Unavailable(_) | ProvisionError::Unreadable { .. } => Code::ProvisionerUnavailable,
        ProvisionError::IsolationUnavailable(_) => Code::IsolationUnavailable,
        ProvisionError::LimitReached { .. } => Code::ClonesFull,
        ProvisionError::InsufficientDisk { .. } => Code::DiskInsufficient,
        ProvisionError::Gone(_) => Code::CloneGone,
        ProvisionError::NotFound(_) => Code::CloneNotFound,
        ProvisionError::NotPublished(_) => Code::CloneNotReady,
        ProvisionError::Timeout(_) => Code::Deadline,
        ProvisionError::NameTaken(_)
        | ProvisionError::NotReady(_)
        | ProvisionError::AlreadyPublished(_)
        | ProvisionError::InvalidTablePrefix
        | ProvisionError::Internal { .. } => Code::WorkerFault,
    };
    Box::new(Problem::new(code, format!("{error}.")))
}

//! Runs the steps of the provisioning stage.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::timeout;
use wpclone_provision::{
    CloneInfo, CloneProblemKind, CloneSpec, PhpLimits, ProvisionError, Provisioner, SourceFacts,
};
use wpclone_task::{
    CloneDestination, CloneExpiry, CloneName, CloneRequest, Code, Problem, Provisioned, Request, Role, Stage,
    Step, StepOutput, Ttl,
};

use super::registry_sync::RegistrySync;
use crate::job::{Job, StepEnd};

/// How much longer a step may take than a call of the provisioner, which ends itself.
const GRACE: Duration = Duration::from_secs(5);
/// How long a clone may stay unpublished; postponed while its task is unfinished.
const PUBLICATION_TIMEOUT: SignedDuration = SignedDuration::from_mins(30);

/// Runs the steps of the provisioning stage.
#[derive(Clone)]
pub(crate) struct Provisioning {
    pub(crate) provisioner: Arc<dyn Provisioner>,
    pub(crate) registry: RegistrySync,
}

type StepResult<T> = Result<T, Box<Problem>>;

impl Provisioning {
    /// Runs a step.
    pub(crate) async fn run(&self, job: &Job) -> StepEnd {
        let limit = self.provisioner.call_limit();
        let too_slow = |_| {
            let minutes = limit.as_secs().div_ceil(60);
            Box::new(Problem::new(
                Code::Deadline,
                format!("The clone was not ready within {minutes} minutes."),
            ))
        };
        let result = tokio::select! {
            result = timeout(limit + GRACE, self.run_step(job)) => result.map_err(too_slow).flatten(),
            () = job.stop.cancelled() => return StepEnd::Stopped,
        };
        match result {
            Ok(output) => StepEnd::Done(output),
            Err(problem) => StepEnd::Failed(problem.at(Stage::Provisioning)),
        }
    }

    async fn run_step(&self, job: &Job) -> StepResult<StepOutput> {
        let own = CloneName::derive(job.created_at, job.task, job.replays);
        match (&job.request, job.step) {
            (Request::Clone(request), Step::Provision) => self.create(job, request, own).await,
            (Request::Clone(_), Step::MatchSource) => self.match_source(job, &own).await,
            (Request::Clone(_), Step::GrantAccess) => {
                job.report_progress(50, "Adding an administrator for you");
                let ensured = self.provisioner.ensure_access(&own);
                self.with_progress(job, &own, 50, ensured).await.map_err(problem)?;
                Ok(StepOutput::Nothing)
            }
            (
                Request::Clone(CloneRequest { destination: CloneDestination::Clone { ttl, .. }, .. }),
                Step::Publish,
            ) => {
                let info = self.provisioner.publish(&own, after(Timestamp::now(), *ttl)).await;
                self.updated(&own, info).await
            }
            (Request::Clone(_), Step::Discard) => self.delete(&own).await,
            (Request::ExtendClone(clone, ttl), Step::Extend) => {
                let info = self.provisioner.extend(&clone.name, after(job.created_at, *ttl)).await;
                self.updated(&clone.name, info).await
            }
            (Request::DeleteClone(clone), Step::Delete) => self.delete(&clone.name).await,
            (_, step) => {
                let detail = format!("The provisioning stage has no step `{step}`.");
                Err(Box::new(Problem::new(Code::WorkerFault, detail)))
            }
        }
    }

    async fn create(&self, job: &Job, request: &CloneRequest, name: CloneName) -> StepResult<StepOutput> {
        let CloneDestination::Clone { isolation, .. } = request.destination else {
            return Err(Box::new(Problem::new(Code::WorkerFault, "The request creates no clone.")));
        };
        job.report_progress(10, "Creating a WordPress to copy into");
        let spec = CloneSpec {
            name: name.clone(),
            task: job.task,
            owner: job.owner.clone(),
            source: request.source.site.clone(),
            deadline: Timestamp::now() + PUBLICATION_TIMEOUT,
            isolation,
            has_other_owners: job.has_other_owners,
        };
        let created = self.provisioner.create(&spec);
        let info = self.with_progress(job, &name, 30, created).await.map_err(problem)?;
        let access = self.provisioner.access(&name).await.map_err(problem)?;
        self.registry.put(&info).await;
        job.report_progress(90, "The clone is ready to be filled");
        Ok(StepOutput::Provisioned(Provisioned {
            name,
            url: access.url,
            username: access.username,
            password: access.password,
            migrator_key: access.migrator_key,
            effective_isolation: serde_json::to_value(info.effective_isolation).unwrap_or(Value::Null),
        }))
    }

    /// Gives the clone its source's table prefix, PHP and limits, and what its wp-config.php says.
    async fn match_source(&self, job: &Job, name: &CloneName) -> StepResult<StepOutput> {
        let source = job.prior.prepared(Role::Source).map(|prepared| prepared.facts.clone());
        let facts = source.map_or_else(SourceFacts::default, |source| SourceFacts {
            table_prefix: Some(source.prefix),
            php: Some(source.php),
            limits: PhpLimits {
                memory_limit: source.memory_limit,
                max_execution_time: Some(source.max_execution_time),
                max_input_vars: source.max_input_vars,
                ..PhpLimits::default()
            },
            charset: Some(source.charset).filter(|charset| !charset.is_empty()),
            collation: Some(source.collation).filter(|collation| !collation.is_empty()),
            uploads: source.uploads,
            constants: source.constants.into_iter().collect(),
        });
        job.report_progress(50, "Matching the clone's PHP and table prefix to its source");
        let matched = self.provisioner.match_source(name, &facts);
        self.with_progress(job, name, 50, matched).await.map_err(problem)?;
        Ok(StepOutput::Nothing)
    }

    /// Reports what a call waits for while it does.
    async fn with_progress<T>(
        &self,
        job: &Job,
        name: &CloneName,
        percent: u8,
        call: impl Future<Output = T>,
    ) -> T {
        let Some(mut progress) = self.provisioner.watch_progress(name) else { return call.await };
        let mut call = std::pin::pin!(call);
        loop {
            tokio::select! {
                result = &mut call => return result,
                Ok(()) = progress.changed() => {
                    let message = progress.borrow_and_update().clone();
                    job.report_progress(percent, &message);
                }
            }
        }
    }

    async fn updated(
        &self,
        name: &CloneName,
        info: Result<CloneInfo, ProvisionError>,
    ) -> StepResult<StepOutput> {
        let info = info.map_err(problem)?;
        self.registry.put(&info).await;
        Ok(StepOutput::CloneExpiry(CloneExpiry { name: name.clone(), expires_at: info.expires_at }))
    }

    async fn delete(&self, name: &CloneName) -> StepResult<StepOutput> {
        self.provisioner.delete(name).await.map_err(problem)?;
        self.registry.remove(name).await;
        Ok(StepOutput::CloneExpiry(CloneExpiry { name: name.clone(), expires_at: None }))
    }
}

fn after(from: Timestamp, ttl: Ttl) -> Timestamp {
    from + SignedDuration::from_mins(ttl.minutes().into())
}

fn problem(error: ProvisionError) -> Box<Problem> {
    let code = match &error {
        ProvisionError::Unavailable(_) | ProvisionError::Unreadable { .. } => Code::ProvisionerUnavailable,
        ProvisionError::IsolationUnavailable(_) => Code::IsolationUnavailable,
        ProvisionError::LimitReached { .. } | ProvisionError::OwnerLimitReached { .. } => Code::ClonesFull,
        ProvisionError::Stopped { problem, .. }
            if matches!(
                problem.kind,
                CloneProblemKind::DatabaseLimitExceeded | CloneProblemKind::LockLimitExceeded
            ) =>
        {
            Code::CloneBroken
        }
        ProvisionError::InsufficientDisk { .. } | ProvisionError::Stopped { .. } => Code::DiskInsufficient,
        ProvisionError::Gone(_) => Code::CloneGone,
        ProvisionError::NotFound(_) => Code::CloneNotFound,
        ProvisionError::NotPublished(_) => Code::CloneNotReady,
        ProvisionError::DefinitionInactive(_) => Code::DefinitionInactive,
        ProvisionError::QuotaReached(_) => Code::QuotaReached,
        ProvisionError::ImageUnavailable { .. } => Code::ImageUnavailable,
        ProvisionError::Crashed { .. } => Code::CloneCrashed,
        ProvisionError::DatabaseRefused(_) => Code::DatabaseRefused,
        ProvisionError::InstanceFailed(_) => Code::InstanceFailed,
        ProvisionError::Timeout(_) => Code::Deadline,
        ProvisionError::NameTaken(_)
        | ProvisionError::NotReady(_)
        | ProvisionError::AlreadyPublished(_)
        | ProvisionError::Superseded(_)
        | ProvisionError::InvalidTablePrefix
        | ProvisionError::Internal { .. } => Code::WorkerFault,
    };
    Box::new(Problem::new(code, format!("{error}.")))
}

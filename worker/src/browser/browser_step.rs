//! What a step of the browser stage does, read from its task.

use wpclone_task::{
    CloneDestination, CreateAppPasswordRequest, Login, PreparedSite, Request, Role, SetupRequest, Step,
};

use super::step_reporter::{SiteRole, StepLogin};
use crate::job::Job;

/// A step of the browser stage.
pub(super) enum BrowserStep<'a> {
    Setup {
        login: &'a Login,
        role: Role,
    },
    CreateAppPassword(&'a CreateAppPasswordRequest),
    /// Of a clone: a site is set up to export, or to import.
    Prepare {
        login: &'a Login,
        role: Role,
        /// Whether the task removes a migrator that it installed.
        remove_migrator: bool,
        job: &'a Job,
    },
    /// Of a clone: the copy is opened as its owner will open it.
    VerifyClone {
        login: Login,
        source: &'a PreparedSite,
        /// The target of the caller's, as it was before.
        target: Option<&'a PreparedSite>,
    },
}

impl<'a> BrowserStep<'a> {
    /// `None` for a step of another stage, or when the output of an earlier step is missing.
    pub(super) fn of(job: &'a Job) -> Option<Self> {
        match (&job.request, job.step) {
            (Request::Setup(SetupRequest { login, role }), Step::Setup) => {
                Some(Self::Setup { login, role: *role })
            }
            (Request::CreateAppPassword(request), Step::CreateAppPassword) => {
                Some(Self::CreateAppPassword(request))
            }
            (Request::Clone(request), Step::Prepare) => Some(Self::Prepare {
                login: &request.source,
                role: Role::Source,
                remove_migrator: request.remove_migrator,
                job,
            }),
            (Request::Clone(request), Step::PrepareTarget) => match &request.destination {
                CloneDestination::Target(login) => Some(Self::Prepare {
                    login,
                    role: Role::Target,
                    remove_migrator: request.remove_migrator,
                    job,
                }),
                CloneDestination::Clone { .. } => None,
            },
            (Request::Clone(request), Step::Verify) => {
                let source = job.prior.prepared(Role::Source)?;
                let (login, target) = match &request.destination {
                    CloneDestination::Clone { .. } => (job.prior.provisioned()?.login()?, None),
                    CloneDestination::Target(_) => {
                        let target = job.prior.prepared(Role::Target)?;
                        // It has the source's users now.
                        let login = Login { site: target.site.clone(), ..request.source.clone() };
                        (login, Some(target))
                    }
                };
                Some(Self::VerifyClone { login, source, target })
            }
            _ => None,
        }
    }

    pub(super) fn login(&self) -> &Login {
        match self {
            Self::Setup { login, .. } | Self::Prepare { login, .. } => login,
            Self::VerifyClone { login, .. } => login,
            Self::CreateAppPassword(request) => &request.login,
        }
    }

    /// What it remembers of its login.
    pub(super) fn step_login(&self, job: &'a Job) -> StepLogin<'a> {
        let (checkpoint, session) = (Some(&job.login_checkpoint), Some(&job.kept_session));
        match self {
            Self::Setup { .. } | Self::CreateAppPassword(_) | Self::Prepare { .. } => {
                StepLogin { checkpoint, session }
            }
            Self::VerifyClone { target: Some(_), .. } => StepLogin { checkpoint: None, session },
            Self::VerifyClone { target: None, .. } => StepLogin { checkpoint: None, session: None },
        }
    }

    pub(super) fn site_role(&self) -> SiteRole {
        match self {
            Self::Prepare { role: Role::Source, .. } => SiteRole::Source,
            Self::VerifyClone { target: None, .. } => SiteRole::Clone,
            Self::VerifyClone { target: Some(_), .. } => SiteRole::FilledTarget,
            Self::Setup { .. } | Self::CreateAppPassword(_) | Self::Prepare { .. } => SiteRole::Target,
        }
    }

    /// A prefix that distinguishes the artifacts of a target from those of its source.
    pub(super) fn artifact_prefix(&self) -> &'static str {
        match self {
            Self::Prepare { role: Role::Target, .. } => "target-",
            _ => "",
        }
    }
}

#![doc = include_str!("../README.md")]

mod callback;
mod clone_location;
mod clone_name;
mod clone_view;
mod code;
mod event;
mod kind;
mod names;
mod output;
mod plan;
mod problem;
mod readable;
mod redact;
mod request;
mod result;
mod session_cookie;
mod site;
mod site_text;
mod step;
mod timestamp;
mod view;
mod wait_view;

pub use callback::{CallbackUrl, CallbackUrlError};
pub use clone_location::{CloneLocation, ClusterCondition, ClusterLocation, ClusterPod, MachineLocation};
pub use clone_name::{CloneName, CloneNameError};
pub use clone_view::{
    CloneLinks, CloneList, ClonePhase, CloneProblem, CloneProblemKind, CloneView, LoginLink,
};
pub use code::Code;
pub use event::{Event, Progress};
pub use kind::{Kind, Stage, State, UnknownName};
pub use names::{AppName, Username};
pub use output::{
    AnsweredPage, AppPasswordResult, CloneExpiry, ComparedPage, FilledTarget, MigratorRemoval,
    MigratorRemoved, OutputError, OutputParts, PageAnswer, PageKind, PageQuestion, PluginStatus,
    PreparedSite, PriorOutputs, Provisioned, SealedParts, SetupResult, SiteFacts, StepOutput, StepSecrets,
    TRUNCATED, Transferred, truncate_result,
};
pub use plan::{Plan, StepPlan};
pub use problem::Problem;
pub use readable::{ReadableField, readable};
pub use redact::Redactor;
#[cfg(feature = "openapi")]
pub use request::openapi;
pub use request::schema;
pub use request::{
    Account, CloneDestination, CloneRef, CloneRequest, CreateAppPasswordRequest, FieldError, FieldErrors,
    Isolation, Login, Request, Role, SecretField, SecretFields, SetupRequest, StoredRequest, Ttl,
};
pub use result::{insert_secret, merge_output};
pub use secrecy::{ExposeSecret, SecretString};
pub use session_cookie::{HOST_SESSION_COOKIE, SESSION_COOKIE, SESSION_COOKIES};
pub use site::{SiteKey, SiteUrl, SiteUrlError};
pub use site_text::{SiteText, escaped, is_interpreted};
pub use step::Step;
pub use timestamp::to_milliseconds;
pub use uuid::Uuid;
pub use view::{
    Artifact, CallbackView, LeftOnSite, LeftState, Links, PROBLEM_TYPE_PREFIX, QueueView, SiteCleanupView,
    StageDepth, StageSlots, StepView, TaskList, TaskView, WorkerView,
};
pub use wait_view::{WaitReason, WaitView};

/// A task's id: a UUIDv7, so that ids sort by age.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, format = Uuid))]
#[serde(transparent)]
pub struct TaskId(Uuid);

impl TaskId {
    /// A new id of this moment.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// A UUIDv5 for something that this task creates on a site (for example the `app_id` of an application
    /// password): the same for every attempt, so that a retry finds what an earlier one created.
    #[must_use]
    pub fn derived(self, what: &str) -> Uuid {
        Uuid::new_v5(&self.0, what.as_bytes())
    }

    /// Six lower-case hex characters that make a name unique.
    #[must_use]
    pub fn short(self) -> String {
        let hex = self.0.simple().to_string();
        hex[hex.len() - 6..].to_owned()
    }
}

impl Default for TaskId {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Debug for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for TaskId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The one spelling that we hand out: other forms of a UUID would give one task two names.
        let id = Uuid::parse_str(text)?;
        if id.to_string() == text { Ok(Self(id)) } else { Uuid::parse_str("").map(Self) }
    }
}

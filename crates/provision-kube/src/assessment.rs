//! What the state of a clone's objects means: it is ready, it waits for something, or it has failed.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Event, Pod};
use kube::ResourceExt as _;
use wpclone_provision::clone_image::DATABASE_EXIT_CODE;
use wpclone_provision::{ClusterPod, ProvisionError};

use crate::api_error::is_quota_message;
use crate::observation::{Observation, is_ready};
use crate::options::WaitLimits;
use crate::setup_input::SETUP_CONTAINER;

/// How often a container may fail. Once it may be that its database was not there yet.
const MAX_RESTARTS: i32 = 2;
/// The most characters of a container's last words.
const MAX_LOG_CHARS: usize = 600;

/// What the state of a clone's objects means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Assessment {
    Ready,
    /// It is being deleted.
    Gone,
    Waiting(Waiting),
}

/// What a clone waits for. Each has a limit, after which it is a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// kro and the cluster's controllers make its objects.
    Parts,
    /// No node takes the pod, in the scheduler's words.
    Node(String),
    /// A node pulls the image.
    Pull { image: String },
    /// A node cannot pull the image, and tries again.
    PullFailure { image: String, reason: String },
    /// The image's name or pull policy can never work.
    NoImage { image: String, reason: String },
    /// The containers start; what hinders them, in the node's words.
    Start(String),
    /// A quota of the cluster is reached, in the API server's words.
    Quota(String),
    /// The cluster refuses an object, in its own words.
    Refusal(String),
    /// A container has ended with an error.
    Crash(Crash),
}

/// How a container ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Crash {
    container: String,
    reason: String,
    exit_code: i32,
    log: String,
    restarts: i32,
}

/// What the objects mean.
pub(crate) fn assess(seen: &Observation) -> Assessment {
    if seen.instance.is_deleting() {
        return Assessment::Gone;
    }
    let pod = seen.current_pod();
    if seen.instance.is_ready() && pod.is_some_and(is_ready) {
        return Assessment::Ready;
    }
    let of_pod = pod.map(|pod| assess_pod(pod, &seen.events));
    let waiting = match of_pod {
        Some(waiting @ (Waiting::Node(_) | Waiting::Start(_))) => refusal(seen).unwrap_or(waiting),
        Some(waiting) => waiting,
        None => refusal(seen).unwrap_or(Waiting::Parts),
    };
    Assessment::Waiting(waiting)
}

/// What the cluster refuses.
fn refusal(seen: &Observation) -> Option<Waiting> {
    let conditions = seen.deployment.iter().flat_map(|deployment| deployment.status.iter());
    let mut conditions = conditions.flat_map(|status| status.conditions.iter().flatten());
    let of_pods = conditions
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")
        .map(|condition| condition.message.clone().unwrap_or_default());
    let status = &seen.instance.status;
    let of_instance = || {
        let resources = status.condition("ResourcesReady").or_else(|| status.condition("Ready"));
        (status.state.as_deref() == Some("ERROR"))
            .then(|| resources.map(|condition| condition.message.clone()).unwrap_or_default())
    };
    let message = of_pods.or_else(of_instance)?;
    Some(if is_quota_message(&message) { Waiting::Quota(message) } else { Waiting::Refusal(message) })
}

fn assess_pod(pod: &Pod, events: &[Event]) -> Waiting {
    let Some(status) = &pod.status else { return Waiting::Parts };
    let setups = status.init_container_statuses.iter().flatten();
    let mut containers = setups.chain(status.container_statuses.iter().flatten());
    // The first container that has not done its work is the one that the others wait for: they only say `PodInitializing`.
    if let Some(container) = containers.find(|container| !is_done(container)) {
        return assess_container(container, events);
    }
    let scheduled = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled");
    match scheduled {
        Some(scheduled) if scheduled.status == "False" => {
            Waiting::Node(scheduled.message.clone().unwrap_or_default())
        }
        _ => Waiting::Start(last_warning(events)),
    }
}

/// Whether an init container has ended well, or a container is ready.
fn is_done(container: &ContainerStatus) -> bool {
    let terminated = container.state.as_ref().and_then(|state| state.terminated.as_ref());
    container.ready || terminated.is_some_and(|terminated| terminated.exit_code == 0)
}

fn assess_container(container: &ContainerStatus, events: &[Event]) -> Waiting {
    let image = container.image.clone();
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let (reason, message) = waiting
        .map(|waiting| {
            (waiting.reason.clone().unwrap_or_default(), waiting.message.clone().unwrap_or_default())
        })
        .unwrap_or_default();
    match reason.as_str() {
        "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" | "ImageInspectError" => {
            // The back-off's message does not say why.
            let why =
                last_event(events, "Failed").filter(|_| reason == "ImagePullBackOff").unwrap_or(message);
            Waiting::PullFailure { image, reason: why }
        }
        "ErrImageNeverPull" | "InvalidImageName" | "ErrImageNotFound" => {
            Waiting::NoImage { image, reason: message }
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Waiting::Start(message)
        }
        _ => match crash(container) {
            Some(crash) => Waiting::Crash(crash),
            None if is_pulling(events) => Waiting::Pull { image },
            None => Waiting::Start(last_warning(events)),
        },
    }
}

/// How a container ended last, if it ended with an error.
fn crash(container: &ContainerStatus) -> Option<Crash> {
    let terminated = |state: &Option<ContainerState>| state.as_ref()?.terminated.clone();
    let ended = terminated(&container.state).or_else(|| terminated(&container.last_state))?;
    let tail = |text: &str| {
        let chars: Vec<char> = text.trim().chars().collect();
        chars[chars.len().saturating_sub(MAX_LOG_CHARS)..].iter().collect()
    };
    let reason = ended.reason.unwrap_or_default();
    Some(Crash {
        container: container.name.clone(),
        reason: match reason.as_str() {
            "" | "Error" | "Completed" => format!("exit status {}", ended.exit_code),
            _ => reason,
        },
        exit_code: ended.exit_code,
        // The last lines of its log, by `terminationMessagePolicy`.
        log: tail(&ended.message.unwrap_or_default()),
        restarts: container.restart_count,
    })
}

/// Whether the node pulls an image: it has begun, and not ended. Events tell seconds, so an end in the same second is one.
fn is_pulling(events: &[Event]) -> bool {
    let last = |reasons: &[&str]| {
        let of_reasons =
            events.iter().filter(|event| event.reason.as_deref().is_some_and(|r| reasons.contains(&r)));
        of_reasons.filter_map(time_of).max()
    };
    last(&["Pulling"])
        .is_some_and(|begun| last(&["Pulled", "Failed", "BackOff"]).is_none_or(|ended| ended < begun))
}

/// The message of the last event with this reason.
fn last_event(events: &[Event], reason: &str) -> Option<String> {
    let of_reason = events.iter().filter(|event| event.reason.as_deref() == Some(reason));
    // The kubelet follows a message with the bare class of the error.
    let of_reason = of_reason.filter(|event| event.message.as_deref().is_some_and(|text| text.contains(' ')));
    let telling =
        of_reason.filter(|event| event.message.as_deref().is_some_and(|m| !m.starts_with("Error: ")));
    telling.max_by_key(|event| time_of(event))?.message.clone()
}

fn last_warning(events: &[Event]) -> String {
    let warnings = events.iter().filter(|event| event.type_.as_deref() == Some("Warning"));
    warnings.max_by_key(|event| time_of(event)).and_then(|event| event.message.clone()).unwrap_or_default()
}

fn time_of(event: &Event) -> Option<jiff::Timestamp> {
    let series =
        event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    series
        .or(event.last_timestamp.as_ref().map(|time| time.0))
        .or(event.event_time.as_ref().map(|time| time.0))
        .or(event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// What a pod does, in one word.
pub(crate) fn pod_state(pod: &Pod) -> ClusterPod {
    let status = pod.status.as_ref();
    let containers = || {
        let setups = status.into_iter().flat_map(|status| status.init_container_statuses.iter().flatten());
        setups.chain(status.into_iter().flat_map(|status| status.container_statuses.iter().flatten()))
    };
    let waiting = containers().find_map(|container| {
        container
            .state
            .as_ref()?
            .waiting
            .as_ref()?
            .reason
            .clone()
            .filter(|reason| reason != "PodInitializing")
    });
    let phase = status.and_then(|status| status.phase.clone()).unwrap_or_default();
    let restarts: i32 = containers().map(|container| container.restart_count).sum();
    let is_deleting = pod.metadata.deletion_timestamp.is_some();
    let state = if is_deleting { "Terminating".to_owned() } else { waiting.unwrap_or(phase) };
    ClusterPod::new(&pod.name_any(), &state, u32::try_from(restarts).unwrap_or_default())
}

impl Waiting {
    /// What kind of waiting this is: the limit counts anew when it changes.
    pub(crate) fn kind(&self) -> Discriminant<Self> {
        discriminant(self)
    }

    /// How long it may last.
    pub(crate) fn limit(&self, limits: &WaitLimits) -> Duration {
        match self {
            Self::Parts | Self::Start(_) => limits.start,
            Self::Node(_) => limits.schedule,
            Self::Pull { .. } => limits.pull,
            Self::PullFailure { .. } => limits.pull_failure,
            Self::NoImage { .. } => Duration::ZERO,
            Self::Quota(_) | Self::Refusal(_) => limits.failure,
            Self::Crash(crash) if crash.restarts >= MAX_RESTARTS => Duration::ZERO,
            Self::Crash(_) => limits.start,
        }
    }

    /// A sentence for people.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Parts => "The cluster is making the clone's parts".to_owned(),
            Self::Node(why) => format!("Waiting for a node with room: {why}"),
            Self::Pull { image } => format!("A node is pulling the image {image}"),
            Self::PullFailure { image, .. } => {
                format!("The image {image} could not be pulled; the node tries again")
            }
            Self::NoImage { image, .. } => format!("The image {image} cannot be used"),
            Self::Start(_) => "WordPress is starting".to_owned(),
            Self::Quota(_) => "A quota of the cluster is reached; waiting for room".to_owned(),
            Self::Refusal(_) => "The cluster refuses a part of the clone; it is tried again".to_owned(),
            Self::Crash(crash) => {
                format!("The container {} has failed and is started again", crash.container)
            }
        }
    }

    /// The failure that it is after its limit.
    pub(crate) fn into_error(self) -> ProvisionError {
        match self {
            Self::Parts => ProvisionError::Timeout("making the clone's parts in the cluster".to_owned()),
            Self::Node(why) => ProvisionError::Timeout(format!("finding a node for the clone's pod ({why})")),
            Self::Pull { image } => {
                ProvisionError::ImageUnavailable { image, reason: "pulling it takes too long".to_owned() }
            }
            Self::PullFailure { image, reason } | Self::NoImage { image, reason } => {
                ProvisionError::ImageUnavailable { image, reason }
            }
            Self::Start(why) if why.is_empty() => {
                ProvisionError::Timeout("starting the clone's WordPress".to_owned())
            }
            Self::Start(why) => ProvisionError::Timeout(format!("starting the clone's WordPress ({why})")),
            Self::Quota(message) => ProvisionError::QuotaReached(message),
            Self::Refusal(message) => ProvisionError::InstanceFailed(message),
            Self::Crash(crash)
                if crash.container == SETUP_CONTAINER && crash.exit_code == i32::from(DATABASE_EXIT_CODE) =>
            {
                ProvisionError::DatabaseRefused(crash.log)
            }
            Self::Crash(crash) => ProvisionError::Crashed {
                reason: format!("container {}, {}", crash.container, crash.reason),
                log: crash.log,
            },
        }
    }
}

#[cfg(test)]
mod tests;

//! Where a clone runs.

use serde::{Deserialize, Serialize};

use crate::SiteText;

/// The most conditions of a [`ClusterLocation`].
const MAX_CONDITIONS: usize = 8;
/// The most characters of a message, and of a name or a reason.
const MAX_MESSAGE: usize = 300;
const MAX_WORD: usize = 100;

/// Where a clone runs. Nothing in it is secret; only operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CloneLocation {
    /// As programs of one machine.
    Machine(MachineLocation),
    /// As objects of a cluster.
    Cluster(ClusterLocation),
}

/// The machine that a clone runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MachineLocation {
    /// The machine's name.
    pub machine: String,
    /// The id of the worker that runs its programs.
    pub worker: String,
}

/// The objects of a clone in a cluster, as they were when a worker last looked at them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterLocation {
    /// The namespace.
    pub namespace: String,
    /// The name of its instance.
    pub instance: String,
    /// The instance's conditions, at most 8.
    pub conditions: Vec<ClusterCondition>,
    /// The newest pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ClusterPod>,
}

/// A condition of an object in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterCondition {
    /// Its type, such as `Ready`.
    #[serde(rename = "type")]
    pub kind: SiteText,
    /// `True`, `False` or `Unknown`.
    pub status: SiteText,
    /// Its reason, one word.
    pub reason: SiteText,
    /// Its message; at most 300 characters.
    pub message: SiteText,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterPod {
    /// Its name.
    pub name: String,
    /// What it does, such as `Running` or `ImagePullBackOff`.
    pub state: SiteText,
    /// How often its containers were started again.
    pub restarts: u32,
}

impl ClusterLocation {
    /// The objects of a clone, without what is too much of them to be shown.
    #[must_use]
    pub fn new(
        namespace: &str,
        instance: &str,
        conditions: impl IntoIterator<Item = ClusterCondition>,
        pod: Option<ClusterPod>,
    ) -> Self {
        Self {
            namespace: namespace.to_owned(),
            instance: instance.to_owned(),
            conditions: conditions.into_iter().take(MAX_CONDITIONS).collect(),
            pod,
        }
    }
}

impl ClusterCondition {
    /// A condition, with its texts shortened.
    #[must_use]
    pub fn new(kind: &str, status: &str, reason: &str, message: &str) -> Self {
        Self {
            kind: SiteText::with_limit(kind, MAX_WORD),
            status: SiteText::with_limit(status, MAX_WORD),
            reason: SiteText::with_limit(reason, MAX_WORD),
            message: SiteText::with_limit(message, MAX_MESSAGE),
        }
    }

    /// The condition in one line, such as `Ready False (Pending): waiting for a node`.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { kind, status, reason, message } = self;
        let reason = if reason.is_empty() { String::new() } else { format!(" ({})", &**reason) };
        let message = if message.is_empty() { String::new() } else { format!(": {}", &**message) };
        format!("{} {}{reason}{message}", &**kind, &**status)
    }
}

impl ClusterPod {
    /// A pod; `state` is what the cluster says, in one word.
    #[must_use]
    pub fn new(name: &str, state: &str, restarts: u32) -> Self {
        Self { name: name.to_owned(), state: SiteText::with_limit(state, MAX_WORD), restarts }
    }

    /// What the pod does in words, such as `Running, 2 restarts`.
    #[must_use]
    pub fn summary(&self) -> String {
        match self.restarts {
            0 => self.state.to_string(),
            1 => format!("{}, 1 restart", &*self.state),
            restarts => format!("{}, {restarts} restarts", &*self.state),
        }
    }
}

impl CloneLocation {
    /// The place in one line: the machine, or namespace and instance.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Machine(MachineLocation { machine, .. }) => machine.clone(),
            Self::Cluster(ClusterLocation { namespace, instance, .. }) => format!("{namespace}/{instance}"),
        }
    }

    /// The newest pod, in a cluster.
    #[must_use]
    pub fn pod(&self) -> Option<&ClusterPod> {
        match self {
            Self::Machine(_) => None,
            Self::Cluster(cluster) => cluster.pod.as_ref(),
        }
    }

    /// All that is known of the place, as labels and values.
    #[must_use]
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![("runs in", self.place())];
        match self {
            Self::Machine(machine) => rows.push(("worker", machine.worker.clone())),
            Self::Cluster(cluster) => {
                let pod = cluster.pod.as_ref().map(|pod| format!("{}: {}", pod.name, pod.summary()));
                rows.push(("pod", pod.unwrap_or_else(|| "none".to_owned())));
                rows.extend(cluster.conditions.iter().map(|condition| ("condition", condition.line())));
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_cluster_says_is_one_clean_line_of_bounded_length() {
        let many = (0..20).map(|_| {
            ClusterCondition::new(
                "Ready",
                "False",
                "Pending",
                &format!("no\n\u{1b}[2Jroom {}", "x".repeat(999)),
            )
        });
        let location =
            ClusterLocation::new("clones", "clone-a", many, Some(ClusterPod::new("p", "Running\u{7}", 1)));
        assert_eq!(location.conditions.len(), MAX_CONDITIONS);
        let line = location.conditions[0].line();
        assert!(line.starts_with("Ready False (Pending): no room xxx"), "{line}");
        assert!(line.chars().count() < MAX_MESSAGE + 50, "{line}");
        assert_eq!(location.pod.unwrap().summary(), "Running, 1 restart");
    }

    #[test]
    fn a_location_says_of_which_kind_it_is() {
        let machine = MachineLocation { machine: "m".into(), worker: "m-1".into() };
        let machine = CloneLocation::Machine(machine);
        assert_eq!(
            serde_json::to_value(&machine).unwrap(),
            json!({"kind": "machine", "machine": "m", "worker": "m-1"})
        );
        assert_eq!(machine.place(), "m");
        let cluster: CloneLocation = serde_json::from_value(json!({
            "kind": "cluster", "namespace": "clones", "instance": "clone-a",
            "conditions": [{"type": "Ready", "status": "True", "reason": "", "message": ""}],
        }))
        .unwrap();
        let CloneLocation::Cluster(of_cluster) = &cluster else { panic!("{cluster:?}") };
        assert_eq!(of_cluster.conditions[0].line(), "Ready True");
        assert_eq!((cluster.place().as_str(), cluster.pod()), ("clones/clone-a", None));
    }
}

//! What the cluster says about a clone.

use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt as _;
use kube::api::{ListParams, WatchEvent, WatchParams};
use tokio::time::{sleep, timeout};
use wpclone_provision::{CloneName, ProvisionError};

use crate::api_error::{failed, is_not_found};
use crate::cluster::Cluster;
use crate::wordpress_clone::{CLONE_LABEL, Instance};

/// Changes that come together are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// What the cluster says about a clone.
#[derive(Debug)]
pub(crate) struct Observation {
    pub(crate) instance: Instance,
    pub(crate) deployment: Option<Deployment>,
    pub(crate) pods: Vec<Pod>,
    /// The events of the pod that counts, while it is not ready.
    pub(crate) events: Vec<Event>,
    /// The version of the list of pods.
    pods_version: String,
}

impl Observation {
    #[cfg(test)]
    pub(crate) fn new(
        instance: Instance,
        deployment: Option<Deployment>,
        pods: Vec<Pod>,
        events: Vec<Event>,
    ) -> Self {
        Self { instance, deployment, pods, events, pods_version: String::new() }
    }

    /// The newest pod that was made from the instance as it is now: the pod of an earlier Secret is no answer to a change.
    pub(crate) fn current_pod(&self) -> Option<&Pod> {
        let secret = &self.instance.spec.secret_name;
        let has_secret = |pod: &&Pod| {
            let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
            let mut secrets = volumes.filter_map(|volume| volume.secret.as_ref()?.secret_name.as_ref());
            pod.metadata.deletion_timestamp.is_none() && secrets.any(|name| name == secret)
        };
        let created = |pod: &&Pod| pod.creation_timestamp().map(|time| time.0);
        self.pods.iter().filter(has_secret).max_by_key(created)
    }
}

/// Whether a pod serves.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

impl Cluster {
    /// Looks at a clone and its parts.
    pub(crate) async fn observe(&self, name: &CloneName) -> Result<Observation, ProvisionError> {
        let parts = Self::parts_of(name);
        let (instance, deployment, pods) =
            tokio::join!(self.require(name), self.deployments.get(name.as_str()), self.pods.list(&parts),);
        let deployment = match deployment {
            Ok(deployment) => Some(deployment),
            Err(error) if is_not_found(&error) => None,
            Err(error) => return Err(failed("reading a clone's Deployment")(error)),
        };
        let pods = pods.map_err(failed("listing a clone's pods"))?;
        let pods_version = pods.metadata.resource_version.clone().unwrap_or_default();
        let mut seen = Observation {
            instance: instance?,
            deployment,
            pods: pods.items,
            events: Vec::new(),
            pods_version,
        };
        if let Some(pod) = seen.current_pod().filter(|pod| !is_ready(pod)) {
            let of_pod = ListParams::default().fields(&format!("involvedObject.name={}", pod.name_any()));
            let events = self.events.list(&of_pod).await.map_err(failed("listing a pod's events"))?;
            seen.events = events.items;
        }
        Ok(seen)
    }

    /// Waits until something of what was seen has changed, or for `limit`.
    pub(crate) async fn until_changed(&self, seen: &Observation, limit: Duration) {
        let name = &seen.instance.name;
        let changed = async {
            let of_instance = WatchParams::default().fields(&format!("metadata.name={name}"));
            let of_pods = WatchParams::default().labels(&format!("{CLONE_LABEL}={name}"));
            let version = seen.instance.metadata.resource_version.as_deref().unwrap_or_default();
            let (instance, pods) = tokio::join!(
                self.instances.watch(&of_instance, version),
                self.pods.watch(&of_pods, &seen.pods_version),
            );
            match (instance, pods) {
                (Ok(instance), Ok(pods)) => {
                    let (mut instance, mut pods) = (std::pin::pin!(instance), std::pin::pin!(pods));
                    let event = tokio::select! {
                        event = instance.next() => event.map(|event| event.is_ok_and(|it| is_change(&it))),
                        event = pods.next() => event.map(|event| event.is_ok_and(|it| is_change(&it))),
                    };
                    // As when the version that was seen is too old to be watched from.
                    if event != Some(true) {
                        sleep(limit).await;
                    }
                }
                // The next look at the clone reports what is wrong.
                _ => sleep(limit).await,
            }
        };
        // A change that is missed is seen by the next look.
        let _ = timeout(limit, changed).await;
        sleep(DEBOUNCE).await;
    }
}

fn is_change<K>(event: &WatchEvent<K>) -> bool {
    matches!(event, WatchEvent::Added(_) | WatchEvent::Modified(_) | WatchEvent::Deleted(_))
}

//! The cluster's objects that the provisioner reads and writes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use serde_json::{Value, json};
use wpclone_provision::{
    CloneInfo, CloneLocation, CloneName, CloneProblem, CloneProblemKind, ClusterCondition, ClusterLocation,
    EffectiveIsolation, Isolation, Phase, ProvisionError, SourceFacts, UnreadableClone,
};

use crate::api_error::{failed, is_conflict, is_not_found};
use crate::assessment::pod_state;
use crate::clone_database::CloneDatabase;
use crate::clone_secret;
use crate::definition::Definition;
use crate::options::KubeOptions;
use crate::progress::ProgressReports;
use crate::wordpress_clone::{CLONE_LABEL, Instance, InstanceId, api_resource};

/// How often a change is tried again when somebody else, such as kro, has changed the object meanwhile.
pub(crate) const CHANGE_ATTEMPTS: usize = 10;

/// How long the API server may send nothing within an answer. Watches are shorter.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A cluster, and how clones are made in it.
pub(crate) struct Cluster {
    pub(crate) options: KubeOptions,
    pub(crate) resource: ApiResource,
    pub(crate) instances: Api<DynamicObject>,
    pub(crate) secrets: Api<Secret>,
    pub(crate) deployments: Api<Deployment>,
    pub(crate) pods: Api<Pod>,
    pub(crate) events: Api<Event>,
    pub(crate) definition: Definition,
    pub(crate) database: CloneDatabase,
    pub(crate) progress: Arc<ProgressReports>,
    /// Locked while clones are counted and another is added.
    pub(crate) admission: tokio::sync::Mutex<()>,
}

/// The instances of clones.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Those that can be read, oldest first.
    pub(crate) instances: Vec<Instance>,
    /// Those that cannot.
    pub(crate) unreadable: Vec<UnreadableClone>,
    /// Those of both that are being deleted.
    pub(crate) deleting: Vec<InstanceId>,
}

impl Cluster {
    /// Reads how to reach the cluster; connects when first used.
    ///
    /// # Errors
    /// There is no usable configuration.
    pub(crate) async fn new(options: KubeOptions, progress: Arc<ProgressReports>) -> Result<Self, String> {
        let mut config = match &options.kubeconfig {
            Some(file) => {
                let kubeconfig = Kubeconfig::read_from(file).map_err(|error| error.to_string())?;
                let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
                config.map_err(|error| error.to_string())?
            }
            None => Config::infer().await.map_err(|error| error.to_string())?,
        };
        // An API server that accepts a request and never answers it would hold its caller for ever.
        config.read_timeout = Some(ANSWER_LIMIT);
        let client = Client::try_from(config).map_err(|error| error.to_string())?;
        let (namespace, resource) = (options.namespace.as_str(), api_resource(&options.group));
        Ok(Self {
            instances: Api::namespaced_with(client.clone(), namespace, &resource),
            secrets: Api::namespaced(client.clone(), namespace),
            deployments: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            events: Api::namespaced(client.clone(), namespace),
            definition: Definition::new(client, &options.group),
            database: CloneDatabase::new(&options.database),
            admission: tokio::sync::Mutex::default(),
            resource,
            options,
            progress,
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.options.clock)()
    }

    /// Selects what belongs to a clone.
    pub(crate) fn parts_of(name: &CloneName) -> ListParams {
        ListParams::default().labels(&format!("{CLONE_LABEL}={name}"))
    }

    /// The instance of a clone, if there is one.
    ///
    /// # Errors
    /// The cluster does not answer, or the instance cannot be read.
    pub(crate) async fn find(&self, name: &CloneName) -> Result<Option<Instance>, ProvisionError> {
        self.find_object(name).await?.map_or(Ok(None), |object| read(object).transpose())
    }

    /// The same, also if it cannot be read.
    pub(crate) async fn find_object(
        &self,
        name: &CloneName,
    ) -> Result<Option<DynamicObject>, ProvisionError> {
        match self.instances.get(name.as_str()).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(failed("reading a clone")(error)),
        }
    }

    /// The instance of a clone.
    ///
    /// # Errors
    /// There is none, or as of [`Self::find`].
    pub(crate) async fn require(&self, name: &CloneName) -> Result<Instance, ProvisionError> {
        self.find(name).await?.ok_or_else(|| ProvisionError::NotFound(name.clone()))
    }

    /// All instances.
    pub(crate) async fn list(&self) -> Result<Listing, ProvisionError> {
        let objects = self.instances.list(&ListParams::default()).await.map_err(failed("listing clones"))?;
        let mut listing = Listing::default();
        for object in objects {
            if object.metadata.deletion_timestamp.is_some() {
                listing.deleting.extend(InstanceId::read(&object.metadata));
            }
            match Instance::read(object) {
                Some(Ok(instance)) => listing.instances.push(instance),
                Some(Err(clone)) => listing.unreadable.push(clone),
                None => {}
            }
        }
        listing.instances.sort_by_cached_key(|instance| (created_at(instance), instance.name.clone()));
        Ok(listing)
    }

    /// All clones, oldest first.
    pub(crate) async fn list_infos(&self) -> Result<Vec<CloneInfo>, ProvisionError> {
        let parts = ListParams::default().labels(CLONE_LABEL);
        let (instances, secrets, pods) =
            tokio::join!(self.list(), self.secrets.list(&parts), self.pods.list(&parts));
        let secrets: HashMap<String, Secret> = secrets
            .map_err(failed("listing Secrets"))?
            .into_iter()
            .map(|secret| (secret.name_any(), secret))
            .collect();
        let mut pods_of: BTreeMap<String, Vec<Pod>> = BTreeMap::new();
        for pod in pods.map_err(failed("listing pods"))? {
            let clone = pod.labels().get(CLONE_LABEL).cloned().unwrap_or_default();
            pods_of.entry(clone).or_default().push(pod);
        }
        let info = |instance: &Instance| {
            let secret = secrets.get(&instance.spec.secret_name);
            let facts = secret.and_then(clone_secret::facts).unwrap_or_default();
            let pods = pods_of.get(instance.name.as_str()).map(Vec::as_slice).unwrap_or_default();
            self.info(instance, facts, pods)
        };
        Ok(instances?.instances.iter().map(info).collect())
    }

    /// A clone as it is now.
    pub(crate) fn info(&self, instance: &Instance, facts: SourceFacts, pods: &[Pod]) -> CloneInfo {
        let spec = instance.spec.clone();
        let conditions = instance.status.conditions.iter().map(|condition| {
            ClusterCondition::new(&condition.type_, &condition.status, &condition.reason, &condition.message)
        });
        let newest = pods.iter().max_by_key(|pod| pod.creation_timestamp().map(|time| time.0));
        CloneInfo {
            name: instance.name.clone(),
            phase: instance.phase(),
            problem: problem(instance),
            created_at: created_at(instance),
            expires_at: instance.expires_at(),
            task: spec.task,
            owner: spec.owner,
            source: spec.source,
            url: spec.url,
            username: spec.username,
            deadline: spec.creation_deadline,
            isolation: Isolation::Shared,
            effective_isolation: EffectiveIsolation {
                own_user: true,
                own_network: true,
                own_database_server: false,
            },
            facts,
            table_prefix: spec.table_prefix,
            // The image has it, and nobody is told which one that is.
            wordpress: String::new(),
            php: spec.php,
            location: Some(CloneLocation::Cluster(ClusterLocation::new(
                &self.options.namespace,
                instance.name.as_str(),
                conditions,
                newest.map(pod_state),
            ))),
        }
    }

    /// Changes this very instance by a merge patch that `change` makes from its present state: a compare-and-swap. Nothing is
    /// changed when that is `None`. Returns the instance afterwards.
    ///
    /// # Errors
    /// [`ProvisionError::Gone`] when it is gone, although there may be another one of its name.
    pub(crate) async fn change(
        &self,
        seen: &Instance,
        change: impl Fn(&Instance) -> Result<Option<Value>, ProvisionError>,
    ) -> Result<Instance, ProvisionError> {
        let (name, gone) = (&seen.name, || ProvisionError::Gone(seen.name.clone()));
        for _ in 0..CHANGE_ATTEMPTS {
            let found = self.find(name).await?.filter(|found| found.uid() == seen.uid());
            let instance = found.ok_or_else(gone)?;
            let Some(mut patch) = change(&instance)? else { return Ok(instance) };
            patch["metadata"]["resourceVersion"] = json!(instance.metadata.resource_version);
            let patched =
                self.instances.patch(name.as_str(), &PatchParams::default(), &Patch::Merge(&patch)).await;
            match patched {
                Ok(object) => {
                    return read(object).ok_or_else(gone).flatten();
                }
                Err(error) if is_conflict(&error) => {}
                Err(error) if is_not_found(&error) => return Err(gone()),
                Err(error) => return Err(failed("changing a clone")(error)),
            }
        }
        Err(ProvisionError::Timeout("changing the clone, which the cluster changes all the time,".to_owned()))
    }
}

/// What is wrong with a clone that is in use. Before, it is its task that tells.
fn problem(instance: &Instance) -> Option<CloneProblem> {
    let ready = instance.status.condition("Ready").filter(|ready| ready.status == "False")?;
    let in_use = instance.phase() == Phase::Published;
    in_use.then(|| CloneProblem::new(CloneProblemKind::NotStarting, &ready.message))
}

/// The instance that an object is; `None` for one that is no clone's.
///
/// # Errors
/// It cannot be read.
pub(crate) fn read(object: DynamicObject) -> Option<Result<Instance, ProvisionError>> {
    let read = Instance::read(object)?;
    Some(read.map_err(|UnreadableClone { name, reason, .. }| ProvisionError::Unreadable { name, reason }))
}

fn created_at(instance: &Instance) -> Timestamp {
    instance.metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default()
}

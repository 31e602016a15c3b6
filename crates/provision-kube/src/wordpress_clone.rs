//! The kind `WordPressClone`, as `k8s/kro/wordpressclone.yaml` defines it; a test checks one against the other.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ObjectMeta};
use serde::{Deserialize, Serialize};
use wpclone_provision::{CloneName, Phase, SiteUrl, TaskId, UnreadableClone};

/// The kind.
pub const KIND: &str = "WordPressClone";
/// Its version.
pub const VERSION: &str = "v1alpha1";
/// The label of everything that belongs to a clone; its value is the clone's name.
pub(crate) const CLONE_LABEL: &str = "wpclone.dev/clone";
/// The annotation of an instance whose clone was ready once, so that its creation is complete.
pub(crate) const CREATED_ANNOTATION: &str = "wpclone.dev/created";
/// The finalizer of an instance whose schema and database user are not dropped yet.
pub(crate) const DATABASE_FINALIZER: &str = "wpclone.dev/database";

/// What a clone is to be. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WordPressCloneSpec {
    /// The task that the clone was created for.
    pub task: TaskId,
    /// The clone's owner (token name).
    pub owner: String,
    /// The site that it is a copy of.
    pub source: SiteUrl,
    /// Its canonical address, without a slash at the end.
    pub url: String,
    /// The login name of its administrator.
    pub username: String,
    /// When it is deleted unless it is published by then.
    pub creation_deadline: Timestamp,
    /// When it expires (RFC 3339); empty until it is published.
    pub expires_at: String,
    /// The prefix of its tables.
    pub table_prefix: String,
    /// Its PHP, such as `8.2`.
    pub php: String,
    /// The image of that PHP.
    pub image: String,
    /// The Secret with its configuration and passwords.
    pub secret_name: String,
    /// The RuntimeClass of its pod; empty for the cluster's own.
    pub runtime_class_name: String,
    /// Its volume.
    pub storage: WordPressCloneStorage,
    /// What its pod may take.
    pub resources: WordPressCloneResources,
    /// Its Ingress.
    pub ingress: WordPressCloneIngress,
}

/// The volume of a clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WordPressCloneStorage {
    /// The StorageClass; empty for the cluster's default.
    pub class_name: String,
    /// The size.
    pub size: String,
}

/// What the pod of a clone may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WordPressCloneResources {
    /// The processor time that it is sure of.
    pub cpu: String,
    /// The memory that it may take.
    pub memory: String,
}

/// The Ingress of a clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WordPressCloneIngress {
    /// Whether it has one.
    pub enabled: bool,
    /// The IngressClass.
    pub class_name: String,
    /// The host of its address; empty for all.
    pub host: String,
    /// The path of its address.
    pub path: String,
    /// The Service of the router in the clones' namespace.
    pub service: String,
}

/// What has become of a clone. Each field appears when kro can tell it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WordPressCloneStatus {
    /// kro's state, such as `ACTIVE` or `ERROR`.
    pub state: Option<String>,
    /// kro's conditions; `Ready` is the one to rely on.
    pub conditions: Vec<Condition>,
    /// The pods that are available.
    pub available_replicas: Option<i64>,
    /// The Service.
    pub service_name: Option<String>,
}

impl WordPressCloneStatus {
    /// A condition of this type.
    pub(crate) fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == kind)
    }
}

/// Which instance: another of the same name, as of a later attempt, has another uid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InstanceId {
    pub(crate) name: CloneName,
    pub(crate) uid: String,
}

impl InstanceId {
    /// Of an object; `None` when its name is no clone's.
    pub(crate) fn read(metadata: &ObjectMeta) -> Option<Self> {
        let name = metadata.name.as_deref()?.parse().ok()?;
        Some(Self { name, uid: metadata.uid.clone().unwrap_or_default() })
    }
}

/// An instance of the kind.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) name: CloneName,
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: WordPressCloneSpec,
    pub(crate) status: WordPressCloneStatus,
}

/// The resource of a group's `WordPressClone`. kro names it by the lower-case kind.
pub(crate) fn api_resource(group: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, VERSION, KIND), "wordpressclones")
}

impl Instance {
    /// Reads an object. `None` when its name is no clone's: it is none of ours.
    ///
    /// # Errors
    /// It cannot be read, because another version wrote it or somebody applied it by hand.
    pub(crate) fn read(object: DynamicObject) -> Option<Result<Self, UnreadableClone>> {
        let name: CloneName = object.metadata.name.as_deref()?.parse().ok()?;
        let DynamicObject { metadata, mut data, .. } = object;
        let spec = serde_json::from_value(data["spec"].take());
        let status = match data["status"].take() {
            serde_json::Value::Null => Ok(WordPressCloneStatus::default()),
            status => serde_json::from_value(status),
        };
        Some(match (spec, status) {
            (Ok(spec), Ok(status)) => Ok(Self { name, metadata, spec, status }),
            (Err(error), _) => {
                Err(UnreadableClone { name, reason: format!("its spec cannot be read: {error}"), info: None })
            }
            (_, Err(error)) => Err(UnreadableClone {
                name,
                reason: format!("its status cannot be read: {error}"),
                info: None,
            }),
        })
    }

    pub(crate) fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    pub(crate) fn id(&self) -> InstanceId {
        InstanceId { name: self.name.clone(), uid: self.uid().to_owned() }
    }

    /// Whether it is being deleted.
    pub(crate) fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether its clone was ready once.
    pub(crate) fn is_created(&self) -> bool {
        let annotations = self.metadata.annotations.as_ref();
        annotations.is_some_and(|annotations| annotations.contains_key(CREATED_ANNOTATION))
    }

    /// When it expires; `None` until it is published.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        self.spec.expires_at.parse().ok()
    }

    pub(crate) fn phase(&self) -> Phase {
        if self.is_deleting() {
            Phase::Deleting
        } else if self.expires_at().is_some() {
            Phase::Published
        } else if self.is_created() {
            Phase::Ready
        } else {
            Phase::Creating
        }
    }

    /// Whether kro says that the whole clone, as its spec is now, is ready.
    pub(crate) fn is_ready(&self) -> bool {
        let generation = self.metadata.generation.unwrap_or_default();
        self.status.condition("Ready").is_some_and(|ready| {
            ready.status == "True" && ready.observed_generation.unwrap_or_default() >= generation
        })
    }

    /// A reference that has an object deleted with the instance.
    pub(crate) fn owner_reference(&self, resource: &ApiResource) -> OwnerReference {
        OwnerReference {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
            name: self.name.as_str().to_owned(),
            uid: self.uid().to_owned(),
            ..OwnerReference::default()
        }
    }
}

//! Creates clones.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::{DynamicObject, ObjectMeta, PostParams};
use serde_json::json;
use wpclone_provision::{
    CloneInfo, CloneName, CloneSpec, Isolation, ProvisionError, SourceFacts, most_of_one_owner, table_prefix,
};

use crate::api_error::{already_exists, failed, is_quota_uncounted};
use crate::clone_database::SchemaPrefix;
use crate::clone_secret::{self, CloneKeys};
use crate::cluster::{Cluster, Listing};
use crate::random::random;
use crate::wordpress_clone::{
    CLONE_LABEL, CREATED_ANNOTATION, DATABASE_FINALIZER, Instance, WordPressCloneIngress,
    WordPressCloneResources, WordPressCloneSpec, WordPressCloneStorage,
};

/// How long a quota may take to be counted; Kubernetes counts those of new kinds each five minutes.
const QUOTA_COUNT_LIMIT: Duration = Duration::from_secs(330);
const QUOTA_COUNT_PAUSE: Duration = Duration::from_secs(1);

impl Cluster {
    /// Creates a clone, or finishes what another call has begun. A failure leaves nothing.
    pub(crate) async fn create(&self, spec: &CloneSpec) -> Result<CloneInfo, ProvisionError> {
        if spec.isolation == Isolation::Dedicated {
            return Err(ProvisionError::IsolationUnavailable(spec.isolation));
        }
        let mut instance = self.get_or_insert(spec).await?;
        if instance.spec.task == spec.task && instance.is_deleting() {
            // An earlier attempt failed, and what it had made is not gone yet.
            self.finish_deletion(&instance.id(), self.options.limits.delete).await?;
            instance = self.get_or_insert(spec).await?;
        }
        if instance.spec.task != spec.task {
            return Err(ProvisionError::NameTaken(spec.name.clone()));
        }
        if instance.is_deleting() {
            return Err(ProvisionError::Gone(spec.name.clone()));
        }
        if instance.is_created() {
            return self.info_of(&instance).await;
        }
        let built = self.build(&instance).await;
        if let Err(error) = &built {
            tracing::warn!(clone = %spec.name, %error, "a clone cannot be created");
            if let Err(error) = self.take_back(&instance).await {
                tracing::warn!(clone = %spec.name, %error, "what was made of it is not gone yet; it is deleted on");
            }
        }
        built
    }

    /// Deletes an instance whose creation failed. If another call has deleted it meanwhile, that one may have looked for
    /// schemas before this one made its own.
    async fn take_back(&self, instance: &Instance) -> Result<(), ProvisionError> {
        let id = instance.id();
        self.delete_instance(&id).await?;
        self.database.drop_all(&SchemaPrefix::of(&id)).await
    }

    /// The instance of this name, or a new one. Whatever exists of a clone exists after its instance.
    async fn get_or_insert(&self, spec: &CloneSpec) -> Result<Instance, ProvisionError> {
        let _admission = self.admission.lock().await;
        if let Some(instance) = self.find(&spec.name).await? {
            return Ok(instance);
        }
        self.definition.check().await?;
        self.check_limits(spec).await?;
        let object = self.new_instance(spec)?;
        match self.insert(&object).await {
            Ok(_) => {}
            Err(error) if already_exists(&error) => {}
            Err(error) => return Err(failed("creating a clone")(error)),
        }
        self.require(&spec.name).await
    }

    /// Where the quota has not been counted yet, nobody can create anything, so others may wait for this.
    async fn insert(&self, object: &DynamicObject) -> Result<DynamicObject, kube::Error> {
        let began = tokio::time::Instant::now();
        loop {
            match self.instances.create(&PostParams::default(), object).await {
                Err(error) if is_quota_uncounted(&error) && began.elapsed() < QUOTA_COUNT_LIMIT => {}
                other => return other,
            }
            tokio::time::sleep(QUOTA_COUNT_PAUSE).await;
        }
    }

    async fn check_limits(&self, spec: &CloneSpec) -> Result<(), ProvisionError> {
        let Listing { instances, unreadable, .. } = self.list().await?;
        let limit = self.options.max_clones;
        if instances.len() + unreadable.len() >= limit {
            return Err(ProvisionError::LimitReached { limit });
        }
        let count = instances.iter().filter(|instance| instance.spec.owner == spec.owner).count();
        let most = most_of_one_owner(limit);
        if spec.has_other_owners && count >= most {
            return Err(ProvisionError::OwnerLimitReached { count, limit: most, total: limit });
        }
        Ok(())
    }

    fn new_instance(&self, spec: &CloneSpec) -> Result<DynamicObject, ProvisionError> {
        let (options, url) = (&self.options, self.options.addresses.url(&spec.name));
        let image = options.images.nearest(None);
        let new = WordPressCloneSpec {
            task: spec.task,
            owner: spec.owner.clone(),
            source: spec.source.clone(),
            ingress: self.ingress(&url),
            url,
            username: format!("wpclone-{}", random::<4>()?),
            creation_deadline: spec.deadline,
            expires_at: String::new(),
            table_prefix: table_prefix(&SourceFacts::default())?,
            php: image.php(),
            image: image.image.clone(),
            secret_name: clone_secret::new_name(&spec.name)?,
            runtime_class_name: options.runtime_class.clone(),
            storage: WordPressCloneStorage {
                class_name: options.resources.storage_class.clone(),
                size: options.resources.storage.clone(),
            },
            resources: WordPressCloneResources {
                cpu: options.resources.cpu.clone(),
                memory: options.resources.memory.clone(),
            },
        };
        let mut object = DynamicObject::new(spec.name.as_str(), &self.resource).data(json!({ "spec": new }));
        object.metadata = ObjectMeta {
            finalizers: Some(vec![DATABASE_FINALIZER.to_owned()]),
            labels: Some(labels(&spec.name)),
            ..object.metadata
        };
        Ok(object)
    }

    fn ingress(&self, url: &str) -> WordPressCloneIngress {
        let address = url.parse::<url::Url>().ok();
        let host = address.as_ref().and_then(url::Url::domain).unwrap_or_default().to_owned();
        let path = address.as_ref().map_or("/", url::Url::path).to_owned();
        let ingress = self.options.ingress.clone();
        WordPressCloneIngress {
            enabled: ingress.is_some(),
            class_name: ingress.as_ref().map(|ingress| ingress.class.clone()).unwrap_or_default(),
            host,
            path,
            service: ingress.map(|ingress| ingress.service).unwrap_or_default(),
        }
    }

    /// Makes what a clone needs beside its instance, and waits until it is ready.
    async fn build(&self, instance: &Instance) -> Result<CloneInfo, ProvisionError> {
        let name = instance.name.clone();
        if self.find_secret(instance).await?.is_none() {
            let keys = CloneKeys::generate(SchemaPrefix::of(&instance.id()).first())?;
            self.create_secret(instance, &keys, &SourceFacts::default()).await?;
        }
        let (_, keys) = self.require_secret(instance).await?;
        self.database.ensure(&keys.database, &keys.database_password).await?;
        // Also fails when the instance was deleted before the schema was made: nobody else would drop that.
        self.await_ready(instance).await?;
        let created =
            json!({ "metadata": { "annotations": { CREATED_ANNOTATION: self.now().to_string() } } });
        let instance = self.change(instance, |_| Ok(Some(created.clone()))).await?;
        tracing::info!(clone = %name, "a clone is ready");
        self.info_of(&instance).await
    }

    /// A clone as it is now.
    pub(crate) async fn info_of(&self, instance: &Instance) -> Result<CloneInfo, ProvisionError> {
        let parts = Self::parts_of(&instance.name);
        let (secret, pods) = tokio::join!(self.find_secret(instance), self.pods.list(&parts));
        let facts = secret?.as_ref().and_then(clone_secret::facts).unwrap_or_default();
        Ok(self.info(instance, facts, &pods.map_err(failed("listing a clone's pods"))?.items))
    }
}

fn labels(name: &CloneName) -> BTreeMap<String, String> {
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    BTreeMap::from([label(CLONE_LABEL, name.as_str()), label("app.kubernetes.io/part-of", "wpclone")])
}

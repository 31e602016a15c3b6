//! A namespace and a definition of its own for one test.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, Secret, Service};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wpclone_cluster_tests::Cluster;
use wpclone_provision::{
    Addresses, CloneName, CloneSpec, Health, Isolation, Provisioner as _, Routing, SiteUrl, TaskId,
    random_hex,
};
use wpclone_provision_kube::{CloneResources, KubeOptions, KubeProvisioner, WaitLimits};

use super::mariadb::Mariadb;

/// The most time that anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
/// The quota controller finds a new kind within minutes.
const QUOTA_PATIENCE: Duration = Duration::from_secs(600);
const DEFINITION: &str = include_str!("../../../../../k8s/kro/wordpressclone.yaml");
const ROLE: &str = include_str!("../../../../../k8s/base/clones/provisioner-role.yaml");
const CLUSTER_ROLE: &str = include_str!("../../../../../k8s/kro/provisioner-clusterrole.yaml");
const KRO_ROLE: &str = include_str!("../../../../../k8s/base/clones/kro-role.yaml");
const KRO_CLUSTER_ROLE: &str = include_str!("../../../../../k8s/kro/kro-clusterrole.yaml");
/// The ServiceAccount that the provisioner acts as.
const SERVICE_ACCOUNT: &str = "provisioner";
/// Marks what a test makes outside its namespace.
const TEST_LABEL: &str = "wpclone.dev/test";
/// The group in those files.
const GROUP: &str = "wpclone.dev";

/// A namespace and a definition of its own, a database server, and a provisioner that runs with no more rights than the
/// roles give that are shipped.
pub(crate) struct Lab {
    cluster: Cluster,
    pub(crate) client: Client,
    pub(crate) options: KubeOptions,
    pub(crate) mariadb: Mariadb,
    pub(crate) provisioner: Arc<KubeProvisioner>,
    running: AbortOnDropHandle<()>,
    /// Seconds that the provisioner's clock is ahead.
    ahead: Arc<AtomicU64>,
    _kubeconfig: tempfile::NamedTempFile,
}

impl Lab {
    /// A lab whose clones have this image, and volumes of the cluster's default class.
    pub(crate) async fn start(image: &str, limits: WaitLimits) -> Self {
        Self::start_with_class("", image, limits).await
    }

    /// The same, with volumes of a class that is named.
    pub(crate) async fn start_with_class(class: &str, image: &str, limits: WaitLimits) -> Self {
        let cluster = Cluster::shared().await.unwrap();
        let file = cluster.kubeconfig();
        let kubeconfig = Kubeconfig::read_from(file).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let unique = random_hex::<4>().unwrap();
        let (namespace, group) = (format!("test-{unique}"), format!("t{unique}.{GROUP}"));
        let new: Namespace = serde_json::from_value(json!({
            "metadata": {"name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }))
        .unwrap();
        Api::all(client.clone()).create(&PostParams::default(), &new).await.unwrap();
        grant(&cluster, &namespace, &group).await;
        let kubeconfig = acting_as(file, &format!("system:serviceaccount:{namespace}:{SERVICE_ACCOUNT}"));
        let (mariadb, ahead) = (Mariadb::start().await, Arc::new(AtomicU64::new(0)));
        let clock = Arc::clone(&ahead);
        let options = KubeOptions {
            kubeconfig: Some(kubeconfig.path().to_owned()),
            group,
            namespace,
            addresses: Addresses::new(
                "127.0.0.1:80".parse().unwrap(),
                Some("https://c.example"),
                Routing::Path,
            )
            .unwrap(),
            images: format!("8.2={image},8.3={image}").parse().unwrap(),
            resources: CloneResources {
                cpu: "10m".into(),
                memory: "64Mi".into(),
                storage: "16Mi".into(),
                storage_class: class.to_owned(),
            },
            runtime_class: String::new(),
            ingress: None,
            database: mariadb.options(),
            max_clones: 10,
            limits,
            clock: Arc::new(move || {
                let seconds = i64::try_from(clock.load(Ordering::Relaxed)).unwrap();
                Timestamp::now() + SignedDuration::from_secs(seconds)
            }),
        };
        let (provisioner, running) = run(&options);
        let lab =
            Self { cluster, client, options, mariadb, provisioner, running, ahead, _kubeconfig: kubeconfig };
        lab.define(|_| {}).await;
        lab.until_health(|health| *health == Health::Ready).await;
        lab
    }

    /// Writes the definition with a change.
    pub(crate) async fn define(&self, change: impl FnOnce(&mut Value)) {
        let mut definition: Value = serde_saphyr::from_str(DEFINITION).unwrap();
        let name = format!("wordpressclone.{}", self.options.group);
        definition["metadata"]["name"] = json!(name);
        definition["spec"]["schema"]["group"] = json!(self.options.group);
        change(&mut definition);
        let apply = PatchParams::apply("test").force();
        self.definitions().patch(&name, &apply, &Patch::Apply(&definition)).await.unwrap();
    }

    fn definitions(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("kro.run", "v1alpha1", "ResourceGraphDefinition");
        let resource = ApiResource::from_gvk_with_plural(&kind, "resourcegraphdefinitions");
        Api::all_with(self.client.clone(), &resource)
    }

    /// The instances of the test's own kind.
    pub(crate) fn instances(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(&self.options.group, "v1alpha1", "WordPressClone");
        let resource = ApiResource::from_gvk_with_plural(&kind, "wordpressclones");
        Api::namespaced_with(self.client.clone(), &self.options.namespace, &resource)
    }

    /// Restarts the provisioner: another one finds what this one made.
    pub(crate) async fn restart(&mut self) {
        self.running.abort();
        (self.provisioner, self.running) = run_until_ready(&self.options).await;
    }

    pub(crate) async fn until_health(&self, is_right: impl Fn(&Health) -> bool) {
        until_health(&self.provisioner, is_right).await;
    }

    /// Has the provisioner's clock go ahead.
    pub(crate) fn advance(&self, seconds: u64) {
        self.ahead.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.options.clock)()
    }

    pub(crate) fn spec(&self) -> CloneSpec {
        let task: TaskId =
            format!("{}-0000-7000-8000-{}", random_hex::<4>().unwrap(), random_hex::<6>().unwrap())
                .parse()
                .unwrap();
        CloneSpec {
            name: CloneName::derive(Timestamp::now(), task, 0),
            task,
            owner: "alice".into(),
            source: SiteUrl::parse("https://a.example").unwrap(),
            deadline: self.now() + SignedDuration::from_mins(30),
            isolation: Isolation::Shared,
            has_other_owners: false,
        }
    }

    /// Sets a quota of the namespace, and waits until it counts.
    pub(crate) async fn set_quota(&self, hard: Value) {
        let quota =
            serde_json::from_value(json!({"metadata": {"name": "quota"}, "spec": {"hard": hard}})).unwrap();
        let quotas: Api<k8s_openapi::api::core::v1::ResourceQuota> = self.api();
        quotas.create(&PostParams::default(), &quota).await.unwrap();
        let counts = async {
            loop {
                let status = quotas.get("quota").await.unwrap().status;
                if status.is_some_and(|status| status.used.is_some_and(|used| !used.is_empty())) {
                    break;
                }
                sleep(Duration::from_millis(500)).await;
            }
        };
        timeout(QUOTA_PATIENCE, counts).await.expect("the quota counts in time");
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.options.namespace)
    }

    /// Asserts that nothing is left of any clone: no instance, part, Secret, schema or user.
    pub(crate) async fn assert_nothing_left(&self) {
        let all = ListParams::default();
        let of_clones = ListParams::default().labels("wpclone.dev/clone");
        assert!(self.instances().list(&all).await.unwrap().items.is_empty());
        assert!(self.api::<Pod>().list(&of_clones).await.unwrap().items.is_empty());
        assert!(self.api::<Service>().list(&of_clones).await.unwrap().items.is_empty());
        assert_eq!(self.mariadb.clones().await, Vec::<String>::new());
        // The garbage collector and the protection of volumes take a moment.
        until("the Secrets go", async || {
            self.api::<Secret>().list(&of_clones).await.unwrap().items.is_empty()
        })
        .await;
        until("the volumes go", async || {
            self.api::<PersistentVolumeClaim>().list(&of_clones).await.unwrap().items.is_empty()
        })
        .await;
    }

    /// Deletes the last clone, after which nothing may be left, and ends.
    pub(crate) async fn delete_and_end(self, name: &CloneName) {
        self.provisioner.delete(name).await.unwrap();
        self.assert_nothing_left().await;
        self.end().await;
    }

    /// Removes namespace and definition.
    pub(crate) async fn end(self) {
        self.running.abort();
        let (namespace, definition) =
            (&self.options.namespace, format!("wordpressclone.{}", self.options.group));
        self.definitions().delete(&definition, &DeleteParams::default()).await.unwrap();
        until("kro lets go of the definition", async || {
            self.definitions().get_opt(&definition).await.unwrap().is_none()
        })
        .await;
        // kro leaves the kind.
        let kind = format!("customresourcedefinition/wordpressclones.{}", self.options.group);
        self.cluster.kubectl(&["delete", "--ignore-not-found", &kind], "").await.unwrap();
        let roles = ["delete", "clusterroles,clusterrolebindings", "--selector"];
        let of_test = format!("{TEST_LABEL}={namespace}");
        self.cluster.kubectl(&[&roles[..], &[&of_test]].concat(), "").await.unwrap();
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(namespace, &DeleteParams::default()).await.unwrap();
    }
}

/// Gives the test's ServiceAccount, and kro, the roles that are shipped, for the test's group and namespace.
async fn grant(cluster: &Cluster, namespace: &str, group: &str) {
    let account =
        |name: &str, namespace: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": namespace});
    let mut items = Vec::new();
    for (role, cluster_role, subject) in [
        (ROLE, CLUSTER_ROLE, account(SERVICE_ACCOUNT, namespace)),
        (KRO_ROLE, KRO_CLUSTER_ROLE, account("kro", "kro-system")),
    ] {
        for text in [role, cluster_role] {
            let mut role: Value = serde_saphyr::from_str(&text.replace(GROUP, group)).unwrap();
            let is_of_namespace = role["kind"] == "Role";
            if is_of_namespace {
                role["metadata"]["namespace"] = json!(namespace);
            } else {
                role["metadata"]["name"] =
                    json!(format!("{namespace}-{}", role["metadata"]["name"].as_str().unwrap()));
            }
            role["metadata"]["labels"][TEST_LABEL] = json!(namespace);
            let mut binding = json!({
                "apiVersion": role["apiVersion"],
                "kind": if is_of_namespace { "RoleBinding" } else { "ClusterRoleBinding" },
                "metadata": role["metadata"],
                "subjects": [subject],
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io", "kind": role["kind"], "name": role["metadata"]["name"],
                },
            });
            // It is the role that kro's own role takes in, not its binding.
            binding["metadata"]["labels"] = json!({TEST_LABEL: namespace});
            items.extend([role, binding]);
        }
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    cluster.apply(&list.to_string()).await.unwrap();
}

/// The name of the cluster's default StorageClass.
pub(crate) async fn default_class() -> String {
    let classes = Cluster::shared().await.unwrap().kubectl_json(&["get", "storageclasses"]).await.unwrap();
    let is_default = |class: &&Value| {
        class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true"
    };
    let class = classes["items"].as_array().unwrap().iter().find(is_default);
    class.expect("a default StorageClass")["metadata"]["name"].as_str().unwrap().to_owned()
}

/// The access file, acting as another user.
fn acting_as(file: &Path, user: &str) -> tempfile::NamedTempFile {
    let mut kubeconfig: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    for entry in kubeconfig["users"].as_array_mut().unwrap() {
        entry["user"]["as"] = json!(user);
    }
    let new = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(new.path(), kubeconfig.to_string()).unwrap();
    new
}

fn run(options: &KubeOptions) -> (Arc<KubeProvisioner>, AbortOnDropHandle<()>) {
    let provisioner = Arc::new(KubeProvisioner::new(options.clone()));
    let runs = Arc::clone(&provisioner);
    let task = tokio::spawn(async move { runs.run(CancellationToken::new()).await });
    (provisioner, AbortOnDropHandle::new(task))
}

/// Runs a provisioner and waits until it is ready. It ends when the handle is dropped.
pub(crate) async fn run_until_ready(options: &KubeOptions) -> (Arc<KubeProvisioner>, AbortOnDropHandle<()>) {
    let (provisioner, running) = run(options);
    until_health(&provisioner, |health| *health == Health::Ready).await;
    (provisioner, running)
}

async fn until_health(provisioner: &KubeProvisioner, is_right: impl Fn(&Health) -> bool) {
    let mut health = provisioner.watch_health();
    let right = timeout(PATIENCE, health.wait_for(|health| is_right(health))).await;
    let is_seen = right.is_ok_and(|seen| seen.is_ok());
    assert!(is_seen, "{:?}", provisioner.health());
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waits = async {
        while !holds().await {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(PATIENCE, waits).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}

//! The manifests of `k8s/`, applied to the cluster.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::sync::RwLock;
use wpclone_cluster_tests::{Cluster, wait_until};

const CLONES: &str = "wpclone-clones";
const SERVICE: &str = "wpclone";
const DEFINITION: &str = "resourcegraphdefinition/wordpressclone.wpclone.dev";
const KIND: &str = "customresourcedefinition/wordpressclones.wpclone.dev";

/// Who; in which namespace, where it is not the whole cluster; what; on what, as `RESOURCE[.GROUP][/SUBRESOURCE] [NAME]`; and
/// whether it is allowed.
type Question = (&'static str, &'static str, &'static str, &'static str, bool);

const PROVISIONER: &str = "system:serviceaccount:wpclone:wpclone-provisioner";
const WORKER: &str = "system:serviceaccount:wpclone:wpclone-worker";
const API: &str = "system:serviceaccount:wpclone:wpclone-api";
const KRO: &str = "system:serviceaccount:kro-system:kro";
/// What a pod of a clone would be if it had a token.
const CLONE: &str = "system:serviceaccount:wpclone-clones:default";

const QUESTIONS: &[Question] = &[
    (PROVISIONER, CLONES, "create", "wordpressclones.wpclone.dev", true),
    (PROVISIONER, CLONES, "watch", "wordpressclones.wpclone.dev", true),
    (PROVISIONER, CLONES, "patch", "wordpressclones.wpclone.dev", true),
    (PROVISIONER, CLONES, "delete", "wordpressclones.wpclone.dev", true),
    (PROVISIONER, CLONES, "create", "secrets", true),
    (PROVISIONER, CLONES, "delete", "secrets", true),
    (PROVISIONER, CLONES, "watch", "pods", true),
    (PROVISIONER, CLONES, "list", "events", true),
    (PROVISIONER, CLONES, "get", "deployments.apps", true),
    (PROVISIONER, "", "get", "resourcegraphdefinitions.kro.run wordpressclone.wpclone.dev", true),
    (PROVISIONER, CLONES, "update", "secrets", false),
    (PROVISIONER, CLONES, "patch", "secrets", false),
    (PROVISIONER, CLONES, "create", "pods", false),
    (PROVISIONER, CLONES, "delete", "pods", false),
    (PROVISIONER, CLONES, "create", "pods/exec", false),
    (PROVISIONER, CLONES, "get", "pods/log", false),
    (PROVISIONER, CLONES, "patch", "deployments.apps", false),
    (PROVISIONER, CLONES, "create", "serviceaccounts/token", false),
    (PROVISIONER, CLONES, "create", "rolebindings.rbac.authorization.k8s.io", false),
    (PROVISIONER, SERVICE, "get", "secrets", false),
    (PROVISIONER, SERVICE, "create", "wordpressclones.wpclone.dev", false),
    (PROVISIONER, "kube-system", "get", "secrets", false),
    (PROVISIONER, "", "patch", "resourcegraphdefinitions.kro.run wordpressclone.wpclone.dev", false),
    (PROVISIONER, "", "get", "resourcegraphdefinitions.kro.run another", false),
    (PROVISIONER, "", "list", "nodes", false),
    (WORKER, CLONES, "get", "wordpressclones.wpclone.dev", false),
    (WORKER, CLONES, "get", "secrets", false),
    (WORKER, SERVICE, "get", "secrets", false),
    (WORKER, SERVICE, "list", "pods", false),
    (API, CLONES, "get", "wordpressclones.wpclone.dev", false),
    (API, CLONES, "get", "secrets", false),
    (API, SERVICE, "get", "secrets", false),
    (CLONE, CLONES, "get", "secrets", false),
    (CLONE, CLONES, "list", "pods", false),
    (KRO, CLONES, "update", "wordpressclones.wpclone.dev", true),
    (KRO, CLONES, "patch", "wordpressclones.wpclone.dev/status", true),
    (KRO, CLONES, "create", "deployments.apps", true),
    (KRO, CLONES, "patch", "persistentvolumeclaims", true),
    (KRO, CLONES, "delete", "services", true),
    (KRO, CLONES, "delete", "ingresses.networking.k8s.io", true),
    (KRO, "kube-system", "watch", "deployments.apps", true),
    (KRO, CLONES, "create", "wordpressclones.wpclone.dev", false),
    (KRO, CLONES, "delete", "wordpressclones.wpclone.dev", false),
    (KRO, CLONES, "get", "secrets", false),
    (KRO, CLONES, "create", "pods", false),
    (KRO, CLONES, "create", "pods/exec", false),
    (KRO, SERVICE, "create", "deployments.apps", false),
    (KRO, "kube-system", "patch", "deployments.apps", false),
    (KRO, "kube-system", "delete", "services", false),
    (KRO, "", "create", "clusterroles.rbac.authorization.k8s.io", false),
];

/// Whether the API server would allow it.
async fn can_i(reviews: &Api<SubjectAccessReview>, question: &Question) -> Result<bool> {
    let (user, namespace, verb, object, _) = *question;
    let (object, name) = object.split_once(' ').unwrap_or((object, ""));
    let (object, subresource) = object.split_once('/').unwrap_or((object, ""));
    let (resource, group) = object.split_once('.').unwrap_or((object, ""));
    let (_, account) = user.split_once("serviceaccount:").context("a service account")?;
    let (of_account, _) = account.split_once(':').context("its namespace")?;
    let review = serde_json::from_value(json!({"spec": {
        "user": user,
        "groups": [
            "system:serviceaccounts", format!("system:serviceaccounts:{of_account}"), "system:authenticated",
        ],
        "resourceAttributes": {
            "namespace": namespace, "verb": verb, "group": group, "resource": resource,
            "subresource": subresource, "name": name,
        },
    }}))?;
    let answered = reviews.create(&PostParams::default(), &review).await?;
    Ok(answered.status.context("an answer")?.allowed)
}

/// The API's token while the product is installed. Its namespaces are there once: who installs it or takes it away writes.
pub(crate) static INSTALLED: RwLock<Option<String>> = RwLock::const_new(None);

/// The overlay `local`, while a test runs.
pub(crate) fn overlay() -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../k8s/overlays/local");
    Ok(folder.canonicalize()?.to_str().context("a folder's name in UTF-8")?.to_owned())
}

#[tokio::test]
async fn the_manifests_are_accepted_and_everybody_may_do_what_is_needed_and_no_more() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let mut installed = INSTALLED.write().await;
    let folder = overlay()?;
    cluster.kubectl(&["apply", "--warnings-as-errors", "--kustomize", &folder], "").await?;
    wait_until("the definition to be ready", async || {
        let definition = cluster.kubectl_json(&["get", DEFINITION]).await?;
        let conditions = definition["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
        Ok(ready.filter(|ready| ready["status"] == "True").map(drop))
    })
    .await?;

    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let reviews = Api::all(Client::try_from(config)?);
    let mut wrong = Vec::new();
    for question in QUESTIONS {
        if can_i(&reviews, question).await? != question.4 {
            wrong.push(question);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    for namespace in [CLONES, SERVICE] {
        let pod =
            "{apiVersion: v1, kind: Pod, metadata: {name: root}, spec: {containers: [{name: c, image: x}]}}";
        let apply = ["apply", "--dry-run=server", "--namespace", namespace, "--filename", "-"];
        let refusal = cluster.kubectl(&apply, pod).await.expect_err("a pod that may run as root");
        ensure!(refusal.to_string().contains("violates PodSecurity \"restricted"), "{refusal}");
    }

    plain_autoscalers_are_accepted(&cluster).await?;
    *installed = None;
    take_away(&cluster, &folder).await
}

/// An overlay of the given text, beside the overlay `local`.
pub(crate) fn overlay_beside(kustomization: &str) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir_in(Path::new(&overlay()?).parent().context("overlays")?)?;
    std::fs::write(folder.path().join("kustomization.yaml"), kustomization)?;
    Ok(folder)
}

/// The component for clusters without KEDA. Metrics are not read here: that needs a Prometheus and its adapter.
async fn plain_autoscalers_are_accepted(cluster: &Cluster) -> Result<()> {
    let folder = overlay_beside("{resources: [../local], components: [../../components/plain-hpa]}")?;
    let path = folder.path().to_str().context("a folder's name in UTF-8")?;
    let apply =
        ["apply", "--warnings-as-errors", "--dry-run=server", "--output", "name", "--kustomize", path];
    let applied = cluster.kubectl(&apply, "").await?;
    for name in ["wpclone-api", "wpclone-provisioning", "wpclone-browser", "wpclone-transfer"] {
        ensure!(
            applied.contains(&format!("horizontalpodautoscaler.autoscaling/{name}\n")),
            "{name}: {applied}"
        );
    }
    ensure!(!applied.contains("keda.sh"), "{applied}");
    Ok(())
}

/// Deletes the overlay's objects.
async fn take_away(cluster: &Cluster, folder: &str) -> Result<()> {
    // KEDA's finalizers go with its objects, before the namespace does.
    let scaled = ["delete", "scaledobjects", "--all", "--namespace", SERVICE, "--timeout", "150s"];
    cluster.kubectl(&scaled, "").await?;
    // kro takes its own objects away while it has the rights to, and leaves the kind.
    cluster.kubectl(&["delete", "--timeout", "150s", DEFINITION], "").await?;
    cluster.kubectl(&["delete", "--timeout", "150s", KIND], "").await?;
    cluster
        .kubectl(&["delete", "--ignore-not-found", "--timeout", "150s", "--kustomize", folder], "")
        .await?;
    Ok(())
}

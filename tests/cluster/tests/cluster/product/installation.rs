//! The product, installed into the cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::sync::{Mutex, RwLockReadGuard};
use wpclone_cluster_tests::{Cluster, Forward, wait_until};
use wpclone_tests::Client;

use crate::manifests::{INSTALLED, overlay, overlay_beside};

pub(crate) const SERVICE: &str = "wpclone";
pub(crate) const CLONES: &str = "wpclone-clones";
/// The host of the clones' URLs, and its port.
const ROUTER: &str = "wpclone-router.wpclone-clones.svc.cluster.local:8090";
/// Held by a test while browsers work for it: others see how many there are.
pub(crate) static BROWSERS: Mutex<()> = Mutex::const_new(());
/// What differs from the overlay `local`: idle workers go sooner, and the API's pod, to which a port is forwarded, is not one of
/// several.
const KUSTOMIZATION: &str = "
resources: [../local]
patches:
  - target: {kind: ScaledObject, name: wpclone-browser}
    patch: |-
      - {op: replace, path: /spec/cooldownPeriod, value: 20}
      - {op: replace, path: /spec/advanced/horizontalPodAutoscalerConfig/behavior/scaleDown/stabilizationWindowSeconds, value: 15}
  - target: {kind: HorizontalPodAutoscaler, name: wpclone-api}
    patch: |-
      - {op: replace, path: /spec/maxReplicas, value: 1}
";
/// The archives that `./dev images` has written.
const IMAGES: [&str; 4] =
    ["service-0.1.0.tar", "browser-0.1.0.tar", "databases-0.1.0.tar", "clone-0.1.0-php8.2.tar"];

/// The product in the cluster, for one test: several use it at once.
pub(crate) struct Installation {
    pub(crate) cluster: Cluster,
    pub(crate) client: Client,
    _api: Forward,
    router: Forward,
    /// Asks the router; follows no redirect.
    http: reqwest::Client,
    _installed: RwLockReadGuard<'static, Option<String>>,
}

/// An answer of the router.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) location: String,
    pub(crate) text: String,
}

impl Installation {
    /// Installs it, unless another test has.
    pub(crate) async fn start(cluster: Cluster) -> Result<Self> {
        let mut installed = INSTALLED.read().await;
        if installed.is_none() {
            drop(installed);
            let mut missing = INSTALLED.write().await;
            if missing.is_none() {
                *missing = Some(install(&cluster).await?);
            }
            installed = missing.downgrade();
        }
        let token = installed.as_deref();
        // Forwarded ports and clients belong to the runtime of the test that has made them.
        let api = cluster.forward(SERVICE, "service/wpclone-api", 8080).await?;
        let client = Client::new(&format!("http://{}", api.address()), token)?;
        let router = cluster.forward(CLONES, "service/wpclone-router", 8090).await?;
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { cluster, client, _api: api, router, http, _installed: installed })
    }

    /// Asks the router as somebody outside the cluster does. `host` is that of the clones' URLs where it is empty.
    pub(crate) async fn ask_router(&self, host: &str, path: &str) -> Result<Answer> {
        let host = if host.is_empty() { ROUTER.to_owned() } else { format!("{host}.{ROUTER}") };
        let url = format!("http://{}{path}", self.router.address());
        let answer = self.http.get(url).header("host", host).send().await?;
        let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
        let (status, location) = (answer.status(), location.unwrap_or_default().to_owned());
        Ok(Answer { status, location, text: answer.text().await? })
    }

    /// Runs a script of bash in a container. It is not in the arguments, where a script that looks for words would find itself.
    pub(crate) async fn bash(&self, pod: &str, container: &str, script: &str) -> Result<String> {
        let exec = ["exec", "--stdin", "--namespace", SERVICE, pod, "--container", container, "--", "bash"];
        self.cluster.kubectl(&exec, script).await
    }

    /// The schemas and users of clones.
    pub(crate) async fn databases(&self) -> Result<String> {
        let sql = "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'clone-%' \
                   UNION ALL SELECT user FROM mysql.user WHERE user LIKE 'clone-%'";
        let ask = format!(
            "mariadb --no-defaults --user=wpclone --socket=/tmp/mariadb.sock --skip-column-names --execute \"{sql}\""
        );
        self.bash("wpclone-database-0", "mariadb", &ask).await
    }

    /// The names of all objects and volumes in the clones' namespace.
    async fn objects(&self) -> Result<String> {
        let kinds = "wordpressclones.wpclone.dev,deployments,replicasets,pods,services,ingresses,secrets,persistentvolumeclaims";
        let objects = ["get", kinds, "--namespace", CLONES, "--output", "name"];
        let volumes = ["get", "persistentvolumes", "--output", "jsonpath={.items[*].spec.claimRef.name}"];
        let objects = self.cluster.kubectl(&objects, "").await?;
        Ok(objects + &self.cluster.kubectl(&volumes, "").await?)
    }

    /// What there is of a clone: the names of its parts begin with its own.
    pub(crate) async fn parts_of(&self, clone: &str) -> Result<Vec<String>> {
        let all = self.objects().await? + "\n" + &self.databases().await?;
        Ok(all.split_whitespace().filter(|part| part.contains(clone)).map(str::to_owned).collect())
    }

    /// Waits until nothing of that clone is left.
    pub(crate) async fn nothing_left(&self, clone: &str) -> Result<()> {
        wait_until("nothing of a clone to be left", async || {
            let left = self.parts_of(clone).await?;
            ensure!(left.is_empty(), "left: {left:?}");
            Ok(Some(()))
        })
        .await
    }

    /// The pods of a stage's workers that are ready.
    pub(crate) async fn workers(&self, stage: &str) -> Result<Vec<String>> {
        let selector = format!("wpclone.dev/stage={stage}");
        let arguments = ["get", "pods", "--namespace", SERVICE, "--selector", &selector];
        let pods = self.cluster.kubectl_json(&arguments).await?;
        let is_ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
        };
        let ready = pods["items"].as_array().context("pods")?.iter().filter(is_ready);
        Ok(ready.filter_map(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned())).collect())
    }
}

/// Installs the product as the documentation says; returns the API's token.
async fn install(cluster: &Cluster) -> Result<String> {
    for archive in IMAGES {
        cluster.import(&images_folder().join(archive)).await.context("`./dev images` builds them")?;
    }
    // What an earlier run has left.
    cluster.kubectl(&["delete", "namespace", "--ignore-not-found", SERVICE, CLONES], "").await?;
    let folder = overlay_beside(KUSTOMIZATION)?;
    let path = folder.path().to_str().context("a folder's name in UTF-8")?;
    cluster.kubectl(&["apply", "--warnings-as-errors", "--kustomize", path], "").await?;
    let token = make_secrets(cluster).await?;
    for object in ["statefulset/wpclone-redis", "statefulset/wpclone-database"] {
        rolled_out(cluster, SERVICE, object).await?;
    }
    for object in ["wpclone-api", "wpclone-provisioning", "wpclone-transfer"] {
        rolled_out(cluster, SERVICE, &format!("deployment/{object}")).await?;
    }
    rolled_out(cluster, CLONES, "deployment/wpclone-router").await?;
    Ok(token)
}

/// Where `./dev images` writes.
fn images_folder() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|folder| folder.join("images").is_dir());
    target.map_or_else(|| "target/images".into(), |target| target.join("images"))
}

/// Makes the Secrets as the documentation says; returns the API's token.
async fn make_secrets(cluster: &Cluster) -> Result<String> {
    let made = Command::new(Path::new(&overlay()?).join("secrets.sh")).output()?;
    ensure!(made.status.success(), "{made:?}");
    cluster.kubectl(&["create", "--filename", "-"], &String::from_utf8(made.stdout)?).await?;
    let told = String::from_utf8(made.stderr)?;
    Ok(told.trim().strip_prefix("WPCLONE_TOKEN=").context("the token")?.to_owned())
}

async fn rolled_out(cluster: &Cluster, namespace: &str, object: &str) -> Result<()> {
    let arguments = ["rollout", "status", "--namespace", namespace, object, "--timeout", "170s"];
    let Err(error) = cluster.kubectl(&arguments, "").await else { return Ok(()) };
    let pods = cluster.kubectl(&["describe", "pods", "--namespace", namespace], "").await?;
    Err(error).context(format!("{object}\n{pods}"))
}

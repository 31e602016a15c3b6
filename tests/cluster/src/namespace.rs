//! A namespace of a test's own.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{Cluster, wait_until};

/// A namespace that enforces *restricted*. It stays when a test fails, so that one can look; the cluster ends anyway.
#[derive(Debug)]
pub struct Namespace {
    cluster: Cluster,
    name: String,
}

impl Namespace {
    pub(crate) async fn create(cluster: Cluster, prefix: &str) -> Result<Self> {
        // Unique also in a cluster that outlives the tests.
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let name = format!("{prefix}-{now:x}");
        let labels = "{pod-security.kubernetes.io/enforce: restricted}";
        cluster
            .apply(&format!(
                "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {labels}}}}}"
            ))
            .await?;
        Ok(Self { cluster, name })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `kubectl` in it.
    ///
    /// # Errors
    /// As [`Cluster::kubectl`].
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String> {
        let arguments: Vec<_> =
            ["--namespace", &self.name].into_iter().chain(arguments.iter().copied()).collect();
        self.cluster.kubectl(&arguments, input).await
    }

    /// Applies manifests; `NAMESPACE` in them stands for its name.
    ///
    /// # Errors
    /// The API server refuses one.
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        let manifests = manifests.replace("NAMESPACE", &self.name);
        self.kubectl(&["apply", "--filename", "-"], &manifests).await.map(drop)
    }

    /// Reads an object, such as `deployment/web`.
    ///
    /// # Errors
    /// There is none.
    pub async fn get(&self, object: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&["get", object, "--output", "json"], "").await?)?)
    }

    /// Waits until a condition of an object is true.
    ///
    /// # Errors
    /// It is not, in time: what `kubectl describe` says of the object, and the pods' states.
    pub async fn wait_for_condition(&self, object: &str, condition: &str) -> Result<()> {
        let met = async || {
            let read = self.get(object).await?;
            let all = read["status"]["conditions"].as_array();
            let met = all
                .and_then(|all| all.iter().find(|one| one["type"] == condition && one["status"] == "True"));
            Ok(met.map(drop))
        };
        let Err(error) = wait_until(&format!("{object} to be {condition}"), met).await else { return Ok(()) };
        let described = self.kubectl(&["describe", object], "").await.unwrap_or_default();
        let pods = self.kubectl(&["describe", "pods"], "").await.unwrap_or_default();
        Err(error).context(format!("{described}\n{pods}"))
    }

    /// Asks a service of it over HTTP, by way of the API server.
    ///
    /// # Errors
    /// No answer, or one that is not a success.
    pub async fn http_get(&self, service: &str, path: &str) -> Result<String> {
        let name = &self.name;
        let path = format!("/api/v1/namespaces/{name}/services/http:{service}:80/proxy{path}");
        self.cluster.kubectl(&["get", "--raw", &path], "").await
    }

    /// Deletes it, with all that is in it, and waits until it has gone.
    ///
    /// # Errors
    /// It does not go in time.
    pub async fn delete(self) -> Result<()> {
        let arguments = ["delete", "namespace", &self.name, "--timeout", "150s"];
        self.cluster.kubectl(&arguments, "").await.map(drop)
    }
}

//! A cluster for tests: one that they start, or the one that `WPCLONE_TEST_KUBECONFIG` names.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

use crate::{Forward, Namespace};

/// How long a start may take when its programs are built.
const START_LIMIT: Duration = Duration::from_secs(360);
/// How long a command about the cluster may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(180);
/// The variable that names a cluster to use instead of starting one.
const KUBECONFIG: &str = "WPCLONE_TEST_KUBECONFIG";

/// A cluster that runs, as an administrator sees it.
#[derive(Debug, Clone)]
pub struct Cluster {
    kubeconfig: PathBuf,
}

impl Cluster {
    /// The cluster that all tests of this process share. It ends when the process does, in whatever way.
    ///
    /// # Errors
    /// It does not start; the program that failed is named, with the last lines of its log.
    pub async fn shared() -> Result<Self> {
        static SHARED: OnceCell<(Cluster, Option<TestCluster>)> = OnceCell::const_new();
        let shared = SHARED.get_or_try_init(async || {
            if let Some(kubeconfig) = std::env::var_os(KUBECONFIG) {
                let cluster = Self { kubeconfig: kubeconfig.into() };
                cluster.check_addons().await?;
                return anyhow::Ok((cluster, None));
            }
            let started = TestCluster::start("tests").await?;
            Ok((started.cluster(), Some(started)))
        });
        Ok(shared.await?.0.clone())
    }

    /// A cluster that somebody else has made must have what the tests need.
    async fn check_addons(&self) -> Result<()> {
        let needed = [
            ("customresourcedefinition/resourcegraphdefinitions.kro.run", "kro"),
            ("customresourcedefinition/scaledobjects.keda.sh", "KEDA"),
            ("apiservice/v1beta1.metrics.k8s.io", "metrics-server"),
        ];
        for (object, program) in needed {
            let found = self.kubectl(&["get", object], "").await;
            found.with_context(|| format!("{KUBECONFIG}: {program} is not installed in that cluster"))?;
        }
        Ok(())
    }

    /// The kubeconfig of an administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs `kubectl` with `input`; returns what it prints.
    ///
    /// # Errors
    /// It fails: its message. Or it takes longer than three minutes.
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String> {
        let arguments: Vec<_> = std::iter::once("kubectl").chain(arguments.iter().copied()).collect();
        run(script().env(KUBECONFIG, &self.kubeconfig).args(&arguments), input).await
    }

    /// The same, of JSON.
    ///
    /// # Errors
    /// As [`Self::kubectl`].
    pub async fn kubectl_json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments: Vec<_> = arguments.iter().copied().chain(["--output", "json"]).collect();
        Ok(serde_json::from_str(&self.kubectl(&arguments, "").await?)?)
    }

    /// Applies manifests.
    ///
    /// # Errors
    /// The API server refuses one.
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        self.kubectl(&["apply", "--filename", "-"], manifests).await.map(drop)
    }

    /// Forwards a port of this machine's loopback to that of an object, such as `service/web`.
    ///
    /// # Errors
    /// It is not forwarded; kubectl's message.
    pub async fn forward(&self, namespace: &str, object: &str, port: u16) -> Result<Forward> {
        let mut command = script();
        command.env(KUBECONFIG, &self.kubeconfig).args(["kubectl", "--namespace", namespace]);
        command.args(["port-forward", "--address", "127.0.0.1", object, &format!(":{port}")]);
        Forward::start(&mut command).await
    }

    /// Makes an image of static programs, which runs the first of them, and loads it.
    ///
    /// # Errors
    /// A program cannot be read, or the cluster does not take the image.
    pub async fn import_programs(&self, image: &str, programs: &[&Path]) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let archive = folder.path().join("image.tar");
        let mut make = script();
        make.arg("archive").arg(image).args(programs).stdout(std::fs::File::create(&archive)?);
        ensure!(make.status().await?.success(), "no image could be made of {programs:?}");
        self.import(&archive).await
    }

    /// Loads an image from an archive, as `docker save` or `buildah push oci-archive:` makes it.
    ///
    /// # Errors
    /// The cluster does not take it.
    pub async fn import(&self, archive: &Path) -> Result<()> {
        run(script().env(KUBECONFIG, &self.kubeconfig).arg("import").arg(archive), "").await.map(drop)
    }

    /// A new namespace that enforces the Pod Security level *restricted*.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn namespace(&self, prefix: &str) -> Result<Namespace> {
        Namespace::create(self.clone(), prefix).await
    }
}

/// A cluster that this process has started. It ends when this is dropped, or when the process ends, in whatever way.
#[derive(Debug)]
pub struct TestCluster {
    name: String,
    cluster: Cluster,
    holder: Child,
}

impl TestCluster {
    /// Starts a cluster. Clusters of different names run side by side.
    ///
    /// # Errors
    /// It does not start; the program that failed is named, with the last lines of its log.
    pub async fn start(name: &str) -> Result<Self> {
        let messages = tempfile::NamedTempFile::new()?;
        let mut holder = script()
            .env("WPCLONE_CLUSTER", name)
            .env_remove(KUBECONFIG)
            .arg("hold")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(messages.reopen()?)
            .spawn()?;
        let output = holder.stdout.take().context("the output of the cluster's script")?;
        let mut lines = BufReader::new(output).lines();
        let line = tokio::time::timeout(START_LIMIT, lines.next_line()).await;
        let Some(kubeconfig) = line.context("the cluster is not ready in time")?? else {
            bail!("the cluster did not start: {}", std::fs::read_to_string(messages.path())?);
        };
        Ok(Self { name: name.into(), cluster: Cluster { kubeconfig: kubeconfig.into() }, holder })
    }

    /// The cluster, as an administrator sees it.
    #[must_use]
    pub fn cluster(&self) -> Cluster {
        self.cluster.clone()
    }

    /// The folder of its state.
    ///
    /// # Panics
    /// Never: the kubeconfig lies in it.
    #[must_use]
    pub fn state_folder(&self) -> &Path {
        self.cluster.kubeconfig.parent().unwrap_or(Path::new("/"))
    }

    /// Ends it and waits until nothing is left.
    ///
    /// # Errors
    /// Something is left: it is named.
    pub async fn stop(mut self) -> Result<()> {
        drop(self.holder.stdin.take());
        let status = tokio::time::timeout(COMMAND_LIMIT, self.holder.wait()).await;
        let status = status.context("the cluster does not end in time")??;
        ensure!(status.success(), "the cluster's end failed: {status}");
        Ok(())
    }

    /// Kills the process that holds it, as a crash of the tests would.
    ///
    /// # Errors
    /// There is no such process.
    pub async fn kill_holder(&mut self) -> Result<()> {
        self.holder.kill().await.context("the process that holds the cluster")
    }

    /// Removes what is left of it, as `./dev cluster down` does.
    ///
    /// # Errors
    /// Something is left: it is named.
    pub async fn take_down(&self) -> Result<()> {
        run(script().env("WPCLONE_CLUSTER", &self.name).env_remove(KUBECONFIG).arg("down"), "")
            .await
            .map(drop)
    }
}

fn script() -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster"));
    command.stdin(Stdio::null());
    command
}

async fn run(command: &mut Command, input: &str) -> Result<String> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn()?;
    let mut stdin = child.stdin.take().context("the command's input")?;
    let both = async {
        // A program that does not read all of its input says why when it exits.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await
    };
    let output =
        tokio::time::timeout(COMMAND_LIMIT, both).await.context("the command does not end in time")??;
    if !output.status.success() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8(output.stdout)?)
}

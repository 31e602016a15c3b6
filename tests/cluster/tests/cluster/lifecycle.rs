//! The cluster's beginning and end.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use wpclone_cluster_tests::{TestCluster, wait_until};

use crate::namespace_with_web_server;

/// What a cluster can leave on the machine.
fn remains(cluster: &TestCluster) -> Vec<String> {
    let state = cluster.state_folder().to_string_lossy().into_owned();
    let id = state.rsplit_once("state-").map_or("", |(_, id)| id).to_owned();
    let mut left = Vec::new();
    let mut add = |what: &str, found: bool| {
        if found {
            left.push(what.to_owned());
        }
    };
    add("files", Path::new(&state).exists());
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    };
    let processes = output("ps", &["-eo", "args"]);
    add("processes", processes.lines().any(|line| line.contains(&state)));
    add("mounts", output("cat", &["/proc/mounts"]).contains(&state));
    add(
        "cgroups",
        !output("find", &["/sys/fs/cgroup", "-name", &format!("wpclone-cluster-{id}")]).is_empty(),
    );
    left
}

/// The link of this cluster on the machine's side.
fn link(cluster: &TestCluster) -> Result<PathBuf> {
    let number = std::fs::read_to_string(cluster.state_folder().join("link")).context("the link's number")?;
    Ok(Path::new("/sys/class/net").join(format!("wpc{}", number.trim())))
}

/// The cluster's network namespace, from the process that holds all of its namespaces.
fn network_namespace(state: &Path) -> Result<PathBuf> {
    let own = std::fs::read_link("/proc/self/ns/net")?;
    let state = state.to_string_lossy().into_owned();
    let processes = std::fs::read_dir("/proc")?.flatten().filter(|process| {
        let arguments = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(&state)
    });
    let mut namespaces =
        processes.filter_map(|process| std::fs::read_link(process.path().join("ns/net")).ok());
    namespaces.find(|namespace| *namespace != own).context("a process of the cluster")
}

/// Processes that are in the cluster's network namespace.
fn processes_in(namespace: &Path) -> usize {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|one| std::fs::read_link(one.path().join("ns/net")).is_ok_and(|link| link == namespace))
        .count()
}

#[tokio::test]
async fn a_second_cluster_runs_beside_the_first_and_leaves_nothing_when_its_holder_is_killed() -> Result<()> {
    if std::env::var_os("WPCLONE_TEST_KUBECONFIG").is_some() {
        eprintln!("not tried: the cluster is one that WPCLONE_TEST_KUBECONFIG names");
        return Ok(());
    }
    let mut second = TestCluster::start("lifecycle").await?;
    let link = link(&second)?;
    let namespace = network_namespace(second.state_folder())?;
    // A pod, so that there are mounts, cgroups and namespaces of all kinds.
    namespace_with_web_server(&second.cluster(), "left").await?;
    assert!(link.exists());
    assert!(processes_in(&namespace) > 5);
    assert!(
        ["files", "processes", "cgroups"].iter().all(|what| remains(&second).contains(&(*what).to_owned()))
    );

    second.kill_holder().await?;
    wait_until("the end of all processes", async || Ok((processes_in(&namespace) == 0).then_some(())))
        .await?;
    second.take_down().await?;
    assert_eq!(remains(&second), Vec::<String>::new());
    assert!(!link.exists());
    Ok(())
}

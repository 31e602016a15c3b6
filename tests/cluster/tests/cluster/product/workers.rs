//! Browser workers that come and go with the queue, and that are replaced and deleted while they work.

use std::collections::{BTreeSet, HashSet};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use wpclone_cluster_tests::{Cluster, wait_until};
use wpclone_task::{Stage, State, TaskView};
use wpclone_tests::{HeldLoginPage, Site};

use super::installation::{BROWSERS, Installation, SERVICE};
use super::source::{address_for_pods, source};

/// As many sites as there may be workers (`k8s/overlays/local`): tasks of one site stand in line.
const SITES: usize = 4;
const TASKS_OF_SITE: usize = 10;
/// Names of application passwords.
const ENDED: &str = "while a worker ends";
const KILLED: &str = "while a worker is killed";
const DEPLOYMENT: &str = "deployment/wpclone-browser";

#[tokio::test(flavor = "multi_thread")]
async fn browser_workers_follow_the_queue_and_no_task_suffers_when_they_are_replaced_or_deleted() -> Result<()>
{
    let cluster = Cluster::shared().await?;
    let Some(address) = address_for_pods(&cluster).await? else {
        eprintln!("not tried: pods of this cluster do not reach this machine");
        return Ok(());
    };
    let mut sites = Vec::new();
    for _ in 0..SITES {
        sites.push(source(address, 0).await?);
    }
    let product = Installation::start(cluster).await?;
    let _alone = BROWSERS.lock().await;
    no_workers(&product).await?;

    // From none to as many as there may be.
    let mut tasks = Vec::new();
    for round in 0..TASKS_OF_SITE {
        tasks.extend(ask_all(&product, &sites, &of_round(round)).await?);
    }
    let workers = all_workers(&product).await?;
    // Another version, in the middle of the work.
    let unfinished = count_unfinished(&product, &tasks).await?;
    ensure!(unfinished > 2 * SITES, "only {unfinished} tasks are left");
    kubectl(&product, &["rollout", "restart", DEPLOYMENT]).await?;
    replaced(&product, &workers).await?;
    for task in succeeded(&product, &tasks).await? {
        ensure!((task.attempts, task.crashes) == (0, 0), "{task:#?}");
    }

    // A worker that is told to end lets its step end.
    let tasks = ask_all(&product, &sites, ENDED).await?;
    let busy = busy_worker(&product).await?;
    kubectl(&product, &["delete", "pod", "--wait=false", &busy]).await?;
    for task in succeeded(&product, &tasks).await? {
        ensure!((task.attempts, task.crashes) == (0, 0), "{task:#?}");
    }
    a_worker_is_killed(&product, &sites[0]).await?;

    let mut names: Vec<_> = (0..TASKS_OF_SITE).map(of_round).collect();
    names.push(ENDED.into());
    for site in &sites[1..] {
        each_is_there_once(site, &names).await?;
    }
    names.push(KILLED.into());
    each_is_there_once(&sites[0], &names).await?;
    no_workers(&product).await
}

/// The step begins anew elsewhere. Its password has not been sent yet: one whose answer is lost is not sent again.
async fn a_worker_is_killed(product: &Installation, site: &Site) -> Result<()> {
    let page = HeldLoginPage::of(site)?;
    let task = product.client.app_password(site, &site.admin(), KILLED).await?;
    page.wait_until_asked(None).await?;
    let busy = busy_worker(product).await?;
    kubectl(product, &["delete", "pod", "--grace-period", "0", "--force", &busy]).await?;
    // Its browser may be killed first, which is a failed attempt.
    let lost = |task: &TaskView| task.attempts + task.crashes == 1;
    product.client.wait_until(task.id, "the loss of its worker", lost).await?;
    page.release()?;
    let [task] = &succeeded(product, &[task]).await?[..] else { bail!("one task") };
    ensure!(lost(task), "{task:#?}");
    Ok(())
}

fn of_round(round: usize) -> String {
    format!("of the queue {round}")
}

/// Asks for an application password of each site.
async fn ask_all(product: &Installation, sites: &[Site], name: &str) -> Result<Vec<TaskView>> {
    let mut tasks = Vec::new();
    for site in sites {
        tasks.push(product.client.app_password(site, &site.admin(), name).await?);
    }
    Ok(tasks)
}

async fn succeeded(product: &Installation, tasks: &[TaskView]) -> Result<Vec<TaskView>> {
    let mut ended = Vec::new();
    for task in tasks {
        let task = product.client.wait(task.id).await?;
        ensure!(task.state == State::Succeeded, "{task:#?}");
        ended.push(task);
    }
    Ok(ended)
}

async fn count_unfinished(product: &Installation, tasks: &[TaskView]) -> Result<usize> {
    let mut unfinished = 0;
    for task in tasks {
        unfinished += usize::from(!product.client.task(task.id).await?.state.is_final());
    }
    Ok(unfinished)
}

/// Every password that was asked for is there, and none twice; each was asked for with one login.
async fn each_is_there_once(site: &Site, names: &[String]) -> Result<()> {
    let php = "echo json_encode(wp_list_pluck(WP_Application_Passwords::get_user_application_passwords(1), 'name'));";
    let found: Vec<String> = serde_json::from_str(&site.eval_php(php).await?)?;
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    ensure!(found.len() == names.len() && set(&found) == set(names), "{found:?}");
    ensure!(site.logins().await? == names.len(), "a login was repeated");
    Ok(())
}

async fn kubectl(product: &Installation, arguments: &[&str]) -> Result<()> {
    let arguments = [&["--namespace", SERVICE], arguments].concat();
    product.cluster.kubectl(&arguments, "").await.map(drop)
}

/// Waits until there are as many workers as there may be, ready ones.
async fn all_workers(product: &Installation) -> Result<HashSet<String>> {
    wait_until("a worker for each site", async || {
        let workers: HashSet<_> = product.workers("browser").await?.into_iter().collect();
        Ok((workers.len() == SITES).then_some(workers))
    })
    .await
}

/// Waits until these workers have gone, as drained ones do.
async fn replaced(product: &Installation, workers: &HashSet<String>) -> Result<()> {
    wait_until("the workers of the version before to end", async || {
        let pods = pods(product).await?;
        Ok(pods.is_disjoint(workers).then_some(()))
    })
    .await
}

/// Waits until the autoscaler has taken all workers away.
async fn no_workers(product: &Installation) -> Result<()> {
    wait_until("no browser worker to be left", async || {
        let wanted = product.cluster.kubectl_json(&["get", DEPLOYMENT, "--namespace", SERVICE]).await?;
        Ok((wanted["spec"]["replicas"] == 0 && pods(product).await?.is_empty()).then_some(()))
    })
    .await
}

/// The pods of browser workers, whether they are ready or not.
async fn pods(product: &Installation) -> Result<HashSet<String>> {
    let arguments = ["get", "pods", "--namespace", SERVICE, "--selector", "wpclone.dev/stage=browser"];
    let pods = product.cluster.kubectl_json(&arguments).await?;
    let names = pods["items"].as_array().context("pods")?.iter();
    Ok(names.filter_map(|pod: &Value| Some(pod["metadata"]["name"].as_str()?.to_owned())).collect())
}

/// Waits for a worker that does a browser's step; returns the name of its pod, with which its id begins.
async fn busy_worker(product: &Installation) -> Result<String> {
    wait_until("a busy worker", async || {
        let queue = product.client.queue().await?;
        let mut busy =
            queue.workers.iter().filter(|worker| worker.lost.is_none() && !worker.tasks.is_empty());
        let busy = busy.find(|worker| worker.stages.contains_key(&Stage::Browser));
        let pods = pods(product).await?;
        Ok(busy.and_then(|worker| pods.into_iter().find(|pod| worker.id.starts_with(pod.as_str()))))
    })
    .await
}

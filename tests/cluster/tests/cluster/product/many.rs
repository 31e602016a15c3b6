//! Many clones asked for at once.

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::json;
use wpclone_cluster_tests::Cluster;
use wpclone_task::{State, TaskView};

use super::installation::{BROWSERS, Installation};
use super::source::{address_for_pods, source};

const CLONES: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn ten_clones_asked_for_at_once_are_ready_and_leave_nothing() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let Some(address) = address_for_pods(&cluster).await? else {
        eprintln!("not tried: pods of this cluster do not reach this machine");
        return Ok(());
    };
    let source = source(address, 0).await?;
    let product = Installation::start(cluster).await?;
    let browsers = BROWSERS.lock().await;
    let mut tasks = Vec::new();
    for _ in 0..CLONES {
        let body = json!({"source": source.login(&source.admin()), "ttl_minutes": 60});
        tasks.push(product.client.accepted("/clone", &body).await?);
    }
    let mut names = Vec::new();
    for task in tasks {
        let task = product.client.wait(task.id).await?;
        // The quota has room for twice as many.
        ensure!(task.state == State::Succeeded, "{task:#?}");
        let name = json!(task.result)["clone"]["name"].as_str().context("a name")?.to_owned();
        let page = product.ask_router("", &format!("/{name}/")).await?;
        ensure!(page.status == StatusCode::OK && page.text.contains("</html>"), "{page:?}");
        names.push(name);
    }
    drop(browsers);
    let mut deletions = Vec::new();
    for name in &names {
        let answer = product.client.request(Method::DELETE, &format!("/clones/{name}")).send().await?;
        ensure!(answer.status() == StatusCode::ACCEPTED, "{answer:?}");
        deletions.push(answer.json::<TaskView>().await?);
    }
    for task in deletions {
        let task = product.client.wait(task.id).await?;
        ensure!(task.state == State::Succeeded, "{task:#?}");
    }
    for name in &names {
        product.nothing_left(name).await?;
    }
    Ok(())
}

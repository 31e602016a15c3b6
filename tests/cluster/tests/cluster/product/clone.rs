//! A clone of a site outside the cluster, made by pods, served by a pod.

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};
use wpclone_cluster_tests::{Cluster, WAIT_LIMIT, wait_until, wait_until_within};
use wpclone_task::State;

use super::installation::{BROWSERS, CLONES, Installation, SERVICE};
use super::source::{address_for_pods, source};

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_cloned_by_worker_pods_and_served_by_a_pod_that_may_be_killed() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let Some(address) = address_for_pods(&cluster).await? else {
        eprintln!("not tried: pods of this cluster do not reach this machine");
        return Ok(());
    };
    let source = source(address, 5).await?;
    source
        .eval_php("wp_insert_post(['post_title' => 'Hello from outside', 'post_status' => 'publish']);")
        .await?;
    let product = Installation::start(cluster).await?;
    let client = &product.client;
    let browsers = BROWSERS.lock().await;
    let task = client
        .accepted("/clone", &json!({"source": source.login(&source.admin()), "ttl_minutes": 5}))
        .await?;
    let workers = wait_until("a browser worker", async || {
        Ok(Some(product.workers("browser").await?).filter(|workers| !workers.is_empty()))
    })
    .await?;
    browsers_know_no_secrets(&product, &workers[0]).await?;
    let task = client.wait(task.id).await?;
    ensure!(task.state == State::Succeeded, "{task:#?}");
    drop(browsers);
    let result = json!(task.result);
    let name = result["clone"]["name"].as_str().context("a name")?;
    // By its path, and by its host, which leads to the canonical form.
    let path = format!("/{name}/");
    // What the search for remains finds while there are some.
    let parts = product.parts_of(name).await?;
    for kind in ["wordpressclone", "deployment", "pod/", "service/", "secret/", "persistentvolumeclaim/"] {
        ensure!(parts.iter().any(|part| part.starts_with(kind)), "no {kind} in {parts:?}");
    }
    // The volume, the schema and the user.
    ensure!(parts.iter().filter(|part| !part.contains('/')).count() == 3, "{parts:?}");
    let page = product.ask_router("", &path).await?;
    ensure!(page.status == StatusCode::OK && page.text.contains("Hello from outside"), "{page:?}");
    ensure!(!page.text.contains(&source.url()), "{page:?}");
    let by_host = product.ask_router(name, "/").await?;
    ensure!(
        by_host.status == StatusCode::PERMANENT_REDIRECT && by_host.location.ends_with(&path),
        "{by_host:?}"
    );
    // A browser of a worker's pod has logged in to it.
    let pictures: Vec<_> = task.artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
    ensure!(pictures.contains(&"clone-dashboard.png"), "{pictures:?}");

    // A pod that is killed comes back with the same content.
    let selector = format!("wpclone.dev/clone={name}");
    let kill =
        ["delete", "pod", "--namespace", CLONES, "--selector", &selector, "--grace-period", "0", "--force"];
    product.cluster.kubectl(&kill, "").await?;
    wait_until("the clone to be served again", async || {
        let page = product.ask_router("", &path).await?;
        Ok((page.status == StatusCode::OK && page.text.contains("Hello from outside")).then_some(()))
    })
    .await?;

    // It expires.
    wait_until_expired(&product, name).await?;
    product.nothing_left(name).await?;
    let gone = product.ask_router("", &path).await?;
    ensure!(gone.status == StatusCode::NOT_FOUND, "{gone:?}");
    Ok(())
}

/// A clone lives for five minutes at least, which is longer than other conditions are waited for.
async fn wait_until_expired(product: &Installation, name: &str) -> Result<()> {
    wait_until_within(3 * WAIT_LIMIT, "the clone to expire", async || {
        let clones: Value = product.client.shown("/clones").await?;
        let is_there =
            clones["clones"].as_array().is_some_and(|all| all.iter().any(|clone| clone["name"] == name));
        Ok((!is_there).then_some(()))
    })
    .await
}

/// Whoever has taken over a browser finds none of its worker's secrets, and gets nothing from Redis.
async fn browsers_know_no_secrets(product: &Installation, pod: &str) -> Result<()> {
    const LOOK: &str = r"
        cat /proc/[0-9]*/{environ,cmdline} 2>&1 | tr '\0' '\n' | sort -u
        cat /proc/self/mountinfo
        find / -xdev \( -name token -o -path '*/secrets/*' -o -path '*/wpclone/*' \) 2>&1 || true
    ";
    let seen = product.bash(pod, "browser", LOOK).await?;
    ensure!(
        seen.contains("chromedriver") && seen.contains(" /tmp "),
        "the attack itself does not work: {seen}"
    );
    // The last are how the kubelet mounts Secrets and tokens.
    let secrets =
        ["WPCLONE_", "redis://", "whsec_", "wpclone-worker", "serviceaccount", "~secret", "~projected"];
    for secret in secrets {
        ensure!(!seen.contains(secret), "{secret} in {seen}");
    }
    let in_worker = product.bash(pod, "worker", "cat /proc/[0-9]*/environ 2>/dev/null || true").await?;
    ensure!(in_worker.contains("WPCLONE_SEAL_KEYS=local:"), "where they are, they are found");
    let redis = format!(
        "exec 3<>/dev/tcp/wpclone-redis.{SERVICE}.svc.cluster.local/6379
         printf 'KEYS *\\r\\n' >&3; read -t 10 -r answer <&3; echo \"$answer\""
    );
    let answer = product.bash(pod, "browser", &redis).await?;
    ensure!(answer.starts_with("-NOAUTH"), "{answer}");
    Ok(())
}

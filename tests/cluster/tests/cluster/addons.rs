//! kro, KEDA and metrics-server, each by the smallest thing that it does.

use anyhow::{Context as _, Result, ensure};
use wpclone_cluster_tests::{Cluster, wait_until};

use crate::namespace_with_web_server;

#[tokio::test]
async fn a_restricted_pod_of_an_image_made_here_runs_and_is_reached_by_its_service() -> Result<()> {
    let namespace = namespace_with_web_server(&Cluster::shared().await?, "web").await?;
    let answer = namespace.http_get("web", "/index.html").await?;
    assert_eq!(answer, "served by a pod");
    // Other pods find it by the name that the cluster's DNS knows, and reach it by the address of the service.
    let name = format!("web.{}.svc.cluster.local", namespace.name());
    let service = namespace.get("service/web").await?;
    let address = service["spec"]["clusterIP"].as_str().context("the service's address")?;
    let inside = ["exec", "deployment/web", "--", "/busybox"];
    let looked_up = namespace.kubectl(&[&inside[..], &["nslookup", &name]].concat(), "").await?;
    assert!(looked_up.contains(&format!("Address: {address}")), "{looked_up}");
    let url = format!("http://{address}/index.html");
    let fetched = namespace.kubectl(&[&inside[..], &["wget", "-q", "-O", "-", &url]].concat(), "").await?;
    assert_eq!(fetched, "served by a pod");
    namespace.delete().await
}

#[tokio::test]
async fn a_pod_that_is_not_restricted_is_refused() -> Result<()> {
    let namespace = Cluster::shared().await?.namespace("refused").await?;
    let pod =
        "{apiVersion: v1, kind: Pod, metadata: {name: root}, spec: {containers: [{name: c, image: x}]}}";
    let refusal = namespace.apply(pod).await.expect_err("a pod that may run as root");
    assert!(refusal.to_string().contains("violates PodSecurity \"restricted"), "{refusal}");
    namespace.delete().await
}

#[tokio::test]
async fn kro_makes_an_instance_ready_and_removes_what_it_made() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = namespace_with_web_server(&cluster, "kro").await?;
    let group = format!("{}.wpclone.invalid", namespace.name());
    let kind = format!("greetings.{group}");
    namespace.apply(include_str!("manifests/definition.yaml")).await?;
    namespace.wait_for_condition(&format!("resourcegraphdefinition/greeting.{group}"), "Ready").await?;
    let instance =
        "{apiVersion: NAMESPACE.wpclone.invalid/v1alpha1, kind: Greeting, metadata: {name: good-day}}";
    namespace.apply(instance).await?;
    let name = format!("{kind}/good-day");
    namespace.wait_for_condition(&name, "Ready").await?;
    assert_eq!(namespace.get(&name).await?["status"]["available"], 1);
    namespace.kubectl(&["delete", &name, "--timeout", "150s"], "").await?;
    wait_until("its Deployment, ConfigMap and pod to go", async || {
        let left = namespace.kubectl(&["get", "deployments,configmaps,pods", "--output", "name"], "").await?;
        Ok((!left.contains("good-day")).then_some(()))
    })
    .await?;
    let definition = format!("greeting.{group}");
    cluster.kubectl(&["delete", "resourcegraphdefinition", &definition, "--timeout", "150s"], "").await?;
    cluster.kubectl(&["delete", "clusterrole", &format!("{}-kro", namespace.name())], "").await?;
    namespace.delete().await
}

#[tokio::test]
async fn keda_wakes_pods_from_zero_by_a_figure_and_lets_them_go_again() -> Result<()> {
    let namespace = namespace_with_web_server(&Cluster::shared().await?, "keda").await?;
    namespace.apply(include_str!("manifests/scaled.yaml")).await?;
    let available = async |wanted: u64| {
        let what = format!("{wanted} workers");
        wait_until(&what, async || {
            let status = namespace.get("deployment/workers").await?["status"].take();
            Ok((status["availableReplicas"].as_u64().unwrap_or(0) == wanted).then_some(()))
        })
        .await
    };
    available(3).await?;
    let idle = r#"[{"op": "replace", "path": "/spec/triggers/0/metadata/url", "value": "URL"}]"#
        .replace("URL", &format!("http://web.{}.svc.cluster.local/idle.json", namespace.name()));
    namespace.kubectl(&["patch", "scaledobject/workers", "--type", "json", "--patch", &idle], "").await?;
    available(0).await?;
    // KEDA's finalizer is gone with the object, before the namespace is.
    namespace.kubectl(&["delete", "scaledobject/workers", "--timeout", "150s"], "").await?;
    namespace.delete().await
}

#[tokio::test]
async fn what_a_pod_uses_is_measured() -> Result<()> {
    let namespace = namespace_with_web_server(&Cluster::shared().await?, "metrics").await?;
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods", namespace.name());
    let memory = wait_until("figures of the web server", async || {
        let figures = namespace.kubectl(&["get", "--raw", &path], "").await?;
        let figures: serde_json::Value = serde_json::from_str(&figures)?;
        let memory = &figures["items"][0]["containers"][0]["usage"]["memory"];
        Ok(memory.as_str().map(str::to_owned))
    })
    .await?;
    ensure!(memory.ends_with("Ki") && memory != "0Ki", "memory: {memory}");
    namespace.delete().await
}

#[tokio::test]
async fn nobody_in_use_is_above_the_rules() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let who = cluster.kubectl_json(&["auth", "whoami"]).await?;
    let groups = who["status"]["userInfo"]["groups"].to_string();
    assert!(!groups.contains("system:masters"), "{groups}");
    // What kro may do is what it was given, and that does not include reading Secrets.
    for (may, verb, what) in [("yes", "list", "resourcegraphdefinitions.kro.run"), ("no", "get", "secrets")] {
        let kro = "system:serviceaccount:kro-system:kro";
        let asked =
            cluster.kubectl(&["auth", "can-i", verb, what, "--as", kro, "--all-namespaces"], "").await;
        // `no` is an exit code as well.
        let answer = asked.unwrap_or_else(|_| "no".into());
        assert_eq!(answer.trim_end(), may, "{verb} {what}");
    }
    Ok(())
}

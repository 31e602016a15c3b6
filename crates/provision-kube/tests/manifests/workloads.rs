//! What the pods of the service are, and what their containers are given.

use serde_json::{Value, json};

use crate::{local, of_kind};

/// The workloads, each by its name.
fn workloads(objects: &[Value]) -> Vec<(String, &Value)> {
    let found = [of_kind(objects, "Deployment"), of_kind(objects, "StatefulSet")].concat();
    found
        .into_iter()
        .map(|object| (object["metadata"]["name"].as_str().unwrap().to_owned(), object))
        .collect()
}

fn containers(workload: &Value) -> Vec<&Value> {
    let pod = &workload["spec"]["template"]["spec"];
    let of = |field: &str| pod[field].as_array().map(Vec::as_slice).unwrap_or_default();
    of("initContainers").iter().chain(of("containers")).collect()
}

fn container<'a>(objects: &'a [Value], workload: &str, name: &str) -> &'a Value {
    let all = workloads(objects);
    let (_, workload) = all.into_iter().find(|(found, _)| found == workload).unwrap();
    containers(workload).into_iter().find(|container| container["name"] == name).unwrap()
}

fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let variables = container["env"].as_array()?;
    variables.iter().find(|variable| variable["name"] == name)?["value"].as_str()
}

#[test]
fn every_container_is_unprivileged_and_has_its_share_and_a_limit_and_nothing_secret_is_written_here() {
    let objects = local();
    let workloads = workloads(&objects);
    assert_eq!(workloads.len(), 7, "{workloads:?}");
    for (name, workload) in &workloads {
        let pod = &workload["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        assert_eq!(pod["enableServiceLinks"], false, "{name}");
        // Only the provisioning workers talk to the API server.
        let has_token = pod["automountServiceAccountToken"] != false;
        assert_eq!(has_token, name == "wpclone-provisioning", "{name}");
        assert!(pod["terminationGracePeriodSeconds"].is_u64(), "{name}");
        for container in containers(workload) {
            let what = format!("{name}: {}", container["name"]);
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false, "{what}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{what}");
            assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{what}");
            for size in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
                assert!(container["resources"].pointer(size).is_some(), "{what}: {size}");
            }
            let runs_on = container["name"] != "install";
            let is_watched = container.get("readinessProbe").or(container.get("livenessProbe")).is_some();
            assert_eq!(is_watched, runs_on, "{what}");
        }
    }
    assert!(of_kind(&objects, "Secret").is_empty());
}

#[test]
fn a_browsers_container_has_none_of_its_workers_secrets_and_ends_after_it() {
    let objects = local();
    let browser = container(&objects, "wpclone-browser", "browser");
    for absent in ["env", "envFrom", "args", "command"] {
        assert!(browser.get(absent).is_none(), "{absent}");
    }
    assert_eq!(browser["volumeMounts"], json!([{"name": "browser-tmp", "mountPath": "/tmp"}]));
    assert_eq!(
        browser["restartPolicy"], "Always",
        "a sidecar is started before the worker and ended after it"
    );
    let worker = container(&objects, "wpclone-browser", "worker");
    assert_eq!(worker["volumeMounts"], json!([{"name": "tmp", "mountPath": "/tmp"}]));
    // Another owner's browser would be in the reach of a page that has taken over its own.
    assert_eq!(variable(worker, "WPCLONE_SLOTS_BROWSER"), Some("1"));
}

#[test]
fn a_session_of_the_clones_database_is_bounded() {
    let objects = local();
    let arguments = &container(&objects, "wpclone-database", "mariadb")["args"];
    let has = |argument: &str| arguments.as_array().unwrap().iter().any(|one| one == argument);
    // A session can lower these two, and cannot raise them.
    for limit in ["max-session-mem-used=256M", "tmp-disk-table-size=1G"] {
        assert!(has(&format!("--{limit}")) && has(&format!("--maximum-{limit}")), "{limit}");
    }
    for off in [
        "--local-infile=0",
        "--skip-symbolic-links",
        "--plugin-dir=/nonexistent",
        "--innodb-stats-persistent=OFF",
    ] {
        assert!(has(off), "{off}");
    }
}

#[test]
fn the_api_is_told_how_workers_are_scaled() {
    let objects = local();
    let rule = |scaler: &&Value| {
        let spec = &scaler["spec"];
        let stage = spec["scaleTargetRef"]["name"].as_str().unwrap().trim_start_matches("wpclone-");
        let per_worker = spec["triggers"][0]["metadata"]["targetValue"].as_str().unwrap();
        format!("{stage}={}..{}/{per_worker}", spec["minReplicaCount"], spec["maxReplicaCount"])
    };
    let mut rules: Vec<String> = of_kind(&objects, "ScaledObject").iter().map(rule).collect();
    let told = variable(container(&objects, "wpclone-api", "api"), "WPCLONE_AUTOSCALING").unwrap();
    let mut told: Vec<&str> = told.split(',').collect();
    rules.sort();
    told.sort_unstable();
    assert_eq!(told, rules);
}

#[test]
fn a_worker_that_is_stopped_has_the_time_to_drain_and_to_give_back() {
    let objects = local();
    for stage in ["browser", "provisioning", "transfer"] {
        let name = format!("wpclone-{stage}");
        let worker = container(&objects, &name, "worker");
        assert_eq!(variable(worker, "WPCLONE_STAGES"), Some(stage));
        let drain: u64 = variable(worker, "WPCLONE_DRAIN").unwrap().parse().unwrap();
        let all = workloads(&objects);
        let (_, workload) = all.iter().find(|(found, _)| *found == name).unwrap();
        let template = &workload["spec"]["template"];
        assert!(template["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap() >= drain + 50, "{name}");
        let annotations = &template["metadata"]["annotations"];
        assert_eq!(annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"], "false", "{name}");
        // Somebody else has the number of replicas: applied again, it would be set back.
        assert!(workload["spec"].get("replicas").is_none(), "{name}");
        let scaled = of_kind(&objects, "ScaledObject");
        let scaler = scaled.iter().find(|one| one["spec"]["scaleTargetRef"]["name"] == *name).unwrap();
        let trigger = &scaler["spec"]["triggers"][0]["metadata"];
        assert_eq!(trigger["valueLocation"], format!("stages.{stage}.outstanding"));
        assert_eq!(scaler["spec"]["minReplicaCount"], u64::from(stage != "browser"), "{name}");
    }
}

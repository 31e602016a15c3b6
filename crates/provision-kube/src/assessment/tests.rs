use std::collections::BTreeSet;

use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::*;
use crate::wordpress_clone::Instance;

const IMAGE: &str = "registry.example/clone:php8.2";
const SECRET: &str = "clone-20261130-090000-abcdef-01234567";

/// An instance in this state, with the messages of kro 0.9.4.
fn instance(state: &str, ready: &str, message: &str) -> Value {
    json!({
        "apiVersion": "wpclone.dev/v1alpha1", "kind": "WordPressClone",
        "metadata": {"name": "clone-20261130-090000-abcdef", "generation": 1},
        "spec": {
            "task": "0198f4b5-6b0a-7c3e-8000-000000000000", "owner": "alice", "source": "https://a.example",
            "url": "https://c.example/clone-20261130-090000-abcdef", "username": "wpclone-01234567",
            "creationDeadline": "2026-11-30T09:30:00Z", "expiresAt": "", "tablePrefix": "wp_", "php": "8.2",
            "image": IMAGE, "secretName": SECRET, "runtimeClassName": "",
            "storage": {"className": "", "size": "2Gi"}, "resources": {"cpu": "50m", "memory": "512Mi"},
            "ingress": {"enabled": false, "className": "", "host": "", "path": "/", "service": ""},
        },
        "status": {
            "state": state, "availableReplicas": 0,
            "conditions": [
                {"type": "ResourcesReady", "status": ready, "reason": "NotReady", "message": message,
                 "observedGeneration": 1, "lastTransitionTime": "2026-11-30T09:00:02Z"},
                {"type": "Ready", "status": ready, "reason": "NotReady", "message": message,
                 "observedGeneration": 1, "lastTransitionTime": "2026-11-30T09:00:02Z"},
            ],
        },
    })
}

fn in_progress() -> Value {
    instance("IN_PROGRESS", "False", "waiting for node \"web\": readyWhen condition evaluated to false")
}

/// A pod of the instance with this status. The texts are those of a kubelet 1.36.3 with containerd 2.4.2.
fn pod(status: Value) -> Value {
    json!({
        "metadata": {"name": "clone-pod", "creationTimestamp": "2026-11-30T09:00:03Z"},
        "spec": {
            "containers": [],
            "volumes": [{"name": "config", "secret": {"secretName": SECRET}}],
        },
        "status": status,
    })
}

fn observation(instance: Value, deployment: Value, pods: Vec<Value>, events: Vec<Value>) -> Observation {
    let object: DynamicObject = serde_json::from_value(instance).unwrap();
    Observation::new(
        Instance::read(object).unwrap().unwrap(),
        serde_json::from_value(deployment).unwrap(),
        pods.into_iter().map(|pod| serde_json::from_value(pod).unwrap()).collect(),
        events.into_iter().map(|event| serde_json::from_value(event).unwrap()).collect(),
    )
}

fn waiting(observation: &Observation) -> Waiting {
    match assess(observation) {
        Assessment::Waiting(waiting) => waiting,
        other => panic!("{other:?}"),
    }
}

/// The containers of a pod: one in this state, and one that waits for it.
fn starting(setup: Value) -> Value {
    pod(json!({
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
        "initContainerStatuses": [setup],
        "containerStatuses": [container("wordpress", json!({"waiting": {"reason": "PodInitializing"}}), 0)],
    }))
}

fn container(name: &str, state: Value, restarts: i32) -> Value {
    json!({
        "name": name, "image": IMAGE, "imageID": "", "ready": false, "restartCount": restarts, "state": state,
    })
}

fn event(reason: &str, message: &str, at: &str) -> Value {
    let kind = if matches!(reason, "Pulling" | "Pulled") { "Normal" } else { "Warning" };
    json!({
        "metadata": {"name": "e"}, "involvedObject": {"name": "clone-pod"}, "type": kind,
        "reason": reason, "message": message, "lastTimestamp": format!("2026-11-30T{at}Z"),
    })
}

#[test]
fn a_clone_is_ready_when_kro_says_so_of_its_last_change_and_a_pod_of_its_secret_serves() {
    let serving = pod(json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}));
    let ready = instance("ACTIVE", "True", "");
    let seen = |instance: &Value, pod: &Value| {
        assess(&observation(instance.clone(), Value::Null, vec![pod.clone()], Vec::new()))
    };
    assert_eq!(seen(&ready, &serving), Assessment::Ready);
    let mut changed = ready.clone();
    changed["metadata"]["generation"] = json!(2);
    assert_ne!(seen(&changed, &serving), Assessment::Ready);
    let mut of_old_secret = serving.clone();
    of_old_secret["spec"]["volumes"][0]["secret"]["secretName"] = json!("another");
    assert_ne!(seen(&ready, &of_old_secret), Assessment::Ready);
    let mut deleted = ready;
    deleted["metadata"]["deletionTimestamp"] = json!("2026-11-30T09:10:00Z");
    assert_eq!(seen(&deleted, &serving), Assessment::Gone);
}

#[test]
fn pulling_an_image_is_progress_with_a_limit_of_its_own() {
    let creating = starting(container("setup", json!({"waiting": {"reason": "PodInitializing"}}), 0));
    let pulling = event("Pulling", "Pulling image \"registry.example/clone:php8.2\"", "09:00:04");
    let pulled = event("Pulled", "Successfully pulled image", "09:09:04");
    let seen = |events| waiting(&observation(in_progress(), Value::Null, vec![creating.clone()], events));
    let waits = seen(vec![pulling.clone()]);
    assert_eq!(waits, Waiting::Pull { image: IMAGE.to_owned() });
    let limits = WaitLimits::default();
    assert!(waits.limit(&limits) >= Duration::from_secs(600));
    let starts = seen(vec![pulling, pulled]);
    assert_eq!(starts, Waiting::Start(String::new()));
    assert_ne!(starts.kind(), waits.kind());
}

#[test]
fn an_image_that_cannot_be_pulled_is_named_with_the_nodes_words() {
    let reason = "failed to pull and unpack image \"registry.example/clone:php8.2\": failed to resolve image: not found";
    let failing = json!({"waiting": {"reason": "ErrImagePull", "message": reason}});
    let pods = vec![starting(container("setup", failing, 0))];
    let waits = waiting(&observation(in_progress(), Value::Null, pods, Vec::new()));
    assert_eq!(waits, Waiting::PullFailure { image: IMAGE.to_owned(), reason: reason.to_owned() });
    let backing_off = json!({"waiting": {
        "reason": "ImagePullBackOff", "message": "Back-off pulling image \"registry.example/clone:php8.2\"",
    }});
    let events = vec![
        event("Pulling", "Pulling image \"registry.example/clone:php8.2\"", "09:40:15"),
        event("Failed", "Failed to pull image \"registry.example/clone:php8.2\": not found", "09:40:15"),
        event("Failed", "Error: ErrImagePull", "09:40:15"),
        event("Failed", "Error: ImagePullBackOff", "09:40:29"),
        event("BackOff", "Back-off pulling image", "09:40:29"),
    ];
    let pods = vec![starting(container("setup", backing_off, 0))];
    let waits = waiting(&observation(in_progress(), Value::Null, pods, events));
    assert!(waits.limit(&WaitLimits::default()) > Duration::ZERO, "the node tries again");
    let error = waits.into_error().to_string();
    assert!(error.contains(IMAGE) && error.contains("not found"), "{error}");
    let never =
        json!({"waiting": {"reason": "ErrImageNeverPull", "message": "Container image is not present"}});
    let pods = vec![starting(container("setup", never, 0))];
    let waits = waiting(&observation(in_progress(), Value::Null, pods, Vec::new()));
    assert_eq!(waits.limit(&WaitLimits::default()), Duration::ZERO);
    assert!(matches!(waits.into_error(), ProvisionError::ImageUnavailable { .. }));
}

#[test]
fn a_container_that_fails_again_and_again_is_quoted_and_one_that_failed_once_is_waited_for() {
    let failed = |restarts: i32, exit_code: i32, reason: &str| {
        let ended = json!({"terminated": {
            "exitCode": exit_code, "reason": reason, "message": "PHP Fatal error: no such table\n",
        }});
        let seen = |setup: Value| {
            waiting(&observation(in_progress(), Value::Null, vec![starting(setup)], Vec::new()))
        };
        // Between two attempts the state is one or the other.
        let mut backing_off =
            container("setup", json!({"waiting": {"reason": "CrashLoopBackOff"}}), restarts);
        backing_off["lastState"] = ended.clone();
        let waits = seen(backing_off);
        assert_eq!(seen(container("setup", ended, restarts)), waits);
        waits
    };
    let limits = WaitLimits::default();
    assert!(failed(1, 1, "Error").limit(&limits) > Duration::ZERO);
    let crash = failed(2, 1, "Error");
    assert_eq!(crash.limit(&limits), Duration::ZERO);
    let error = crash.into_error().to_string();
    assert!(error.contains("container setup, exit status 1") && error.contains("no such table"), "{error}");
    assert!(failed(2, 137, "OOMKilled").into_error().to_string().contains("OOMKilled"));
    assert!(matches!(
        failed(2, DATABASE_EXIT_CODE.into(), "Error").into_error(),
        ProvisionError::DatabaseRefused(_)
    ));
}

#[test]
fn what_the_cluster_refuses_is_told_from_a_quota_by_the_api_servers_words() {
    let quota = "pods \"clone-5485c8b7b4-9cg4s\" is forbidden: exceeded quota: q, requested: pods=1, used: \
                 pods=0, limited: pods=0";
    let deployment = |message: &str| {
        json!({"status": {"conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message},
        ]}})
    };
    let seen = |instance, deployment| waiting(&observation(instance, deployment, Vec::new(), Vec::new()));
    let of_pods = seen(in_progress(), deployment(quota));
    assert!(matches!(of_pods.into_error(), ProvisionError::QuotaReached(message) if message == quota));
    let of_class = seen(in_progress(), deployment("RuntimeClass \"gvisor\" not found"));
    assert!(matches!(of_class.into_error(), ProvisionError::InstanceFailed(_)));
    let of_instance = seen(instance("ERROR", "False", quota), Value::Null);
    assert!(matches!(of_instance.into_error(), ProvisionError::QuotaReached(_)));
    let other = seen(instance("ERROR", "False", "admission webhook denied the request"), Value::Null);
    assert!(matches!(other.into_error(), ProvisionError::InstanceFailed(_)));
}

#[test]
fn a_pod_without_a_node_says_what_the_scheduler_says() {
    let message = "0/3 nodes are available: 3 Insufficient memory.";
    let unscheduled = pod(json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message},
    ]}));
    let waits = waiting(&observation(in_progress(), Value::Null, vec![unscheduled], Vec::new()));
    assert!(waits.sentence().contains(message));
    assert!(matches!(waits.into_error(), ProvisionError::Timeout(why) if why.contains(message)));
}

#[test]
fn each_kind_of_waiting_has_a_sentence_of_its_own() {
    let (image, why) = (|| IMAGE.to_owned(), || "because".to_owned());
    let all = [
        Waiting::Parts,
        Waiting::Node(why()),
        Waiting::Pull { image: image() },
        Waiting::PullFailure { image: image(), reason: why() },
        Waiting::NoImage { image: image(), reason: why() },
        Waiting::Start(why()),
        Waiting::Quota(why()),
        Waiting::Refusal(why()),
    ];
    let sentences: BTreeSet<String> = all.iter().map(Waiting::sentence).collect();
    assert_eq!(sentences.len(), all.len());
}

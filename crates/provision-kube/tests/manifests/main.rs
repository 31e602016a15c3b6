//! The manifests of `k8s/`: what pods may reach, and what roles allow.
//!
//! Network policies are judged by their text, because the cluster of the tests does not enforce them.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

mod network;
mod workloads;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::network::{Peer, Policies};

/// What patches of overlays may change: sizes and addresses, and nothing of what is judged here.
const PATCHED: [&str; 4] = ["Service", "Deployment", "HorizontalPodAutoscaler", "ScaledObject"];

/// The objects of an overlay, as `kubectl kustomize` collects them, before its patches.
fn objects(folder: &Path) -> Vec<Value> {
    let kustomization = std::fs::read_to_string(folder.join("kustomization.yaml")).unwrap();
    let kustomization: Value = serde_saphyr::from_str(&kustomization).unwrap();
    for (field, value) in kustomization.as_object().unwrap() {
        match field.as_str() {
            // Nothing of ConfigMaps, and no name of an image, is judged here.
            "resources" | "configMapGenerator" | "images" => {}
            "patches" => {
                for patch in value.as_array().unwrap() {
                    assert!(PATCHED.iter().any(|kind| patch["target"]["kind"] == *kind), "{patch}");
                    assert!(!patch["patch"].as_str().unwrap().contains("/template"), "{patch}");
                }
            }
            _ => panic!("this does not read {field} of {}", folder.display()),
        }
    }
    let mut found = Vec::new();
    for resource in kustomization["resources"].as_array().unwrap() {
        let path = folder.join(resource.as_str().unwrap());
        if path.is_dir() {
            found.extend(objects(&path));
        } else {
            found.extend(
                serde_saphyr::from_multiple::<Value>(&std::fs::read_to_string(&path).unwrap()).unwrap(),
            );
        }
    }
    found
}

fn local() -> Vec<Value> {
    objects(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../k8s/overlays/local"))
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

#[test]
fn every_namespace_enforces_the_restricted_level_and_every_object_is_in_one_of_them() {
    let objects = local();
    let mut namespaces = BTreeSet::new();
    for namespace in of_kind(&objects, "Namespace") {
        let labels = &namespace["metadata"]["labels"];
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted", "{namespace}");
        namespaces.insert(namespace["metadata"]["name"].as_str().unwrap());
    }
    assert_eq!(namespaces, BTreeSet::from(["wpclone", "wpclone-clones"]));
    let of_cluster = ["Namespace", "ClusterRole", "ClusterRoleBinding", "ResourceGraphDefinition"];
    for object in objects.iter().filter(|object| !of_cluster.contains(&object["kind"].as_str().unwrap())) {
        let namespace = object["metadata"]["namespace"].as_str();
        assert!(namespace.is_some_and(|name| namespaces.contains(name)), "{object}");
        assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/part-of"], "wpclone", "{object}");
    }
}

#[test]
fn no_role_has_a_wildcard_and_nobody_may_execute_in_pods_or_change_roles() {
    let objects = local();
    for kind in ["Role", "ClusterRole"] {
        for role in of_kind(&objects, kind) {
            for rule in role["rules"].as_array().unwrap() {
                let text = rule.to_string();
                for never in [
                    "\"*\"",
                    "pods/exec",
                    "pods/log",
                    "impersonate",
                    "rbac.authorization",
                    "escalate",
                    "bind\"",
                ] {
                    assert!(!text.contains(never), "{never}: {rule}");
                }
            }
        }
    }
    // A role of the whole cluster lets nobody read Secrets.
    for role in of_kind(&objects, "ClusterRole") {
        assert!(!role.to_string().contains("secrets"), "{role}");
    }
}

#[test]
fn roles_are_bound_to_service_accounts_that_exist() {
    let objects = local();
    let mut accounts: BTreeSet<(String, String)> = BTreeSet::new();
    let full_name = |object: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&object["namespace"]), text(&object["name"]))
    };
    accounts
        .extend(of_kind(&objects, "ServiceAccount").iter().map(|account| full_name(&account["metadata"])));
    // kro is installed by its own chart.
    accounts.insert(("kro-system".to_owned(), "kro".to_owned()));
    let mut bound = 0;
    for kind in ["Role", "ClusterRole"] {
        for binding in of_kind(&objects, &format!("{kind}Binding")) {
            let roles = of_kind(&objects, binding["roleRef"]["kind"].as_str().unwrap());
            let is_bound = |role: &&Value| {
                role["metadata"]["name"] == binding["roleRef"]["name"]
                    && role["metadata"]["namespace"] == binding["metadata"]["namespace"]
            };
            assert!(roles.iter().any(is_bound), "{binding}");
            for subject in binding["subjects"].as_array().unwrap() {
                assert_eq!(subject["kind"], "ServiceAccount");
                assert!(accounts.contains(&full_name(subject)), "{subject}");
                bound += 1;
            }
        }
    }
    assert_eq!(bound, 3);
}

#[test]
fn clones_reach_their_database_and_dns_and_only_the_router_reaches_clones() {
    let policies = Policies::new(&of_kind(&local(), "NetworkPolicy"));
    let pod = |namespace: &str, labels: Value| Peer::Pod { namespace: namespace.to_owned(), labels };
    let clone =
        || pod("wpclone-clones", json!({"wpclone.dev/role": "clone", "wpclone.dev/clone": "clone-a"}));
    let router = || pod("wpclone-clones", json!({"wpclone.dev/role": "router"}));
    let unknown = || pod("wpclone-clones", json!({"app": "something"}));
    let database = || pod("wpclone", json!({"wpclone.dev/role": "database"}));
    let worker = || pod("wpclone", json!({"wpclone.dev/role": "worker"}));
    let dns = || pod("kube-system", json!({"k8s-app": "kube-dns"}));
    let not_dns = || pod("kube-system", json!({"k8s-app": "metrics-server"}));
    let outside = || Peer::Outside([203, 0, 114, 1].into());
    for (from, to, port, is_allowed) in [
        (clone(), database(), "TCP/3306", true),
        (clone(), dns(), "UDP/53", true),
        (clone(), dns(), "TCP/53", true),
        (router(), dns(), "UDP/53", true),
        (router(), clone(), "TCP/8080", true),
        (outside(), router(), "TCP/8080", true),
        (worker(), router(), "TCP/8080", true),
        (clone(), database(), "TCP/22", false),
        (clone(), dns(), "TCP/443", false),
        (clone(), not_dns(), "UDP/53", false),
        (clone(), clone(), "TCP/8080", false),
        (clone(), router(), "TCP/8080", false),
        (clone(), worker(), "TCP/8080", false),
        // The site that it is a copy of, the API server, the metadata of a cloud's machine.
        (clone(), outside(), "TCP/443", false),
        (clone(), outside(), "TCP/80", false),
        (router(), clone(), "TCP/3306", false),
        (router(), database(), "TCP/3306", false),
        (router(), outside(), "TCP/443", false),
        (outside(), clone(), "TCP/8080", false),
        (worker(), clone(), "TCP/8080", false),
        (database(), clone(), "TCP/8080", false),
        (unknown(), clone(), "TCP/8080", false),
        (worker(), unknown(), "TCP/8080", false),
        (unknown(), outside(), "TCP/443", false),
    ] {
        assert_eq!(policies.allow(&from, &to, port), is_allowed, "{from:?} to {to:?} {port}");
    }
}

#[test]
fn pods_of_the_service_reach_what_they_work_with_and_nothing_else() {
    let policies = Policies::new(&of_kind(&local(), "NetworkPolicy"));
    let pod = |namespace: &str, labels: Value| Peer::Pod { namespace: namespace.to_owned(), labels };
    let of_service = |role: &str| pod("wpclone", json!({"wpclone.dev/role": role}));
    let worker =
        |stage: &str| pod("wpclone", json!({"wpclone.dev/role": "worker", "wpclone.dev/stage": stage}));
    let (api, redis, database) = (|| of_service("api"), || of_service("redis"), || of_service("database"));
    let clone = || pod("wpclone-clones", json!({"wpclone.dev/role": "clone"}));
    let router = || pod("wpclone-clones", json!({"wpclone.dev/role": "router"}));
    let address = |text: &str| Peer::Outside(text.parse().unwrap());
    for (from, to, port, is_allowed) in [
        (address("203.0.114.1"), api(), "TCP/8080", true),
        (pod("keda", json!({})), api(), "TCP/8080", true),
        (api(), redis(), "TCP/6379", true),
        (worker("browser"), redis(), "TCP/6379", true),
        (worker("browser"), router(), "TCP/8080", true),
        (worker("browser"), address("203.0.114.1"), "TCP/8443", true),
        (worker("transfer"), address("2a00::1"), "TCP/443", true),
        (worker("provisioning"), database(), "TCP/3306", true),
        (worker("provisioning"), address("10.96.0.1"), "TCP/443", true),
        (worker("browser"), database(), "TCP/3306", false),
        (worker("browser"), api(), "TCP/8080", false),
        (worker("browser"), clone(), "TCP/8080", false),
        (worker("browser"), worker("transfer"), "TCP/8081", false),
        // The metadata of a cloud's machine, the API server, other machines of the network.
        (worker("browser"), address("169.254.169.254"), "TCP/80", false),
        (worker("browser"), address("10.96.0.1"), "TCP/443", false),
        (worker("transfer"), address("192.168.1.1"), "TCP/80", false),
        (worker("browser"), address("fd00::1"), "TCP/80", false),
        (worker("browser"), address("203.0.114.1"), "UDP/53", false),
        (api(), address("203.0.114.1"), "TCP/443", false),
        (api(), database(), "TCP/3306", false),
        (address("203.0.114.1"), redis(), "TCP/6379", false),
        (address("203.0.114.1"), database(), "TCP/3306", false),
        (address("203.0.114.1"), worker("browser"), "TCP/8081", false),
        (clone(), redis(), "TCP/6379", false),
        (clone(), api(), "TCP/8080", false),
        (redis(), address("203.0.114.1"), "TCP/443", false),
        (database(), clone(), "TCP/8080", false),
    ] {
        assert_eq!(policies.allow(&from, &to, port), is_allowed, "{from:?} to {to:?} {port}");
    }
}

#[test]
fn the_labels_that_policies_select_are_those_of_the_definition() {
    let objects = local();
    let definition = of_kind(&objects, "ResourceGraphDefinition")[0];
    let resources = definition["spec"]["resources"].as_array().unwrap();
    let web = resources.iter().find(|resource| resource["id"] == "web").unwrap();
    let pod = &web["template"]["spec"]["template"];
    assert_eq!(pod["metadata"]["labels"]["wpclone.dev/role"], "clone");
    let ports = &pod["spec"]["containers"][0]["ports"];
    assert_eq!(ports, &json!([{"name": "http", "containerPort": 8080}]));
}

#[test]
fn the_quota_has_room_for_the_default_number_of_clones_of_the_default_size() {
    let objects = local();
    let hard = &of_kind(&objects, "ResourceQuota")[0]["spec"]["hard"];
    let defaults = &of_kind(&objects, "ResourceGraphDefinition")[0]["spec"]["schema"]["spec"];
    let default = |path: &str| {
        let field = defaults.pointer(path).and_then(Value::as_str).unwrap();
        let (_, rest) = field.split_once("default=\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let clones = 20;
    assert_eq!(hard["count/wordpressclones.wpclone.dev"], "20");
    for (limit, of_one) in [
        ("requests.cpu", default("/resources/cpu")),
        ("requests.memory", default("/resources/memory")),
        ("limits.memory", default("/resources/memory")),
        ("requests.storage", default("/storage/size")),
        ("pods", "1".to_owned()),
        ("persistentvolumeclaims", "1".to_owned()),
    ] {
        let all = quantity(hard[limit].as_str().unwrap());
        assert!(all >= clones * quantity(&of_one), "{limit}: {all} for {clones} of {of_one}");
    }
}

/// A quantity in thousandths.
fn quantity(text: &str) -> u64 {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().unwrap();
    number
        * match &text[end..] {
            "m" => 1,
            "" => 1000,
            "Mi" => 1000 << 20,
            "Gi" => 1000 << 30,
            unit => panic!("the unit {unit}"),
        }
}

//! The definition of the kind, `k8s/kro/wordpressclone.yaml`, and the Rust types of its spec and status are the same.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use wpclone_provision::SiteUrl;
use wpclone_provision_kube::{
    KIND, VERSION, WordPressCloneIngress, WordPressCloneResources, WordPressCloneSpec, WordPressCloneStatus,
    WordPressCloneStorage,
};

const DEFINITION: &str = include_str!("../../../k8s/kro/wordpressclone.yaml");

fn definition() -> Value {
    serde_saphyr::from_str(DEFINITION).unwrap()
}

fn schema(part: &str) -> Map<String, Value> {
    definition()["spec"]["schema"][part].as_object().unwrap().clone()
}

/// A spec in which every field has a value of its own.
fn spec() -> WordPressCloneSpec {
    WordPressCloneSpec {
        task: "0198f4b5-6b0a-7c3e-8000-000000000000".parse().unwrap(),
        owner: "alice".into(),
        source: SiteUrl::parse("https://a.example").unwrap(),
        url: "https://c.example/clone".into(),
        username: "wpclone-01234567".into(),
        creation_deadline: "2026-11-30T09:30:00Z".parse().unwrap(),
        expires_at: "2026-11-30T10:30:00Z".into(),
        table_prefix: "wp_".into(),
        php: "8.2".into(),
        image: "image".into(),
        secret_name: "secret".into(),
        runtime_class_name: "gvisor".into(),
        storage: WordPressCloneStorage { class_name: "standard".into(), size: "2Gi".into() },
        resources: WordPressCloneResources { cpu: "50m".into(), memory: "512Mi".into() },
        ingress: WordPressCloneIngress {
            enabled: true,
            class_name: "nginx".into(),
            host: "c.example".into(),
            path: "/clone".into(),
            service: "router".into(),
        },
    }
}

/// The fields of a JSON object with their types, as `a.b: string`.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                fields(member, &path, found);
            }
            return;
        }
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        other => panic!("{path} is {other}"),
    };
    found.insert(format!("{path}: {kind}"));
}

/// The fields of a schema in kro's short form (`name: string | default="x"`), and those that have neither a default nor are
/// required.
fn defined(schema: &Map<String, Value>, path: &str, found: &mut BTreeSet<String>, unset: &mut Vec<String>) {
    for (name, field) in schema {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match field {
            Value::Object(members) => defined(members, &path, found, unset),
            field => {
                let field = field.as_str().unwrap();
                let (kind, markers) = field.split_once('|').unwrap_or((field, ""));
                found.insert(format!("{path}: {}", kind.trim()));
                if !markers.contains("default=") && !markers.contains("required=true") {
                    unset.push(path);
                }
            }
        }
    }
}

#[test]
fn spec_of_the_definition_and_of_the_rust_type_have_the_same_fields() {
    let (mut in_rust, mut in_yaml, mut unset) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    fields(&serde_json::to_value(spec()).unwrap(), "", &mut in_rust);
    defined(&schema("spec"), "", &mut in_yaml, &mut unset);
    assert_eq!(in_rust, in_yaml);
    // The Rust type has all of them, and kro's expressions fail where one is missing.
    assert!(unset.is_empty(), "neither default nor required: {unset:?}");
}

#[test]
fn each_status_of_the_definition_is_read() {
    let mut status: Map<String, Value> =
        schema("status").keys().map(|name| (name.clone(), json!("text"))).collect();
    status["availableReplicas"] = json!(1);
    let read: WordPressCloneStatus = serde_json::from_value(status.clone().into()).unwrap();
    let written = serde_json::to_value(read).unwrap();
    for (name, value) in status {
        assert_eq!(written[&name], value, "{name}");
    }
    assert!(serde_json::from_value::<WordPressCloneStatus>(json!({})).is_ok(), "kro sets them one by one");
}

#[test]
fn kind_version_and_name_are_those_that_the_provisioner_asks_for() {
    let definition = definition();
    let schema = &definition["spec"]["schema"];
    assert_eq!((&schema["kind"], &schema["apiVersion"]), (&json!(KIND), &json!(VERSION)));
    let group = schema["group"].as_str().unwrap();
    assert_eq!(definition["metadata"]["name"], json!(format!("{}.{group}", KIND.to_lowercase())));
}

#[test]
fn every_part_is_named_after_the_instance_and_labelled_with_it() {
    let definition = definition();
    for resource in definition["spec"]["resources"].as_array().unwrap() {
        let metadata = &resource["template"]["metadata"];
        assert_eq!(metadata["name"], "${schema.metadata.name}", "{}", resource["id"]);
        assert_eq!(metadata["labels"]["wpclone.dev/clone"], "${schema.metadata.name}", "{}", resource["id"]);
    }
}

#[test]
fn the_pod_has_no_identity_and_no_privileges_and_the_site_does_not_see_the_setups_passwords() {
    let definition = definition();
    let resources = definition["spec"]["resources"].as_array().unwrap();
    let web = resources.iter().find(|resource| resource["id"] == "web").unwrap();
    let pod = &web["template"]["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["enableServiceLinks"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for name in ["hostNetwork", "hostPID", "hostIPC", "serviceAccountName"] {
        assert!(pod.get(name).is_none(), "{name}");
    }
    let kinds = ["initContainers", "containers"];
    let containers: Vec<&Value> = kinds.iter().flat_map(|kind| pod[kind].as_array().unwrap()).collect();
    assert_eq!(containers.len(), 2);
    for container in &containers {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
        assert!(container["resources"]["limits"]["memory"].is_string());
        // Its last log lines are what an error quotes.
        assert_eq!(container["terminationMessagePolicy"], "FallbackToLogsOnError");
        let mounts = container["volumeMounts"].as_array().unwrap();
        assert_eq!(mounts.iter().any(|mount| mount["name"] == "setup"), container["name"] == "setup");
    }
    let config = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "config").unwrap();
    let keys: Vec<&Value> =
        config["secret"]["items"].as_array().unwrap().iter().map(|item| &item["key"]).collect();
    assert_eq!(keys, ["wp-config.php", "php.ini"]);
}

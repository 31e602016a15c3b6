//! The life of a clone.

use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, ListParams, PostParams};
use secrecy::ExposeSecret as _;
use serde_json::json;
use wpclone_provision::{CloneLocation, Phase, PhpLimits, ProvisionError, Provisioner as _, SourceFacts};
use wpclone_provision_kube::WaitLimits;

use super::image::clone_image;
use super::lab::{Lab, default_class, run_until_ready, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_is_made_matched_published_extended_found_again_and_deleted_with_everything() {
    let mut lab = Lab::start(clone_image().await, WaitLimits::default()).await;
    let spec = lab.spec();
    let mut progress = lab.provisioner.watch_progress(&spec.name).unwrap();
    let made = lab.provisioner.create(&spec).await.unwrap();
    assert_eq!((made.phase, made.php.as_str()), (Phase::Ready, "8.3"));
    assert!(progress.has_changed().unwrap() && !progress.borrow_and_update().is_empty());
    let location = made.location.clone().unwrap();
    assert_eq!(location.place(), format!("{}/{}", lab.options.namespace, spec.name));
    assert_eq!(location.pod().unwrap().summary(), "Running");
    let CloneLocation::Cluster(in_cluster) = location else { panic!("{location:?}") };
    assert!(in_cluster.conditions.iter().any(|condition| condition.line().starts_with("Ready True")));
    // A repeated step finds its clone, and another task's step does not get it.
    assert_eq!(lab.provisioner.create(&spec).await.unwrap().username, made.username);
    let of_other = wpclone_provision::CloneSpec { task: lab.spec().task, ..spec.clone() };
    assert!(matches!(lab.provisioner.create(&of_other).await, Err(ProvisionError::NameTaken(_))));

    let before = lab.provisioner.access(&spec.name).await.unwrap();
    let published =
        lab.provisioner.publish(&spec.name, lab.now() + SignedDuration::from_hours(1)).await.unwrap();
    assert_eq!(published.phase, Phase::Published);
    lab.restart().await;
    let info = &lab.provisioner.list().await.unwrap()[0];
    assert_eq!((info.phase, info.owner.as_str(), &info.source), (Phase::Published, "alice", &spec.source));
    let php_7 = SourceFacts { php: Some("7.4".into()), ..SourceFacts::default() };
    assert!(matches!(
        lab.provisioner.match_source(&spec.name, &php_7).await,
        Err(ProvisionError::AlreadyPublished(_))
    ));
    let later = lab.now() + SignedDuration::from_hours(2);
    assert_eq!(lab.provisioner.publish(&spec.name, later).await.unwrap().expires_at, info.expires_at);
    assert_eq!(lab.provisioner.extend(&spec.name, later).await.unwrap().expires_at, Some(later));
    let after = lab.provisioner.ensure_access(&spec.name).await.unwrap();
    assert_eq!(before.password.expose_secret(), after.password.expose_secret());
    assert_eq!(before.migrator_key.expose_secret(), after.migrator_key.expose_secret());

    lab.provisioner.delete(&spec.name).await.unwrap();
    lab.assert_nothing_left().await;
    lab.provisioner.delete(&spec.name).await.unwrap();
    assert!(matches!(lab.provisioner.access(&spec.name).await, Err(ProvisionError::NotFound(_))));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_gets_its_sources_php_prefix_and_limits_in_a_new_pod_and_an_empty_schema() {
    let class = default_class().await;
    let lab = Lab::start_with_class(&class, clone_image().await, WaitLimits::default()).await;
    let spec = lab.spec();
    let made = lab.provisioner.create(&spec).await.unwrap();
    let old_pod = made.location.unwrap().pod().unwrap().name.clone();
    let schema = lab.mariadb.schema_of(&spec.name).await;
    lab.mariadb.run(&format!("CREATE TABLE `{schema}`.wp_old (id INT)")).await;
    let facts = SourceFacts {
        table_prefix: Some("shop_".into()),
        php: Some("8.2.20".into()),
        limits: PhpLimits { memory_limit: Some(128 << 20), ..PhpLimits::default() },
        ..SourceFacts::default()
    };
    let matched = lab.provisioner.match_source(&spec.name, &facts).await.unwrap();
    assert_eq!(
        (matched.php.as_str(), matched.table_prefix.as_str(), &matched.facts),
        ("8.2", "shop_", &facts)
    );
    assert_ne!(matched.location.unwrap().pod().unwrap().name, old_pod);
    let name = lab.mariadb.schema_of(&spec.name).await;
    assert_ne!(name, schema, "it has another schema, and the old one is gone");
    let tables = format!("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{name}'");
    assert_eq!(lab.mariadb.run(&tables).await.trim(), "0");
    let secrets = lab.api::<Secret>().list(&ListParams::default()).await.unwrap();
    let data = secrets.items[0].data.as_ref().unwrap();
    assert_eq!(secrets.items.len(), 1, "the old one is gone");
    assert!(String::from_utf8_lossy(&data["php.ini"].0).contains("memory_limit = 134217728"));
    assert!(String::from_utf8_lossy(&data["wp-config.php"].0).contains("$table_prefix = 'shop_'"));
    // Nothing secret is in what everybody may read who may read clones.
    let instance = lab.instances().get(spec.name.as_str()).await.unwrap();
    let shown = serde_json::to_string(&instance).unwrap();
    for key in ["password", "migrator-key", "login-key", "database-password"] {
        let secret = String::from_utf8(data[key].0.clone()).unwrap();
        assert!(!shown.contains(&secret), "{key}");
    }
    // Its database user sees its schema and no other.
    let password = String::from_utf8(data["database-password"].0.clone()).unwrap();
    lab.mariadb.run("CREATE DATABASE `clone-other`").await;
    let name = name.as_str();
    assert!(lab.mariadb.run_as(name, &password, name, "CREATE TABLE shop_a (id INT)").await);
    assert!(!lab.mariadb.run_as(name, &password, "clone-other", "CREATE TABLE a (id INT)").await);
    assert!(!lab.mariadb.run_as(name, &password, "mysql", "SELECT 1").await);
    lab.mariadb.run("DROP DATABASE `clone-other`").await;
    // The same again changes nothing.
    let again = lab.provisioner.match_source(&spec.name, &facts).await.unwrap();
    assert_eq!(again.location.unwrap().pod().map(|pod| pod.restarts), Some(0));
    lab.delete_and_end(&spec.name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_ended_in_the_middle_is_finished_by_others_and_two_at_once_make_one_clone() {
    let mut lab = Lab::start(clone_image().await, WaitLimits::default()).await;
    let spec = lab.spec();
    let (provisioner, of_task) = (Arc::clone(&lab.provisioner), spec.clone());
    let creation = tokio::spawn(async move { provisioner.create(&of_task).await });
    let instances = lab.instances();
    until("there is an instance", async || instances.get_opt(spec.name.as_str()).await.unwrap().is_some())
        .await;
    creation.abort();
    lab.restart().await;
    let (other, running) = run_until_ready(&lab.options).await;
    let (one, two) = tokio::join!(lab.provisioner.create(&spec), other.create(&spec));
    assert_eq!(one.unwrap().username, two.unwrap().username);
    assert_eq!(lab.provisioner.list().await.unwrap().len(), 1);
    let secrets = lab.api::<Secret>().list(&ListParams::default()).await.unwrap();
    assert_eq!(secrets.items.len(), 1);
    drop(running);
    lab.delete_and_end(&spec.name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_deletes_what_has_expired_and_what_was_not_published_and_keeps_what_has_a_task() {
    let lab = Lab::start(clone_image().await, WaitLimits::default()).await;
    let (published, unpublished, busy) = (lab.spec(), lab.spec(), lab.spec());
    for spec in [&published, &unpublished, &busy] {
        lab.provisioner.create(spec).await.unwrap();
    }
    lab.provisioner.publish(&published.name, lab.now() + SignedDuration::from_mins(5)).await.unwrap();
    let none = lab.provisioner.sweep(&|_| false).await.unwrap();
    assert!(none.expired.is_empty() && none.abandoned.is_empty());
    lab.advance(3600);
    let (mut expired, mut abandoned) = (Vec::new(), Vec::new());
    // A sweep waits for a deletion only so long; the next one goes on with it.
    until("both are swept", async || {
        let swept = lab.provisioner.sweep(&|clone| clone.name == busy.name).await.unwrap();
        expired.extend(swept.expired);
        abandoned.extend(swept.abandoned);
        lab.provisioner.list().await.unwrap().len() == 1
    })
    .await;
    assert!(expired.iter().all(|name| *name == published.name), "{expired:?}");
    assert!(abandoned.iter().all(|name| *name == unpublished.name), "{abandoned:?}");
    let left = lab.provisioner.list().await.unwrap();
    assert_eq!(left.len(), 1);
    assert!(left[0].name == busy.name && left[0].deadline > lab.now());
    // Somebody deletes an instance by hand: its database is dropped all the same.
    lab.instances().delete(busy.name.as_str(), &kube::api::DeleteParams::default()).await.unwrap();
    until("the instance goes", async || {
        lab.provisioner.sweep(&|_| true).await.unwrap();
        lab.provisioner.list().await.unwrap().is_empty()
    })
    .await;
    lab.assert_nothing_left().await;
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_cannot_be_read_is_set_aside_and_not_deleted() {
    let lab = Lab::start(clone_image().await, WaitLimits::default()).await;
    let name = lab.spec().name;
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": format!("{}/v1alpha1", lab.options.group), "kind": "WordPressClone",
        "metadata": {"name": name},
        "spec": {
            "task": "no task", "source": "https://a.example", "url": "https://c.example/x", "username": "u",
            "creationDeadline": "2026-11-30T09:00:00Z", "php": "8.2", "image": clone_image().await, "secretName": "none",
        },
    }))
    .unwrap();
    lab.instances().create(&PostParams::default(), &object).await.unwrap();
    assert!(lab.provisioner.list().await.unwrap().is_empty());
    let set_aside = lab.provisioner.set_aside().await;
    assert_eq!(set_aside.clones[0].name, name);
    assert!(matches!(lab.provisioner.delete(&name).await, Err(ProvisionError::Unreadable { .. })));
    lab.provisioner.sweep(&|_| false).await.unwrap();
    assert!(lab.instances().get_opt(name.as_str()).await.unwrap().is_some());
    lab.instances().delete(name.as_str(), &kube::api::DeleteParams::default()).await.unwrap();
    until("it goes", async || lab.instances().get_opt(name.as_str()).await.unwrap().is_none()).await;
    lab.end().await;
}

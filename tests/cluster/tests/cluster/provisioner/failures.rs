//! Each way in which a clone cannot be made is told apart, and leaves nothing.

use std::time::Duration;

use serde_json::json;
use wpclone_provision::{Health, ProvisionError, Provisioner as _};
use wpclone_provision_kube::{KubeOptions, WaitLimits};

use super::image::clone_image;
use super::lab::{Lab, PATIENCE, run_until_ready, until};

/// Limits at which a test is not made to wait, and a loaded machine does not fail.
fn limits() -> WaitLimits {
    WaitLimits {
        pull_failure: Duration::from_secs(10),
        failure: Duration::from_secs(5),
        start: PATIENCE,
        ..WaitLimits::default()
    }
}

/// Creates a clone that cannot be made, and returns why.
async fn failure(lab: &Lab) -> ProvisionError {
    let error = lab.provisioner.create(&lab.spec()).await.unwrap_err();
    lab.assert_nothing_left().await;
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_pods_is_told_from_other_failures() {
    let lab = Lab::start(clone_image().await, limits()).await;
    lab.set_quota(json!({"pods": "0"})).await;
    let error = failure(&lab).await;
    assert!(matches!(&error, ProvisionError::QuotaReached(why) if why.contains("pods=0")), "{error}");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_clones_is_told_from_other_failures() {
    let lab = Lab::start(clone_image().await, limits()).await;
    let count = format!("count/wordpressclones.{}", lab.options.group);
    lab.set_quota(json!({count.as_str(): "0"})).await;
    let error = failure(&lab).await;
    assert!(matches!(&error, ProvisionError::QuotaReached(why) if why.contains(&count)), "{error}");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_does_not_exist_is_named() {
    let lab = Lab::start("localhost/no-such-image:1", limits()).await;
    let error = failure(&lab).await;
    assert!(
        matches!(&error, ProvisionError::ImageUnavailable { image, .. } if image == "localhost/no-such-image:1"),
        "{error}"
    );
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_the_cluster_does_not_have_is_named() {
    let lab = Lab::start(clone_image().await, limits()).await;
    let options = KubeOptions { runtime_class: "no-such-class".into(), ..lab.options.clone() };
    let (other, running) = run_until_ready(&options).await;
    let error = other.create(&lab.spec()).await.unwrap_err();
    assert!(
        matches!(&error, ProvisionError::InstanceFailed(why) if why.contains("no-such-class")),
        "{error}"
    );
    lab.assert_nothing_left().await;
    drop(running);
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_definition_refuses_new_clones_in_kros_words_and_a_mended_one_makes_them() {
    let lab = Lab::start(clone_image().await, limits()).await;
    lab.define(|definition| {
        definition["spec"]["schema"]["status"]["serviceName"] = json!("${nothing.metadata.name}")
    })
    .await;
    lab.until_health(|health| matches!(health, Health::Unavailable(why) if why.contains("nothing"))).await;
    let error = failure(&lab).await;
    assert!(matches!(&error, ProvisionError::DefinitionInactive(why) if why.contains("nothing")), "{error}");
    lab.define(|_| {}).await;
    lab.until_health(|health| *health == Health::Ready).await;
    let spec = lab.spec();
    lab.provisioner.create(&spec).await.unwrap();
    lab.delete_and_end(&spec.name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_is_told_and_what_was_made_is_deleted_when_it_works_again() {
    let lab =
        Lab::start(clone_image().await, WaitLimits { delete: Duration::from_secs(10), ..limits() }).await;
    lab.mariadb.run("ALTER USER 'wpclone'@'%' ACCOUNT LOCK").await;
    let error = lab.provisioner.create(&lab.spec()).await.unwrap_err();
    assert!(matches!(error, ProvisionError::DatabaseRefused(_)), "{error}");
    lab.mariadb.run("ALTER USER 'wpclone'@'%' ACCOUNT UNLOCK").await;
    until("a sweep goes on with it", async || {
        lab.provisioner.sweep(&|_| true).await.unwrap();
        lab.provisioner.list().await.unwrap().is_empty()
    })
    .await;
    lab.assert_nothing_left().await;
    lab.end().await;
}

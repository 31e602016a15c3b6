//! Calls that go on although another was first.

use std::fmt::Debug;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;
use kube::api::{DeleteParams, DynamicObject, PostParams};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, block_in_place};
use tokio_util::task::AbortOnDropHandle;
use wpclone_provision::{CloneName, ProvisionError, Provisioner as _, SourceFacts};
use wpclone_provision_kube::{DatabaseOptions, KubeOptions, KubeProvisioner, WaitLimits};

use super::image::clone_image;
use super::lab::{Lab, run_until_ready, until};

/// A provisioner whose changes of schemas wait, in the client that it runs, until they are let go.
struct Held {
    provisioner: Arc<KubeProvisioner>,
    _running: AbortOnDropHandle<()>,
    folder: tempfile::TempDir,
}

impl Held {
    async fn start(lab: &Lab) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let client = folder.path().join("mariadb");
        let at = folder.path().display();
        let script = format!(
            "#!/bin/bash\ninput=$(cat)\ncase $input in *'CREATE DATABASE'* | *'DROP DATABASE'*)\n\
             touch {at}/waits; until [ -e {at}/goes ]; do sleep 0.05; done ;;\nesac\n\
             exec mariadb \"$@\" <<<\"$input\"\n"
        );
        std::fs::write(&client, script).unwrap();
        std::fs::set_permissions(&client, std::fs::Permissions::from_mode(0o755)).unwrap();
        let database = DatabaseOptions { client, ..lab.options.database.clone() };
        let options = KubeOptions { database, ..lab.options.clone() };
        let (provisioner, running) = run_until_ready(&options).await;
        Self { provisioner, _running: running, folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn until_it_waits(&self) {
        until("it changes schemas", async || self.at("waits").exists()).await;
    }

    /// Lets a call go that comes too late, and returns why it fails. The clone still has the schema that was kept, and the
    /// table in it.
    async fn failure<T: Debug>(
        &self,
        call: JoinHandle<Result<T, ProvisionError>>,
        lab: &Lab,
        name: &CloneName,
        (schema, table): (&str, &str),
    ) -> ProvisionError {
        std::fs::write(self.at("goes"), "").unwrap();
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(lab.mariadb.schema_of(name).await, schema, "the late one's is gone");
        lab.mariadb.run(&format!("SELECT * FROM `{schema}`.{table}")).await;
        error
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_whose_instance_is_gone_leaves_nothing_and_takes_nothing_from_the_next_attempt() {
    let lab = Lab::start(clone_image().await, WaitLimits::default()).await;
    let (late, spec) = (Held::start(&lab).await, lab.spec());
    let (provisioner, of_task) = (Arc::clone(&late.provisioner), spec.clone());
    let creation = tokio::spawn(async move { provisioner.create(&of_task).await });
    late.until_it_waits().await;
    lab.provisioner.delete(&spec.name).await.unwrap();
    lab.provisioner.create(&spec).await.unwrap();
    let schema = lab.mariadb.schema_of(&spec.name).await;
    lab.mariadb.run(&format!("CREATE TABLE `{schema}`.kept (id INT)")).await;
    let error = late.failure(creation, &lab, &spec.name, (&schema, "kept")).await;
    assert!(matches!(error, ProvisionError::Gone(_)), "{error}");
    assert_eq!(lab.provisioner.list().await.unwrap().len(), 1);
    drop(late);
    lab.delete_and_end(&spec.name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_match_a_clone_to_its_source_the_late_one_does_not_touch_its_schema() {
    let lab = Lab::start(clone_image().await, WaitLimits::default()).await;
    let (late, spec) = (Held::start(&lab).await, lab.spec());
    lab.provisioner.create(&spec).await.unwrap();
    let facts = |prefix: &str| SourceFacts { table_prefix: Some(prefix.into()), ..SourceFacts::default() };
    let (provisioner, name, of_late) = (Arc::clone(&late.provisioner), spec.name.clone(), facts("late_"));
    let matching = tokio::spawn(async move { provisioner.match_source(&name, &of_late).await });
    late.until_it_waits().await;
    lab.provisioner.match_source(&spec.name, &facts("first_")).await.unwrap();
    let schema = lab.mariadb.schema_of(&spec.name).await;
    lab.mariadb.run(&format!("CREATE TABLE `{schema}`.first_kept (id INT)")).await;
    let error = late.failure(matching, &lab, &spec.name, (&schema, "first_kept")).await;
    assert!(matches!(error, ProvisionError::Superseded(_)), "{error}");
    assert_eq!(lab.provisioner.list().await.unwrap()[0].table_prefix, "first_");
    drop(late);
    lab.delete_and_end(&spec.name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_match_that_comes_too_late_leaves_the_schema_that_is_still_in_use() {
    let lab = Lab::start(clone_image().await, WaitLimits::default()).await;
    let (late, spec) = (Held::start(&lab).await, lab.spec());
    lab.provisioner.create(&spec).await.unwrap();
    let schema = lab.mariadb.schema_of(&spec.name).await;
    lab.mariadb.run(&format!("CREATE TABLE `{schema}`.wp_kept (id INT)")).await;
    let facts = SourceFacts { table_prefix: Some("late_".into()), ..SourceFacts::default() };
    let (provisioner, name) = (Arc::clone(&late.provisioner), spec.name.clone());
    let matching = tokio::spawn(async move { provisioner.match_source(&name, &facts).await });
    late.until_it_waits().await;
    // Another Secret with the same schema.
    lab.provisioner.ensure_access(&spec.name).await.unwrap();
    let error = late.failure(matching, &lab, &spec.name, (&schema, "wp_kept")).await;
    assert!(matches!(error, ProvisionError::Superseded(_)), "{error}");
    drop(late);
    lab.delete_and_end(&spec.name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_is_extended_while_a_sweep_runs_is_not_deleted() {
    let lab = Lab::start(clone_image().await, WaitLimits::default()).await;
    let spec = lab.spec();
    lab.provisioner.create(&spec).await.unwrap();
    lab.provisioner.publish(&spec.name, lab.now() + SignedDuration::from_mins(5)).await.unwrap();
    lab.advance(3600);
    // The sweep has listed the clone as expired when it asks for its task.
    let extend = || lab.provisioner.extend(&spec.name, lab.now() + SignedDuration::from_hours(1));
    let swept = lab
        .provisioner
        .sweep(&|_| {
            block_in_place(|| Handle::current().block_on(extend())).unwrap();
            false
        })
        .await
        .unwrap();
    assert!(swept.expired.is_empty() && swept.abandoned.is_empty(), "{swept:?}");
    assert_eq!(lab.provisioner.list().await.unwrap().len(), 1);
    lab.delete_and_end(&spec.name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_of_another_version_that_is_deleted_leaves_no_schema() {
    let lab = Lab::start(clone_image().await, WaitLimits::default()).await;
    let name = lab.spec().name;
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": format!("{}/v1alpha1", lab.options.group), "kind": "WordPressClone",
        "metadata": {"name": name, "finalizers": ["wpclone.dev/database"]},
        "spec": {
            "task": "no task", "source": "https://a.example", "url": "https://c.example/x", "username": "u",
            "creationDeadline": "2026-11-30T09:00:00Z", "php": "8.2", "image": clone_image().await, "secretName": "none",
        },
    }))
    .unwrap();
    let made = lab.instances().create(&PostParams::default(), &object).await.unwrap();
    let uid = made.metadata.uid.unwrap();
    let schema = format!("{name}-{}", uid.split('-').next().unwrap());
    lab.mariadb.run(&format!("CREATE DATABASE `{schema}`; CREATE USER `{schema}`")).await;
    lab.instances().delete(name.as_str(), &DeleteParams::default()).await.unwrap();
    until("the instance goes", async || {
        lab.provisioner.sweep(&|_| false).await.unwrap();
        lab.instances().get_opt(name.as_str()).await.unwrap().is_none()
    })
    .await;
    lab.assert_nothing_left().await;
    lab.end().await;
}

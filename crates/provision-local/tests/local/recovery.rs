//! What is found in the state folder at the start: nothing is deleted that cannot be read.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use wpclone_provision::{
    CloneInfo, CloneName, CloneSpec, Health, Isolation, Phase, ProvisionError, Provisioner as _, Routing,
};

use crate::support::{Lab, folder, http, name, processes_in, spec, until};

fn clone_folder(root: &Path, name: &CloneName) -> PathBuf {
    root.join("state/clones").join(name.as_str())
}

fn stored(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON")
}

fn store(file: &Path, content: &Value) {
    fs::write(file, serde_json::to_vec(content).expect("JSON")).expect("a file");
}

/// Writes the record of another clone that is in this phase.
pub(crate) fn write_record(root: &Path, like: &CloneInfo, name: &CloneName, phase: Phase) {
    let mut record = stored(&clone_folder(root, &like.name).join("clone.json"));
    record["info"]["name"] = json!(name);
    record["info"]["phase"] = json!(phase);
    record["slot"] = json!(9);
    let folder = clone_folder(root, name);
    fs::create_dir_all(&folder).expect("a folder");
    store(&folder.join("clone.json"), &record);
}

async fn restart(dir: tempfile::TempDir, max_clones: usize) -> Lab {
    let lab = Lab::begun(dir, Routing::Path, |options| options.max_clones = max_clones);
    until("clones that can be created", async || lab.local.health() == Health::Ready).await;
    lab
}

pub(crate) async fn clones_that_cannot_be_read_are_kept_and_reported_and_taken_up_again() {
    const KINDS: [&str; 5] = ["json", "version", "field", "io", "secrets"];
    let lab = Lab::with(Routing::Path, |options| options.max_clones = 6).await;
    let mut clones = Vec::new();
    for kind in KINDS {
        let isolation = if kind == "secrets" { Isolation::Dedicated } else { Isolation::Shared };
        let clone = lab.local.create(&CloneSpec { isolation, ..spec(kind) }).await.expect("a clone");
        lab.eval(&clone, true, "update_option('kept', 'yes');").await;
        lab.put(&clone.name, "kept.txt", "kept");
        clones.push(clone);
    }
    let users: Vec<u32> =
        clones.iter().map(|c| fs::metadata(lab.tree(&c.name)).expect("a tree").uid()).collect();
    let dir = lab.end().await;
    let mut saved = Vec::new();
    for (clone, kind) in clones.iter().zip(KINDS) {
        let file = if kind == "secrets" { "secrets.json" } else { "clone.json" };
        let file = clone_folder(dir.path(), &clone.name).join(file);
        let mut content = stored(&file);
        saved.push((file.clone(), content.clone()));
        match kind {
            "json" => fs::write(&file, "{\"version\":2,").expect("a file"),
            "version" => {
                content["version"] = json!(99);
                store(&file, &content);
            }
            "field" => {
                content["info"]["colour"] = json!("blue");
                store(&file, &content);
            }
            // As good as a disk that fails: reading a folder is an I/O error, even for root.
            "io" => {
                fs::remove_file(&file).expect("removed");
                fs::create_dir(&file).expect("a folder");
            }
            _ => fs::remove_file(&file).expect("removed"),
        }
    }

    let lab = restart(dir, 6).await;
    assert_eq!(lab.local.list().await.expect("clones"), []);
    let set_aside = lab.local.set_aside().await;
    let mut expected: Vec<&CloneName> = clones.iter().map(|clone| &clone.name).collect();
    expected.sort();
    assert_eq!(set_aside.clones.iter().map(|clone| &clone.name).collect::<Vec<_>>(), expected);
    assert!(set_aside.unclaimed.is_empty(), "{:?}", set_aside.unclaimed);
    let reason = |kind: &str| {
        let clone = set_aside.clones.iter().find(|clone| clone.name == name(kind));
        clone.expect("it is reported").reason.clone()
    };
    assert!(reason("version").contains("version 99"), "{}", reason("version"));
    assert!(reason("secrets").contains("secrets.json"), "{}", reason("secrets"));
    let of_record = set_aside.clones.iter().filter_map(|clone| clone.info.as_deref());
    assert_eq!(of_record.collect::<Vec<_>>(), [clones.last().expect("a clone")], "its record can be read");
    for (clone, kind) in clones.iter().zip(KINDS) {
        let refused = [
            lab.local.delete(&clone.name).await.expect_err("it is kept"),
            lab.local.create(&spec(kind)).await.expect_err("the name is in use"),
            lab.local.access(&clone.name).await.expect_err("it cannot be read"),
        ];
        for error in refused {
            assert!(matches!(&error, ProvisionError::Unreadable { .. }), "{error}");
        }
        let page = http().get(format!("{}/", clone.url)).send().await.expect("a response");
        assert_eq!(page.status(), 503, "{}", clone.name);
        let running = processes_in(&clone_folder(lab.dir.path(), &clone.name));
        assert_eq!(running, Vec::<String>::new(), "it is not run");
    }
    // It neither expires nor is its place or its user given to another clone.
    lab.ahead.store(30 * 86_400, Ordering::SeqCst);
    lab.local.sweep(&|_| false).await.expect("a sweep");
    lab.ahead.store(0, Ordering::SeqCst);
    let (new, _) = lab.clone("new").await;
    let user = fs::metadata(lab.tree(&new.name)).expect("a tree").uid();
    assert!(!rustix::process::geteuid().is_root() || !users.contains(&user), "{user} is among {users:?}");
    let full = lab.local.create(&spec("one too many")).await.expect_err("no place");
    assert!(matches!(full, ProvisionError::LimitReached { .. }), "{full}");
    lab.local.delete(&new.name).await.expect("deleted");
    for clone in &clones {
        assert_eq!(fs::read(lab.tree(&clone.name).join("kept.txt")).expect("kept"), b"kept");
    }

    for (file, content) in &saved {
        if file.is_dir() {
            fs::remove_dir(file).expect("removed");
        }
        store(file, content);
    }
    until("all clones to be taken up", async || lab.local.set_aside().await.is_empty()).await;
    for clone in &clones {
        let url = format!("{}/", clone.url);
        until("the clone to be up", async || {
            http().get(&url).send().await.is_ok_and(|response| response.status() == 200)
        })
        .await;
        assert_eq!(lab.eval(clone, true, "echo get_option('kept');").await, "yes");
        assert_eq!(lab.get(&clone.name).await.as_ref(), Some(clone));
    }
    lab.end().await;
}

/// A schema of the shared server, as its data folder has it: MariaDB encodes `-` in names of folders.
fn schema_folder(root: &Path, name: &CloneName) -> PathBuf {
    root.join("state/mariadb/shared/data").join(name.as_str().replace('-', "@002d"))
}

fn create_schema(root: &Path, name: &CloneName) {
    let (data, folder) = (root.join("state/mariadb/shared/data"), schema_folder(root, name));
    let owner = fs::metadata(data).expect("data");
    fs::create_dir(&folder).expect("a folder");
    std::os::unix::fs::chown(folder, Some(owner.uid()), Some(owner.gid())).expect("chown");
}

pub(crate) async fn only_what_was_being_created_or_deleted_is_removed() {
    let lab = Lab::start().await;
    let (clone, _) = lab.clone("one").await;
    let dir = lab.end().await;
    let root = dir.path().to_owned();
    let folder = |task: &str| clone_folder(&root, &name(task));
    let data = |task: &str| root.join("state/mariadb").join(name(task).as_str());
    let tombstone = |task: &str| {
        fs::write(root.join("state/deleted").join(name(task).as_str()), "").expect("a tombstone");
    };
    // Interrupted creations: with some content, just begun, and while the record was being written.
    write_record(&root, &clone, &name("unfinished"), Phase::Creating);
    fs::create_dir(folder("unfinished").join("www")).expect("a folder");
    create_schema(&root, &name("unfinished"));
    fs::create_dir_all(data("unfinished").join("data")).expect("a folder");
    fs::create_dir(folder("empty")).expect("a folder");
    fs::create_dir(folder("begun")).expect("a folder");
    fs::write(folder("begun").join("clone.new"), "{").expect("a file");
    // Interrupted deletions: one that the record tells of, and one whose record is gone or broken.
    write_record(&root, &clone, &name("deleting"), Phase::Deleting);
    create_schema(&root, &name("deleting"));
    for (task, record) in [("deleted", None), ("deleted-broken", Some("{"))] {
        fs::create_dir_all(folder(task).join("www")).expect("a folder");
        record.into_iter().for_each(|text| fs::write(folder(task).join("clone.json"), text).expect("a file"));
        tombstone(task);
    }
    create_schema(&root, &name("deleted-schema"));
    fs::create_dir_all(data("deleted-data")).expect("a folder");
    tombstone("deleted-schema");
    tombstone("deleted-data");
    // What nobody can tell the origin of.
    fs::create_dir_all(folder("no-record").join("www")).expect("a folder");
    create_schema(&root, &name("schema"));
    fs::create_dir_all(data("data").join("data")).expect("a folder");

    let lab = restart(dir, 4).await;
    // The deletion goes on beside other work, and its folder is gone before it ends.
    until("the deletion to end", async || lab.local.list().await.expect("clones").len() == 1).await;
    for removed in ["unfinished", "empty", "begun", "deleting", "deleted", "deleted-broken"] {
        assert!(!folder(removed).exists(), "{removed}");
    }
    for removed in [data("unfinished"), data("deleted-data")] {
        assert!(!removed.exists(), "{}", removed.display());
    }
    for removed in ["unfinished", "deleting", "deleted-schema"] {
        assert!(!schema_folder(&root, &name(removed)).exists(), "the schema of {removed}");
    }
    assert!(folder("no-record").join("www").is_dir() && data("data").join("data").is_dir());
    assert!(schema_folder(&root, &name("schema")).is_dir());
    let set_aside = lab.local.set_aside().await;
    assert_eq!(set_aside.clones.iter().map(|c| &c.name).collect::<Vec<_>>(), [&name("no-record")]);
    assert_eq!(set_aside.unclaimed.len(), 2, "{:?}", set_aside.unclaimed);
    for kept in ["schema", "data"] {
        assert!(set_aside.unclaimed.iter().any(|what| what.contains(name(kept).as_str())), "{kept}");
        // A clone of that name would overwrite it.
        let refused = lab.local.create(&spec(kept)).await.expect_err("its data is kept");
        assert!(matches!(refused, ProvisionError::Unreadable { .. }), "{refused}");
    }
    lab.end().await;
}

pub(crate) async fn a_state_folder_of_another_layout_is_refused_and_left_untouched() {
    let dir = folder();
    let state = dir.path().join("state");
    fs::create_dir(&state).expect("a folder");
    fs::write(state.join("layout"), "2\n").expect("a file");
    let lab = Lab::begun(dir, Routing::Path, |_| {});
    until(
        "the layout to be reported",
        async || matches!(lab.local.health(), Health::Unavailable(why) if why.contains("layout `2`")),
    )
    .await;
    let files: Vec<_> = fs::read_dir(&state).expect("a folder").flatten().map(|e| e.file_name()).collect();
    assert_eq!(files, ["layout"]);
    lab.end().await;
}

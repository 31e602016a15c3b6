//! What does not work of one clone stops no other, and is shown.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use wpclone_provision::{
    CloneInfo, CloneName, CloneProblem, CloneProblemKind, CloneSpec, Health, Isolation, Phase,
    ProvisionError, Provisioner as _, Routing,
};

use crate::life::kill;
use crate::support::{Lab, http, processes_in, spec, until};

fn clone_folder(lab: &Lab, name: &CloneName) -> PathBuf {
    lab.dir.path().join("state/clones").join(name.as_str())
}

async fn status(clone: &CloneInfo) -> Option<u16> {
    let answer = http().get(format!("{}/", clone.url)).send().await;
    answer.ok().map(|answer| answer.status().as_u16())
}

async fn problem(lab: &Lab, name: &CloneName) -> Option<CloneProblem> {
    lab.get(name).await.expect("it is listed").problem
}

/// Restarts the provisioner and waits until it is ready.
async fn restart(dir: tempfile::TempDir) -> Lab {
    let lab = Lab::begun(dir, Routing::Path, |options| options.max_clones = 6);
    until("clones that can be created", async || lab.local.health() == Health::Ready).await;
    lab
}

/// Makes a pipe where php-fpm opens a file for writing: it waits for a reader, for ever. A clone's PHP can do that.
fn plant_pipe(folder: &Path) -> PathBuf {
    let (pipe, owner) = (folder.join("log/fpm.log"), fs::metadata(folder.join("log")).expect("a folder"));
    let _ = fs::remove_file(&pipe);
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
    std::os::unix::fs::chown(&pipe, Some(owner.uid()), Some(owner.gid())).expect("chown");
    pipe
}

pub(crate) async fn clones_that_never_start_delay_neither_readiness_nor_other_clones() {
    let lab = Lab::with(Routing::Path, |options| options.max_clones = 6).await;
    let mut clones = Vec::new();
    // More than are started at once.
    for task in ["bad-1", "bad-2", "bad-3", "bad-4", "good"] {
        clones.push(lab.clone(task).await.0);
    }
    let dir = lab.end().await;
    let root = dir.path().join("state/clones");
    let (good, bad) = clones.split_last().expect("clones");
    let pipes: Vec<PathBuf> = bad.iter().map(|clone| plant_pipe(&root.join(clone.name.as_str()))).collect();

    let lab = restart(dir).await;
    // Their first start, which takes half a minute, has not ended yet.
    for clone in bad {
        assert_eq!(problem(&lab, &clone.name).await, None, "readiness waited for {}", clone.name);
    }
    until("the other clone to respond", async || status(good).await == Some(200)).await;
    let (new, _) = lab.clone("new").await;
    assert_eq!(status(&new).await, Some(200));
    until("the first of them to be started at all", async || {
        bad.iter().any(|clone| !processes_in(&clone_folder(&lab, &clone.name)).is_empty())
    })
    .await;
    for clone in bad {
        until("the clone to be shown as not starting", async || {
            problem(&lab, &clone.name).await.is_some_and(|it| it.kind == CloneProblemKind::NotStarting)
        })
        .await;
        assert_eq!(status(clone).await, Some(503));
    }
    assert_eq!(status(good).await, Some(200));
    // A start that waits for a reader now goes on, and the next ones find no pipe.
    let _readers: Vec<fs::File> = pipes
        .into_iter()
        .map(|pipe| {
            let reader = fs::File::options().read(true).write(true).open(&pipe).expect("a reader");
            fs::remove_file(pipe).expect("removed");
            reader
        })
        .collect();
    for clone in bad {
        until("the clone to run again", async || {
            status(clone).await == Some(200) && problem(&lab, &clone.name).await.is_none()
        })
        .await;
    }
    lab.end().await;
}

pub(crate) async fn programs_that_are_being_started_end_with_their_provisioner() {
    let lab = Lab::start().await;
    let (clone, _) = lab.clone("bad").await;
    let dir = lab.end().await;
    plant_pipe(&dir.path().join("state/clones").join(clone.name.as_str()));
    let lab = restart(dir).await;
    until("the clone to be started", async || !processes_in(&clone_folder(&lab, &clone.name)).is_empty())
        .await;
    // Nothing else takes time at the end; the server may be in the middle of its start as well.
    assert!(kill(&lab, "mariadbd") > 0, "it runs");
    lab.end().await;
}

pub(crate) async fn a_clone_that_fails_to_start_is_tried_with_growing_pauses() {
    let lab = Lab::start().await;
    let (bad, _) = lab.clone("bad").await;
    let dir = lab.end().await;
    let folder = dir.path().join("state/clones").join(bad.name.as_str());
    // php-fpm cannot create its socket.
    let (run, kept) = (folder.join("run"), folder.join("run-kept"));
    fs::rename(&run, &kept).expect("renamed");
    fs::write(&run, "").expect("a file");
    let written =
        || fs::metadata(folder.join("fpm.conf")).expect("its configuration").modified().expect("a time");
    let before = written();
    let lab = restart(dir).await;
    // The configuration is written anew for each start.
    let mut starts = vec![before];
    while starts.len() < 6 {
        until("the next start", async || written() != starts[starts.len() - 1]).await;
        starts.push(written());
    }
    let pause = |n: usize| starts[n + 1].duration_since(starts[n]).expect("later").as_secs_f64();
    for (n, least) in [(1, 0.9), (2, 1.9), (3, 3.9), (4, 7.9)] {
        assert!(pause(n) >= least, "after {n} failures the next attempt came after {} s", pause(n));
    }
    let shown = problem(&lab, &bad.name).await.expect("a problem");
    assert_eq!(shown.kind, CloneProblemKind::NotStarting);
    assert!(shown.detail.contains("php-fpm"), "{}", shown.detail);
    // It can be deleted all the same.
    fs::remove_file(&run).expect("removed");
    fs::rename(&kept, &run).expect("renamed");
    lab.local.delete(&bad.name).await.expect("deleted");
    lab.end().await;
}

/// The folder of a clone's schema: MariaDB encodes `-` in names of folders.
fn schema_folder(lab: &Lab, name: &CloneName) -> PathBuf {
    lab.dir.path().join("state/mariadb/shared/data").join(name.as_str().replace('-', "@002d"))
}

pub(crate) async fn a_clone_that_cannot_be_removed_is_shown_tried_again_and_stops_nobody() {
    let lab = Lab::start().await;
    let (bad, _) = lab.clone("bad").await;
    // MariaDB does not drop a schema whose folder holds a file of somebody else.
    let obstacle = schema_folder(&lab, &bad.name).join("obstacle");
    fs::write(&obstacle, "").expect("a file");
    lab.local.delete(&bad.name).await.expect_err("it cannot be removed");
    let shown = lab.get(&bad.name).await.expect("it is listed");
    assert_eq!(shown.phase, Phase::Deleting);
    let shown = shown.problem.expect("a problem");
    assert_eq!(shown.kind, CloneProblemKind::NotRemovable);
    assert_eq!(status(&bad).await, Some(410), "for its visitors it is gone");
    // Neither this process nor the next one stops because of it.
    lab.clone("two").await;
    let dir = lab.end().await;
    let lab = restart(dir).await;
    until("the removal to be tried again", async || {
        problem(&lab, &bad.name).await.is_some_and(|it| it.kind == CloneProblemKind::NotRemovable)
    })
    .await;
    lab.clone("three").await;
    fs::remove_file(&obstacle).expect("removed");
    until("the clone to be gone", async || lab.get(&bad.name).await.is_none()).await;
    assert!(!clone_folder(&lab, &bad.name).exists() && !schema_folder(&lab, &bad.name).exists());
    lab.end().await;
}

pub(crate) async fn clones_are_restarted_while_the_shared_database_is_down() {
    let lab = Lab::start().await;
    let dedicated = CloneSpec { isolation: Isolation::Dedicated, ..spec("dedicated") };
    let dedicated = lab.local.create(&dedicated).await.expect("a clone");
    let shared = lab.dir.path().join("state/mariadb/shared");
    let (data, kept) = (shared.join("data"), shared.join("kept"));
    fs::rename(&data, &kept).expect("renamed");
    fs::write(&data, "").expect("a file");
    assert!(kill(&lab, "mariadbd") > 0, "it runs");
    let is_down =
        |health: Health| matches!(health, Health::Unavailable(why) if why.contains("database server"));
    until("the loss of the database to be said", async || is_down(lab.local.health())).await;
    until("the clone with its own database to be back", async || status(&dedicated).await == Some(200)).await;
    assert!(kill(&lab, "php-fpm") > 0, "it runs");
    until("the clone to be restarted", async || status(&dedicated).await == Some(200)).await;
    assert!(is_down(lab.local.health()));
    fs::remove_file(&data).expect("removed");
    fs::rename(&kept, &data).expect("renamed");
    until("clones that can be created", async || lab.local.health() == Health::Ready).await;
    lab.clone("one").await;
    lab.end().await;
}

fn slot(lab: &Lab, name: &CloneName) -> u32 {
    let record = fs::read(clone_folder(lab, name).join("clone.json")).expect("a record");
    let record: serde_json::Value = serde_json::from_slice(&record).expect("JSON");
    u32::try_from(record["slot"].as_u64().expect("a slot")).expect("a small number")
}

pub(crate) async fn a_system_user_is_not_given_to_the_next_clones() {
    let mut lab = Lab::start().await;
    let mut used = Vec::new();
    // The first one is any of them.
    fs::write(lab.dir.path().join("state/last-slot"), "700").expect("a file");
    for task in ["one", "two", "three"] {
        let (clone, _) = lab.clone(task).await;
        used.push(slot(&lab, &clone.name));
        lab.local.delete(&clone.name).await.expect("deleted");
        lab = restart(lab.end().await).await;
    }
    // Those that other clones of this machine run as are left out.
    assert!(used.is_sorted_by(|one, next| one < next), "in turn: {used:?}");
    // After the last one they begin anew, and a user is left out while a clone has it, or a process of it lives.
    let file = lab.dir.path().join("state/last-slot");
    let (kept, _) = lab.clone("kept").await;
    let taken = slot(&lab, &kept.name);
    fs::write(&file, (taken - 1).to_string()).expect("a file");
    let survivor = rustix::process::geteuid().is_root().then(|| {
        let uid = fs::metadata(lab.tree(&kept.name)).expect("a tree").uid() + 1;
        let sleep = Command::new("sleep").arg("600").uid(uid).gid(uid).stdin(Stdio::null()).spawn();
        sleep.expect("a process")
    });
    let (next, _) = lab.clone("next").await;
    let first = taken + 1 + u32::from(survivor.is_some());
    assert!(slot(&lab, &next.name) >= first, "{} is not {first} or later", slot(&lab, &next.name));
    if let Some(mut process) = survivor {
        process.kill().expect("SIGKILL");
        process.wait().expect("reaped");
    }
    fs::write(&file, "1999").expect("a file");
    let (after, _) = lab.clone("after the last").await;
    assert!(slot(&lab, &after.name) < 1999, "they begin anew");
    // What cannot be read is not taken for the beginning.
    fs::write(&file, "x").expect("a file");
    let refused = lab.local.create(&spec("refused")).await.expect_err("it may be anybody's");
    assert!(refused.to_string().contains("last-slot"), "{refused}");
    assert!(matches!(refused, ProvisionError::Internal { .. }), "{refused}");
    lab.end().await;
}

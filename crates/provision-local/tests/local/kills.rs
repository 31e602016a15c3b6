//! Owners that are killed while they create or delete a clone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wpclone_provision::{CloneName, Health, Provisioner as _, Routing};

use crate::owner::{Begin, owner};
use crate::support::{
    LIMIT, Lab, free_address, name, prepared, processes_in, spec, tries_everything, until, wordpress,
};

/// What can be seen of a clone in the state folder.
struct Traces {
    state: PathBuf,
    name: CloneName,
}

impl Traces {
    fn folder(&self) -> PathBuf {
        self.state.join("clones").join(self.name.as_str())
    }

    fn www(&self) -> PathBuf {
        self.folder().join("www")
    }

    fn data(&self) -> PathBuf {
        self.state.join("mariadb").join(self.name.as_str())
    }

    /// The folder of its schema: MariaDB encodes `-` in names of folders.
    fn schema(&self) -> PathBuf {
        self.state.join("mariadb/shared/data").join(self.name.as_str().replace('-', "@002d"))
    }

    fn tombstone(&self) -> PathBuf {
        self.state.join("deleted").join(self.name.as_str())
    }

    /// Whether its record says that it is complete.
    fn is_complete(&self) -> bool {
        let record = fs::read(self.folder().join("clone.json")).unwrap_or_default();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
        record["info"]["phase"] == "ready"
    }

    fn assert_none(&self, moment: &str) {
        for path in [self.folder(), self.data(), self.schema()] {
            assert!(!path.exists(), "killed at {moment}: {} is left", path.display());
        }
        let left = processes_in(&self.folder());
        assert_eq!(left, Vec::<String>::new(), "killed at {moment}");
    }
}

/// Starts an owner that works on this task, and kills it as soon as `reached` is true.
async fn kill_at(dir: &Path, task: &str, moment: &str, reached: impl Fn(&Traces) -> bool) -> Traces {
    let traces = Traces { state: dir.join("state"), name: name(task) };
    let mut owner = owner(&traces.state, free_address(), &wordpress(), Begin::default(), &[task]);
    let begun = Instant::now();
    while !reached(&traces) {
        assert!(begun.elapsed() < LIMIT, "timed out waiting for {moment}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    owner.kill().expect("SIGKILL");
    owner.wait().expect("reaped");
    traces
}

pub(crate) async fn a_kill_at_any_moment_of_a_creation_leaves_nothing_and_the_next_attempt_succeeds() {
    type Reached = fn(&Traces) -> bool;
    let mut moments: Vec<(&str, &str, Reached)> = vec![
        ("record", "its record", |it| it.folder().join("clone.json").exists()),
        ("schema", "its schema", |it| it.schema().is_dir()),
        ("socket", "its socket", |it| it.folder().join("run/php.sock").exists()),
        ("dedicated-data", "its data", |it| it.data().join("data").is_dir()),
    ];
    if tries_everything() {
        moments.extend::<[(&str, &str, Reached); 5]>([
            ("files", "its files", |it| it.www().join(it.name.as_str()).join("wp-load.php").exists()),
            ("folder", "its folder", |it| it.folder().is_dir()),
            ("secrets", "its secrets", |it| it.folder().join("secrets.json").exists()),
            ("config", "its configuration", |it| it.www().join("wp-config.php").exists()),
            ("dedicated-config", "its configuration", |it| it.www().join("wp-config.php").exists()),
        ]);
    }
    let (mut dir, mut interrupted, all) = (prepared().await, 0, moments.len());
    for (task, moment, reached) in moments {
        let traces = kill_at(dir.path(), task, moment, reached).await;
        let is_complete = traces.is_complete();
        interrupted += usize::from(!is_complete);
        let lab = Lab::begun(dir, Routing::Path, |_| {});
        until("clones that can be created", async || lab.local.health() == Health::Ready).await;
        until("what it left to be removed", async || is_complete || lab.get(&traces.name).await.is_none())
            .await;
        if !is_complete {
            traces.assert_none(moment);
        }
        // The step is repeated, and ends as if nothing had happened.
        let again = lab.local.create(&spec(task)).await.expect("a clone");
        assert_eq!(again.name, traces.name);
        lab.local.delete(&again.name).await.expect("deleted");
        traces.assert_none("its deletion");
        dir = lab.end().await;
    }
    assert!(interrupted > all / 2, "only {interrupted} of {all} creations were interrupted");
}

pub(crate) async fn a_kill_at_any_moment_of_a_deletion_leaves_nothing() {
    type Reached = fn(&Traces) -> bool;
    let mut moments: Vec<(&str, &str, Reached)> = vec![
        ("deleted-tombstone", "its tombstone", |it| it.tombstone().exists()),
        ("deleted-schema", "its schema", |it| it.tombstone().exists() && !it.schema().exists()),
    ];
    if tries_everything() {
        moments.extend::<[(&str, &str, Reached); 2]>([
            ("deleted-files", "its files", |it| it.tombstone().exists() && !it.www().exists()),
            ("deleted-socket", "its socket", |it| {
                it.tombstone().exists() && !it.folder().join("run").exists()
            }),
        ]);
    }
    let mut dir = prepared().await;
    for (task, moment, reached) in moments {
        let traces = kill_at(dir.path(), task, moment, reached).await;
        let lab = Lab::begun(dir, Routing::Path, |_| {});
        until("clones that can be created", async || lab.local.health() == Health::Ready).await;
        until("the deletion to be completed", async || lab.get(&traces.name).await.is_none()).await;
        until("the rest to be gone", async || !traces.folder().exists()).await;
        traces.assert_none(moment);
        assert!(traces.tombstone().exists(), "it is known that it was deleted");
        lab.local.create(&spec(task)).await.expect_err("it is gone");
        dir = lab.end().await;
    }
}

//! How clones are created and deleted.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use rustix::process::{Pid, Signal, kill_process};
use wpclone_provision::{CloneSpec, Health, Isolation, Phase, ProvisionError, Provisioner as _, Routing};

use crate::support::{Lab, folder, http, id, name, processes_in, spec, until};

pub(crate) async fn repeated_calls_have_one_effect() {
    let lab = Lab::with(Routing::Path, |options| options.max_clones = 2).await;
    let (first, second) = (spec("one"), spec("one"));
    let (a, b) = tokio::join!(lab.local.create(&first), lab.local.create(&second));
    let (a, b) = (a.expect("a clone"), b.expect("the same"));
    assert_eq!(a, b);
    let mut other = spec("one");
    other.task = id("another");
    assert!(matches!(lab.local.create(&other).await, Err(ProvisionError::NameTaken(_))));
    lab.clone("two").await;
    let full = lab.local.create(&spec("three")).await.expect_err("no place");
    assert!(matches!(full, ProvisionError::LimitReached { limit: 2 }), "{full}");
    assert_eq!(lab.local.create(&spec("one")).await.expect("the same"), a);
    lab.local.delete(&name("two")).await.expect("deleted");
    assert_eq!(lab.local.list().await.expect("clones").len(), 1);

    let at =
        |hours| Timestamp::from_second(4_000_000_000).expect("a time") + SignedDuration::from_hours(hours);
    assert!(lab.local.extend(&a.name, at(1)).await.is_err(), "not published yet");
    for hours in [1, 2] {
        let published = lab.local.publish(&a.name, at(hours)).await.expect("published");
        assert_eq!((published.phase, published.expires_at), (Phase::Published, Some(at(1))));
    }
    assert_eq!(lab.local.extend(&a.name, at(3)).await.expect("extended").expires_at, Some(at(3)));
    for _ in 0..2 {
        lab.local.delete(&a.name).await.expect("deleted");
    }
    // Neither a late step nor a replay creates it again.
    for error in [
        lab.local.create(&first).await.expect_err("gone"),
        lab.local.publish(&a.name, at(1)).await.expect_err("gone"),
        lab.local.access(&a.name).await.expect_err("gone"),
    ] {
        assert!(matches!(error, ProvisionError::Gone(_)), "{error}");
    }
    let never = lab.local.access(&name("never")).await.expect_err("none");
    assert!(matches!(never, ProvisionError::NotFound(_)), "{never}");
    lab.end().await;
}

pub(crate) async fn one_of_several_owners_leaves_a_place_for_a_clone_to_the_others() {
    let lab = Lab::with(Routing::Path, |options| options.max_clones = 2).await;
    let of =
        |owner: &str, task: &str| CloneSpec { owner: owner.into(), has_other_owners: true, ..spec(task) };
    let first = lab.local.create(&of("mallory", "one")).await.expect("a clone");
    let second = lab.local.create(&of("mallory", "two")).await.expect_err("no place for this owner");
    let expected = "of the 2 places for clones one of several owners may have 1, and this one has 1";
    assert_eq!(second.to_string(), expected);
    assert_eq!(lab.local.create(&of("mallory", "one")).await.expect("the same").name, first.name);
    lab.local.create(&of("alice", "three")).await.expect("a clone");
    let full = lab.local.create(&of("bob", "four")).await.expect_err("no place");
    assert!(matches!(full, ProvisionError::LimitReached { limit: 2 }), "{full}");
    // One that is deleted counts no more.
    lab.local.delete(&first.name).await.expect("deleted");
    lab.local.create(&of("mallory", "five")).await.expect("a clone");
    lab.end().await;
}

pub(crate) async fn a_sweep_deletes_expired_and_abandoned_clones() {
    let lab = Lab::start().await;
    let now = Timestamp::now();
    let (published, _) = lab.clone("published").await;
    let (left, _) = lab.clone("left").await;
    let (busy, _) = lab.clone("busy").await;
    lab.local.publish(&published.name, now + SignedDuration::from_hours(2)).await.expect("published");
    let none = |_: &wpclone_provision::CloneInfo| false;
    assert_eq!(lab.local.sweep(&none).await.expect("a sweep"), Default::default());
    // After an hour the deadline of unpublished clones has passed.
    lab.ahead.store(3_600, Ordering::SeqCst);
    let swept = lab.local.sweep(&|clone| clone.name == name("busy")).await.expect("a sweep");
    assert_eq!((swept.abandoned, swept.expired), (vec![left.name.clone()], vec![]));
    let pushed = lab.get(&busy.name).await.expect("still there").deadline;
    assert!(pushed > now + SignedDuration::from_mins(80), "{pushed}");
    // After two the published one has expired, but stays while a task works with it.
    lab.ahead.store(7_300, Ordering::SeqCst);
    let kept = lab.local.sweep(&|_| true).await.expect("a sweep");
    assert_eq!(kept, Default::default());
    let swept = lab.local.sweep(&none).await.expect("a sweep");
    assert_eq!((swept.abandoned, swept.expired), (vec![], vec![published.name.clone()]));
    let gone = http().get(format!("{}/", published.url)).send().await.expect("a response");
    assert_eq!(gone.status(), 410);
    assert!(lab.local.publish(&published.name, now).await.is_err());
    // A day later it is forgotten.
    lab.ahead.store(7_300 + 25 * 3_600, Ordering::SeqCst);
    let gone = http().get(format!("{}/", published.url)).send().await.expect("a response");
    assert_eq!(gone.status(), 404);
    lab.end().await;
}

pub(crate) async fn nothing_is_left_of_a_deleted_clone() {
    let lab = Lab::start().await;
    let (clone, _) = lab.clone("one").await;
    let dedicated = CloneSpec { isolation: Isolation::Dedicated, ..spec("two") };
    let dedicated = lab.local.create(&dedicated).await.expect("a clone");
    let state = lab.dir.path().join("state");
    let database = lab.eval(&clone, true, "echo json_encode([DB_USER, DB_PASSWORD]);").await;
    // What a clone's PHP may leave: unreadable folders, links, pipes.
    lab.eval(&clone, false, "mkdir('a'); mkdir('a/b', 0); symlink('/', 'a/root'); if (function_exists('posix_mkfifo')) posix_mkfifo('a/pipe', 0600); chmod('a', 0555);").await;
    for name in [&clone.name, &dedicated.name] {
        lab.local.delete(name).await.expect("deleted");
        assert!(!state.join("clones").join(name.as_str()).exists());
        assert!(!state.join("mariadb").join(name.as_str()).exists());
        let left = processes_in(&state).into_iter().filter(|line| line.contains(name.as_str()));
        assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
    }
    let data = fs::read_dir(state.join("mariadb/shared/data")).expect("data").flatten();
    let schemas: Vec<_> =
        data.map(|e| e.file_name()).filter(|n| n.to_string_lossy().starts_with("clone")).collect();
    assert!(schemas.is_empty(), "{schemas:?}");
    let (next, _) = lab.clone("three").await;
    assert_eq!(http().get(format!("{}/", next.url)).send().await.expect("a response").status(), 200);
    // Its database user is dropped.
    let enters = format!(
        "error_reporting(0); mysqli_report(MYSQLI_REPORT_OFF); [$user, $password] = json_decode('{database}'); \
         foreach ([[$user, $password], [DB_USER, DB_PASSWORD]] as [$user, $password]) \
         echo mysqli_connect('localhost', $user, $password, '', 0, substr(DB_HOST, strlen('localhost:'))) ? 'in ' : 'out ';"
    );
    assert_eq!(lab.eval(&next, true, &enters).await, "out in ");
    lab.end().await;
}

pub(crate) async fn missing_programs_and_folders_are_reported() {
    let lab = Lab::begun(folder(), Routing::Path, |options| options.wordpress_dir = "/nonexistent".into());
    until(
        "the missing WordPress to be said",
        async || matches!(lab.local.health(), Health::Unavailable(why) if why.contains("/nonexistent")),
    )
    .await;
    let refused = lab.local.create(&spec("one")).await.expect_err("no WordPress");
    assert!(matches!(refused, ProvisionError::Unavailable(_)), "{refused}");
    assert!(refused.to_string().contains("/nonexistent"));
    lab.end().await;
    let long = "x".repeat(80);
    let lab = Lab::begun(folder(), Routing::Path, |options| options.state_dir = options.state_dir.join(long));
    until(
        "the long path to be said",
        async || matches!(lab.local.health(), Health::Unavailable(why) if why.contains("too long")),
    )
    .await;
    lab.end().await;
}

/// Kills programs of a lab; returns how many.
pub(crate) fn kill(lab: &Lab, which: &str) -> usize {
    // Supervisors have the command line of this program; what they supervise has its own.
    let pids = fs::read_dir("/proc").expect("proc").flatten().filter_map(|e| {
        let line = fs::read_to_string(e.path().join("cmdline")).unwrap_or_default();
        let of_it = fs::read_dir(e.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.starts_with(lab.dir.path())));
        (line.contains(which) && of_it).then(|| e.file_name().to_str()?.parse().ok()).flatten()
    });
    let pids: Vec<i32> = pids.collect();
    for pid in pids.iter().copied().filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
    pids.len()
}

pub(crate) async fn a_killed_database_installation_is_repeated() {
    let lab = Lab::begun(folder(), Routing::Path, |_| {});
    let new = lab.dir.path().join("state/mariadb/pristine-new");
    // By then all files exist that a check would look for.
    let far = async || new.join("mysql").is_dir() && new.join("ibdata1").is_file();
    until("the database to be half installed", far).await;
    until("it to be killed while it is installed", async || kill(&lab, "mariadbd") > 0).await;
    until("clones that can be made", async || lab.local.health() == Health::Ready).await;
    lab.clone("one").await;
    lab.end().await;
}

pub(crate) async fn the_first_clone_takes_the_prewarmed_files() {
    let lab = Lab::begun(folder(), Routing::Path, |_| {});
    lab.until(&Health::Ready).await;
    let inside = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).expect("a folder").flatten().map(|e| e.path()).collect()
    };
    let inode = |tree: &Path| fs::metadata(tree.join("wp-load.php")).expect("WordPress").ino();
    let template = inside(&lab.dir.path().join("state/template")).pop().expect("a template");
    let ready = inside(&template.join("prewarmed"));
    let ready = ready.iter().find(|path| !path.ends_with("new")).expect("files that are ready");
    let prepared = inode(ready);
    let (first, _) = lab.clone("one").await;
    let first = lab.tree(&first.name);
    assert_eq!(inode(&first), prepared, "the files were copied, not taken");
    // The files that WordPress was installed with are the same as a copy.
    let (second, _) = lab.clone("two").await;
    let diff = Command::new("diff").arg("--recursive").args([&first, &lab.tree(&second.name)]).output();
    let diff = diff.expect("diff");
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
    lab.end().await;
}

pub(crate) async fn another_wordpress_replaces_the_template() {
    let lab = Lab::start().await;
    let (before, _) = lab.clone("one").await;
    let dir = lab.end().await;
    let templates = |dir: &Path| -> Vec<PathBuf> {
        let inside = fs::read_dir(dir.join("state/template")).expect("a folder");
        inside.flatten().map(|e| e.path()).collect()
    };
    let old = templates(dir.path());
    let lab = Lab::begun(dir, Routing::Path, |options| options.wordpress_dir.set_file_name("bookworm"));
    until("clones that can be made", async || lab.local.health() == Health::Ready).await;
    let new = templates(lab.dir.path());
    assert!(new.len() == 1 && old.len() == 1 && new != old, "{old:?} {new:?}");
    let (after, _) = lab.clone("two").await;
    assert_ne!(before.wordpress, after.wordpress);
    let version = "global $wp_version; echo $wp_version;";
    assert_eq!(lab.eval(&after, true, version).await, after.wordpress);
    assert_eq!(lab.eval(&before, true, version).await, before.wordpress, "existing clones do not change");
    lab.end().await;
}

pub(crate) async fn a_clone_whose_database_dies_during_its_creation_is_created_by_the_next_attempt() {
    let lab = Lab::start().await;
    let one = spec("one");
    // As often as it is restarted.
    let killing = async {
        loop {
            kill(&lab, "mariadbd");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let made = tokio::select! {
        made = lab.local.create(&one) => made,
        () = killing => unreachable!("it does not end"),
    };
    made.expect_err("there is no database");
    let folder = lab.dir.path().join("state/clones").join(name("one").as_str());
    assert!(!folder.join("www").exists(), "its files are kept");
    until("the clone to be made", async || lab.local.create(&spec("one")).await.is_ok()).await;
    let (clone, _) = lab.clone("one").await;
    assert_eq!(http().get(format!("{}/", clone.url)).send().await.expect("a response").status(), 200);
    lab.end().await;
}

pub(crate) async fn programs_that_die_are_restarted() {
    let lab = Lab::start().await;
    let (clone, _) = lab.clone("one").await;
    lab.eval(&clone, true, "update_option('kept', 'yes');").await;
    for which in ["mariadbd", "php-fpm"] {
        assert!(kill(&lab, which) > 0, "{which} runs");
        let url = format!("{}/wp-json/", clone.url);
        until(&format!("the clone without its {which} to be back"), async || {
            http().get(&url).send().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }
    assert_eq!(lab.eval(&clone, true, "echo get_option('kept');").await, "yes");
    lab.end().await;
}

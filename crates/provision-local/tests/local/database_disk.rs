//! Clones that fill the disk by SQL, in files of their schema and in files of a server that belong to no clone, while a
//! neighbour's statements go on.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wpclone_provision::{CloneInfo, CloneProblemKind, Isolation, Provisioner as _, Routing};
use wpclone_provision_local::{DatabaseLimits, DiskLimits};

use crate::database::{CONNECT, servers};
use crate::database_bounds::{Neighbour, create, start, until_stopped};
use crate::disk::{Disk, LeastFree, end_on_disk, fill_from_outside, lab_on_disk_of};
use crate::support::{LIMIT, Lab, until};

/// Bytes of the disk that clones leave free: a quarter of it, so that little has to be written until it is nearly full.
const RESERVE: u64 = 1536 << 20;

async fn lab_on_disk() -> (Lab, Disk) {
    lab_on_disk_of(4 * RESERVE, RESERVE).await
}

/// SQL that fills the disk in files of the schema.
fn disk_attacks() -> [(&'static str, &'static str); 2] {
    [
        (
            "InnoDB",
            "$db->query('CREATE TABLE f (a LONGBLOB) ENGINE=InnoDB'); while ($db->query(\"INSERT INTO f SELECT REPEAT(UUID(), 27000) FROM seq_1_to_20\"));",
        ),
        (
            "MyISAM",
            "$db->query('CREATE TABLE f (a LONGBLOB) ENGINE=MyISAM'); while ($db->query(\"INSERT INTO f SELECT REPEAT(UUID(), 27000) FROM seq_1_to_20\"));",
        ),
    ]
}

/// SQL that fills it in files of all clones of a server. Each round adds a line to `rounds`; its connection is closed in it.
fn temporary_attacks() -> [(&'static str, String); 2] {
    [("temporary tables", "Aria"), ("InnoDB's temporary tables", "InnoDB")].map(|(attack, engine)| {
        let code = format!(
            "for ($i = 0; ; $i++) {{ $kept[$i % 8] = $db = $connect(); $db->query('CREATE TEMPORARY TABLE f (a LONGBLOB) ENGINE={engine}'); \
             while ($db->query(\"INSERT INTO f SELECT REPEAT(UUID(), 27000) FROM seq_1_to_20\")); \
             file_put_contents(__DIR__ . '/rounds', \"x\\n\", FILE_APPEND); usleep(100000); }}"
        );
        (attack, code)
    })
}

pub(crate) async fn a_clone_that_fills_the_disk_by_sql_is_stopped_and_no_statement_of_another_fails() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (lab, disk) = lab_on_disk().await;
    let mounted = lab.dir.path().join("state");
    let neighbour = create(&lab, "neighbour", Isolation::Shared).await;
    let attacks = disk_attacks().map(|(attack, code)| (attack, code, Isolation::Shared));
    for (attack, code, isolation) in
        [("a server of its own", disk_attacks()[0].1, Isolation::Dedicated)].into_iter().chain(attacks)
    {
        let clone = create(&lab, attack, isolation).await;
        let statements = Neighbour::start(&lab, &neighbour).await;
        let (least, begun) = (LeastFree::watch(&mounted), Instant::now());
        let _attacking = start(&lab, &clone, code);
        until_stopped(&lab, &clone, CloneProblemKind::DiskLimitExceeded, attack).await;
        assert_reserve_was_left(attack, &least, begun);
        statements.end(attack).await;
        assert!(lab.get(&neighbour.name).await.expect("the neighbour").problem.is_none(), "{attack}");
        lab.local.delete(&clone.name).await.expect("deleted");
    }
    end_on_disk(lab, disk).await;
}

fn assert_reserve_was_left(attack: &str, least: &LeastFree, begun: Instant) {
    let bytes = least.bytes.load(Ordering::Relaxed);
    println!("{attack}: {bytes} bytes free at least, ended after {:?}", begun.elapsed());
    assert!(bytes >= RESERVE, "{attack}: only {bytes} bytes were free");
}

pub(crate) async fn temporary_tables_of_clones_leave_the_reserve_free_and_no_statement_of_another_fails() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (lab, disk) = lab_on_disk().await;
    let mounted = lab.dir.path().join("state");
    let neighbour = create(&lab, "neighbour", Isolation::Shared).await;
    let mut clones = Vec::new();
    for (attack, code) in temporary_attacks() {
        clones.push((create(&lab, attack, Isolation::Shared).await, code));
    }
    let statements = Neighbour::start(&lab, &neighbour).await;
    let (least, begun) = (LeastFree::watch(&mounted), Instant::now());
    let _attacking: Vec<_> = clones.iter().map(|(clone, code)| start(&lab, clone, code)).collect();
    for (clone, _) in &clones {
        // What is closed is given back, or may be used again by all clones; nobody has to be stopped.
        until("its connections to be closed", async || {
            rounds(&lab, clone) >= 4 || lab.get(&clone.name).await.expect("the clone").problem.is_some()
        })
        .await;
    }
    assert_reserve_was_left("temporary tables", &least, begun);
    statements.end("temporary tables").await;
    assert!(lab.get(&neighbour.name).await.expect("the neighbour").problem.is_none());
    end_on_disk(lab, disk).await;
}

/// Bytes that the files below a folder take whose path contains this.
fn size_of(folder: &Path, part: &str) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, found)| {
            let is_counted = path.to_string_lossy().contains(part);
            if found.is_dir() { size_of(&path, part) } else { u64::from(is_counted) * found.blocks() * 512 }
        })
        .sum()
}

/// SQL that lets Aria's log grow while its table stays small: in one statement, and in short ones under a lock. Each round adds
/// a line to `rounds`; its connection is closed in it.
fn aria_attacks() -> [(&'static str, String); 2] {
    let attack = |rounds: &str| {
        format!(
            "$db->query('CREATE TABLE f (id INT PRIMARY KEY, c LONGBLOB) ENGINE=Aria TRANSACTIONAL=1'); \
             $db->query(\"INSERT INTO f VALUES (1, REPEAT('a', 1000000))\"); \
             for (;;) {{ $db = $connect(); {rounds} file_put_contents(__DIR__ . '/rounds', \"x\\n\", FILE_APPEND); }}"
        )
    };
    [
        (
            "one statement",
            attack(
                "$db->query(\"INSERT INTO f SELECT 1, '' FROM seq_1_to_10000000 \
                 ON DUPLICATE KEY UPDATE c = REPEAT(CHAR(97 + RAND() * 25), 1000000)\");",
            ),
        ),
        (
            "a table lock",
            attack(
                "$db->query('LOCK TABLES f WRITE'); \
                 while ($db->query(\"UPDATE f SET c = REPEAT(CHAR(97 + RAND() * 25), 1000000)\"));",
            ),
        ),
    ]
}

/// How often a clone's connection was closed.
fn rounds(lab: &Lab, clone: &CloneInfo) -> usize {
    let rounds = fs::read_to_string(lab.tree(&clone.name).join("rounds")).unwrap_or_default();
    rounds.lines().count()
}

pub(crate) async fn a_clone_that_fills_arias_log_loses_its_connections_and_no_statement_of_another_fails() {
    const MAX_LOG: u64 = 256 << 20;
    let lab = Lab::with(Routing::Path, |options| {
        options.database = DatabaseLimits { aria_log: MAX_LOG, ..DatabaseLimits::default() };
        // The disk is not scarce.
        options.disk = DiskLimits { reserve_bytes: 64 << 20, ..DiskLimits::default() };
    })
    .await;
    let state = lab.dir.path().join("state");
    let (neighbour, server) = (create(&lab, "neighbour", Isolation::Shared).await, servers(&state));
    let log = || size_of(&state.join("mariadb/shared/data"), "/aria_log.");
    for (attack, code) in aria_attacks() {
        let clone = create(&lab, attack, Isolation::Shared).await;
        let statements = Neighbour::start(&lab, &neighbour).await;
        let attacking = start(&lab, &clone, &code);
        let mut most = 0;
        let end = Instant::now() + LIMIT;
        while rounds(&lab, &clone) < 3 {
            assert!(Instant::now() < end, "{attack}: its connections are closed, not at {} MiB", log() >> 20);
            most = log().max(most);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("{attack}: {} MiB at most", most >> 20);
        assert!(most > MAX_LOG, "{attack}: nothing was closed too early: {most}");
        assert!(most < 5 * MAX_LOG, "{attack}: {most}");
        drop(attacking);
        lab.local.delete(&clone.name).await.expect("deleted");
        until("the log to be small again", async || log() <= MAX_LOG).await;
        statements.end(attack).await;
        assert!(lab.get(&neighbour.name).await.expect("the neighbour").problem.is_none(), "{attack}");
    }
    assert_eq!(servers(&state), server, "it was never restarted");
    lab.end().await;
}

pub(crate) async fn while_the_disk_is_nearly_full_arias_log_leaves_the_reserve_free() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (lab, disk) = lab_on_disk().await;
    let mounted = lab.dir.path().join("state");
    let neighbour = create(&lab, "neighbour", Isolation::Shared).await;
    let mut clones = Vec::new();
    for (attack, code) in aria_attacks() {
        clones.push((attack, create(&lab, attack, Isolation::Shared).await, code));
    }
    fill_from_outside(&disk, &mounted.join("outside"), 3 * RESERVE);
    for (attack, clone, code) in clones {
        let statements = Neighbour::start(&lab, &neighbour).await;
        let (least, begun) = (LeastFree::watch(&mounted), Instant::now());
        let attacking = start(&lab, &clone, &code);
        let end = Instant::now() + LIMIT;
        while rounds(&lab, &clone) < 10 {
            assert!(Instant::now() < end, "{attack}: its connections are closed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_reserve_was_left(attack, &least, begun);
        statements.end(attack).await;
        assert!(lab.get(&neighbour.name).await.expect("the neighbour").problem.is_none(), "{attack}");
        drop(attacking);
        lab.local.delete(&clone.name).await.expect("deleted");
    }
    end_on_disk(lab, disk).await;
}

/// SQL that has much stored about a clone's tables, which themselves stay small.
const STATISTICS: &str = r#"
$db->query("SET SESSION use_stat_tables = 'PREFERABLY', histogram_size = 254, histogram_type = 'JSON_HB'");
$list = fn($count, $format) => implode(', ', array_map(fn($n) => sprintf($format, $n), range(0, $count - 1)));
$columns = $list(1000, 'c%d VARCHAR(60) CHARACTER SET latin1');
$values = $list(1000, "CONCAT(seq, REPEAT('x', 50))");
for ($t = 0; $t < 3; $t++) {
    $db->query("CREATE TABLE t$t ($columns) ENGINE=MyISAM");
    $db->query("INSERT INTO t$t SELECT $values FROM seq_1_to_254");
    $db->query("ANALYZE TABLE t$t PERSISTENT FOR ALL");
    $db->query("TRUNCATE TABLE t$t");
}
$name = str_repeat('n', 58);
$columns = $list(32, "$name%02d INT");
$index = $list(32, "$name%02d");
$indexes = $list(60, "INDEX %d$name ($index)");
for ($t = 0; $t < 5; $t++) {
    $db->query("CREATE TABLE i$t ($columns, $indexes) ENGINE=InnoDB STATS_PERSISTENT=1");
    $db->query("ANALYZE TABLE i$t");
}
$db->query('CREATE TABLE v (a INT, b BIGINT UNSIGNED GENERATED ALWAYS AS ROW START, e BIGINT UNSIGNED GENERATED ALWAYS AS ROW END,
    PERIOD FOR SYSTEM_TIME (b, e)) WITH SYSTEM VERSIONING ENGINE=InnoDB');
for ($n = 0; $n < 30000 && $db->query("INSERT INTO v (a) VALUES ($n)"); $n++);
$tables = fn($like) => $db->query("SHOW TABLES LIKE '$like'")->num_rows;
echo $tables('t%'), ' ', $tables('i%'), ' ', $db->query('SELECT COUNT(*) FROM i0, t0')->fetch_row()[0];"#;

pub(crate) async fn nothing_is_stored_about_a_clones_tables_outside_of_its_schema() {
    let lab = Lab::start().await;
    for isolation in [Isolation::Shared, Isolation::Dedicated] {
        let clone = create(&lab, &format!("{isolation:?}"), isolation).await;
        let server = match isolation {
            Isolation::Shared => "shared",
            Isolation::Dedicated => clone.name.as_str(),
        };
        let own_tables = lab.dir.path().join("state/mariadb").join(server).join("data/mysql");
        let before = size_of(&own_tables, "/");
        assert_eq!(lab.eval(&clone, true, &format!("{CONNECT} {STATISTICS}")).await, "3 5 0");
        let after = size_of(&own_tables, "/");
        println!("{isolation:?}: {before} bytes before, {after} after");
        assert!(after < before + (1 << 20), "{isolation:?}: {before} bytes before, {after} after");
        // Changes of tables look for what is stored about them.
        let change = "foreach (['ALTER TABLE i0 ADD COLUMN x INT', 'RENAME TABLE i0 TO j0', 'ALTER TABLE t0 DROP COLUMN c0', \
            'RENAME TABLE t0 TO s0', 'TRUNCATE TABLE j0', 'DROP TABLE j0, s0', 'OPTIMIZE TABLE i1, t1'] as $sql) \
            if (!$db->query($sql)) echo \"$sql: $db->error\\n\"; echo 'done';";
        assert_eq!(lab.eval(&clone, true, &format!("{CONNECT} {change}")).await, "done");
        lab.local.delete(&clone.name).await.expect("deleted");
    }
    lab.end().await;
}

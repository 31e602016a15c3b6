//! Clones that take all of a database server's memory or open files, while a neighbour's statements go on.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;
use wpclone_provision::{CloneInfo, CloneProblemKind, CloneSpec, Isolation, Provisioner as _, Routing};
use wpclone_provision_local::DatabaseLimits;

use crate::database::{CONNECT, request, responds, servers};
use crate::support::{Lab, client, spec, until};

/// The memory from which a server's clones lose connections; half as much again stops the one that took most.
const SERVER_MEMORY: u64 = 384 << 20;
/// How long attacks go on whose memory is given back.
const PASSING: Duration = Duration::from_secs(6);

/// Statements of a clone that run until they are to end, each on a new connection.
pub(crate) struct Neighbour {
    going_on: PathBuf,
    output: JoinHandle<String>,
}

impl Neighbour {
    pub(crate) async fn start(lab: &Lab, clone: &CloneInfo) -> Self {
        let code = format!(
            r#"<?php require __DIR__ . '/wp-load.php'; {CONNECT}
$db->query('CREATE TABLE IF NOT EXISTS n (a INT)'); $failed = []; $count = 0; $slowest = 0; $deadline = microtime(true) + 120;
file_put_contents(__DIR__ . '/begun', 'x');
while (file_exists(__DIR__ . '/going-on') || $count <= 20 && microtime(true) < $deadline) {{ // an attack may end soon
    clearstatcache(); $begun = microtime(true); $db = $connect();
    if ($db->connect_errno) $failed[] = $db->connect_error;
    else foreach (["SELECT * FROM wp_options", "INSERT INTO n VALUES ($count)", "CREATE TEMPORARY TABLE t (a INT) ENGINE=MyISAM",
        "INSERT INTO t SELECT COUNT(*) FROM n", "SELECT REPEAT('x', 100000)"] as $sql) if ($db->query($sql) === false) $failed[] = "$sql: $db->error";
    $db->close(); $count++; $slowest = max($slowest, microtime(true) - $begun); usleep(5000);
}}
unlink(__DIR__ . '/begun');
echo json_encode([$count > 20, $failed]), sprintf(' %d rounds, the slowest took %.2f s', $count, $slowest);"#
        );
        lab.put(&clone.name, "neighbour.php", &code);
        lab.put(&clone.name, "going-on", "x");
        let url = format!("{}/neighbour.php", clone.url);
        let mut output = tokio::spawn(async move {
            let http = client().timeout(Duration::from_secs(1800)).build().expect("a client");
            http.get(url).send().await.expect("a response").text().await.expect("a body")
        });
        let begun = lab.tree(&clone.name).join("begun");
        tokio::select! {
            () = until("the neighbour's statements", async || begun.is_file()) => {}
            ended = &mut output => panic!("the neighbour's statements ended before they began: {ended:?}"),
        }
        Self { going_on: lab.tree(&clone.name).join("going-on"), output }
    }

    /// Ends them and asserts that none has failed.
    pub(crate) async fn end(self, during: &str) {
        fs::remove_file(self.going_on).expect("removed");
        let output = self.output.await.expect("its end");
        println!("neighbour during {during}: {output}");
        assert!(output.starts_with("[true,[]]"), "{during}: {output}");
    }
}

pub(crate) async fn create(lab: &Lab, task: &str, isolation: Isolation) -> CloneInfo {
    lab.local.create(&CloneSpec { isolation, ..spec(task) }).await.expect("a clone")
}

/// Waits until a clone is stopped for this.
pub(crate) async fn until_stopped(lab: &Lab, clone: &CloneInfo, kind: CloneProblemKind, attack: &str) {
    until(&format!("the clone to be stopped: {attack}"), async || {
        let problem = lab.get(&clone.name).await.expect("the clone").problem;
        problem.is_some_and(|problem| problem.kind == kind)
    })
    .await;
}

/// Bytes of memory of a process.
fn resident(process: &std::path::Path) -> u64 {
    let status = fs::read_to_string(process.join("status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
}

/// Has PHP of a clone run this, with its database as `$db`.
pub(crate) fn start(lab: &Lab, clone: &CloneInfo, code: &str) -> AbortOnDropHandle<()> {
    let code = format!("<?php ignore_user_abort(true); require __DIR__ . '/wp-load.php'; {CONNECT} {code}");
    lab.put(&clone.name, "attack.php", &code);
    request(format!("{}/attack.php", clone.url))
}

/// An attack's name and its code.
type Attack = (&'static str, String);

/// What takes memory of a server that it counts for no connection, and that no closed connection gives back at once.
fn lasting_attacks() -> [Attack; 2] {
    let strings = (0..130).map(|n| format!("LENGTH(REPEAT('x', {}))", 20_000_000 + n)).collect::<Vec<_>>();
    [
        (
            "tables of the engine MEMORY",
            "for ($n = 0; $n < 300; $n++) { $db = $connect(); $db->query('SET SESSION max_heap_table_size = 18446744073709551615'); \
             $db->query(\"CREATE TABLE m$n (a VARCHAR(8000)) ENGINE=MEMORY CHARSET latin1\"); \
             $db->query(\"INSERT INTO m$n SELECT REPEAT('x', 8000) FROM seq_1_to_3000\"); }"
                .into(),
        ),
        // No kill ends it before it has evaluated all of them.
        ("strings of one statement", format!("$db->query(\"SELECT {}\");", strings.join(", "))),
    ]
}

/// What takes memory that is counted for each connection but not for all of a clone. It is given back with the connections, so
/// it may go on without ever taking as much as a clone is stopped for.
fn passing_attacks() -> [Attack; 2] {
    [
        (
            "temporary tables of the engine MEMORY",
            "for ($n = 0; $n < 300; $n++) { if ($n % 30 === 0) $kept[] = $db = $connect(); $db->query('SET SESSION max_heap_table_size = 18446744073709551615'); \
             $db->query(\"CREATE TEMPORARY TABLE m$n (a VARCHAR(8000)) ENGINE=MEMORY CHARSET latin1\"); \
             $db->query(\"INSERT INTO m$n SELECT REPEAT('x', 8000) FROM seq_1_to_3000\"); }"
                .into(),
        ),
        (
            "variables of many connections",
            "for ($n = 0; ; $n++) { $kept[$n % 24] = $db = $connect(); $db->query(\"SET @a = REPEAT('x', 100000000)\"); }".into(),
        ),
    ]
}

pub(crate) async fn a_clone_that_fills_the_servers_memory_is_stopped_and_no_statement_of_another_fails() {
    let limits = DatabaseLimits { server_memory: SERVER_MEMORY, ..DatabaseLimits::default() };
    let lab = Lab::with(Routing::Path, move |options| options.database = limits).await;
    let neighbour = create(&lab, "neighbour", Isolation::Shared).await;
    let server = servers(&lab.dir.path().join("state")).remove(0);
    let [one, another] = lasting_attacks();
    for (attacks, lasts) in [(vec![one], true), (vec![another], true), (passing_attacks().into(), false)] {
        let during = attacks.iter().map(|(attack, _)| *attack).collect::<Vec<_>>().join(", ");
        let mut clones = Vec::new();
        for (attack, code) in attacks {
            clones.push((create(&lab, attack, Isolation::Shared).await, code));
        }
        let statements = Neighbour::start(&lab, &neighbour).await;
        let attacking: Vec<_> = clones.iter().map(|(clone, code)| start(&lab, clone, code)).collect();
        let begun = Instant::now();
        let most = AtomicU64::new(0);
        let is_over = async || {
            most.fetch_max(resident(&server), Ordering::Relaxed);
            let mut stopped = 0;
            for (clone, _) in &clones {
                stopped += usize::from(lab.get(&clone.name).await.expect("the clone").problem.is_some());
            }
            stopped == clones.len() || !lasts && begun.elapsed() > PASSING
        };
        until(&format!("the clone to be stopped: {during}"), is_over).await;
        let most = most.into_inner();
        println!("{during}: {} MiB at most, ended after {:?}", most >> 20, begun.elapsed());
        if lasts {
            until_stopped(&lab, &clones[0].0, CloneProblemKind::DatabaseLimitExceeded, &during).await;
            until("the memory to be free again", async || resident(&server) < SERVER_MEMORY).await;
        }
        assert!(most < 4 * SERVER_MEMORY, "{during}: {most}");
        statements.end(&during).await;
        assert!(lab.get(&neighbour.name).await.expect("the neighbour").problem.is_none(), "{during}");
        drop(attacking);
        for (clone, _) in clones {
            lab.local.delete(&clone.name).await.expect("deleted");
        }
    }
    assert_eq!(servers(&lab.dir.path().join("state")), [server], "it was never restarted");
    lab.end().await;
}

pub(crate) async fn a_clone_that_fills_the_memory_of_its_own_server_is_stopped_and_nobody_else_notices() {
    let limits = DatabaseLimits { server_memory: SERVER_MEMORY, ..DatabaseLimits::default() };
    let lab = Lab::with(Routing::Path, move |options| options.database = limits).await;
    let neighbour = create(&lab, "neighbour", Isolation::Shared).await;
    let shared = servers(&lab.dir.path().join("state"));
    let clone = create(&lab, "one", Isolation::Dedicated).await;
    let statements = Neighbour::start(&lab, &neighbour).await;
    // More than all of its server's memory.
    let strings = (0..400).map(|n| format!("LENGTH(REPEAT('x', {}))", 20_000_000 + n)).collect::<Vec<_>>();
    let _attacking = start(&lab, &clone, &format!("$db->query(\"SELECT {}\");", strings.join(", ")));
    until_stopped(&lab, &clone, CloneProblemKind::DatabaseLimitExceeded, "its own server").await;
    until("its server to be gone", async || servers(&lab.dir.path().join("state")) == shared).await;
    statements.end("the attack on another server").await;
    lab.end().await;
}

pub(crate) async fn a_clone_that_opens_very_many_tables_leaves_files_for_others() {
    /// What a clone may have open, and how many tables it has. All that it opens would be ten times as many files, and each
    /// connection may open its tables at once before it is closed.
    const MAX_FILES: usize = 1024;
    const TABLES: usize = 1280;
    let limits = DatabaseLimits { open_files: MAX_FILES as u64, ..DatabaseLimits::default() };
    let lab = Lab::with(Routing::Path, move |options| options.database = limits).await;
    let (one, neighbour) =
        (create(&lab, "one", Isolation::Shared).await, create(&lab, "neighbour", Isolation::Shared).await);
    let create = format!(
        "{CONNECT} for ($n = 0; $n < {TABLES}; $n++) $db->query(\"CREATE TABLE t$n (a INT) ENGINE=MyISAM\"); \
         echo $db->query('CREATE TABLE p (a INT) ENGINE=MyISAM PARTITION BY HASH(a) PARTITIONS 8192') ? 'partitions' : 'none', \
         ' ', $db->query(\"SHOW TABLES LIKE 't%'\")->num_rows;"
    );
    assert_eq!(lab.eval(&one, true, &create).await, format!("none {TABLES}"));
    let statements = Neighbour::start(&lab, &neighbour).await;
    let last = TABLES - 1;
    let open = format!(
        "{CONNECT} $all = implode(', ', array_map(fn($n) => \"t$n READ\", range(0, {last}))); $closed = 0; \
         for ($round = 0; $round < 2; $round++) {{ for ($c = 0; $c < 7; $c++) {{ $kept[$c] = $connect(); $kept[$c]->query(\"LOCK TABLES $all\", MYSQLI_ASYNC); }} \
         foreach ($kept as $each) $each->reap_async_query(); for ($i = 0; $i < 600; $i++) {{ $open = count(array_filter($kept, fn($each) => $each->query('SELECT 1'))); if ($open < 5) break; usleep(100000); }} $closed += 7 - $open; }} \
         echo $closed > 4 ? 'closed' : \"$closed\";"
    );
    let server = servers(&lab.dir.path().join("state")).remove(0).join("fd");
    let most = AtomicUsize::new(0);
    let watching = async {
        loop {
            most.fetch_max(fs::read_dir(&server).map_or(0, Iterator::count), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        output = lab.eval(&one, true, &open) => assert_eq!(output, "closed"),
        () = watching => {}
    }
    let most = most.into_inner();
    println!("{most} files at most");
    assert!(most < 8 * MAX_FILES, "{most}");
    statements.end("very many open tables").await;
    assert!(responds(&one).await);
    lab.end().await;
}

//! Attacks of a clone on the database servers.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::task::AbortOnDropHandle;
use wpclone_provision::{CloneInfo, CloneSpec, Isolation, Provisioner as _, Routing};
use wpclone_provision_local::DatabaseLimits;

use crate::owner::started;
use crate::support::{
    Lab, eval_in, folder, free_address, http, processes_in, put_in, spec, tries_everything, until, wordpress,
};

/// PHP that connects to the clone's database as `$db`.
pub(crate) const CONNECT: &str = "error_reporting(0); mysqli_report(MYSQLI_REPORT_OFF); set_time_limit(0); \
    $socket = substr(DB_HOST, strlen('localhost:')); \
    $connect = fn() => new mysqli('localhost', DB_USER, DB_PASSWORD, DB_NAME, 0, $socket); $db = $connect();";

/// PHP that tries what no clone's user may do. Each line that it prints is a success.
fn reach(other: &CloneInfo, state: &Path, place: &Path) -> String {
    let (other, state, place) = (&other.name, state.display(), place.display());
    format!(
        r#"{CONNECT}
$places = ['{place}', '/tmp', '/dev/shm', __DIR__ . '/x', '{state}/mariadb/shared/tmp', '{state}/mariadb/shared/data/{other}'];
mkdir(__DIR__ . '/x'); chmod(__DIR__ . '/x', 0777);
foreach ($places as $i => $place) foreach (['InnoDB', 'MyISAM', 'Aria'] as $engine) {{
    $db->query("CREATE TABLE t{{$i}}_$engine (a INT PRIMARY KEY) ENGINE=$engine DATA DIRECTORY='$place' INDEX DIRECTORY='$place'");
    $db->query("CREATE TABLE p{{$i}}_$engine (a INT) ENGINE=$engine PARTITION BY RANGE(a) (PARTITION p0 VALUES LESS THAN (9) DATA DIRECTORY='$place' INDEX DIRECTORY='$place')");
    $db->query("INSERT INTO t{{$i}}_$engine VALUES (1)");
    $db->query("INSERT INTO p{{$i}}_$engine VALUES (1)");
    if (is_array(scandir($place)) && preg_grep('/\.(ibd|MYD|MYI|MAD|MAI)$/', scandir($place))) echo "placed a table in $place\n";
}}
$db->query("CREATE TABLE own (a INT PRIMARY KEY) ENGINE=InnoDB");
$db->query("CREATE TABLE gone (a INT PRIMARY KEY) ENGINE=InnoDB");
$db->query("ALTER TABLE gone DISCARD TABLESPACE");
foreach ([
    "ALTER TABLE gone IMPORT TABLESPACE",
    "LOAD DATA INFILE '/etc/passwd' INTO TABLE own", "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE own",
    "SELECT 1 INTO OUTFILE '/tmp/x'", "SELECT 1 INTO DUMPFILE '{state}/x'",
    "INSTALL SONAME 'ha_connect'", "INSTALL SONAME 'ha_federatedx'", "INSTALL PLUGIN x SONAME 'ha_spider'",
    "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST '127.0.0.1')", "CREATE FUNCTION f RETURNS STRING SONAME 'x.so'",
    "CREATE TABLE c (a INT) ENGINE=CONNECT", "CREATE TABLE c (a INT) ENGINE=FEDERATED CONNECTION='mysql://x@127.0.0.1/x/x'",
    "CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO SELECT 1", "CREATE PROCEDURE p() SELECT 1",
    "SET GLOBAL max_connections = 1", "SET GLOBAL event_scheduler = ON", "SET GLOBAL general_log = ON", "SET GLOBAL local_infile = 1",
    "SHUTDOWN", "FLUSH TABLES WITH READ LOCK", "BACKUP STAGE START", "RESET MASTER", "SHOW ENGINE INNODB STATUS",
    "SELECT * FROM information_schema.INNODB_TRX", "SELECT * FROM mysql.user", "SHOW GRANTS FOR '{other}'@'localhost'",
    "CREATE USER evil", "ALTER USER CURRENT_USER() IDENTIFIED BY 'x'", "CREATE DATABASE evil", "CREATE DEFINER=root@localhost VIEW v AS SELECT 1",
    "SET PASSWORD FOR '{other}'@'localhost' = PASSWORD('x')", "DROP USER '{other}'@'localhost'", "DROP DATABASE `{other}`",
    "SELECT * FROM `{other}`.wp_options", "CREATE TABLE l LIKE `{other}`.wp_options", "LOCK TABLES `{other}`.wp_options WRITE",
    "ALTER TABLE own RENAME TO `{other}`.own", "CREATE TABLE m (a INT) ENGINE=MERGE UNION=(`{other}`.wp_users)",
] as $sql) if ($db->query($sql) !== false) echo "ran $sql\n";
foreach (["SET PASSWORD = PASSWORD('x')", "SET PASSWORD = ''"] as $sql)
    if ($db->query($sql) !== false && $connect()->connect_errno) echo "locked itself out by $sql\n";
foreach (['/etc/passwd', '/proc/self/environ', '{state}/mariadb/shared/init.sql'] as $file)
    if ($db->query("SELECT LOAD_FILE('$file')")->fetch_row()[0] !== null) echo "loaded $file\n";
foreach ($db->query('SHOW FULL PROCESSLIST')->fetch_all() as $row) {{ $own[] = (int) $row[0]; if ($row[1] !== DB_USER) echo "saw $row[1]: $row[7]\n"; }}
for ($id = 1; $id < 500; $id++) if (!in_array($id, $own, true) && $db->query("KILL $id")) echo "killed $id\n";
if (is_array($found = scandir(dirname($socket))) && $found !== ['.', '..', 'sock']) echo "more than a socket\n";
if (file_put_contents(dirname($socket) . '/x', 'x') || unlink($socket) || rename($socket, __DIR__ . '/sock')) echo "changed the socket\n";
if (fsockopen('unix://{state}/mariadb/shared/run/sock')) echo "reached the server around the relay\n";
echo 'done';"#
    )
}

/// Links in a server's folder, and InnoDB's files that say where a table lies instead.
fn links_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("its type"));
        if kind.is_dir() {
            found.extend(links_below(&path));
        } else if kind.is_symlink() || path.extension().is_some_and(|e| e == "isl") {
            found.push(path);
        }
    }
    found
}

/// A folder that everybody can write in, whose links lead to the data of another server: what the programs of a machine, or
/// another way into it, may have prepared.
struct Trap {
    place: tempfile::TempDir,
    data: tempfile::TempDir,
}

impl Trap {
    fn set(clone: &CloneInfo) -> Self {
        let open = |parent: &str| {
            let dir = tempfile::Builder::new().prefix("wpc-").tempdir_in(parent).expect("a folder");
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("its mode");
            dir
        };
        let (place, data) = (open("/var/tmp"), open("/var/tmp"));
        fs::write(data.path().join("canary"), "x").expect("a file");
        for schema in [clone.name.to_string(), clone.name.as_str().replace('-', "@002d")] {
            symlink(data.path(), place.path().join(schema)).expect("a link");
        }
        Self { place, data }
    }

    /// Asserts that nothing was written through the links, nor beside them.
    fn assert_untouched(&self) {
        let names = |dir: &Path| fs::read_dir(dir).expect("a folder").count();
        assert_eq!((names(self.place.path()), names(self.data.path())), (2, 1));
        assert_eq!(fs::read(self.data.path().join("canary")).expect("it is there"), b"x");
    }
}

/// Attackers whose database is in the server that clones share, and in one of their own.
async fn attackers(lab: &Lab) -> [CloneInfo; 2] {
    let dedicated = CloneSpec { isolation: Isolation::Dedicated, ..spec("dedicated") };
    let dedicated = lab.local.create(&dedicated).await.expect("a clone");
    [lab.clone("shared").await.0, dedicated]
}

pub(crate) async fn sql_of_a_clone_reaches_no_file_and_no_other_schema() {
    let lab = Lab::start().await;
    let (attackers, (two, _)) = (attackers(&lab).await, lab.clone("two").await);
    let state = lab.dir.path().join("state");
    let attacks = attackers.iter().map(async |one| {
        let trap = Trap::set(one);
        assert_eq!(lab.eval(one, true, &reach(&two, &state, trap.place.path())).await, "done");
        trap.assert_untouched();
    });
    join_all(attacks).await;
    assert_eq!(links_below(&state.join("mariadb")), Vec::<PathBuf>::new());
    assert_eq!(
        lab.eval(&two, true, "echo get_option('blogname') !== '' ? 'intact' : 'lost';").await,
        "intact"
    );
    // The server starts again with all that was tried.
    let dir = lab.end().await;
    let lab = Lab::begun(dir, Routing::Path, |_| {});
    lab.until(&wpclone_provision::Health::Ready).await;
    for clone in attackers.iter().chain([&two]) {
        until("each to respond", async || responds(clone).await).await;
    }
    lab.end().await;
}

pub(crate) async fn responds(clone: &CloneInfo) -> bool {
    let page = http().get(format!("{}/wp-json/", clone.url)).send().await;
    page.is_ok_and(|page| page.status() == 200)
}

/// PHP that opens connections that never log in, as many as it can, and keeps them until its file `held` is removed.
fn flood() -> String {
    format!(
        "<?php require __DIR__ . '/wp-load.php'; {CONNECT} $all = []; \
         for ($i = 0; $i < 3000; $i++) if ($s = stream_socket_client(\"unix://$socket\", $n, $t, 0.01, STREAM_CLIENT_CONNECT | STREAM_CLIENT_ASYNC_CONNECT)) $all[] = $s; \
         array_splice($all, -8); /* what PHP may open is used up */ \
         file_put_contents(__DIR__ . '/held.new', count($all)); /* complete when it gets its name */ \
         rename(__DIR__ . '/held.new', __DIR__ . '/held'); \
         while (file_exists(__DIR__ . '/held')) {{ usleep(20000); clearstatcache(); }}"
    )
}

/// Requests a page without waiting for its end.
pub(crate) fn request(url: String) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let _ = http().get(url).send().await;
    }))
}

pub(crate) async fn connections_of_a_clone_that_never_log_in_keep_nobody_from_the_database() {
    let lab = Lab::start().await;
    let ((one, _), (two, _)) = (lab.clone("one").await, lab.clone("two").await);
    lab.put(&one.name, "flood.php", &flood());
    let flooding = request(format!("{}/flood.php", one.url));
    let held = lab.tree(&one.name).join("held");
    until("the connections to be open", async || held.is_file()).await;
    let count: usize = fs::read_to_string(&held).expect("a file").parse().expect("a number");
    assert!(count > 500, "{count} connections are an attack");
    assert!(responds(&two).await, "another clone has its database");
    let (three, _) = lab.clone("three").await;
    assert!(responds(&three).await, "another clone can be created");
    fs::remove_file(&held).expect("removed");
    drop(flooding);
    until("the attacker to have its database again", async || responds(&one).await).await;
    lab.end().await;
}

/// A lab with small limits, and its attackers: one of the shared server, and one of a server of its own, whose limits are the
/// same, if everything is tried.
async fn limited() -> (Lab, Vec<CloneInfo>) {
    let limits = DatabaseLimits {
        statement: Duration::from_secs(3),
        transaction: Duration::from_secs(3),
        memory: 64 << 20,
        temporary_tables: 64 << 20,
        innodb_temporary: 64 << 20,
        ..DatabaseLimits::default()
    };
    let lab = Lab::with(Routing::Path, move |options| options.database = limits).await;
    let attackers =
        if tries_everything() { attackers(&lab).await.into() } else { vec![lab.clone("shared").await.0] };
    (lab, attackers)
}

pub(crate) async fn statements_and_transactions_without_end_are_ended() {
    let (lab, attackers) = limited().await;
    let (two, _) = lab.clone("two").await;
    join_all(attackers.iter().map(|one| assert_statements_and_transactions_end(&lab, one, &two))).await;
    lab.end().await;
}

async fn assert_statements_and_transactions_end(lab: &Lab, one: &CloneInfo, two: &CloneInfo) {
    // MariaDB's own limit can be changed by the session.
    let endless = format!(
        "{CONNECT} for ($i = 0; $i < 12; $i++) {{ $c[$i] = $connect(); $c[$i]->query('SET SESSION max_statement_time = 0'); \
         $c[$i]->query(\"SELECT BENCHMARK(1000000000000, MD5('$i'))\", MYSQLI_ASYNC); }} \
         foreach ($c as $each) echo $each->reap_async_query() ? 'ended ' : 'closed ';"
    );
    let (output, other) = tokio::join!(lab.eval(one, true, &endless), responds(two));
    assert_eq!((output.as_str(), other), ("closed ".repeat(12).as_str(), true));
    // An open transaction keeps the undo logs of all clones.
    let idle = format!(
        "{CONNECT} $db->query('CREATE TABLE t (a INT PRIMARY KEY) ENGINE=InnoDB'); $db->query('BEGIN'); \
         $db->query('INSERT INTO t VALUES (1)'); \
         for ($i = 0; $i < 600 && $db->query('SELECT 1'); $i++) usleep(100000); echo $i < 600 ? 'closed' : 'open';"
    );
    assert_eq!(lab.eval(one, true, &idle).await, "closed");
    // A prepared transaction would outlive its connection, and lock its table against its deletion.
    let prepare = format!(
        "{CONNECT} foreach ([\"XA START 'a\\'; DROP DATABASE x; --', 'b', 7\", 'INSERT INTO t VALUES (2)', \"XA END 'a\\'; DROP DATABASE x; --', 'b', 7\", \
         \"XA PREPARE 'a\\'; DROP DATABASE x; --', 'b', 7\"] as $sql) if (!$db->query($sql)) echo $db->error; $db->close(); $db = $connect(); \
         for ($i = 0; $i < 600 && $db->query('XA RECOVER')->num_rows; $i++) usleep(100000); echo $i < 600 ? 'rolled back' : 'prepared';"
    );
    assert_eq!(lab.eval(one, true, &prepare).await, "rolled back");
    assert!(responds(one).await && responds(two).await);
}

/// A program that prepares transactions and leaves them, as long as the file `going-on` is there, for four minutes at most. The
/// file `many` says that there are many.
fn preparing() -> String {
    format!(
        "<?php require __DIR__ . '/wp-load.php'; {CONNECT} $db->query('CREATE TABLE IF NOT EXISTS p (a INT AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB'); \
         $end = microtime(true) + 240; \
         for ($i = 0; file_exists(__DIR__ . '/going-on') && microtime(true) < $end; $i++) {{ \
             clearstatcache(); $c = $connect(); \
             foreach ([\"XA START '$i'\", 'INSERT INTO p VALUES (NULL)', \"XA END '$i'\", \"XA PREPARE '$i'\"] as $sql) $c->query($sql); \
             $c->close(); if ($i == 3000) file_put_contents(__DIR__ . '/many', 'x'); \
         }} unlink(__DIR__ . '/going-on');"
    )
}

pub(crate) async fn a_clone_that_prepares_transactions_all_the_time_is_watched_like_any_other() {
    let (lab, attackers) = limited().await;
    for one in attackers {
        lab.put(&one.name, "preparing.php", &preparing());
        lab.put(&one.name, "going-on", "x");
        let preparing = request(format!("{}/preparing.php", one.url));
        let [going_on, many] = ["going-on", "many"].map(|file| lab.tree(&one.name).join(file));
        until("many prepared transactions", async || many.is_file()).await;
        let endless = format!(
            "{CONNECT} $db->query('SET SESSION max_statement_time = 0'); \
             echo $db->query(\"SELECT BENCHMARK(1000000000000, MD5('a'))\") ? 'ended' : 'closed';"
        );
        // Looking at the server has to take as long as before, however many have been prepared since.
        for _ in 0..4 {
            assert_eq!(lab.eval(&one, true, &endless).await, "closed");
            assert!(going_on.is_file(), "transactions were still being prepared");
        }
        fs::remove_file(going_on).expect("removed");
        let left = format!(
            "{CONNECT} for ($i = 0; $i < 600 && $db->query('XA RECOVER')->num_rows; $i++) usleep(100000); \
             echo $i < 600 ? 'rolled back' : 'prepared';"
        );
        assert_eq!(lab.eval(&one, true, &left).await, "rolled back");
        drop(preparing);
    }
    lab.end().await;
}

pub(crate) async fn a_clone_that_locks_its_tables_is_deleted_all_the_same() {
    let lab = Lab::start().await;
    let begin = format!(
        "<?php require __DIR__ . '/wp-load.php'; {CONNECT} $db->query('CREATE TABLE t (a INT PRIMARY KEY) ENGINE=InnoDB'); \
         foreach (['x', 'y'] as $i => $id) {{ $c = $connect(); foreach ([\"XA START '$id'\", \"INSERT INTO t VALUES ($i)\", \"XA END '$id'\", \"XA PREPARE '$id'\"] as $sql) $c->query($sql); $kept[] = $c; }} \
         $c = $connect(); $c->query('LOCK TABLES wp_posts WRITE'); $c->query('SET SESSION max_statement_time = 0'); \
         $c->query(\"SELECT BENCHMARK(1000000000000, MD5('a'))\", MYSQLI_ASYNC); file_put_contents(__DIR__ . '/held', 'x'); \
         $c->reap_async_query();"
    );
    for one in attackers(&lab).await {
        lab.put(&one.name, "lock.php", &begin);
        let _locking = request(format!("{}/lock.php", one.url));
        let held = lab.tree(&one.name).join("held");
        until("its tables to be locked", async || held.is_file()).await;
        lab.local.delete(&one.name).await.expect("deleted");
        let servers = lab.dir.path().join("state/mariadb");
        assert!(!servers.join(one.name.as_str()).exists());
        assert!(!servers.join("shared/data").join(one.name.as_str().replace('-', "@002d")).exists());
    }
    lab.end().await;
}

pub(crate) async fn temporary_tables_and_memory_of_a_clone_are_bounded() {
    let (lab, attackers) = limited().await;
    let (two, _) = lab.clone("two").await;
    // Each would take 2 GB.
    let tables = |engine: &str| {
        format!(
            "{CONNECT} $db->query('CREATE TEMPORARY TABLE t (a LONGBLOB) ENGINE={engine}'); \
             for ($i = 0; $i < 200 && $db->query(\"INSERT INTO t SELECT REPEAT('x', 1000000) FROM seq_1_to_10\"); $i++) usleep(50000); \
             echo $i < 200 ? 'closed' : \"$i\";"
        )
    };
    let memory = format!(
        "{CONNECT} $db->query('SET SESSION max_session_mem_used = 18446744073709551615'); \
         for ($i = 0; $i < 100 && $db->query(\"SET @a$i = REPEAT('x', 10000000)\"); $i++) usleep(100000); echo $i < 100 ? 'closed' : \"$i\";"
    );
    let attacks = attackers.iter().map(async |one| {
        for attack in [&tables("Aria"), &tables("InnoDB"), &memory] {
            assert_eq!(lab.eval(one, true, attack).await, "closed");
        }
        assert!(responds(one).await && responds(&two).await);
    });
    join_all(attacks).await;
    lab.end().await;
}

/// The process ids of the database servers of a state folder.
pub(crate) fn servers(state: &Path) -> Vec<PathBuf> {
    let text = state.to_string_lossy().into_owned();
    let processes = fs::read_dir("/proc").expect("proc").flatten().map(|e| e.path());
    let is_server = |process: &PathBuf| {
        fs::read_link(process.join("exe")).is_ok_and(|exe| exe.ends_with("mariadbd"))
            && fs::read(process.join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&text))
    };
    processes.filter(is_server).collect()
}

/// Asserts that database servers see their own folder alone; returns their user ids.
fn assert_confined(state: &Path) -> BTreeSet<u32> {
    let servers = servers(state);
    assert!(!servers.is_empty(), "they run");
    servers.iter().map(|process| assert_process_confined(process, state)).collect()
}

fn assert_process_confined(process: &Path, state: &Path) -> u32 {
    let root = process.join("root");
    let inside = |path: &Path| root.join(path.strip_prefix("/").expect("an absolute path"));
    // What it sees: the programs, and of the state folder only its own part.
    assert!(
        inside(Path::new("/usr")).is_dir(),
        "the root folder of {} can be looked into",
        process.display()
    );
    for hidden in ["/etc/passwd", "/etc/shadow", "/root", "/home", "/var", "/run"] {
        assert!(!inside(Path::new(hidden)).exists(), "{hidden}");
    }
    let names = |dir: &Path| {
        let names = fs::read_dir(inside(dir)).expect("a folder").flatten();
        names.map(|e| e.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    // `run` is for its supervisor's own folder there.
    let of_state: BTreeSet<_> = names(state).into_iter().filter(|name| name != "run").collect();
    assert_eq!(of_state, ["mariadb".to_owned()].into());
    let own = (names(&state.join("mariadb")).len(), names(&state.join("run")).len());
    assert_eq!(own, (1, 1));
    let status = fs::read_to_string(process.join("status")).expect("its status");
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name)).expect("a field");
        line.split_whitespace().next().expect("a value").to_owned()
    };
    assert_eq!((field("CapEff:"), field("NoNewPrivs:")), ("0000000000000000".into(), "1".into()));
    let network = fs::read_to_string(process.join("net/dev")).expect("its network");
    assert_eq!(
        network.lines().skip(2).filter(|line| !line.trim_start().starts_with("lo:")).count(),
        0,
        "{network}"
    );
    field("Uid:").parse().expect("a number")
}

pub(crate) async fn database_servers_see_their_own_folder_alone_and_have_users_of_their_own() {
    let lab = Lab::start().await;
    let (one, _) = lab.clone("one").await;
    let dedicated = CloneSpec { isolation: Isolation::Dedicated, ..spec("two") };
    let two = lab.local.create(&dedicated).await.expect("a clone");
    let state = lab.dir.path().join("state");
    let users = assert_confined(&state);
    assert_eq!(users.len(), 2, "the shared server and that of the dedicated clone");
    assert!(users.iter().all(|user| *user != 0
        && !fs::read_to_string("/etc/passwd").expect("users").contains(&format!(":{user}:"))));
    // Data that another version ran as another user is given to the server's own.
    let dir = lab.end().await;
    for server in ["shared", two.name.as_str()] {
        let data = state.join("mariadb").join(server).join("data");
        let status = std::process::Command::new("chown")
            .args(["-R", "12345:12345"])
            .arg(data)
            .status()
            .expect("chown");
        assert!(status.success());
    }
    let lab = Lab::begun(dir, Routing::Path, |_| {});
    lab.until(&wpclone_provision::Health::Ready).await;
    until("both to respond", async || responds(&one).await && responds(&two).await).await;
    assert_eq!(assert_confined(&state), users);
    lab.end().await;
}

pub(crate) async fn without_root_the_database_is_confined_and_shared_in_the_same_way() {
    let dir = folder();
    let (state, listen) = (dir.path().join("state"), free_address());
    let tree = dir.path().join("wordpress");
    let copied =
        std::process::Command::new("cp").arg("-rL").arg(wordpress()).arg(&tree).status().expect("cp");
    assert!(copied.success());
    fs::create_dir(&state).expect("a folder");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o711)).expect("its mode");
    // As root the owner runs as an unused user; otherwise as ours.
    let user = rustix::process::geteuid().is_root().then_some(1_899_999_998);
    std::os::unix::fs::chown(&state, user, user).expect("chown");
    let (mut owner, clones) = started(&state, listen, &tree, user, &["one", "two"]);
    let (one, two) = (&clones[0].0, &clones[1].0);
    let tree = state.join("clones").join(one.name.as_str()).join("www").join(one.name.as_str());
    let trap = Trap::set(one);
    assert_eq!(eval_in(&tree, one, true, &reach(two, &state, trap.place.path())).await, "done");
    trap.assert_untouched();
    assert_eq!(links_below(&state.join("mariadb")), Vec::<PathBuf>::new());
    put_in(&tree, "flood.php", &flood());
    let flooding = request(format!("{}/flood.php", one.url));
    until("the connections to be open", async || tree.join("held").is_file()).await;
    assert!(responds(two).await, "another clone has its database");
    fs::remove_file(tree.join("held")).expect("removed");
    drop(flooding);
    let users = assert_confined(&state);
    assert_eq!(
        users.into_iter().collect::<Vec<_>>(),
        [user.unwrap_or_else(|| rustix::process::geteuid().as_raw())]
    );
    owner.kill().expect("SIGKILL");
    owner.wait().expect("reaped");
    until("all programs to be gone", async || processes_in(dir.path()).is_empty()).await;
}

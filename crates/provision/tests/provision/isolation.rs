//! What keeps clones from each other and from the world.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use jiff::Timestamp;
use tokio::net::TcpListener;
use wpclone_provision::{Isolation, Provisioner as _};

use crate::owner::started;
use crate::support::{Lab, folder, free_address, http, processes_in, spec, until, wordpress};

/// PHP that tries to get at what is not its own. Each line that it prints is a success.
fn attack(other: &str, socket: &str, files: &[String]) -> String {
    let files = files.iter().map(|f| format!("'{f}'")).collect::<Vec<_>>().join(",");
    format!(
        r#"
error_reporting(0); mysqli_report(MYSQLI_REPORT_OFF);
foreach ([{files}] as $file) {{
    if (@file_get_contents($file)) echo "read $file\n";
    if (@scandir($file)) echo "listed $file\n";
    if (@file_put_contents($file . '/evil', 'x')) echo "wrote $file\n";
    if (function_exists('shell_exec') && @shell_exec('cat ' . escapeshellarg($file) . ' 2>/dev/null')) echo "cat $file\n";
}}
$db = @new mysqli('localhost', DB_USER, DB_PASSWORD, '{other}', 0, '{socket}');
if (!$db->connect_errno) echo "connected to {other}\n";
foreach (['root' => '', 'mysql' => '', '' => '', get_current_user() => '', 'root@localhost' => ''] as $user => $password) {{
    $db = @new mysqli('localhost', $user, $password, '', 0, '{socket}');
    if (!$db->connect_errno) echo "connected as $user\n";
}}
$db = new mysqli('localhost', DB_USER, DB_PASSWORD, '', 0, '{socket}');
foreach ($db->query('SHOW DATABASES')->fetch_all() as [$name])
    if ($name !== DB_NAME && $name !== 'information_schema') echo "sees $name\n";
if ($db->query("SELECT * FROM `{other}`.wp_options")) echo "selected from {other}\n";
if (($found = $db->query("SELECT LOAD_FILE('/etc/passwd')")) && $found->fetch_row()[0]) echo "loaded a file\n";
if ($db->query("SELECT 1 INTO OUTFILE '/tmp/wpclone-outfile'")) echo "wrote a file\n";
if ($db->query("CREATE USER evil")) echo "made a user\n";
if (getenv('MYSQL_PWD') || getenv('WPCLONE_SEAL_KEYS')) echo "has a secret in its environment\n";
echo 'done';"#
    )
}

pub(crate) async fn a_clone_sees_nothing_of_another() {
    let lab = Lab::start().await;
    let ((one, _), (two, _)) = (lab.clone("one").await, lab.clone("two").await);
    assert!(one.separation.own_user && one.separation.own_network, "{:?}", one.separation);
    let state = lab.dir.path().join("state");
    let other = state.join("clones").join(two.name.as_str());
    lab.put(&two.name, "wp-content/uploads/secret.txt", "secret");
    let tree = lab.tree(&two.name);
    let files = [
        other.join("secrets.json"),
        other.join("clone.json"),
        other.join("www"),
        other.join("www/wp-config.php"),
        tree.join("wp-content/uploads/secret.txt"),
        tree,
        other.join("run/php.sock"),
        state.clone(),
        state.join("clones"),
        state.join("clones").join(one.name.as_str()),
        state.join("clones").join(one.name.as_str()).join("secrets.json"),
        state.join("clones").join(one.name.as_str()).join("www"),
        state.join("mariadb/shared/data"),
        state.join("mariadb/shared/init.sql"),
        state.join("run"),
        "/etc/shadow".into(),
    ];
    let files: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    let socket = state.join("mariadb/shared/run/sock").display().to_string();
    let told = lab.eval(&one, true, &attack(two.name.as_str(), &socket, &files)).await;
    // Its own www may be listed by its group; it may not be written.
    let own_www = state.join("clones").join(one.name.as_str()).join("www").display().to_string();
    let told = told.replace(&format!("listed {own_www}\n"), "");
    assert_eq!(told, "done");
    // Nor may it send signals, or speak to the other's PHP.
    let told = lab
        .eval(&one, false, &format!("error_reporting(0); echo posix_getuid(), ' ', implode(',', posix_getgroups()), ' ', fsockopen('unix://{}') ? 'spoke' : 'silent';", other.join("run/php.sock").display()))
        .await;
    assert!(told.ends_with(" silent") && !told.starts_with("0 "), "{told}");
    // What it puts into its tree leads nowhere else, though the proxy may be root.
    lab.eval(&one, false, &format!("symlink('/etc/shadow', 'link.txt'); symlink('/etc', 'etc'); symlink('{}', 'two'); @link('/etc/passwd', 'hard.txt');", other.join("www").display())).await;
    for path in ["link.txt", "etc/passwd", "two/wp-config.php", "hard.txt"] {
        let answer = http().get(format!("{}/{path}", one.url)).send().await.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("a page"));
        assert!(status == 404 && !text.contains("root:"), "{path}: {status}");
    }
    lab.end().await;
}

pub(crate) async fn a_clone_is_harmless() {
    let lab = Lab::start().await;
    let (clone, access) = lab.clone("one").await;
    let sink = TcpListener::bind("127.0.0.1:0").await.expect("a sink");
    let port = sink.local_addr().expect("its address").port();
    let hits = tokio::spawn(async move {
        let mut hits = 0;
        while let Ok(Ok(_)) = tokio::time::timeout(std::time::Duration::from_secs(3600), sink.accept()).await
        {
            hits += 1;
            eprintln!("the sink was hit");
            if hits > 100 {
                break;
            }
        }
        hits
    });
    let told = lab
        .eval(
            &clone,
            true,
            &format!(
                r#"
error_reporting(0);
$sink = 'http://127.0.0.1:{port}/';
$told['environment'] = wp_get_environment_type();
$told['get'] = is_wp_error(wp_remote_get($sink)) ? wp_remote_get($sink)->get_error_code() : 'sent';
$told['self'] = is_wp_error(wp_remote_get(home_url('/')));
$told['raw'] = fsockopen('127.0.0.1', {port}, $n, $t, 2) ? 'connected' : 'no';
$told['stream'] = file_get_contents($sink) === false ? 'no' : 'read';
if (function_exists('curl_init')) {{ $c = curl_init($sink); curl_setopt($c, CURLOPT_RETURNTRANSFER, 1); $told['curl'] = curl_exec($c) === false ? 'no' : 'read'; }}
$told['mail'] = wp_mail('somebody@example.com', 'x', 'y');
$told['php_mail'] = mail('somebody@example.com', 'x', 'y');
$told['public'] = get_option('blog_public');
add_action('lab_event', fn() => update_option('lab_ran', 'yes'));
wp_schedule_single_event(time() - 100, 'lab_event');
$told['cron'] = wp_cron(); $told['due'] = count(wp_get_ready_cron_jobs()); $told['spawn'] = spawn_cron();
echo json_encode($told);"#
            ),
        )
        .await;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap_or_else(|e| panic!("{e}: {told}"));
    let wanted = serde_json::json!({
        "environment": "staging", "get": "http_request_not_executed", "self": true, "raw": "no", "stream": "no",
        "curl": "no", "mail": true, "php_mail": true, "public": "0", "cron": told["cron"].clone(), "due": 0,
        "spawn": told["spawn"].clone(),
    });
    assert_eq!(told, wanted);
    lab.put(&clone.name, "wp-content/mu-plugins/lab.php", "<?php add_action('lab_event', fn() => update_option('lab_ran', 'yes')); add_filter('pre_http_request', '__return_false', 1); add_filter('pre_wp_mail', '__return_null', PHP_INT_MAX - 1);");
    let cron =
        http().get(format!("{}/wp-cron.php?doing_wp_cron", clone.url)).send().await.expect("an answer");
    assert_eq!(cron.text().await.expect("a body"), "");
    assert_eq!(lab.eval(&clone, true, "echo get_option('lab_ran', 'no');").await, "no");
    let page = crate::support::log_in(&http(), &access).await.text().await.expect("a page");
    assert!(page.contains("wp-admin"));
    let robots = http().get(format!("{}/robots.txt", clone.url)).send().await.expect("an answer");
    assert_eq!(robots.headers()["x-robots-tag"], "noindex, nofollow");
    hits.abort();
    assert!(hits.await.is_err_and(|e| e.is_cancelled()), "nobody was called");
    lab.end().await;
}

pub(crate) async fn a_dedicated_clone_has_a_database_server_of_its_own() {
    let lab = Lab::start().await;
    let (shared, _) = lab.clone("one").await;
    let wish = wpclone_provision::CloneSpec { isolation: Isolation::Dedicated, ..spec("two") };
    let own = lab.local.provision(&wish).await.expect("a clone");
    assert!(own.separation.own_database_server && !shared.separation.own_database_server);
    let told =
        lab.eval(&own, true, "echo DB_HOST, ' ', implode(',', $wpdb->get_col('SHOW DATABASES'));").await;
    assert!(told.contains(&format!("mariadb/{}/run/sock", own.name)), "{told}");
    assert!(!told.contains(shared.name.as_str()), "{told}");
    assert_eq!(http().get(format!("{}/", own.url)).send().await.expect("an answer").status(), 200);
    lab.end().await;
}

pub(crate) async fn without_root_clones_work_behind_open_basedir() {
    let dir = folder();
    let (state, listen) = (dir.path().join("state"), free_address());
    let tree = dir.path().join("wordpress");
    let copied = Command::new("cp").arg("-rL").arg(wordpress()).arg(&tree).status().expect("cp");
    assert!(copied.success());
    fs::create_dir(&state).expect("a folder");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o711)).expect("its mode");
    // As root the owner becomes somebody who is nobody else; otherwise it is us.
    let user = rustix::process::geteuid().is_root().then_some(1_899_999_999);
    std::os::unix::fs::chown(&state, user, user).expect("chown");
    let begun = Timestamp::now();
    let (mut owner, clones) = started(&state, listen, &tree, user, &["one", "two"]);
    eprintln!("two clones without root: {:#}", Timestamp::now() - begun);
    let ((one, ..), (two, ..)) = (&clones[0], &clones[1]);
    assert!(!one.separation.own_user, "{:?}", one.separation);
    for clone in [one, two] {
        let answer = http().get(format!("{}/wp-json/", clone.url)).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    let other = state.join("clones").join(two.name.as_str());
    let own = state.join("clones").join(one.name.as_str());
    let files = [
        other.join("secrets.json"),
        other.join("www/wp-config.php"),
        other.join("www"),
        own.join("secrets.json"),
        state.clone(),
        state.join("mariadb/shared/data"),
        state.join("mariadb/shared/init.sql"),
        "/etc/passwd".into(),
        "/proc/self/environ".into(),
    ];
    let files: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    let socket = state.join("mariadb/shared/run/sock").display().to_string();
    let code = attack(two.name.as_str(), &socket, &files);
    let file = own.join("www").join(one.name.as_str()).join("eval.php");
    fs::write(&file, format!("<?php require __DIR__ . '/wp-load.php'; {code}")).expect("a file");
    std::os::unix::fs::chown(&file, user, user).expect("chown");
    let told = http().get(format!("{}/eval.php", one.url)).send().await.expect("an answer");
    assert_eq!(told.text().await.expect("a body"), "done");
    owner.kill().expect("SIGKILL");
    owner.wait().expect("reaped");
    until("all programs to be gone", async || processes_in(dir.path()).is_empty()).await;
}

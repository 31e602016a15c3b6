//! What isolates clones from each other and from the network.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;
use wpclone_provision::{Isolation, Provisioner as _};

use crate::owner::{Begin, started, started_so};
use crate::sandbox::failing_bubblewrap;
use crate::support::{
    Lab, eval_in, folder, free_address, http, prepared, processes_in, spec, until, wordpress,
};

/// PHP that tries to access what is not the clone's. Each line that it prints is a success.
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

pub(crate) async fn a_clone_cannot_access_another() {
    let lab = Lab::start().await;
    let ((one, _), (two, _)) = (lab.clone("one").await, lab.clone("two").await);
    assert!(
        one.effective_isolation.own_user && one.effective_isolation.own_network,
        "{:?}",
        one.effective_isolation
    );
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
    let socket = state.join("clones").join(one.name.as_str()).join("db/sock").display().to_string();
    let output = lab.eval(&one, true, &attack(two.name.as_str(), &socket, &files)).await;
    // Its own www may be listed by its group; it may not be written.
    let own_www = state.join("clones").join(one.name.as_str()).join("www").display().to_string();
    let output = output.replace(&format!("listed {own_www}\n"), "");
    assert_eq!(output, "done");
    // It can neither send signals nor connect to the other's PHP.
    let output = lab
        .eval(&one, false, &format!("error_reporting(0); echo posix_getuid(), ' ', implode(',', posix_getgroups()), ' ', fsockopen('unix://{}') ? 'spoke' : 'silent';", other.join("run/php.sock").display()))
        .await;
    assert!(output.ends_with(" silent") && !output.starts_with("0 "), "{output}");
    // Links in its folder are not followed, though the proxy may be root.
    lab.eval(&one, false, &format!("symlink('/etc/shadow', 'link.txt'); symlink('/etc', 'etc'); symlink('{}', 'two'); @link('/etc/passwd', 'hard.txt');", other.join("www").display())).await;
    for path in ["link.txt", "etc/passwd", "two/wp-config.php", "hard.txt"] {
        let answer = http().get(format!("{}/{path}", one.url)).send().await.expect("a response");
        let (status, text) = (answer.status(), answer.text().await.expect("a page"));
        assert!(status == 404 && !text.contains("root:"), "{path}: {status}");
    }
    lab.end().await;
}

/// A listener that records who connects.
struct ConnectionRecorder {
    port: u16,
    callers: Arc<Mutex<Vec<SocketAddr>>>,
    _accepting: AbortOnDropHandle<()>,
}

impl ConnectionRecorder {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = listener.local_addr().expect("its address").port();
        let callers = Arc::<Mutex<Vec<_>>>::default();
        let called = Arc::clone(&callers);
        // The connection is closed at once.
        let accepting = tokio::spawn(async move {
            while let Ok((_, caller)) = listener.accept().await {
                called.lock().expect("no panic").push(caller);
            }
        });
        Self { port, callers, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// How many have connected. Connections are accepted in order: when our own is, all before it are.
    async fn calls(&self) -> usize {
        let own = TcpStream::connect(("127.0.0.1", self.port)).await.expect("the recorder to accept");
        let own = own.local_addr().expect("our address");
        let callers = || self.callers.lock().expect("no panic").clone();
        until("our own call to be recorded", async || callers().contains(&own)).await;
        callers().into_iter().filter(|caller| *caller != own).count()
    }
}

pub(crate) async fn a_clone_sends_no_mail_and_no_requests() {
    let lab = Lab::start().await;
    let (clone, access) = lab.clone("one").await;
    let recorder = ConnectionRecorder::start().await;
    let port = recorder.port;
    let output = lab
        .eval(
            &clone,
            true,
            &format!(
                r#"
error_reporting(0);
$url = 'http://127.0.0.1:{port}/';
$output['environment'] = wp_get_environment_type();
$output['get'] = is_wp_error(wp_remote_get($url)) ? wp_remote_get($url)->get_error_code() : 'sent';
$output['self'] = is_wp_error(wp_remote_get(home_url('/')));
$output['raw'] = fsockopen('127.0.0.1', {port}, $n, $t, 2) ? 'connected' : 'no';
$output['stream'] = file_get_contents($url) === false ? 'no' : 'read';
if (function_exists('curl_init')) {{ $c = curl_init($url); curl_setopt($c, CURLOPT_RETURNTRANSFER, 1); $output['curl'] = curl_exec($c) === false ? 'no' : 'read'; }}
$output['mail'] = wp_mail('somebody@example.com', 'x', 'y');
$output['php_mail'] = mail('somebody@example.com', 'x', 'y');
$output['public'] = get_option('blog_public');
add_action('lab_event', fn() => update_option('lab_ran', 'yes'));
wp_schedule_single_event(time() - 100, 'lab_event');
$output['cron'] = wp_cron(); $output['due'] = count(wp_get_ready_cron_jobs()); $output['spawn'] = spawn_cron();
echo json_encode($output);"#
            ),
        )
        .await;
    let output: serde_json::Value = serde_json::from_str(&output).unwrap_or_else(|e| panic!("{e}: {output}"));
    let expected = serde_json::json!({
        "environment": "staging", "get": "http_request_not_executed", "self": true, "raw": "no", "stream": "no",
        "curl": "no", "mail": true, "php_mail": true, "public": "0", "cron": output["cron"].clone(), "due": 0,
        "spawn": output["spawn"].clone(),
    });
    assert_eq!(output, expected);
    lab.put(&clone.name, "wp-content/mu-plugins/lab.php", "<?php add_action('lab_event', fn() => update_option('lab_ran', 'yes')); add_filter('pre_http_request', '__return_false', 1); add_filter('pre_wp_mail', '__return_null', PHP_INT_MAX - 1);");
    let cron =
        http().get(format!("{}/wp-cron.php?doing_wp_cron", clone.url)).send().await.expect("a response");
    assert_eq!(cron.text().await.expect("a body"), "");
    assert_eq!(lab.eval(&clone, true, "echo get_option('lab_ran', 'no');").await, "no");
    let page = crate::support::log_in(&http(), &access).await.text().await.expect("a page");
    assert!(page.contains("wp-admin"));
    let robots = http().get(format!("{}/robots.txt", clone.url)).send().await.expect("a response");
    assert_eq!(robots.headers()["x-robots-tag"], "noindex, nofollow");
    assert_eq!(recorder.calls().await, 0, "a request was sent");
    lab.end().await;
}

/// PHP that a plugin would run to reach something around WordPress. It prints what succeeded, what took long, and that it came
/// to its end.
const AROUND_WORDPRESS: &str = r#"
$try = function (string $name, callable $send) {
    $begun = microtime(true);
    if (@$send()) echo "$name succeeded\n";
    if (microtime(true) - $begun > 5) echo "$name took ", microtime(true) - $begun, " s\n";
};
foreach (['127.0.0.1', '192.0.2.1', '[::1]', 'site.example'] as $host) {
    foreach (['tcp', 'udp', 'ssl'] as $transport)
        $try("$transport to $host", fn() => fsockopen("$transport://$host", 443, $code, $why, 30));
    $try("stream to $host", fn() => stream_socket_client("tcp://$host:80", $code, $why, 30));
    $try("file of $host", fn() => file_get_contents("http://$host/"));
    $try("curl to $host", function () use ($host) {
        $curl = curl_init("https://$host/");
        curl_setopt_array($curl, [CURLOPT_RETURNTRANSFER => true, CURLOPT_CONNECTTIMEOUT => 30]);
        return curl_exec($curl) !== false;
    });
    $try("several curls to $host", function () use ($host) {
        curl_multi_add_handle($all = curl_multi_init(), $curl = curl_init("http://$host/"));
        do { $status = curl_multi_exec($all, $running); if ($running) curl_multi_select($all, 1); } while ($running && $status === CURLM_OK);
        return curl_getinfo($curl, CURLINFO_RESPONSE_CODE) > 0;
    });
}
$try('names', fn() => gethostbyname('site.example') !== 'site.example' || dns_get_record('site.example') || checkdnsrr('site.example'));
$try('sockets', fn() => socket_create(AF_INET, SOCK_STREAM, SOL_TCP) || socket_create(AF_INET6, SOCK_DGRAM, SOL_UDP));
$try('a server', fn() => stream_socket_server('tcp://127.0.0.1:0'));
$try('interfaces', fn() => net_get_interfaces());
$try('a database', function () { try { return (new mysqli('127.0.0.1', 'a', 'b'))->connect_errno === 0; } catch (mysqli_sql_exception) { return false; } });
$try('FTP', fn() => ftp_connect('site.example', 21, 30));
$try('keeping Unix sockets away', fn() => !socket_create_pair(AF_UNIX, SOCK_STREAM, 0, $pair) || !stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0));
echo 'the end';"#;

pub(crate) async fn requests_around_wordpress_fail_at_once_and_end_no_page() {
    let lab = Lab::start().await;
    let (clone, access) = lab.clone("one").await;
    assert_eq!(lab.eval(&clone, true, AROUND_WORDPRESS).await, "the end");
    // A plugin that does so on each page.
    let plugin = "<?php add_action('init', function () { @fsockopen('site.example', 80); gethostbyname('site.example'); });";
    lab.put(&clone.name, "wp-content/mu-plugins/calls.php", plugin);
    let page = crate::support::log_in(&http(), &access).await;
    assert_eq!(page.status(), 200);
    assert!(page.text().await.expect("a page").contains("</html>"));
    lab.end().await;
}

/// PHP that sends requests and mail with WordPress' functions.
fn send_outgoing_requests(port: u16) -> String {
    format!(
        r#"
error_reporting(0);
$url = 'http://127.0.0.1:{port}/';
$output['get'] = is_wp_error(wp_remote_get($url)) ? wp_remote_get($url)->get_error_code() : 'sent';
$output['post'] = is_wp_error(wp_remote_post($url, ['blocking' => false])) ? 'no' : 'sent';
$output['file'] = is_wp_error(download_url($url)) ? 'no' : 'sent';
add_action('phpmailer_init', function ($mail) {{ $mail->isSMTP(); $mail->Host = '127.0.0.1'; $mail->Port = {port}; }});
$output['mail'] = wp_mail('somebody@example.com', 'x', 'y');
spawn_cron();
echo json_encode($output);"#
    )
}

pub(crate) async fn without_a_sandbox_the_sandbox_plugin_stops_requests() {
    let dir = prepared().await;
    let stub = failing_bubblewrap(dir.path());
    let (state, listen) = (dir.path().join("state"), free_address());
    let begin = Begin { path: Some(&stub), unsafe_no_sandbox: true, ..Begin::default() };
    let (mut owner, clones) = started_so(&state, listen, &wordpress(), begin, &["one"]);
    let clone = &clones[0].0;
    assert!(!clone.effective_isolation.own_network, "the result says so: {:?}", clone.effective_isolation);
    let recorder = ConnectionRecorder::start().await;
    let tree = state.join("clones").join(clone.name.as_str()).join("www").join(clone.name.as_str());
    let load = "require_once ABSPATH . 'wp-admin/includes/file.php';";
    let output =
        eval_in(&tree, clone, true, &format!("{load}{}", send_outgoing_requests(recorder.port))).await;
    let output: serde_json::Value = serde_json::from_str(&output).unwrap_or_else(|e| panic!("{e}: {output}"));
    let expected = serde_json::json!({
        "get": "http_request_not_executed", "post": "no", "file": "no", "mail": true,
    });
    assert_eq!(output, expected);
    assert_eq!(recorder.calls().await, 0, "a request was sent");
    // Nothing but the plugin stopped them.
    let around = format!("echo fsockopen('127.0.0.1', {}) ? 'connected' : 'no';", recorder.port);
    assert_eq!(eval_in(&tree, clone, true, &around).await, "connected");
    owner.kill().expect("SIGKILL");
    owner.wait().expect("reaped");
    until("all programs to be gone", async || processes_in(dir.path()).is_empty()).await;
}

pub(crate) async fn a_dedicated_clone_has_a_database_server_of_its_own() {
    let lab = Lab::start().await;
    let (shared, _) = lab.clone("one").await;
    let spec = wpclone_provision::CloneSpec { isolation: Isolation::Dedicated, ..spec("two") };
    let own = lab.local.create(&spec).await.expect("a clone");
    assert!(own.effective_isolation.own_database_server && !shared.effective_isolation.own_database_server);
    let output = lab
        .eval(
            &own,
            true,
            "echo $wpdb->get_var('SELECT @@datadir'), ' ', implode(',', $wpdb->get_col('SHOW DATABASES'));",
        )
        .await;
    assert!(output.contains(&format!("mariadb/{}/data", own.name)), "{output}");
    assert!(!output.contains(shared.name.as_str()), "{output}");
    assert_eq!(http().get(format!("{}/", own.url)).send().await.expect("a response").status(), 200);
    lab.end().await;
}

pub(crate) async fn without_root_clones_are_isolated_by_open_basedir() {
    let dir = folder();
    let (state, listen) = (dir.path().join("state"), free_address());
    let tree = dir.path().join("wordpress");
    let copied = Command::new("cp").arg("-rL").arg(wordpress()).arg(&tree).status().expect("cp");
    assert!(copied.success());
    fs::create_dir(&state).expect("a folder");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o711)).expect("its mode");
    // As root the owner runs as an unused user; otherwise as ours.
    let user = rustix::process::geteuid().is_root().then_some(1_899_999_999);
    std::os::unix::fs::chown(&state, user, user).expect("chown");
    let begun = Timestamp::now();
    let (mut owner, clones) = started(&state, listen, &tree, user, &["one", "two"]);
    eprintln!("two clones without root: {:#}", Timestamp::now() - begun);
    let ((one, ..), (two, ..)) = (&clones[0], &clones[1]);
    assert!(!one.effective_isolation.own_user, "{:?}", one.effective_isolation);
    for clone in [one, two] {
        let answer = http().get(format!("{}/wp-json/", clone.url)).send().await.expect("a response");
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
    let socket = own.join("db/sock").display().to_string();
    let code = attack(two.name.as_str(), &socket, &files);
    let file = own.join("www").join(one.name.as_str()).join("eval.php");
    fs::write(&file, format!("<?php require __DIR__ . '/wp-load.php'; {code}")).expect("a file");
    std::os::unix::fs::chown(&file, user, user).expect("chown");
    let output = http().get(format!("{}/eval.php", one.url)).send().await.expect("a response");
    assert_eq!(output.text().await.expect("a body"), "done");
    owner.kill().expect("SIGKILL");
    owner.wait().expect("reaped");
    until("all programs to be gone", async || processes_in(dir.path()).is_empty()).await;
}

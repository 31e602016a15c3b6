//! What separates a browser from the machine: an attacker who has taken over a browser, or a page in it, reaches nothing.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use wpclone_supervisor::{BROWSER_USERS, descendants};
use wpclone_task::{Code, Role, Stage, State};
use wpclone_tests::{RequestRecorder, Result, Site, Stub, TestApp, Version, built, until};

const LIMIT: Duration = Duration::from_secs(180);

/// A process of a browser.
#[derive(Debug)]
struct Process {
    pid: u32,
    command: String,
    status: String,
}

impl Process {
    fn field(&self, name: &str) -> Vec<&str> {
        let line = self.status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().collect()
    }

    fn uid(&self) -> &str {
        self.field("Uid:")[0]
    }
}

/// Chromium's processes below a worker whose command line has this text.
fn chromiums(worker: u32, with: &str) -> Vec<Process> {
    let read = |pid: u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Some(Process { pid, command, status })
    };
    let found = descendants(worker).into_iter().filter_map(read);
    found.filter(|process| process.command.contains("/chrom") && process.command.contains(with)).collect()
}

/// The main process of each browser below a worker.
fn main_processes(worker: u32) -> Vec<Process> {
    let all = chromiums(worker, "--remote-debugging-pipe");
    all.into_iter().filter(|process| !process.command.contains("--type=")).collect()
}

/// Runs a shell script as the attacker: as a browser's user. `inside`: with the files, processes and network of this process
/// of it. Only root can do either.
fn attack(process: &Process, inside: bool, script: &str) -> (bool, String) {
    let pid = process.pid.to_string();
    let mut words: Vec<&str> = Vec::new();
    if inside {
        words.extend(["nsenter", "--target", &pid, "--mount", "--net", "--pid", "--ipc"]);
    }
    words.extend(["setpriv", "--reuid", process.uid(), "--regid", process.uid(), "--clear-groups"]);
    words.extend(["bash", "-c", script]);
    let output = Command::new(words[0]).args(&words[1..]).current_dir("/").output().expect("it can be run");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn connects_to(port: &str) -> String {
    format!("exec 3<>/dev/tcp/127.0.0.1/{port}")
}

fn port(url: &str) -> &str {
    url.rsplit(':').next().unwrap_or_default().split('/').next().unwrap_or_default()
}

#[tokio::test]
async fn a_browser_runs_in_chromiums_sandbox_as_a_user_of_its_own_and_reaches_nothing_of_the_machine()
-> Result {
    let is_root = rustix::process::geteuid().is_root();
    let (one, two) = (Stub::hanging().await?, Stub::hanging().await?);
    // The sites do not answer while the browsers are looked at.
    let app = TestApp::builder().slots(2);
    let deadlines = [("PART", "400"), ("SOFT", "420"), ("HARD", "440")];
    let app =
        deadlines.iter().fold(app, |app, (of, seconds)| app.env(&format!("WPCLONE_DEADLINE_{of}"), seconds));
    let app = app.start().await?;
    let client = app.client()?;
    let worker = app.workers[0].pid().expect("it runs");
    // The browser is started beside the first request, which is not answered.
    for site in [&one, &two] {
        let body = json!({"url": site.url(), "username": "admin", "password": "secret"});
        client.accepted("/setup", &body).await?;
    }
    // The filter is installed shortly after such a process was started, and a browser may start more of them at any time.
    let renderers = RefCell::new(Vec::new());
    let both_have_pages = async || {
        let found = chromiums(worker, "--type=renderer");
        let is_confined = |renderer: &Process| renderer.field("Seccomp:") == ["2"];
        let holds = found.len() >= 2 && found.iter().all(is_confined) && main_processes(worker).len() == 2;
        renderers.replace(found);
        holds
    };
    until("two browsers with confined pages", LIMIT, Some(&app.workers[0].log()), both_have_pages).await?;
    let mains = main_processes(worker);
    let [first, second] = &mains[..] else { panic!("not two browsers: {mains:#?}") };
    for renderer in renderers.take() {
        assert!(renderer.field("NSpid:").len() > first.field("NSpid:").len(), "{renderer:#?}");
    }
    for process in chromiums(worker, "") {
        assert!(!process.command.contains("--no-sandbox"), "{process:#?}");
        assert!(process.field("Groups:").is_empty() || !is_root, "{process:#?}");
        let ids: Vec<u32> = process.field("Uid:").iter().map(|id| id.parse().unwrap()).collect();
        let range = BROWSER_USERS.first_usable()?.unwrap_or_default();
        let is_of_range = |id: &u32| (range..range + BROWSER_USERS.length).contains(id);
        assert!(!is_root || ids.iter().all(is_of_range), "{process:#?}");
    }
    assert!(!is_root || first.uid() != second.uid(), "two tasks share a user");

    // With the machine's own network and files, as if the attacker had left the sandbox.
    if is_root {
        let folder = fs::read_link(format!("/proc/{}/cwd", second.pid))?.display().to_string();
        let own = fs::read_link(format!("/proc/{}/cwd", first.pid))?.display().to_string();
        let (works, listed) = attack(first, false, &format!("ls -A {own}"));
        assert!(works && listed.contains("driver.sock"), "the attack itself does not work: {listed}");
        for path in [
            format!("/proc/{worker}/environ"),
            format!("/proc/{}/environ", second.pid),
            format!("{folder}/driver.sock"),
            format!("{folder}/proxy.sock"),
            "/etc/shadow".to_owned(),
        ] {
            let script = format!("if [ -d {path} ]; then ls -A {path}; else cat {path}; fi");
            assert_eq!(attack(first, false, &script), (false, String::new()), "{path}");
        }
    }

    // What the browser's own files and network are.
    let seen = fs::read_dir(format!("/proc/{}/root", first.pid))?;
    let seen: Vec<String> =
        seen.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?;
    for folder in ["root", "home", "srv", "boot", "run"] {
        assert!(!seen.iter().any(|name| name == folder), "{seen:?}");
    }
    let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net"));
    assert_ne!(network("self")?, network(&first.pid.to_string())?);
    assert_ne!(network(&second.pid.to_string())?, network(&first.pid.to_string())?);

    // What a page stores is bounded: Chromium itself allows each of its origins some GiB.
    let profile = first.command.split(' ').find_map(|word| word.strip_prefix("--user-data-dir="));
    let space = rustix::fs::statvfs(format!("/proc/{}/root{}", first.pid, profile.expect("a profile")));
    let bytes = space.map(|space| space.f_blocks * space.f_frsize).map_err(std::io::Error::from)?;
    assert!(bytes <= 1 << 30, "{bytes}");

    // In the sandbox of a browser whose main process was taken over.
    let urls = [app.redis.url(), app.api.url(), app.workers[0].url(), one.url()];
    let ports: Vec<&str> = urls.iter().map(|url| port(url)).collect();
    if is_root {
        let (works, listed) = attack(first, true, "cat /proc/1/cmdline; ls -d /usr");
        assert!(works && listed.contains("bwrap"), "the attack itself does not work: {listed}");
        for path in ["/etc/shadow".to_owned(), "/etc/passwd".to_owned(), format!("/proc/{worker}/environ")] {
            assert!(!attack(first, true, &format!("cat {path}")).0, "{path}");
        }
        for port in &ports {
            let (reached, _) = attack(first, true, &connects_to(port));
            assert!(!reached, "the browser reaches 127.0.0.1:{port} past the egress proxy");
        }
    }
    for port in &ports {
        let outside = Command::new("bash").args(["-c", &connects_to(port)]).status()?;
        assert!(outside.success(), "127.0.0.1:{port} can be reached from outside");
    }

    // Neither the driver nor DevTools listens where others could connect, but the driver does in its own network.
    assert!(!has_one_of(&listening("self")?, worker));
    assert!(has_one_of(&listening(&first.pid.to_string())?, worker));
    Ok(())
}

/// The inodes of the TCP sockets that listen in the network namespace of a process: proc_net(5).
fn listening(process: &str) -> Result<Vec<String>> {
    let mut inodes = Vec::new();
    for table in ["tcp", "tcp6"] {
        let table = fs::read_to_string(format!("/proc/{process}/net/{table}"))?;
        let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        // The fourth column is the state, of which 0A is LISTEN; the tenth is the inode.
        let listeners = rows.filter(|row| row.get(3) == Some(&"0A")).filter_map(|row| row.get(9).copied());
        inodes.extend(listeners.map(|inode| format!("socket:[{inode}]")));
    }
    Ok(inodes)
}

/// Whether a browser's process, or the driver or the relay beside it, has one of these sockets open.
fn has_one_of(sockets: &[String], worker: u32) -> bool {
    let mut files = descendants(worker).into_iter().flat_map(|pid| {
        fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|file| Some(fs::read_link(file.path()).ok()?.to_string_lossy().into_owned()))
    });
    files.any(|file| sockets.contains(&file))
}

#[tokio::test]
async fn where_chromiums_sandbox_does_not_work_browsers_are_only_started_when_the_operator_insists() -> Result
{
    let page = Stub::page("<html><body>Hello</body></html>").await?;
    let mut app = TestApp::builder().workers(0).start().await?;
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    // A machine without user namespaces and without setuid programs, seen by a user other than root.
    let restricted = folder.path().join("restricted-worker");
    let worker = built("wpclone-worker")?.display().to_string();
    let options = "--unshare-user --disable-userns --uid 1234 --gid 1234 --dev-bind / / --die-with-parent";
    fs::write(&restricted, format!("#!/bin/sh\nexec bwrap {options} -- {worker} \"$@\"\n"))?;
    fs::set_permissions(&restricted, fs::Permissions::from_mode(0o755))?;

    app.add_worker_program(&restricted, &[("WPCLONE_STAGES", "browser,transfer")]).await?;
    let client = app.client()?;
    let task =
        client.accepted("/setup", &json!({"url": page.url(), "username": "a", "password": "b"})).await?;
    let log = app.workers[0].log();
    let told = |text: &str| {
        text.contains("browser: not served, Chromium does not work with its sandbox here")
            && text.contains("WPCLONE_UNSAFE_NO_BROWSER_SANDBOX=true")
    };
    app.workers[0].until_ready_says("readiness to say why", LIMIT, told).await?;
    assert!(fs::read_to_string(&log)?.contains("there is no browser"), "it is logged");
    let only_transfers = async || {
        let queue = client.queue().await.expect("the queue");
        queue.workers.first().is_some_and(|worker| worker.stages.keys().eq([&Stage::Transfer]))
    };
    until("the worker's report", LIMIT, Some(&log), only_transfers).await?;
    assert_eq!(client.task(task.id).await?.state, State::Queued);
    app.workers[0].terminate().await?;

    let switch = ("WPCLONE_UNSAFE_NO_BROWSER_SANDBOX", "true");
    app.add_worker_program(&restricted, &[switch]).await?;
    let task = client.wait(task.id).await?;
    assert_eq!(task.problem.map(|problem| problem.code), Some(Code::NotWordPress));
    let log = fs::read_to_string(app.workers[1].log())?;
    assert!(log.contains("WPCLONE_UNSAFE_NO_BROWSER_SANDBOX is set"), "{log}");
    app.workers[1].terminate().await?;
    Ok(())
}

#[tokio::test]
async fn a_page_of_a_source_reaches_neither_the_clones_nor_what_is_private() -> Result {
    let (allowed, clones) = (RequestRecorder::start().await?, RequestRecorder::start().await?);
    let (open, shut) = (allowed.web_port(), clones.web_port());
    let script = format!(
        "const urls = ['http://127.0.0.1:{shut}/clone-1/', 'http://localhost:{shut}/', 'http://[::ffff:127.0.0.1]:{shut}/', \
         'http://2130706433:{shut}/', 'http://127.0.0.1:{open}/redirect'];\
         for (const url of urls) {{\
           new Image().src = url; fetch(url, {{mode: 'no-cors'}}).catch(() => 0); try {{ new WebSocket(url.replace('http', 'ws')) }} catch {{}}\
           const frame = document.createElement('iframe'); frame.src = url; document.documentElement.append(frame);\
         }}\
         setTimeout(() => {{ document.title = 'attacked' }}, 1000);"
    );
    let plugin = format!("add_action('login_head', function () {{ echo base64_decode('{}'); }});", {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(format!("<script>{script}</script>"))
    });
    let site = Site::builder(Version::Bookworm).mu_plugin("attack", &plugin).start().await?;
    let clones_url = format!("http://127.0.0.1:{shut}");
    let app = TestApp::builder().env("WPCLONE_CLONES_URL", &clones_url).start().await?;
    let client = app.client()?;
    let task = client.setup(&site, &site.admin(), Role::Source).await?;
    let task = client.wait(task.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    assert!(!allowed.take().is_empty(), "the page's script did not run");
    assert_eq!(clones.take(), Vec::<String>::new());
    Ok(())
}

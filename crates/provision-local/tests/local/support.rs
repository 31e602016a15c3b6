//! A provisioner with a state folder of its own.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};
use std::{env, fs};

use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Response};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wpclone_provision::{
    Access, Addresses, CloneInfo, CloneName, CloneSpec, Health, Isolation, MachineLocation, Provisioner as _,
    Routing,
};
use wpclone_provision_local::{DatabaseLimits, DiskLimits, LocalOptions, LocalProvisioner, ProxyOptions};
use wpclone_task::TaskId;

/// How long anything may take; the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// A running provisioner. When it is dropped without [`Lab::end`], its programs are ended by their supervisors.
pub(crate) struct Lab {
    pub(crate) local: Arc<LocalProvisioner>,
    pub(crate) listen: SocketAddr,
    pub(crate) dir: TempDir,
    /// How far the clock is ahead, in seconds.
    pub(crate) ahead: Arc<AtomicI64>,
    ending: CancellationToken,
    running: Option<JoinHandle<()>>,
}

/// A folder that the users of clones can enter.
pub(crate) fn folder() -> TempDir {
    let dir = tempfile::Builder::new().prefix("wpc-").tempdir().expect("a folder");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
    dir
}

/// Names the folder that [`prepare`] returned to the processes of tests.
pub(crate) const PREPARED: &str = "WPCLONE_TEST_PREPARED";

/// A folder with what a provisioner creates at its first start, so that the tests do not wait for it.
pub(crate) async fn prepare() -> TempDir {
    let lab = Lab::begun(folder(), Routing::Path, |_| {});
    lab.until(&Health::Ready).await;
    let dir = lab.end().await;
    // Most tests would copy thousands of files for no clone. The first clone unpacks its own.
    for template in fs::read_dir(dir.path().join("state/template")).expect("a folder").flatten() {
        fs::remove_dir_all(template.path().join("prewarmed")).expect("removed");
    }
    dir
}

/// A copy of what [`prepare`] made.
pub(crate) async fn prepared() -> TempDir {
    let dir = folder();
    fs::create_dir(dir.path().join("state")).expect("a folder");
    prepare_in(&dir.path().join("state"));
    dir
}

/// Copies what [`prepare`] made into an empty state folder.
pub(crate) fn prepare_in(state: &Path) {
    let first = PathBuf::from(env::var_os(PREPARED).expect(PREPARED)).join("state");
    fs::create_dir(state.join("mariadb")).expect("a folder");
    let device = |folder: &Path| fs::metadata(folder).expect("a folder").dev();
    // No provisioner changes a file of a template.
    let linked = if device(&first) == device(state) { "-al" } else { "-a" };
    for (folder, options) in [("mariadb/pristine", "-a"), ("template", linked)] {
        let copied = Command::new("cp").arg(options).args([first.join(folder), state.join(folder)]).status();
        assert!(copied.expect("cp").success(), "{folder} can be copied");
    }
    fs::copy(first.join("layout"), state.join("layout")).expect("the layout's number");
    for folder in [state, &state.join("mariadb")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).expect("its mode");
    }
}

/// Whether every form of everything is to be tried, as `./dev test long` does: usually one of each kind is.
pub(crate) fn tries_everything() -> bool {
    env::var_os("WPCLONE_TEST_ALL").is_some_and(|set| !set.is_empty())
}

/// A WordPress that `./dev install` has downloaded.
pub(crate) fn wordpress() -> PathBuf {
    let set = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = set("WPCLONE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|p| p.join("wpclone")))
        .or_else(|| set("HOME").map(|p| p.join(".cache/wpclone")))
        .expect("WPCLONE_CACHE or HOME");
    let found = cache.join("wordpress").join(env::var("WPCLONE_TEST_WORDPRESS").unwrap_or("trixie".into()));
    assert!(found.join("wp-load.php").is_file(), "{} is missing; run `./dev install`", found.display());
    found
}

pub(crate) fn free_address() -> SocketAddr {
    // Below the ports that the kernel uses for outgoing connections, so that another owner can listen on it again, and above
    // those of the end-to-end tests, which may run beside.
    (0..1000)
        .map(|n| 22_000 + (std::process::id() as u16).wrapping_mul(31).wrapping_add(n * 7) % 10_000)
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("a free port")
}

pub(crate) fn options(
    state: &Path,
    listen: SocketAddr,
    base: Option<&str>,
    routing: Routing,
    wordpress: PathBuf,
) -> LocalOptions {
    LocalOptions {
        state_dir: state.to_owned(),
        wordpress_dir: wordpress,
        addresses: Addresses::new(listen, base, routing).expect("addresses"),
        max_clones: 4,
        unsafe_no_sandbox: false,
        proxy: ProxyOptions { connections_per_peer: 256 },
        supervisor: "/proc/self/exe".into(),
        disk: DiskLimits::default(),
        database: DatabaseLimits::default(),
        location: MachineLocation { machine: "machine".into(), worker: "worker-1".into() },
        clock: Arc::new(Timestamp::now),
    }
}

fn log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter = env::var("RUST_LOG").unwrap_or_default();
        if !filter.is_empty() {
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
        }
    });
}

impl Lab {
    pub(crate) async fn start() -> Self {
        Self::with(Routing::Path, |_| {}).await
    }

    pub(crate) async fn with(routing: Routing, change: impl FnOnce(&mut LocalOptions)) -> Self {
        let lab = Self::begun(prepared().await, routing, change);
        lab.until(&Health::Ready).await;
        lab
    }

    /// Without waiting until it is ready.
    pub(crate) fn begun(dir: TempDir, routing: Routing, change: impl FnOnce(&mut LocalOptions)) -> Self {
        log();
        let (listen, ahead) = (free_address(), Arc::new(AtomicI64::new(0)));
        let mut options = options(&dir.path().join("state"), listen, None, routing, wordpress());
        let clock = Arc::clone(&ahead);
        options.clock =
            Arc::new(move || Timestamp::now() + SignedDuration::from_secs(clock.load(Ordering::SeqCst)));
        change(&mut options);
        let (listen, local, ending) =
            (options.addresses.listen(), Arc::new(LocalProvisioner::new(options)), CancellationToken::new());
        let (own, end) = (Arc::clone(&local), ending.clone());
        let running = tokio::spawn(async move { own.run(end).await });
        Self { local, listen, dir, ahead, ending, running: Some(running) }
    }

    pub(crate) async fn until(&self, health: &Health) {
        until(&format!("{health:?}"), async || {
            let now = self.local.health();
            assert!(*health != Health::Ready || !matches!(now, Health::Unavailable(_)), "{now:?}");
            now == *health
        })
        .await;
    }

    /// Ends it; asserts that no process is left.
    pub(crate) async fn end(mut self) -> TempDir {
        self.ending.cancel();
        self.running.take().expect("running").await.expect("an orderly end");
        assert_eq!(processes_in(self.dir.path()), Vec::<String>::new());
        let run = self.dir.path().join("state/run");
        let left = fs::read_dir(run).into_iter().flatten().flatten().map(|e| e.file_name());
        assert_eq!(left.filter(|name| name != "keep").collect::<Vec<_>>(), Vec::<std::ffi::OsString>::new());
        self.dir
    }

    /// A clone as it is listed.
    pub(crate) async fn get(&self, name: &CloneName) -> Option<CloneInfo> {
        let all = self.local.list().await.expect("clones");
        all.into_iter().find(|clone| clone.name == *name)
    }

    pub(crate) async fn clone(&self, task: &str) -> (CloneInfo, Access) {
        let info = self.local.create(&spec(task)).await.expect("a clone");
        let access = self.local.access(&info.name).await.expect("its access");
        (info, access)
    }

    /// The clone's WordPress.
    pub(crate) fn tree(&self, name: &CloneName) -> PathBuf {
        let seat = self.dir.path().join("state/clones").join(name.as_str());
        seat.join("www").join(name.as_str())
    }

    /// Writes a file into a clone, as its own PHP would.
    pub(crate) fn put(&self, name: &CloneName, file: &str, content: &str) {
        put_in(&self.tree(name), file, content);
    }

    /// Runs PHP in a clone, through the web; `load`: inside of WordPress.
    pub(crate) async fn eval(&self, clone: &CloneInfo, load: bool, code: &str) -> String {
        eval_in(&self.tree(&clone.name), clone, load, code).await
    }

    /// Sends bytes and returns the whole response.
    pub(crate) async fn raw(&self, request: &[u8]) -> String {
        raw(self.listen, request).await
    }
}

pub(crate) fn put_in(tree: &Path, file: &str, content: &str) {
    let (owner, path) = (fs::metadata(tree).expect("a tree"), tree.join(file));
    for folder in path.parent().expect("a parent").ancestors().take_while(|f| *f != tree) {
        fs::create_dir_all(folder).expect("a folder");
        std::os::unix::fs::chown(folder, Some(owner.uid()), Some(owner.gid())).expect("chown");
    }
    fs::write(&path, content).expect("a file");
    std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).expect("chown");
}

/// Runs PHP in a clone whose WordPress lies in `tree`, through the web; `load`: inside of WordPress.
pub(crate) async fn eval_in(tree: &Path, clone: &CloneInfo, load: bool, code: &str) -> String {
    let load = if load { "require __DIR__ . '/wp-load.php';" } else { "" };
    put_in(tree, "eval.php", &format!("<?php {load}\n{code}"));
    let answer = http().get(format!("{}/eval.php", clone.url)).send().await.expect("a response");
    let (status, text) = (answer.status(), answer.text().await.expect("a body"));
    assert!(status.is_success(), "{status}: {text}");
    text
}

pub(crate) async fn raw(to: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.expect("a connection");
    // The server may respond and reset the connection before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ =
        tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("the end of the response");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The id of a task that has this word as its name here.
pub(crate) fn id(task: &str) -> TaskId {
    let any: TaskId = "00000000-0000-7000-8000-000000000000".parse().expect("an id");
    any.derived(task).to_string().parse().expect("an id")
}

pub(crate) fn name(task: &str) -> CloneName {
    CloneName::derive("2026-11-23T16:31:05Z".parse().expect("a time"), id(task), 0)
}

pub(crate) fn spec(task: &str) -> CloneSpec {
    CloneSpec {
        name: name(task),
        task: id(task),
        owner: "somebody".into(),
        source: "https://source.example".to_owned().try_into().expect("an address"),
        deadline: Timestamp::now() + SignedDuration::from_mins(30),
        isolation: Isolation::Shared,
        has_other_owners: false,
    }
}

/// A client that follows no redirect and keeps cookies.
pub(crate) fn http() -> Client {
    client().build().expect("a client")
}

pub(crate) fn client() -> reqwest::ClientBuilder {
    Client::builder().redirect(reqwest::redirect::Policy::none()).cookie_store(true).timeout(LIMIT)
}

/// Logs in and returns a page of wp-admin.
pub(crate) async fn log_in(http: &Client, access: &Access) -> Response {
    let form = [("log", access.username.as_str()), ("pwd", access.password.expose_secret())];
    let login =
        http.post(format!("{}/wp-login.php", access.url)).form(&form).send().await.expect("a response");
    assert_eq!(login.status(), 302, "the login of {}", access.url);
    http.get(format!("{}/wp-admin/profile.php", access.url)).send().await.expect("a response")
}

pub(crate) async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let end = Instant::now() + LIMIT;
    while !condition().await {
        assert!(Instant::now() < end, "timed out waiting for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The user of a clone.
pub(crate) fn uid_of(lab: &Lab, clone: &CloneInfo) -> u32 {
    fs::metadata(lab.tree(&clone.name)).expect("a tree").uid()
}

/// The processes of a user.
pub(crate) fn processes_of(uid: u32) -> Vec<i32> {
    let uid = uid.to_string();
    let of_user = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
        uids.split_whitespace().any(|found| found == uid)
    };
    let processes = fs::read_dir("/proc").expect("proc").flatten();
    processes.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(of_user).collect()
}

/// Asserts that a clone responds.
pub(crate) async fn responds(clone: &CloneInfo) {
    let answer = http().get(format!("{}/wp-json/", clone.url)).send().await.expect("a response");
    assert_eq!(answer.status(), 200, "{} responds", clone.url);
}

/// Command lines of processes that work in a folder or have files of it open or in their arguments.
pub(crate) fn processes_in(folder: &Path) -> Vec<String> {
    let text = folder.to_string_lossy();
    let own = std::process::id();
    // `self` and `thread-self` are this process as well.
    let is_other = |name: &str| name.parse().is_ok_and(|id: u32| id != own);
    let processes = fs::read_dir("/proc").expect("proc").flatten();
    let processes = processes.filter(|e| e.file_name().to_str().is_some_and(is_other)).map(|e| e.path());
    let processes = processes.filter(|p| fs::read_link(p.join("exe")).is_ok());
    let inside = |p: &PathBuf| {
        let links = fs::read_dir(p.join("fd")).into_iter().flatten().flatten().map(|e| e.path());
        let mut links = links.chain([p.join("cwd")]).filter_map(|link| fs::read_link(link).ok());
        let arguments = fs::read(p.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(&*text) || links.any(|to| to.starts_with(folder))
    };
    let line = |p: PathBuf| {
        let stat = fs::read_to_string(p.join("stat")).unwrap_or_default();
        let line = fs::read_to_string(p.join("cmdline")).unwrap_or_default().replace('\0', " ");
        format!("{line} {stat:.60}")
    };
    processes.filter(inside).map(line).collect()
}

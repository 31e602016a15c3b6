//! The program among the files of its image, with a real php-fpm and a real MariaDB. The container is bubblewrap's: user
//! 10001, a root that cannot be written, a network of its own.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde_json::json;
use wpclone_provision::clone_image::{CLONE_RUNTIME, DATABASE_EXIT_CODE, LOGIN, TREE};
use wpclone_provision::{SourceConfig, WpConfig, wp_config};

const NAME: &str = "clone-20261130-130000-abcdef";
const URL: &str = "https://c.example/clone-20261130-130000-abcdef";
const SCRIPT: &str = include_str!("container.sh");
const PATIENCE: Duration = Duration::from_secs(300);

/// Folders of a container that outlive it, and its database server.
struct Lab {
    folder: tempfile::TempDir,
    mariadb: Child,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.mariadb.kill();
        let _ = self.mariadb.wait();
    }
}

impl Lab {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for new in ["data", "tmp", "socket", "tree", "login", "opt", "config", "setup", "out"] {
            let new = folder.path().join(new);
            fs::create_dir(&new).unwrap();
            fs::set_permissions(new, fs::Permissions::from_mode(0o777)).unwrap();
        }
        fs::write(folder.path().join("config/php.ini"), "memory_limit = 134217728\n").unwrap();
        fs::copy(env!("CARGO_BIN_EXE_wpclone-clone"), folder.path().join("program")).unwrap();
        let mariadb = start_mariadb(folder.path());
        let lab = Self { folder, mariadb };
        lab.until_mariadb_answers();
        let create = "CREATE DATABASE clone; CREATE USER clone@localhost IDENTIFIED BY 'secret'; \
                      GRANT ALL ON clone.* TO clone@localhost";
        assert!(lab.sql(create).status.success());
        lab.configure("secret");
        lab.ask_for_access("first");
        lab
    }

    /// Writes a setup.json.
    fn ask_for_access(&self, id: &str) {
        let key = "0".repeat(64);
        let input =
            json!({"id": id, "username": "boss", "password": "a password", "key": key, "open_until": 1});
        fs::write(self.folder.path().join("setup/setup.json"), input.to_string()).unwrap();
    }

    fn configure(&self, database_password: &str) {
        let text = wp_config(&WpConfig {
            url: URL,
            table_prefix: "wp_",
            source: &SourceConfig::default(),
            username: "boss",
            database: "clone",
            database_host: "localhost:/srv/database/socket",
            database_password: &SecretString::from(database_password.to_owned()),
            login_key: &SecretString::from("0".repeat(64)),
            tree: Path::new(TREE),
            login: Path::new(LOGIN),
            clone_runtime: Path::new(CLONE_RUNTIME),
        });
        fs::write(self.folder.path().join("config/wp-config.php"), text.unwrap()).unwrap();
    }

    /// Runs a part of the script in a new container; `prepare` as the build of the image does.
    fn run(&self, part: &str) -> Output {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let (tree, login, opt) = (at("tree"), at("login"), at("opt"));
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", &PATIENCE.as_secs().to_string(), "bwrap"]);
        command.args([
            "--unshare-all",
            "--die-with-parent",
            "--clearenv",
            "--uid",
            "10001",
            "--gid",
            "10001",
        ]);
        command.args(["--setenv", "PATH", "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"]);
        command.args(["--setenv", "WPCLONE_URL", URL, "--setenv", "NAME", NAME]);
        command.args(["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]);
        for writable in ["/etc", "/srv", "/opt", "/run", "/tmp", "/usr/local/sbin"] {
            command.args(["--tmpfs", writable]);
        }
        for of_system in ["/etc/php", "/etc/alternatives", "/etc/passwd", "/etc/group", "/etc/ld.so.cache"] {
            command.args(["--ro-bind-try", of_system, of_system]);
        }
        command.args(["--ro-bind", &php_fpm().display().to_string(), "/usr/local/sbin/php-fpm"]);
        command.args(["--ro-bind", &at("program"), "/usr/local/sbin/wpclone-clone"]);
        command.args(["--ro-bind", &wordpress().display().to_string(), "/run/wordpress-source"]);
        command.args(["--bind", &at("out"), "/run/out", "--bind", &opt, "/opt"]);
        command.args(["--bind", &tree, TREE, "--bind", &login, LOGIN]);
        command.args([
            "--ro-bind",
            &at("config"),
            "/etc/wpclone",
            "--ro-bind",
            &at("setup"),
            "/etc/wpclone-setup",
        ]);
        command.args(["--bind", &at("socket"), "/srv/database"]);
        command.args(["bash", "-c", &format!("set -e\n{SCRIPT}\n{part}")]);
        command.stdin(Stdio::null()).output().expect("bubblewrap is needed")
    }

    /// The same; it has to succeed.
    fn succeeds(&self, part: &str) {
        let output = self.run(part);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{part}: {} {text}", output.status);
    }

    /// What the script has fetched under this name: the status and the body.
    fn fetched(&self, name: &str) -> (String, String) {
        let read = |end: &str| {
            let bytes = fs::read(self.folder.path().join(format!("out/{name}.{end}"))).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        (read("status"), read("body"))
    }

    fn sql(&self, statements: &str) -> Output {
        let socket = format!("--socket={}", self.folder.path().join("socket/socket").display());
        let mut client = Command::new("mariadb");
        client.args([
            "--no-defaults",
            "--user=root",
            &socket,
            "--skip-column-names",
            "--execute",
            statements,
        ]);
        client.output().expect("MariaDB's client is needed")
    }

    fn until_mariadb_answers(&self) {
        let begun = Instant::now();
        while !self.sql("SELECT 1").status.success() {
            assert!(begun.elapsed() < PATIENCE, "MariaDB does not answer");
            sleep(Duration::from_millis(50));
        }
    }
}

fn start_mariadb(folder: &Path) -> Child {
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|found| std::os::unix::fs::MetadataExt::uid(&found) == 0);
    let option = |name: &str, of: &str| format!("--{name}={}", folder.join(of).display());
    let mut common = vec!["--no-defaults".to_owned(), option("datadir", "data"), option("tmpdir", "tmp")];
    if is_root {
        common.push("--user=mysql".into());
        let paths = ["data", "tmp", "socket"].map(|name| folder.join(name));
        assert!(Command::new("chown").arg("mysql").args(paths).status().unwrap().success());
    }
    let mut install = Command::new("mariadb-install-db");
    install.args(&common).args(["--skip-test-db", "--auth-root-authentication-method=normal"]);
    assert!(install.stdout(Stdio::null()).status().expect("MariaDB's server is needed").success());
    let mut server = Command::new("mariadbd");
    server.args(&common).args([option("socket", "socket/socket"), option("log-error", "tmp/log")]);
    server.args(["--skip-networking", "--innodb-flush-log-at-trx-commit=0"]);
    server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The php-fpm of this machine.
fn php_fpm() -> PathBuf {
    let programs = fs::read_dir("/usr/sbin").unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("php-fpm");
    programs.filter(named).max().expect("php-fpm is needed")
}

/// A pristine WordPress.
fn wordpress() -> PathBuf {
    let set = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = set("WPCLONE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|p| p.join("wpclone")))
        .or_else(|| set("HOME").map(|p| p.join(".cache/wpclone")))
        .expect("WPCLONE_CACHE or HOME");
    let found = cache.join("wordpress/trixie");
    assert!(found.join("wp-load.php").is_file(), "{} is missing; run `./dev install`", found.display());
    found
}

#[test]
fn a_clone_is_installed_once_and_served_and_php_is_never_sent() {
    let lab = Lab::start();
    lab.succeeds("prepare");
    lab.succeeds("setup; serve; fetch_pages; log_in; upload");
    let (status, front) = lab.fetched("front");
    assert_eq!(status, "200", "{front:.2000}");
    assert!(front.contains(&format!("{URL}/wp-includes/")) && front.contains("noindex"), "{front:.2000}");
    for (name, expected) in
        [("ready", "200"), ("config", "404"), ("version", "200"), ("encoded", "400"), ("other-host", "421")]
    {
        let (status, body) = lab.fetched(name);
        assert_eq!(status, expected, "{name}: {body:.300}");
        assert!(!body.contains("<?php") && !body.contains("DB_PASSWORD"), "{name}: {body:.300}");
    }
    assert!(lab.fetched("limits").1.starts_with("134217728 "), "{:?}", lab.fetched("limits"));
    assert!(lab.fetched("admin").1.contains("id=\"wpadminbar\""));
    assert_eq!(lab.fetched("upload").1.trim(), "file uploads work");
    let (status, index) = lab.fetched("rest");
    assert!(status == "200" && index.contains("\"namespaces\""), "{index:.300}");

    // Another container has the same content, and the same setup again changes nothing of it.
    assert!(
        lab.sql("UPDATE clone.wp_options SET option_value = 'Kept' WHERE option_name = 'blogname'")
            .status
            .success()
    );
    lab.succeeds("setup; serve; fetch_pages");
    assert!(lab.fetched("front").1.contains("Kept"));
    assert_eq!(lab.fetched("uploaded").1.trim(), "file uploads work");

    // Who owns the clone takes the administrator's rights away: that holds until access is asked for again.
    let demote = "DELETE FROM clone.wp_usermeta WHERE meta_key = 'wp_capabilities'";
    assert!(lab.sql(demote).status.success());
    lab.succeeds("setup; serve; log_in");
    assert!(
        !lab.fetched("admin").1.contains("id=\"wpadminbar\""),
        "the old setup has not given access again"
    );
    lab.ask_for_access("second");
    lab.succeeds("setup; serve; log_in");
    assert!(lab.fetched("admin").1.contains("id=\"wpadminbar\""));

    // An installation that was interrupted begins anew.
    assert!(lab.sql("DROP TABLE clone.wp_users").status.success());
    fs::write(lab.folder.path().join("login/.installing"), "").unwrap();
    lab.succeeds("setup; serve; fetch_pages; log_in");
    assert!(!lab.folder.path().join("login/.installing").exists());
    assert!(lab.fetched("admin").1.contains("id=\"wpadminbar\""));
}

#[test]
fn a_database_that_refuses_the_clone_has_an_exit_status_of_its_own_and_php_that_ends_ends_the_clone() {
    let lab = Lab::start();
    lab.succeeds("prepare");
    lab.configure("another password");
    let refused = lab.run("setup");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(DATABASE_EXIT_CODE.into()), "{text}");
    assert!(text.trim().lines().last().unwrap().contains("Access denied for user 'clone'"), "{text}");
    lab.configure("secret");
    let ended = lab.run("setup; serve; kill_php_fpm; wait $SERVER");
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code() == Some(1) && text.contains("php-fpm ended"), "{:?} {text}", ended.status);
}

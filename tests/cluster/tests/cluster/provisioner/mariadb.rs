//! A MariaDB server for one test, with a user that has no more privileges than the provisioner needs.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use wpclone_provision::{CloneName, DatabaseClient, DatabaseServerAddress};
use wpclone_provision_kube::DatabaseOptions;

const PATIENCE: Duration = Duration::from_secs(120);
/// The privileges of the provisioner's user, as in docs/KUBERNETES.md.
const PRIVILEGES: &str = "CREATE USER 'wpclone'@'%' IDENTIFIED BY 'secret'; \
    GRANT CREATE USER, CONNECTION ADMIN, PROCESS ON *.* TO 'wpclone'@'%'; \
    GRANT ALL PRIVILEGES ON `clone-%`.* TO 'wpclone'@'%' WITH GRANT OPTION;";

/// The server; it ends with this.
pub(crate) struct Mariadb {
    child: Child,
    port: u16,
    root: DatabaseClient,
    _folder: tempfile::TempDir,
}

impl Mariadb {
    /// Starts a server on loopback.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("wpclone-mariadb").tempdir().unwrap();
        let data = folder.path().join("data");
        // Servers that share a folder for temporary tables take each other's names.
        let temporary = folder.path().join("tmp");
        for new in [&data, &temporary] {
            std::fs::create_dir(new).unwrap();
        }
        let own = Command::new("chown").args(["-R", "mysql"]).arg(folder.path()).status();
        assert!(own.is_ok_and(|status| status.success()), "MariaDB's user mysql is needed, and root");
        let installed = Command::new("mariadb-install-db")
            .args([
                "--no-defaults",
                "--user=mysql",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ])
            .arg(format!("--datadir={}", data.display()))
            .env("TMPDIR", &temporary)
            .stdout(Stdio::null())
            .status();
        assert!(installed.expect("MariaDB's server is needed").success());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let socket = folder.path().join("socket");
        let child = server(folder.path(), &socket, port);
        let address = DatabaseServerAddress::Socket(socket);
        let root = DatabaseClient::new("mariadb".into(), address, "root", "".to_owned().into());
        let answers = async {
            while !root.ping().await {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, answers).await.expect("MariaDB answers");
        root.run("", PRIVILEGES.as_bytes()).await.unwrap();
        Self { child, port, root, _folder: folder }
    }

    /// How the provisioner reaches it.
    pub(crate) fn options(&self) -> DatabaseOptions {
        DatabaseOptions {
            client: PathBuf::from("mariadb"),
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: "wpclone".to_owned(),
            password: "secret".to_owned().into(),
            ca_file: None,
        }
    }

    /// The schemas and users of clones.
    pub(crate) async fn clones(&self) -> Vec<String> {
        let sql = "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'clone-%' \
                   UNION ALL SELECT user FROM mysql.user WHERE user LIKE 'clone-%' ORDER BY 1";
        self.root.run("", sql.as_bytes()).await.unwrap().lines().map(str::to_owned).collect()
    }

    /// The schema of a clone, of which there is one.
    pub(crate) async fn schema_of(&self, name: &CloneName) -> String {
        let of_clone = format!("{name}-");
        let mut schemas = self.clones().await;
        schemas.dedup();
        schemas.retain(|schema| schema.starts_with(&of_clone));
        assert_eq!(schemas.len(), 1, "{schemas:?}");
        schemas.remove(0)
    }

    /// Runs SQL as root.
    pub(crate) async fn run(&self, sql: &str) -> String {
        self.root.run("", sql.as_bytes()).await.unwrap()
    }

    /// Runs SQL as a user.
    pub(crate) async fn run_as(&self, user: &str, password: &str, schema: &str, sql: &str) -> bool {
        let address =
            DatabaseServerAddress::Tcp { host: "127.0.0.1".to_owned(), port: self.port, ca_file: None };
        let client = DatabaseClient::new("mariadb".into(), address, user, password.to_owned().into());
        client.run(schema, sql.as_bytes()).await.is_ok()
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn server(folder: &Path, socket: &Path, port: u16) -> Child {
    let data = folder.join("data");
    Command::new("mariadbd")
        .args(["--no-defaults", "--user=mysql", "--bind-address=127.0.0.1", "--skip-log-bin"])
        .args(["--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--skip-name-resolve"])
        .arg(format!("--port={port}"))
        .arg(format!("--datadir={}", data.display()))
        .env("TMPDIR", folder.join("tmp"))
        .arg(format!("--socket={}", socket.display()))
        .arg(format!("--pid-file={}", data.join("pid").display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("MariaDB's server is needed (mariadbd on PATH or in /usr/sbin)")
}

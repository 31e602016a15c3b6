//! What a provisioner is made from.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use wpclone_provision::Addresses;

use crate::CloneImages;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a provisioner is made from.
#[derive(Clone)]
pub struct KubeOptions {
    /// The cluster's access file; without one `KUBECONFIG`, `~/.kube/config` or the pod's own service account.
    pub kubeconfig: Option<PathBuf>,
    /// The API group of the clones' kind. The definition is called `wordpressclone.GROUP`.
    pub group: String,
    /// The namespace that clones are created in.
    pub namespace: String,
    /// The addresses of clones.
    pub addresses: Addresses,
    /// The images of clones.
    pub images: CloneImages,
    /// What each clone may take.
    pub resources: CloneResources,
    /// The RuntimeClass of clones' pods; empty for the cluster's own.
    pub runtime_class: String,
    /// The Ingress of each clone, if each has one.
    pub ingress: Option<IngressOptions>,
    /// The server of the clones' databases.
    pub database: DatabaseOptions,
    /// The most clones at once.
    pub max_clones: usize,
    /// How long is waited for the cluster.
    pub limits: WaitLimits,
    /// Tells the time.
    pub clock: Clock,
}

/// What a clone may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneResources {
    /// The processor time that it is sure of, such as `50m`.
    pub cpu: String,
    /// The memory that it may take, such as `512Mi`.
    pub memory: String,
    /// The size of its volume, such as `2Gi`.
    pub storage: String,
    /// The StorageClass of its volume; empty for the cluster's default.
    pub storage_class: String,
}

/// The Ingress of each clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressOptions {
    /// The IngressClass.
    pub class: String,
    /// The Service of the router in the clones' namespace.
    pub service: String,
}

/// The server of the clones' databases.
#[derive(Debug, Clone)]
pub struct DatabaseOptions {
    /// MariaDB's client.
    pub client: PathBuf,
    /// The server's host, as clones and provisioner reach it: a name, or an IP address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user that creates schemas and users.
    pub user: String,
    /// That user's password.
    pub password: SecretString,
    /// The certificates (PEM) of which one has to have signed the server's; without them the provisioner's connections are
    /// not encrypted.
    pub ca_file: Option<PathBuf>,
}

impl DatabaseOptions {
    /// Host and port, as WordPress' `DB_HOST` has them.
    pub(crate) fn host_and_port(&self) -> String {
        match self.host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]:{}", self.port),
            Err(_) => format!("{}:{}", self.host, self.port),
        }
    }
}

/// How long is waited for the cluster, by what it does. A state that lasts longer is a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitLimits {
    /// Until the definition has made the parts of a clone, and until started containers are ready.
    pub start: Duration,
    /// Until a node has room: a cluster may add one first.
    pub schedule: Duration,
    /// Until an image is pulled.
    pub pull: Duration,
    /// How long pulling may fail: nodes try again by themselves.
    pub pull_failure: Duration,
    /// How long a quota may be reached, or the instance be in the state ERROR: both may pass.
    pub failure: Duration,
    /// All of it.
    pub total: Duration,
    /// Until a deleted clone is gone.
    pub delete: Duration,
}

impl Default for WaitLimits {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(180),
            schedule: Duration::from_secs(300),
            pull: Duration::from_secs(1200),
            pull_failure: Duration::from_secs(60),
            failure: Duration::from_secs(20),
            total: Duration::from_secs(1800),
            delete: Duration::from_secs(120),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_has_brackets_before_its_port() {
        for (host, expected) in [
            ("2001:db8::1", "[2001:db8::1]:3307"),
            ("192.0.2.1", "192.0.2.1:3307"),
            ("db.example", "db.example:3307"),
        ] {
            let options = DatabaseOptions {
                client: "mariadb".into(),
                host: host.to_owned(),
                port: 3307,
                user: "root".to_owned(),
                password: "secret".to_owned().into(),
                ca_file: None,
            };
            assert_eq!(options.host_and_port(), expected);
        }
    }
}

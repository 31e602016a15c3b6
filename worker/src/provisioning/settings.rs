//! The settings of the provisioning stage.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;
use wpclone_provision::{AddressError, Addresses, Routing};
use wpclone_provision_local::DiskLimits;
use wpclone_service::settings::{CLONES_ON_API_ORIGIN, Check, ConnectionArgs, Redaction};

use super::kro_settings::{KroArgs, KroSettings};
use crate::net::{OwnClones, normalize_host};

/// The provisioners that there are: the values of `WPCLONE_PROVISIONER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProvisionerKind {
    /// Processes of this machine.
    Local,
    /// Instances of a definition of kro in a Kubernetes cluster.
    Kro,
}

impl FromStr for ProvisionerKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "local" => Ok(Self::Local),
            "kro" => Ok(Self::Kro),
            _ => Err(format!("`{text}` is not a provisioner: it is local or kro")),
        }
    }
}

/// The settings of the provisioning stage, as given.
#[derive(Debug, clap::Args)]
pub(crate) struct ProvisioningArgs {
    /// What makes clones: local (processes of this machine) or kro (instances in a Kubernetes cluster)
    #[arg(long, env = "WPCLONE_PROVISIONER", value_name = "KIND", default_value = "local")]
    provisioner: String,
    /// Listen address of the proxy in front of local clones
    #[arg(long, env = "WPCLONE_CLONES_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    clones_listen: String,
    /// Base URL of clones, such as https://clones.example.com [default: the proxy's own address; required with kro]
    #[arg(long, env = "WPCLONE_CLONES_URL", value_name = "URL")]
    clones_url: Option<String>,
    /// The API's own URL, as the API has it. Clones may not share its origin
    #[arg(long, env = "WPCLONE_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    #[command(flatten)]
    connections: ConnectionArgs,
    /// How requests are routed to clones below the base URL: path or host
    #[arg(long, env = "WPCLONE_CLONE_ROUTING", value_name = "FORM", default_value = "path")]
    clone_routing: String,
    /// Folder of local clones; one worker at a time uses it [default: /var/lib/wpclone as root, otherwise
    /// ~/.local/state/wpclone]
    #[arg(long, env = "WPCLONE_STATE_DIR", value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// The pristine WordPress that local clones start from
    #[arg(
        long,
        env = "WPCLONE_WORDPRESS_DIR",
        value_name = "FOLDER",
        default_value = "/usr/share/wordpress"
    )]
    wordpress_dir: PathBuf,
    /// The most clones at once. With several tokens, one owner may have three quarters of them
    #[arg(long, env = "WPCLONE_MAX_CLONES", value_name = "N", default_value = "20")]
    max_clones: String,
    /// Unsafe: whether clones may run where the machine allows no sandbox for them; their PHP can then attack the machine
    #[arg(
        long,
        env = "WPCLONE_UNSAFE_NO_SANDBOX",
        value_name = "BOOL",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1
    )]
    unsafe_no_sandbox: String,
    /// MiB of the disk that one clone may take: its files, logs and tables. A clone that takes more is stopped
    #[arg(long, env = "WPCLONE_CLONE_DISK_MIB", value_name = "MIB", default_value = "20480")]
    clone_disk_mib: String,
    /// Files, folders included, that one clone may have. A clone that has more is stopped
    #[arg(long, env = "WPCLONE_CLONE_FILES", value_name = "N", default_value = "2000000")]
    clone_files: String,
    /// MiB of the disk that clones leave free. The clone that fills the disk is stopped before; twice as much has to be free
    /// for a new one
    #[arg(long, env = "WPCLONE_DISK_RESERVE_MIB", value_name = "MIB", default_value = "1024")]
    disk_reserve_mib: String,
    #[command(flatten)]
    kro: KroArgs,
}

/// The same, checked. Whether programs and folders exist is checked by the provisioner: they may be installed later.
#[derive(Debug)]
pub(crate) struct ProvisioningSettings {
    /// With it this worker makes clones in a cluster. Workers of other stages have no use for it, nor for the database's password
    /// that is in it.
    pub(crate) kro: Option<KroSettings>,
    pub(crate) addresses: Addresses,
    pub(crate) state_dir: PathBuf,
    pub(crate) wordpress_dir: PathBuf,
    pub(crate) max_clones: usize,
    pub(crate) unsafe_no_sandbox: bool,
    pub(crate) disk: DiskLimits,
    pub(crate) connections_per_peer: usize,
}

impl ProvisioningSettings {
    /// The addresses of our own clones, which the egress proxy always allows.
    pub(crate) fn own(&self) -> Option<OwnClones> {
        let base = Url::parse(&self.addresses.to_string()).ok()?;
        let (host, port) = (normalize_host(base.host_str()?), base.port_or_known_default()?);
        Some(OwnClones { listener: self.addresses.resolve(&host), host, port })
    }

    /// Hosts and ports of what makes clones in a cluster: sites are never there.
    pub(crate) fn cluster_endpoints(&self) -> Vec<(String, u16)> {
        // Every pod has these.
        let api_server =
            env::var("KUBERNETES_SERVICE_HOST").ok().zip(env::var("KUBERNETES_SERVICE_PORT").ok());
        let api_server = api_server.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let database = self.kro.as_ref().map(|kro| (kro.database.host.clone(), kro.database.port));
        [database, api_server].into_iter().flatten().collect()
    }
}

impl ProvisioningArgs {
    /// Checks them; `provisions` says whether this worker makes clones, or only knows where they are.
    pub(crate) fn check(&self, provisions: bool, check: &mut Check) -> Option<ProvisioningSettings> {
        let kind = check.parsed::<ProvisionerKind>("WPCLONE_PROVISIONER", &self.provisioner);
        let listen = check.parsed::<SocketAddr>("WPCLONE_CLONES_LISTEN", &self.clones_listen);
        let routing = check.parsed::<Routing>("WPCLONE_CLONE_ROUTING", &self.clone_routing);
        let max = check.number("WPCLONE_MAX_CLONES", &self.max_clones, 1..=1000);
        let unsafe_no_sandbox = check.parsed::<bool>("WPCLONE_UNSAFE_NO_SANDBOX", &self.unsafe_no_sandbox);
        if unsafe_no_sandbox == Some(true) {
            check.warn(
                "WPCLONE_UNSAFE_NO_SANDBOX",
                "lets the PHP of cloned sites run without a sandbox where the machine allows none",
            );
        }
        let disk = self.disk(check);
        let is_kro = kind == Some(ProvisionerKind::Kro);
        let kro = (is_kro && provisions).then(|| self.kro.check(check));
        let state_dir = self.state_dir.clone().filter(|dir| !dir.as_os_str().is_empty());
        let Some(state_dir) = state_dir.or_else(default_state_dir) else {
            check.fault("WPCLONE_STATE_DIR", "is required, since there is no home folder");
            return None;
        };
        check.show("WPCLONE_STATE_DIR", &state_dir.display().to_string(), Redaction::None);
        check.show("WPCLONE_WORDPRESS_DIR", &self.wordpress_dir.display().to_string(), Redaction::None);
        let connections_per_peer = self.connections.check(check);
        if routing == Some(Routing::Path) {
            check.warn("WPCLONE_CLONE_ROUTING", SHARED_ORIGIN);
        }
        let addresses = self.addresses(kind?, listen?, routing?, check);
        Some(ProvisioningSettings {
            kro: kro.map_or(Some(None), |kro| kro.map(Some))?,
            addresses: addresses?,
            state_dir,
            wordpress_dir: self.wordpress_dir.clone(),
            max_clones: usize::try_from(max?).ok()?,
            unsafe_no_sandbox: unsafe_no_sandbox?,
            disk: disk?,
            connections_per_peer: connections_per_peer?,
        })
    }

    fn disk(&self, check: &mut Check) -> Option<DiskLimits> {
        // Up to an exbibyte.
        let mut mib = |name, raw, min| check.number(name, raw, min..=1 << 40).map(|mib| mib << 20);
        let clone_bytes = mib("WPCLONE_CLONE_DISK_MIB", &self.clone_disk_mib, 256);
        let reserve_bytes = mib("WPCLONE_DISK_RESERVE_MIB", &self.disk_reserve_mib, 64);
        let clone_files = check.number("WPCLONE_CLONE_FILES", &self.clone_files, 10_000..=1 << 40);
        Some(DiskLimits {
            clone_bytes: clone_bytes?,
            clone_files: clone_files?,
            reserve_bytes: reserve_bytes?,
        })
    }

    fn is_api_origin(&self, addresses: &Addresses) -> bool {
        let api = self.public_url.as_deref().and_then(|url| Url::parse(url).ok());
        let clones = Url::parse(&addresses.to_string()).ok();
        api.zip(clones).is_some_and(|(api, clones)| api.origin() == clones.origin())
    }

    fn addresses(
        &self,
        kind: ProvisionerKind,
        listen: SocketAddr,
        routing: Routing,
        check: &mut Check,
    ) -> Option<Addresses> {
        let url = self.clones_url.as_deref().filter(|url| !url.is_empty());
        if url.is_none() && kind == ProvisionerKind::Kro {
            check.fault(
                "WPCLONE_CLONES_URL",
                "is required, because clones in a cluster are behind its router",
            );
            return None;
        }
        if url.is_none() && (listen.ip().is_unspecified() || listen.port() == 0) {
            check.fault(
                "WPCLONE_CLONES_URL",
                format!("is required, because clones cannot be reached at {listen} (WPCLONE_CLONES_LISTEN)"),
            );
            return None;
        }
        match Addresses::new(listen, url, routing) {
            Ok(addresses) if self.is_api_origin(&addresses) => {
                check.fault("WPCLONE_CLONES_URL", CLONES_ON_API_ORIGIN);
                None
            }
            Ok(addresses) => {
                check.show("WPCLONE_CLONES_URL", &addresses.to_string(), Redaction::UrlLogin);
                Some(addresses)
            }
            Err(why @ AddressError::NotABase) => {
                check.fault("WPCLONE_CLONES_URL", why);
                None
            }
            Err(why) => {
                check.fault("WPCLONE_CLONES_URL", format!("{why} (WPCLONE_CLONE_ROUTING is host)"));
                None
            }
        }
    }
}

/// What clones share under path routing.
const SHARED_ORIGIN: &str = "is path, so all clones share one origin: a page of one clone can read and change every other clone in a \
    browser that is logged in there. For clones of several owners set it to host.";

/// The default state folder: `/var/lib` for root, for others by the XDG Base Directory Specification.
fn default_state_dir() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some("/var/lib/wpclone".into());
    }
    let set = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
    Some(state?.join("wpclone"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: ProvisioningArgs,
    }

    fn faults(flags: &[&str]) -> String {
        let mut check = Check::default();
        let cli = Cli::try_parse_from(["worker"].iter().chain(flags)).unwrap();
        let settings = cli.args.check(true, &mut check);
        match check.finish() {
            Ok(()) => settings.unwrap().addresses.to_string(),
            Err(faults) => faults,
        }
    }

    #[test]
    fn clones_have_the_listeners_address_unless_a_base_url_is_set() {
        assert_eq!(faults(&[]), "http://127.0.0.1:8090");
        assert_eq!(faults(&["--clone-routing", "host"]), "http://localhost:8090");
        assert_eq!(
            faults(&["--clones-url", "https://c.example", "--clones-listen", "0.0.0.0:80"]),
            "https://c.example"
        );
    }

    #[test]
    fn an_ipv6_address_of_clones_has_no_brackets() {
        for (url, host) in [("http://[2001:db8::1]:81", "2001:db8::1"), ("http://192.0.2.1:81", "192.0.2.1")]
        {
            let mut check = Check::default();
            let cli = Cli::try_parse_from(["worker", "--clones-url", url]).unwrap();
            let own = cli.args.check(true, &mut check).unwrap().own().unwrap();
            assert_eq!((own.host.as_str(), own.port), (host, 81));
        }
    }

    #[test]
    fn a_worker_of_other_stages_needs_to_know_where_clones_are_and_not_how_they_are_made() {
        let check = |flags: &[&str]| {
            let mut check = Check::default();
            let cli = Cli::try_parse_from(["worker", "--provisioner", "kro"].iter().chain(flags)).unwrap();
            let settings = cli.args.check(false, &mut check);
            check.finish().map(|()| settings.unwrap())
        };
        let settings = check(&["--clones-url", "http://router.example:81"]).unwrap();
        assert!(settings.kro.is_none());
        assert_eq!(settings.own().unwrap().port, 81);
        assert!(check(&[]).unwrap_err().contains("WPCLONE_CLONES_URL is required"));
    }

    #[test]
    fn clones_without_a_sandbox_have_to_be_allowed_and_are_warned_about() {
        let allowed = |flags: &[&str]| {
            let mut check = Check::default();
            let cli = Cli::try_parse_from(["worker"].iter().chain(flags)).unwrap();
            let settings = cli.args.check(true, &mut check).unwrap();
            (settings.unsafe_no_sandbox, check.dump().contains("# WPCLONE_UNSAFE_NO_SANDBOX lets"))
        };
        assert_eq!(allowed(&[]), (false, false));
        assert_eq!(allowed(&["--unsafe-no-sandbox"]), (true, true));
    }

    #[test]
    fn every_invalid_setting_is_reported() {
        for (flags, expected) in [
            (&["--provisioner", "docker"][..], "WPCLONE_PROVISIONER is wrong: `docker`"),
            (&["--provisioner", "kro"], "WPCLONE_CLONE_IMAGES is required"),
            (&["--clones-listen", "here"], "WPCLONE_CLONES_LISTEN is wrong"),
            (&["--clones-listen", "0.0.0.0:80"], "WPCLONE_CLONES_URL is required"),
            (&["--clone-routing", "dns"], "WPCLONE_CLONE_ROUTING is wrong"),
            (
                &["--clone-routing", "host", "--clones-url", "http://10.0.0.1"],
                "an IP address has no names below it",
            ),
            (
                &["--clone-routing", "host", "--clones-listen", "10.0.0.1:80"],
                "an IP address has no names below it",
            ),
            (&["--clones-url", "ftp://x"], "WPCLONE_CLONES_URL must be an http or https address"),
            (&["--max-clones", "0"], "WPCLONE_MAX_CLONES must be"),
            (&["--unsafe-no-sandbox", "yes"], "WPCLONE_UNSAFE_NO_SANDBOX is wrong"),
            (&["--clone-disk-mib", "255"], "WPCLONE_CLONE_DISK_MIB must be"),
            (&["--clone-files", "all"], "WPCLONE_CLONE_FILES must be"),
            (&["--disk-reserve-mib", "0"], "WPCLONE_DISK_RESERVE_MIB must be"),
            (
                &["--clones-url", "https://a.example/clones", "--public-url", "https://a.example"],
                "WPCLONE_CLONES_URL is on the API's own origin",
            ),
            (&["--connections-per-peer", "1"], "WPCLONE_CONNECTIONS_PER_PEER must be"),
        ] {
            assert!(faults(flags).contains(expected), "{flags:?}: {}", faults(flags));
        }
    }
}

//! The settings of the provisioning stage.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;

use url::Url;
use wpclone_provision::{AddressError, Addresses, Routing};
use wpclone_service::settings::{Check, Shown};

use crate::net::OwnClones;

/// How clones are made.
#[derive(Debug, clap::Args)]
pub(crate) struct ProvisioningArgs {
    /// What makes clones: local (processes of this machine)
    #[arg(long, env = "WPCLONE_PROVISIONER", value_name = "KIND", default_value = "local")]
    provisioner: String,
    /// Where the proxy of local clones listens
    #[arg(long, env = "WPCLONE_CLONES_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    clones_listen: String,
    /// Base of clones' addresses, such as https://clones.example.com; without it they are the proxy's own
    #[arg(long, env = "WPCLONE_CLONES_URL", value_name = "URL")]
    clones_url: Option<String>,
    /// How clones are told apart under that base: path or host
    #[arg(long, env = "WPCLONE_CLONE_ROUTING", value_name = "FORM", default_value = "path")]
    clone_routing: String,
    /// Where local clones live; one worker at a time owns it [default: /var/lib/wpclone as root, else
    /// ~/.local/state/wpclone]
    #[arg(long, env = "WPCLONE_STATE_DIR", value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// A pristine WordPress that local clones start from
    #[arg(
        long,
        env = "WPCLONE_WORDPRESS_DIR",
        value_name = "FOLDER",
        default_value = "/usr/share/wordpress"
    )]
    wordpress_dir: PathBuf,
    /// How many clones there may be at once
    #[arg(long, env = "WPCLONE_MAX_CLONES", value_name = "N", default_value = "20")]
    max_clones: String,
}

/// The same, checked. Whether programs and folders are there is found out later: they may come.
#[derive(Debug)]
pub(crate) struct ProvisioningSettings {
    pub(crate) addresses: Addresses,
    pub(crate) state_dir: PathBuf,
    pub(crate) wordpress_dir: PathBuf,
    pub(crate) max_clones: usize,
}

impl ProvisioningSettings {
    /// Where our own clones are: these addresses always pass.
    pub(crate) fn own(&self) -> Option<OwnClones> {
        let base = Url::parse(&self.addresses.to_string()).ok()?;
        let (host, port) = (base.host_str()?.to_owned(), base.port_or_known_default()?);
        Some(OwnClones { listener: self.addresses.resolve(&host), host, port })
    }
}

impl ProvisioningArgs {
    pub(crate) fn check(&self, check: &mut Check) -> Option<ProvisioningSettings> {
        if self.provisioner != "local" {
            check.fault(
                "WPCLONE_PROVISIONER",
                format!("is `{}`; this version has only local", self.provisioner),
            );
        }
        check.show("WPCLONE_PROVISIONER", &self.provisioner, Shown::Plain);
        let listen = check.parsed::<SocketAddr>("WPCLONE_CLONES_LISTEN", &self.clones_listen);
        let routing = check.parsed::<Routing>("WPCLONE_CLONE_ROUTING", &self.clone_routing);
        let max = check.number("WPCLONE_MAX_CLONES", &self.max_clones, 1..=1000);
        let state_dir = self.state_dir.clone().filter(|dir| !dir.as_os_str().is_empty());
        let Some(state_dir) = state_dir.or_else(usual_state_dir) else {
            check.fault("WPCLONE_STATE_DIR", "is required, since there is no home folder");
            return None;
        };
        check.show("WPCLONE_STATE_DIR", &state_dir.display().to_string(), Shown::Plain);
        check.show("WPCLONE_WORDPRESS_DIR", &self.wordpress_dir.display().to_string(), Shown::Plain);
        let addresses = self.addresses(listen?, routing?, check);
        Some(ProvisioningSettings {
            addresses: addresses?,
            state_dir,
            wordpress_dir: self.wordpress_dir.clone(),
            max_clones: usize::try_from(max?).ok()?,
        })
    }

    fn addresses(&self, listen: SocketAddr, routing: Routing, check: &mut Check) -> Option<Addresses> {
        let url = self.clones_url.as_deref().filter(|url| !url.is_empty());
        if url.is_none() && (listen.ip().is_unspecified() || listen.port() == 0) {
            check.fault(
                "WPCLONE_CLONES_URL",
                format!("is required, since nobody can call a clone at {listen} (WPCLONE_CLONES_LISTEN)"),
            );
            return None;
        }
        match Addresses::new(listen, url, routing) {
            Ok(addresses) => {
                check.show("WPCLONE_CLONES_URL", &addresses.to_string(), Shown::Url);
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

/// Where state usually lies: for a service `/var/lib`, for a person by the XDG Base Directory Specification.
fn usual_state_dir() -> Option<PathBuf> {
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
        let settings = cli.args.check(&mut check);
        match check.finish() {
            Ok(()) => settings.unwrap().addresses.to_string(),
            Err(faults) => faults,
        }
    }

    #[test]
    fn addresses_come_from_the_listener_unless_they_are_set() {
        assert_eq!(faults(&[]), "http://127.0.0.1:8090");
        assert_eq!(faults(&["--clone-routing", "host"]), "http://localhost:8090");
        assert_eq!(
            faults(&["--clones-url", "https://c.example", "--clones-listen", "0.0.0.0:80"]),
            "https://c.example"
        );
    }

    #[test]
    fn all_faults_are_named() {
        for (flags, wanted) in [
            (&["--provisioner", "docker"][..], "WPCLONE_PROVISIONER is `docker`"),
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
        ] {
            assert!(faults(flags).contains(wanted), "{flags:?}: {}", faults(flags));
        }
    }
}

//! The settings of clones in a Kubernetes cluster.

use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;
use wpclone_provision_kube::{CloneImages, CloneResources, DatabaseOptions, IngressOptions};
use wpclone_service::settings::{Check, Redaction};

use crate::net::normalize_host;

/// The port of a MariaDB server.
const DATABASE_PORT: u16 = 3306;
/// The Service of the router in the clones' namespace (`k8s/base`).
const ROUTER_SERVICE: &str = "wpclone-router";

/// The settings of clones in a Kubernetes cluster, as given. They count with `WPCLONE_PROVISIONER=kro` alone.
#[derive(Debug, clap::Args)]
pub(crate) struct KroArgs {
    /// API group of the clones' kind in the cluster; the ResourceGraphDefinition is wordpressclone.GROUP
    #[arg(long, env = "WPCLONE_KRO_GROUP", value_name = "GROUP", default_value = "wpclone.dev")]
    kro_group: String,
    /// Namespace that clones are created in
    #[arg(long, env = "WPCLONE_CLONES_NAMESPACE", value_name = "NAME", default_value = "wpclone-clones")]
    clones_namespace: String,
    /// Images of clones, one for each version of PHP: 8.2=IMAGE,8.3=IMAGE. A source whose PHP is not there gets the next newer
    /// one, or the newest. Required with kro
    #[arg(long, env = "WPCLONE_CLONE_IMAGES", value_name = "LIST")]
    clone_images: Option<String>,
    /// MariaDB server of the clones' databases, with a user that may create schemas and users:
    /// mysql://USER:PASSWORD@HOST[:PORT]. Required with kro
    #[arg(long, env = "WPCLONE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Certificates (PEM) of which one has to have signed the MariaDB server's [default: not encrypted]
    #[arg(long, env = "WPCLONE_DATABASE_CA_FILE", value_name = "FILE")]
    database_ca_file: Option<PathBuf>,
    /// Size of a clone's volume
    #[arg(long, env = "WPCLONE_CLONE_STORAGE", value_name = "QUANTITY", default_value = "2Gi")]
    clone_storage: String,
    /// StorageClass of a clone's volume [default: the cluster's]
    #[arg(
        long,
        env = "WPCLONE_CLONE_STORAGE_CLASS",
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    clone_storage_class: String,
    /// Processor time that a clone's pod is sure of
    #[arg(long, env = "WPCLONE_CLONE_CPU", value_name = "QUANTITY", default_value = "50m")]
    clone_cpu: String,
    /// Memory that a clone's pod may take
    #[arg(long, env = "WPCLONE_CLONE_MEMORY", value_name = "QUANTITY", default_value = "512Mi")]
    clone_memory: String,
    /// RuntimeClass of a clone's pod, such as gvisor [default: the cluster's]
    #[arg(
        long,
        env = "WPCLONE_CLONE_RUNTIME_CLASS",
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    clone_runtime_class: String,
    /// IngressClass of an Ingress of each clone [default: clones have none; the router finds them]
    #[arg(
        long,
        env = "WPCLONE_CLONE_INGRESS_CLASS",
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    clone_ingress_class: String,
}

/// The same, checked. Whether the cluster has what they name is checked by the provisioner: it may come later.
#[derive(Debug)]
pub(crate) struct KroSettings {
    pub(crate) group: String,
    pub(crate) namespace: String,
    pub(crate) images: CloneImages,
    pub(crate) database: DatabaseOptions,
    pub(crate) resources: CloneResources,
    pub(crate) runtime_class: String,
    pub(crate) ingress: Option<IngressOptions>,
}

impl KroArgs {
    pub(crate) fn check(&self, check: &mut Check) -> Option<KroSettings> {
        let group = name(check, "WPCLONE_KRO_GROUP", &self.kro_group);
        let namespace = name(check, "WPCLONE_CLONES_NAMESPACE", &self.clones_namespace);
        let images = check.required(
            "WPCLONE_CLONE_IMAGES",
            self.clone_images.as_deref().filter(|text| !text.is_empty()),
            Redaction::None,
            str::parse::<CloneImages>,
        );
        let database = self.database(check);
        let storage = quantity(check, "WPCLONE_CLONE_STORAGE", &self.clone_storage);
        let cpu = quantity(check, "WPCLONE_CLONE_CPU", &self.clone_cpu);
        let memory = quantity(check, "WPCLONE_CLONE_MEMORY", &self.clone_memory);
        let storage_class = optional_name(check, "WPCLONE_CLONE_STORAGE_CLASS", &self.clone_storage_class);
        let runtime_class = optional_name(check, "WPCLONE_CLONE_RUNTIME_CLASS", &self.clone_runtime_class);
        let ingress_class = optional_name(check, "WPCLONE_CLONE_INGRESS_CLASS", &self.clone_ingress_class)?;
        Some(KroSettings {
            group: group?,
            namespace: namespace?,
            images: images?,
            database: database?,
            resources: CloneResources {
                cpu: cpu?,
                memory: memory?,
                storage: storage?,
                storage_class: storage_class?,
            },
            runtime_class: runtime_class?,
            ingress: (!ingress_class.is_empty())
                .then(|| IngressOptions { class: ingress_class, service: ROUTER_SERVICE.to_owned() }),
        })
    }

    fn database(&self, check: &mut Check) -> Option<DatabaseOptions> {
        let url = self.database_url.as_deref().filter(|url| !url.is_empty());
        let parse = |raw: &str| {
            parse_database_url(raw).ok_or_else(|| "must be mysql://USER:PASSWORD@HOST[:PORT]".to_owned())
        };
        let (host, port, user, password) =
            check.required("WPCLONE_DATABASE_URL", url, Redaction::UrlLogin, parse)?;
        let ca_file = self.database_ca_file.clone().filter(|file| !file.as_os_str().is_empty());
        if let Some(file) = &ca_file {
            check.show("WPCLONE_DATABASE_CA_FILE", &file.display().to_string(), Redaction::None);
        }
        Some(DatabaseOptions { client: "mariadb".into(), host, port, user, password, ca_file })
    }
}

/// Host, port, user and password.
fn parse_database_url(raw: &str) -> Option<(String, u16, String, SecretString)> {
    let url = Url::parse(raw).ok().filter(|url| matches!(url.scheme(), "mysql" | "mariadb"))?;
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().ok().map(String::from);
    let user = decode(url.username()).filter(|user| !user.is_empty())?;
    let password = decode(url.password()?)?;
    // Clients take an IPv6 address without the brackets of a URL.
    let host = normalize_host(url.host_str().filter(|host| !host.is_empty())?);
    let plain = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    plain.then(|| (host, url.port().unwrap_or(DATABASE_PORT), user, password.into()))
}

/// A name of Kubernetes: lower-case letters, digits, `-` and `.`.
fn name(check: &mut Check, setting: &str, raw: &str) -> Option<String> {
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(is_inner)
    };
    check.required(setting, Some(raw), Redaction::None, |raw| {
        let is_name = raw.len() <= 253 && raw.split('.').all(is_label);
        is_name
            .then(|| raw.to_owned())
            .ok_or_else(|| "must be a name of Kubernetes, such as wpclone-clones".to_owned())
    })
}

/// The same, or nothing.
fn optional_name(check: &mut Check, setting: &str, raw: &str) -> Option<String> {
    if raw.is_empty() { Some(String::new()) } else { name(check, setting, raw) }
}

/// A quantity of Kubernetes.
fn quantity(check: &mut Check, setting: &str, raw: &str) -> Option<String> {
    check.required(setting, Some(raw), Redaction::None, |raw| {
        let end = raw.find(|c: char| !c.is_ascii_digit()).unwrap_or(raw.len());
        let (number, unit) = raw.split_at(end);
        let is_positive = number.bytes().any(|digit| digit != b'0');
        let is_unit = ["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"].contains(&unit);
        (is_positive && is_unit)
            .then(|| raw.to_owned())
            .ok_or_else(|| "must be a quantity of Kubernetes, such as 512Mi".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use secrecy::ExposeSecret as _;

    use super::*;

    const IMAGES: &str = "8.2=registry.example/clone@sha256:0";
    const DATABASE: &str = "mysql://root:p%40ss@db.example";

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: KroArgs,
    }

    fn check(flags: &[&str]) -> Result<(KroSettings, String), String> {
        let mut check = Check::default();
        let settings = Cli::try_parse_from(["worker"].iter().chain(flags)).unwrap().args.check(&mut check);
        check.finish().map(|()| (settings.unwrap(), check.dump()))
    }

    #[test]
    fn images_and_a_database_are_all_that_is_required() {
        let (settings, dump) = check(&["--clone-images", IMAGES, "--database-url", DATABASE]).unwrap();
        let database = settings.database;
        assert_eq!(
            (database.host.as_str(), database.port, database.user.as_str()),
            ("db.example", 3306, "root")
        );
        assert_eq!(database.password.expose_secret(), "p@ss");
        assert!(!dump.contains("p%40ss") && !dump.contains("p@ss"), "{dump}");
        assert_eq!(settings.ingress, None);
        let faults = check(&[]).unwrap_err();
        for setting in ["WPCLONE_CLONE_IMAGES", "WPCLONE_DATABASE_URL"] {
            assert!(faults.contains(&format!("{setting} is required")), "{faults}");
        }
    }

    #[test]
    fn an_ipv6_address_of_the_database_has_no_brackets() {
        for (url, host) in [("mysql://root:p@[2001:db8::1]:3307/", "2001:db8::1"), (DATABASE, "db.example")] {
            let (settings, _) = check(&["--clone-images", IMAGES, "--database-url", url]).unwrap();
            assert_eq!(settings.database.host, host);
        }
    }

    #[test]
    fn every_invalid_setting_is_reported() {
        for (flags, expected) in [
            (["--clone-images", "8.2"], "WPCLONE_CLONE_IMAGES `8.2` is not PHP=IMAGE"),
            (["--database-url", "mysql://db.example"], "WPCLONE_DATABASE_URL must be mysql://"),
            (["--database-url", "postgres://a:b@db.example"], "WPCLONE_DATABASE_URL must be mysql://"),
            (["--kro-group", "Wpclone"], "WPCLONE_KRO_GROUP must be a name"),
            (["--clones-namespace", "a-"], "WPCLONE_CLONES_NAMESPACE must be a name"),
            (["--clone-storage", "2 GB"], "WPCLONE_CLONE_STORAGE must be a quantity"),
            (["--clone-memory", "0Mi"], "WPCLONE_CLONE_MEMORY must be a quantity"),
            (["--clone-cpu", "half"], "WPCLONE_CLONE_CPU must be a quantity"),
            (["--clone-storage-class", "a b"], "WPCLONE_CLONE_STORAGE_CLASS must be a name"),
        ] {
            let required = ["--clone-images", IMAGES, "--database-url", DATABASE];
            let others = required.chunks(2).filter(|pair| pair[0] != flags[0]).flatten();
            let flags: Vec<&str> = flags.iter().chain(others).copied().collect();
            let faults = check(&flags).unwrap_err();
            assert!(faults.contains(expected), "{flags:?}: {faults}");
        }
    }
}

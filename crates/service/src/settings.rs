//! Settings from flags and environment variables. All errors are reported at once.

use std::fmt::Write as _;
use std::str::FromStr;

use crate::webhook::WebhookSecrets;

/// The exit code of a program whose settings are wrong (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// What is wrong with a clones' address on the API's own origin.
pub const CLONES_ON_API_ORIGIN: &str = "is on the API's own origin (WPCLONE_PUBLIC_URL): clones run PHP of strangers, and \
    need a host or port of their own";

/// Arguments that the api and the worker share.
#[derive(Debug, Clone, clap::Args)]
pub struct CommonArgs {
    /// Redis, such as redis://127.0.0.1:6379/0 (rediss:// for TLS)
    #[arg(long, env = "WPCLONE_REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// Keys that secrets are sealed with: id:base64[,id:base64…], 32 bytes each, newest first
    #[arg(long, env = "WPCLONE_SEAL_KEYS", value_name = "KEYS", hide_env_values = true)]
    pub seal_keys: Option<String>,
    /// Secrets that sign callbacks: whsec_base64, 24 to 64 bytes each, separated by spaces, newest first; without them
    /// `callback_url` is rejected
    #[arg(long, env = "WPCLONE_WEBHOOK_SECRETS", value_name = "SECRETS", hide_env_values = true)]
    pub webhook_secrets: Option<String>,
    /// The most MiB of Redis' memory for all artifacts together
    #[arg(long, env = "WPCLONE_ARTIFACTS_MIB", value_name = "MIB", default_value = "256")]
    pub artifacts_mib: String,
    /// Log format: auto (pretty on a terminal, else json), pretty or json
    #[arg(long, env = "WPCLONE_LOG_FORMAT", value_name = "FORMAT", default_value = "auto")]
    pub log_format: String,
    /// OTLP endpoint for spans (HTTP), such as http://127.0.0.1:4318; without it no spans are sent
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Check the settings, print them without secrets, and exit
    #[arg(long)]
    pub check_config: bool,
}

/// Arguments of the api and of workers that serve clones.
#[derive(Debug, Clone, clap::Args)]
pub struct ConnectionArgs {
    /// The most connections of one address; further ones replace idle ones or are refused. A proxy in front is one address
    #[arg(long, env = "WPCLONE_CONNECTIONS_PER_PEER", value_name = "N", default_value = "256")]
    pub connections_per_peer: String,
}

impl ConnectionArgs {
    /// Validates the arguments; errors are added to `check`.
    pub fn check(&self, check: &mut Check) -> Option<usize> {
        let number = check.number("WPCLONE_CONNECTIONS_PER_PEER", &self.connections_per_peer, 8..=65_536);
        number.and_then(|n| usize::try_from(n).ok())
    }
}

/// The shared settings after validation.
#[derive(Debug, Clone)]
pub struct Common {
    /// The URL of Redis; it may contain a password.
    pub redis_url: secrecy::SecretString,
    /// Seals secrets.
    pub sealer: crate::seal::Sealer,
    /// Signs callbacks.
    pub webhook_secrets: WebhookSecrets,
    /// The most bytes of all artifacts.
    pub artifacts_bytes: u64,
    /// Logs and spans.
    pub telemetry: crate::telemetry::Settings,
}

impl CommonArgs {
    /// Validates the arguments; errors are added to `check`.
    pub fn check(&self, check: &mut Check) -> Option<Common> {
        let redis_url = check.required(
            "WPCLONE_REDIS_URL",
            self.redis_url.as_deref(),
            Redaction::UrlLogin,
            |url: &str| {
                let known = ["redis://", "rediss://", "unix://", "redis+unix://", "valkey://", "valkeys://"];
                let fits = known.iter().any(|scheme| url.starts_with(scheme));
                fits.then(|| secrecy::SecretString::from(url))
                    .ok_or("must begin with redis://, rediss:// or unix://".to_owned())
            },
        );
        let sealer =
            check.required("WPCLONE_SEAL_KEYS", self.seal_keys.as_deref(), Redaction::Full, str::parse);
        let webhook_secrets = match self.webhook_secrets.as_deref().filter(|s| !s.trim().is_empty()) {
            None => Some(WebhookSecrets::default()),
            text => check.required("WPCLONE_WEBHOOK_SECRETS", text, Redaction::Full, |text| {
                text.parse().map_err(|what: String| format!("is wrong: {what}"))
            }),
        };
        let artifacts = check.number("WPCLONE_ARTIFACTS_MIB", &self.artifacts_mib, 1..=65_536);
        let format = check.parsed("WPCLONE_LOG_FORMAT", &self.log_format);
        if let Some(endpoint) = &self.otlp_endpoint {
            check.show("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint, Redaction::UrlLogin);
        }
        let telemetry =
            crate::telemetry::Settings { format: format?, otlp_endpoint: self.otlp_endpoint.clone() };
        Some(Common {
            redis_url: redis_url?,
            sealer: sealer?,
            webhook_secrets: webhook_secrets?,
            artifacts_bytes: artifacts? << 20,
            telemetry,
        })
    }
}

/// What `--check-config` hides of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redaction {
    /// Nothing.
    None,
    /// The login of a URL.
    UrlLogin,
    /// Everything.
    Full,
}

/// Collects the errors of the settings, and what `--check-config` shows.
#[derive(Debug, Default)]
pub struct Check {
    faults: Vec<String>,
    shown: Vec<(String, String)>,
    warnings: Vec<String>,
}

impl Check {
    /// Adds an error.
    pub fn fault(&mut self, name: &str, what: impl std::fmt::Display) {
        self.faults.push(format!("{name} {what}"));
    }

    /// Adds a warning to the dump: the value of a setting is dangerous.
    pub fn warn(&mut self, name: &str, what: impl std::fmt::Display) {
        self.warnings.push(format!("{name} {what}"));
    }

    /// Adds a value to the dump.
    pub fn show(&mut self, name: &str, value: &str, redaction: Redaction) {
        let value = match redaction {
            Redaction::None => value.to_owned(),
            Redaction::UrlLogin => without_login(value),
            Redaction::Full => "[redacted]".to_owned(),
        };
        self.shown.push((name.to_owned(), value));
    }

    /// A required setting.
    pub fn required<T>(
        &mut self,
        name: &str,
        raw: Option<&str>,
        redaction: Redaction,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Some(raw) = raw.filter(|r| !r.is_empty()) else {
            self.fault(name, "is required");
            return None;
        };
        self.show(name, raw, redaction);
        read(raw).map_err(|what| self.fault(name, what)).ok()
    }

    /// A setting that is parsed.
    pub fn parsed<T: FromStr>(&mut self, name: &str, raw: &str) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        self.required(name, Some(raw), Redaction::None, |r| {
            r.parse().map_err(|e: T::Err| format!("is wrong: {e}"))
        })
    }

    /// An integer within bounds.
    pub fn number(&mut self, name: &str, raw: &str, bounds: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let wrong = format!("must be a whole number from {} to {}", bounds.start(), bounds.end());
        self.required(name, Some(raw), Redaction::None, |r| {
            r.parse().ok().filter(|n| bounds.contains(n)).ok_or(wrong)
        })
    }

    /// The text for `--check-config`.
    #[must_use]
    pub fn dump(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.shown {
            let _ = writeln!(text, "{name}={value}");
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "# {warning}");
        }
        text
    }

    /// Succeeds when there are no errors.
    ///
    /// # Errors
    /// All errors, as text to print.
    pub fn finish(&self) -> Result<(), String> {
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(format!("the settings have errors:\n  {}", self.faults.join("\n  ")))
        }
    }
}

fn without_login(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}://[redacted]@{}", &url[..scheme], &url[at + 1..])
        }
        _ => url.to_owned(),
    }
}

/// Parses the command line of a service. Exits with 0 after printing help or version, and with [`EXIT_USAGE`] on a wrong
/// flag.
pub fn parse_args<A: clap::Parser>() -> A {
    A::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        std::process::exit(if error.use_stderr() { i32::from(EXIT_USAGE) } else { 0 })
    })
}

/// Validates a service's settings. Exits with 64 when they have errors, and with 0 when they were only to be checked.
pub fn load<T>(check_only: bool, check: impl FnOnce(&mut Check) -> Option<T>) -> T {
    let mut faults = Check::default();
    let settings = check(&mut faults);
    match (settings, faults.finish()) {
        (Some(_), Ok(())) if check_only => {
            print!("{}", faults.dump());
            std::process::exit(0)
        }
        (Some(settings), Ok(())) => settings,
        (_, finished) => {
            eprintln!("{}", finished.err().unwrap_or_else(|| "the settings are incomplete".into()));
            std::process::exit(i32::from(EXIT_USAGE))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(redis: Option<&str>, keys: Option<&str>, mib: &str) -> CommonArgs {
        CommonArgs {
            redis_url: redis.map(Into::into),
            seal_keys: keys.map(Into::into),
            webhook_secrets: None,
            artifacts_mib: mib.into(),
            log_format: "auto".into(),
            otlp_endpoint: None,
            check_config: false,
        }
    }

    #[test]
    fn all_errors_are_reported_at_once() {
        let mut check = Check::default();
        let secrets = Some("whsec_canary canary".to_owned());
        let args = CommonArgs { webhook_secrets: secrets, ..args(Some("http://x"), None, "lots") };
        assert!(args.check(&mut check).is_none());
        let faults = check.finish().unwrap_err();
        for name in [
            "WPCLONE_REDIS_URL must begin",
            "WPCLONE_SEAL_KEYS is required",
            "WPCLONE_WEBHOOK_SECRETS is wrong: secret 1 must be standard",
            "; secret 2 must begin with whsec_",
            "WPCLONE_ARTIFACTS_MIB must be",
        ] {
            assert!(faults.contains(name), "{faults}");
        }
        assert!(!faults.contains("canary"));
    }

    #[test]
    fn the_dump_shows_no_secret() {
        let mut check = Check::default();
        let key = crate::seal::Sealer::new_key("a").unwrap();
        let secret = "whsec_canaryCanaryCanaryCanaryCanaryCa";
        let mut args = args(Some("redis://me:canary@redis.example:6379/0"), Some(&key), "1");
        args.webhook_secrets = Some(secret.into());
        let common = args.check(&mut check).unwrap();
        assert!(!common.webhook_secrets.is_empty());
        let dump = check.dump();
        assert!(
            dump.contains("redis://[redacted]@redis.example:6379/0")
                && dump.contains("WPCLONE_WEBHOOK_SECRETS=[redacted]")
                && !dump.contains("canary"),
            "{dump}"
        );
        assert!(!dump.contains(&key[2..]) && !format!("{common:?}").contains("canary"));
    }
}

//! Settings of the API.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use url::Url;
use wpclone_service::settings::{CLONES_ON_API_ORIGIN, Check, Common, CommonArgs, ConnectionArgs, Redaction};

use crate::autoscaling::Autoscaling;
use crate::tokens::Tokens;

/// The REST interface and dashboard of wpclone
#[derive(Debug, clap::Parser)]
#[command(name = "wpclone-api", version)]
pub struct Args {
    /// Settings shared with the worker
    #[command(flatten)]
    pub common: CommonArgs,
    /// Where to listen: an IP address and a port (0: any free one)
    #[arg(long, env = "WPCLONE_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// The API's own URL as clients see it, such as https://wpclone.example [default: from the listener]
    #[arg(long, env = "WPCLONE_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// File of access tokens: lines name:sha256:scope[:per_minute[:concurrent]] (scopes: user, operator, metrics; limits:
    /// tasks per minute, unfinished tasks at once). Without it everybody on this machine has access
    #[arg(long, env = "WPCLONE_TOKENS_FILE", value_name = "FILE")]
    pub tokens_file: Option<PathBuf>,
    /// Base URL of clones, as the workers have it [default: from WPCLONE_CLONES_LISTEN]. Clones may not share the API's origin
    #[arg(long, env = "WPCLONE_CLONES_URL", value_name = "URL")]
    pub clones_url: Option<String>,
    /// Listen address of the proxy in front of clones, as the workers have it
    #[arg(long, env = "WPCLONE_CLONES_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    pub clones_listen: String,
    /// How an autoscaler sets the number of workers, to be shown beside how many there are: STAGE=MIN..MAX/TARGET for each
    /// stage, with commas. TARGET is the number of steps, ready or running, for one worker
    #[arg(long, env = "WPCLONE_AUTOSCALING", value_name = "RULES")]
    pub autoscaling: Option<String>,
    /// Limits of connections
    #[command(flatten)]
    pub connections: ConnectionArgs,
}

/// The checked settings.
#[derive(Debug)]
pub struct Settings {
    /// Settings shared with the worker.
    pub common: Common,
    /// The listener's address.
    pub listen: SocketAddr,
    /// The API's own URL, when set.
    pub public_url: Option<PublicUrl>,
    /// The tokens; `None`: everybody on this machine has access.
    pub tokens: Option<Tokens>,
    /// How an autoscaler sets the number of workers, if one does.
    pub autoscaling: Autoscaling,
    /// The most connections of one address.
    pub connections_per_peer: usize,
}

impl Args {
    /// Checks the settings; faults are reported to `check`.
    pub fn check(&self, check: &mut Check) -> Option<Settings> {
        let common = self.common.check(check);
        let listen = check.required("WPCLONE_LISTEN", Some(&self.listen), Redaction::None, |text| {
            text.parse::<SocketAddr>()
                .map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8080".to_owned())
        });
        let public_url = match self.public_url.as_deref().filter(|u| !u.is_empty()) {
            None => Some(None),
            Some(url) => check
                .required("WPCLONE_PUBLIC_URL", Some(url), Redaction::UrlLogin, PublicUrl::parse)
                .map(Some),
        };
        let tokens = match self.tokens_file.as_ref().filter(|f| !f.as_os_str().is_empty()) {
            None => Some(None),
            Some(path) => {
                let path = path.display().to_string();
                check.required("WPCLONE_TOKENS_FILE", Some(&path), Redaction::None, Tokens::open).map(Some)
            }
        };
        if let (Some(listen), Some(None)) = (&listen, &tokens)
            && !listen.ip().is_loopback()
        {
            check.fault("WPCLONE_TOKENS_FILE", "is required when WPCLONE_LISTEN is not a loopback address");
        }
        let autoscaling = match self.autoscaling.as_deref().filter(|rules| !rules.trim().is_empty()) {
            None => Some(Autoscaling::default()),
            Some(rules) => check.parsed("WPCLONE_AUTOSCALING", rules),
        };
        let connections_per_peer = self.connections.check(check);
        let (listen, public_url) = (listen?, public_url?);
        self.check_clones_url(public_url.clone().or_else(|| PublicUrl::from_listener(listen)), check);
        Some(Settings {
            common: common?,
            listen,
            public_url,
            tokens: tokens?,
            autoscaling: autoscaling?,
            connections_per_peer: connections_per_peer?,
        })
    }

    /// Clones run PHP of strangers. On the API's own origin their pages could do everything that the dashboard's user can;
    /// on its host they can set cookies for it. Whether the URL is valid is for the workers to say.
    fn check_clones_url(&self, own: Option<PublicUrl>, check: &mut Check) {
        let url = self.clones_url.clone().filter(|url| !url.is_empty());
        let url = url.unwrap_or_else(|| format!("http://{}", self.clones_listen));
        let (Some(own), Ok(clones)) = (own, Url::parse(&url)) else { return };
        if clones.origin() == own.0.origin() {
            check.fault("WPCLONE_CLONES_URL", CLONES_ON_API_ORIGIN);
        } else if clones.host() == own.0.host() && !own.is_https() {
            check.warn(
                "WPCLONE_CLONES_URL",
                "has the host name of the API, and cookies know no ports: a page of a clone can \
                 end the dashboard's session, or sign its user in as somebody else. Reach the API by https, or under \
                 another host name.",
            );
        }
    }
}

/// The API's own URL: scheme, host and port, without path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(Url);

impl PublicUrl {
    /// Parses it.
    ///
    /// # Errors
    /// A text that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|_| "must be a URL such as https://wpclone.example")?;
        let bare = matches!(url.scheme(), "http" | "https")
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        bare.then_some(Self(url)).ok_or_else(|| {
            "must be http:// or https:// with a host and optionally a port, nothing else".to_owned()
        })
    }

    /// The URL of a listener.
    #[must_use]
    pub fn from_listener(listener: SocketAddr) -> Option<Self> {
        let ip = match listener.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let address = SocketAddr::new(ip, listener.port());
        Url::parse(&format!("http://{address}")).ok().map(Self)
    }

    /// Whether the API is reached by https.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.scheme() == "https"
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.0.scheme()
    }

    /// `https://wpclone.example`, without a slash at the end: what a browser sends as `Origin`.
    #[must_use]
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(listen: &str, public: Option<&str>, tokens: Option<&str>) -> Args {
        Args {
            common: CommonArgs {
                redis_url: Some("redis://127.0.0.1".into()),
                seal_keys: wpclone_service::seal::Sealer::new_key("a").ok(),
                webhook_secrets: None,
                artifacts_mib: "1".into(),
                log_format: "json".into(),
                otlp_endpoint: None,
                check_config: false,
            },
            listen: listen.into(),
            public_url: public.map(Into::into),
            tokens_file: tokens.map(Into::into),
            clones_url: None,
            clones_listen: "127.0.0.1:8090".into(),
            autoscaling: None,
            connections: ConnectionArgs { connections_per_peer: "256".into() },
        }
    }

    fn faults(args: &Args) -> String {
        let mut check = Check::default();
        let _ = args.check(&mut check);
        check.finish().err().unwrap_or_default()
    }

    #[test]
    fn without_tokens_the_listener_must_be_a_loopback_address() {
        assert_eq!(faults(&args("127.0.0.1:0", None, None)), "");
        assert_eq!(faults(&args("[::1]:0", Some(""), Some(""))), "");
        assert!(faults(&args("0.0.0.0:80", None, None)).contains("WPCLONE_TOKENS_FILE is required"));
    }

    #[test]
    fn every_fault_is_reported() {
        let all = faults(&args("here", Some("https://a.example/x"), Some("/nowhere/tokens")));
        for name in ["WPCLONE_LISTEN", "WPCLONE_PUBLIC_URL", "WPCLONE_TOKENS_FILE"] {
            assert!(all.contains(name), "{name}: {all}");
        }
    }

    #[test]
    fn clones_may_not_share_the_apis_origin() {
        let checked = |listen: &str, public: Option<&str>, clones: Option<&str>| {
            let args = Args { clones_url: clones.map(Into::into), ..args(listen, public, None) };
            let mut check = Check::default();
            let _ = args.check(&mut check);
            (check.finish().err().unwrap_or_default(), check.dump())
        };
        for (listen, public, clones) in [
            ("127.0.0.1:8090", None, None),
            ("127.0.0.1:0", Some("https://a.example"), Some("https://a.example:443/clones")),
            ("127.0.0.1:80", None, Some("http://127.0.0.1/")),
            ("127.0.0.1:0", Some("https://a.example"), Some("https://A.example")),
        ] {
            let (faults, _) = checked(listen, public, clones);
            assert!(
                faults.contains("WPCLONE_CLONES_URL is on the API's own origin"),
                "{public:?} {clones:?}: {faults}"
            );
        }
        for (public, clones, advised) in [
            (None, None, true),
            (Some("http://a.example"), Some("http://a.example:81"), true),
            (Some("https://a.example"), Some("https://a.example:81"), false),
            (Some("http://a.example"), Some("http://b.example"), false),
        ] {
            let (faults, dump) = checked("127.0.0.1:8080", public, clones);
            assert_eq!(
                (faults.as_str(), dump.contains("# WPCLONE_CLONES_URL has the host name of the API")),
                ("", advised),
                "{clones:?}"
            );
        }
    }

    #[test]
    fn the_url_of_a_listener_can_be_opened() {
        let of = |listener: &str| PublicUrl::from_listener(listener.parse().unwrap()).unwrap().origin();
        assert_eq!(of("0.0.0.0:8080"), "http://127.0.0.1:8080");
        assert_eq!(of("[::]:81"), "http://[::1]:81");
        assert_eq!(PublicUrl::parse("https://a.example:443").unwrap().origin(), "https://a.example");
    }
}

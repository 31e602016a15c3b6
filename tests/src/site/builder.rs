//! The builder of test sites.

use std::net::IpAddr;

use crate::Result;
use crate::site::{ADMIN, ADMIN_PASSWORD, Site, User, Version};

/// Builds a [`Site`]. Defaults: at the root, in English, environment type `local`, no
/// requests to other hosts.
#[derive(Debug, Clone)]
#[must_use = "nothing happens before `start`"]
pub struct Builder {
    pub(crate) version: Version,
    pub(crate) prefix: String,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) tls: bool,
    pub(crate) locale: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) cron: bool,
    pub(crate) debug: bool,
    pub(crate) constants: Vec<(String, String)>,
    pub(crate) mu_plugins: Vec<(String, String)>,
    pub(crate) users: Vec<User>,
    pub(crate) nginx: String,
    pub(crate) max_body: String,
    pub(crate) ini: Vec<(String, String)>,
    pub(crate) content: u32,
}

impl Builder {
    pub(crate) fn new(version: Version) -> Self {
        Self {
            version,
            prefix: String::new(),
            host: "127.0.0.1".into(),
            port: None,
            tls: false,
            locale: None,
            environment: Some("local".into()),
            cron: false,
            debug: false,
            constants: Vec::new(),
            mu_plugins: Vec::new(),
            users: vec![User {
                name: ADMIN.into(),
                role: "administrator".into(),
                password: ADMIN_PASSWORD.into(),
            }],
            nginx: String::new(),
            max_body: "64m".into(),
            ini: Vec::new(),
            content: 0,
        }
    }

    /// The site lies below this path, such as `/blog`; outside of it there is nothing.
    pub fn prefix(mut self, path: &str) -> Self {
        self.prefix = path.trim_end_matches('/').into();
        self
    }

    /// The site's host name: `127.0.0.1` or `localhost`.
    pub fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    /// The site's host is an address of this machine beyond its loopback, where it listens as well.
    pub fn address(self, address: IpAddr) -> Self {
        self.host(&address.to_string()).nginx(&format!("listen {address}:{{port}};"))
    }

    /// A fixed port instead of a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// https with a self-signed certificate.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// The site's language: `de_DE`, `ar`, `ja`.
    pub fn locale(mut self, locale: &str) -> Self {
        self.locale = Some(locale.into());
        self
    }

    /// `WP_ENVIRONMENT_TYPE`. WordPress has application passwords without https only where it is `local`; `None`
    /// leaves it unset.
    pub fn environment(mut self, environment: Option<&str>) -> Self {
        self.environment = environment.map(str::to_owned);
        self
    }

    /// Lets WordPress run its scheduled work, by requests to itself.
    pub fn cron(mut self) -> Self {
        self.cron = true;
        self
    }

    /// `WP_DEBUG`, with every message in [`Site::debug_log`].
    pub fn debug(mut self) -> Self {
        self.debug = true;
        self
    }

    /// A constant in wp-config.php; the value is a PHP expression.
    pub fn constant(mut self, name: &str, php: &str) -> Self {
        self.constants.push((name.into(), php.into()));
        self
    }

    /// A must-use plugin: PHP code without the opening tag.
    pub fn mu_plugin(mut self, name: &str, php: &str) -> Self {
        self.mu_plugins.push((name.into(), php.into()));
        self
    }

    /// Adds a user with a role such as `editor`.
    pub fn user(mut self, name: &str, role: &str, password: &str) -> Self {
        self.users.push(User { name: name.into(), role: role.into(), password: password.into() });
        self
    }

    /// Another password for `admin`.
    pub fn admin_password(mut self, password: &str) -> Self {
        self.users[0].password = password.into();
        self
    }

    /// More nginx directives for the site's `server` block; `{base}` is the site's path without a slash at its end,
    /// `{port}` its port.
    pub fn nginx(mut self, directives: &str) -> Self {
        self.nginx.push_str(directives);
        self.nginx.push('\n');
        self
    }

    /// nginx' `client_max_body_size`.
    pub fn max_body(mut self, size: &str) -> Self {
        self.max_body = size.into();
        self
    }

    /// A setting of php.ini.
    pub fn ini(mut self, name: &str, value: &str) -> Self {
        self.ini.push((name.into(), value.into()));
        self
    }

    /// Adds this many posts and pages, and some images.
    pub fn content(mut self, amount: u32) -> Self {
        self.content = amount;
        self
    }

    /// Makes and starts it.
    ///
    /// # Errors
    /// A program is missing or does not start.
    pub async fn start(self) -> Result<Site> {
        Site::start(self).await
    }

    /// Whether the new site needs changes made through WordPress.
    pub(crate) fn needs_setup(&self) -> bool {
        self.locale.is_some()
            || self.content > 0
            || self.users.len() > 1
            || self.users[0].password != ADMIN_PASSWORD
    }

    /// What wp-config.php defines, in PHP.
    pub(crate) fn all_constants(&self, debug_log: &str) -> Vec<(String, String)> {
        let mut all = vec![("WP_HTTP_BLOCK_EXTERNAL".to_owned(), "true".to_owned())];
        let mut add = |name: &str, value: String| all.push((name.into(), value));
        if let Some(environment) = &self.environment {
            add("WP_ENVIRONMENT_TYPE", super::config::php_string(environment));
        }
        if !self.cron {
            add("DISABLE_WP_CRON", "true".into());
        }
        if self.debug {
            add("WP_DEBUG", "true".into());
            add("WP_DEBUG_DISPLAY", "false".into());
            add("WP_DEBUG_LOG", super::config::php_string(debug_log));
        }
        // PHP keeps the first definition, so the test's constants come first.
        self.constants
            .iter()
            .cloned()
            .chain(all.into_iter().filter(|(n, _)| !self.constants.iter().any(|(c, _)| c == n)))
            .collect()
    }
}

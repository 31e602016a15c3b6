//! A real WordPress behind nginx and PHP, with a database schema of its own.

mod builder;
mod config;
mod make;
mod version;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::command::{command, run};
use crate::lab::Lab;
use crate::mariadb::Schema;
use crate::service::Service;
use crate::user::OsUser;
use crate::util::{at, installed, tail, unique, until};
use crate::{Database, Result};

pub use builder::Builder;
pub(crate) use version::Template;
pub use version::Version;

const ADMIN: &str = "admin";
/// The admin password of every new site. It contains characters that break wrong escaping.
const ADMIN_PASSWORD: &str = "lab pass+word & \"\u{fc}\" 100%";

/// A user of a site.
#[derive(Debug, Clone, serde::Serialize)]
pub struct User {
    /// Login name.
    pub name: String,
    /// WordPress role.
    pub role: String,
    /// Password.
    pub password: String,
}

/// A line of nginx' access log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Hit {
    /// `http` or `https`.
    pub scheme: String,
    /// Such as `GET`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The response's status; 499 when the client disconnected.
    pub status: u16,
}

/// A running site. Dropping it ends its processes and removes its folder and its schema.
#[derive(Debug)]
pub struct Site {
    spec: Builder,
    port: u16,
    folder: PathBuf,
    version: String,
    os_user: OsUser,
    nginx: Option<Service>,
    fpm: Option<Service>,
    schema: Schema,
}

impl Site {
    /// Describes a site of this WordPress.
    pub fn builder(version: Version) -> Builder {
        Builder::new(version)
    }

    /// Stops nginx, so that the site is down.
    pub fn stop_web(&mut self) {
        self.nginx = None;
    }

    /// Its address, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.spec.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}{}", self.spec.host, self.port, self.spec.prefix)
    }

    /// The path it lies below: empty or `/blog`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.spec.prefix
    }

    /// WordPress' version, such as `6.8.3`.
    #[must_use]
    pub fn wordpress(&self) -> &str {
        &self.version
    }

    /// The administrator.
    #[must_use]
    pub fn admin(&self) -> User {
        self.spec.users[0].clone()
    }

    /// A user that was added with the builder.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<User> {
        self.spec.users.iter().find(|u| u.name == name).cloned()
    }

    /// The folder of WordPress itself.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.folder.join("htdocs").join(self.spec.prefix.trim_start_matches('/'))
    }

    /// Writes a file of the site, `path` being relative to WordPress' folder.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put(&self, path: &str, content: &str) -> Result<()> {
        let file = self.tree().join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
            self.own(parent)?;
        }
        // Not in place: the old one may be a hard link to the template's.
        let new = file.with_extension("lab-new");
        fs::write(&new, content).map_err(at(&new))?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).map_err(at(&new))?;
        self.own(&new)?;
        fs::rename(&new, &file).map_err(at(&file))
    }

    /// Adds or replaces a must-use plugin.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put_mu_plugin(&self, name: &str, php: &str) -> Result<()> {
        self.put(&format!("wp-content/mu-plugins/{name}.php"), &format!("<?php\n{php}\n"))
    }

    /// Moves the front page to the root of the server; WordPress itself stays in its folder ([`Builder::prefix`]). Returns
    /// the address of the front page.
    ///
    /// # Errors
    /// The file cannot be written, or MariaDB refuses the new address.
    pub async fn move_front_page_to_root(&self) -> Result<String> {
        let prefix = self.prefix();
        self.put(
            "../index.php",
            &format!(
                "<?php define('WP_USE_THEMES', true); require __DIR__ . '{prefix}/wp-blog-header.php';\n"
            ),
        )?;
        let url = self.url();
        let home = url.strip_suffix(prefix).unwrap_or(&url).to_owned();
        self.sql(&format!("UPDATE wp_options SET option_value = '{home}' WHERE option_name = 'home'"))
            .await?;
        Ok(home)
    }

    /// Removes a must-use plugin.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn remove_mu_plugin(&self, name: &str) -> Result<()> {
        let file = self.tree().join(format!("wp-content/mu-plugins/{name}.php"));
        fs::remove_file(&file).map_err(at(&file))
    }

    /// The certificate (PEM) of a site with https. A program that finds it among its roots trusts the site.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("tls.crt")
    }

    /// Runs PHP inside of WordPress, as the site's own user; returns what it prints.
    ///
    /// # Errors
    /// It fails, or takes longer than ten minutes.
    pub async fn eval_php(&self, code: &str) -> Result<String> {
        self.php(code, b"").await
    }

    async fn php(&self, code: &str, input: &[u8]) -> Result<String> {
        let host = config::php_string(&format!("{}:{}", self.spec.host, self.port));
        let uri = config::php_string(&format!("{}/", self.spec.prefix));
        let begin = format!(
            "$_SERVER['HTTP_HOST'] = {host}; $_SERVER['REQUEST_URI'] = {uri}; $_SERVER['REQUEST_METHOD'] = 'GET'; \
             $_SERVER['SERVER_PROTOCOL'] = 'HTTP/1.1'; require 'wp-load.php';\n"
        );
        let mut php = command(&installed("php")?);
        php.current_dir(self.tree()).args(["-d", "display_errors=stderr", "-r", &(begin + code)]);
        if let Some((uid, gid)) = self.os_user.change_to {
            php.uid(uid).gid(gid);
        }
        run(php, input).await
    }

    /// Runs SQL on its schema; rows come back as lines, columns apart by tabs.
    ///
    /// # Errors
    /// MariaDB refuses it.
    pub async fn sql(&self, sql: &str) -> Result<String> {
        Lab::shared().mariadb().await?.sql(&self.schema.name, sql).await
    }

    /// A login as the API takes it.
    #[must_use]
    pub fn login(&self, user: &User) -> Value {
        json!({"url": self.url(), "username": user.name, "password": user.password})
    }

    /// Its database.
    #[must_use]
    pub fn database(&self) -> Database {
        let Schema { name, password, socket } = &self.schema;
        let (socket, password) = (socket.clone(), password.clone());
        Database { socket, password, user: name.clone(), schema: name.clone() }
    }

    /// Ids of the PHP processes that answer requests at this moment; they can be killed, and new ones come.
    #[must_use]
    pub fn php_workers(&self) -> Vec<u32> {
        let conf = self.folder.join("fpm.conf").display().to_string();
        let masters = crate::processes_with(&["php-fpm: master", &conf]);
        masters.into_iter().flat_map(crate::children).collect()
    }

    /// All requests that it has responded to so far.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn hits(&self) -> Result<Vec<Hit>> {
        if self.nginx.is_some() {
            self.settle().await?;
        }
        let log = self.folder.join("access.log");
        let text = fs::read_to_string(&log).map_err(at(&log))?;
        let hits: Vec<Hit> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(hits.into_iter().filter(|h| !h.path.starts_with(config::MARKER)).collect())
    }

    /// nginx writes its log after the response: once a request of ours is logged, all earlier ones are.
    async fn settle(&self) -> Result<()> {
        let marker = format!("{}?{}", config::MARKER, unique("hit"));
        let scheme = if self.spec.tls { "https" } else { "http" };
        let address = format!("{scheme}://127.0.0.1:{}{marker}", self.port);
        crate::client::http()?.get(address).send().await?;
        let log = self.folder.join("access.log");
        let written =
            async || fs::read_to_string(&log).is_ok_and(|text| text.contains(&format!("{marker}\"")));
        until("nginx to write its log", Duration::from_secs(120), Some(&log), written).await
    }

    /// The number of login attempts.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn logins(&self) -> Result<usize> {
        let login = format!("{}/wp-login.php", self.spec.prefix);
        let is_login = |h: &&Hit| h.method == "POST" && h.path.split('?').next() == Some(&login);
        Ok(self.hits().await?.iter().filter(is_login).count())
    }

    /// The content of WordPress' debug.log; empty without [`Builder::debug`].
    #[must_use]
    pub fn debug_log(&self) -> String {
        fs::read_to_string(self.folder.join("debug.log")).unwrap_or_default()
    }

    /// The end of PHP's error log.
    #[must_use]
    pub fn php_log(&self) -> String {
        tail(&self.folder.join("php.log"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.nginx.take());
        drop(self.fpm.take());
        let _ = fs::remove_dir_all(&self.folder);
    }
}

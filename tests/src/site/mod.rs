//! A real WordPress behind nginx and PHP, with a database schema of its own.

mod builder;
mod config;
mod version;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::net::{TcpStream, UnixStream};

use crate::base::{at, base, free_port, installed, tail, unique, until};
use crate::command::{command, run, run_args};
use crate::lab::Lab;
use crate::mariadb::Schema;
use crate::service::{Launch, Service};
use crate::user::{OsUser, give};
use crate::{LabError, Result};

pub use builder::Builder;
use version::TEMPLATE_URL;
pub(crate) use version::Template;
pub use version::Version;

const ADMIN: &str = "admin";
/// Of every new site. It holds what goes wrong where somebody escapes badly.
const ADMIN_PASSWORD: &str = "lab pass+word & \"\u{fc}\" 100%";
const ARRANGE_PHP: &str = include_str!("arrange.php");

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

/// A request that a site got, as nginx saw it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Hit {
    /// Such as `GET`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The answer's status; 499 when the client went away.
    pub status: u16,
}

/// A running site. Dropping it ends its processes and removes its folder and its schema.
#[derive(Debug)]
pub struct Site {
    wish: Builder,
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

    async fn start(wish: Builder) -> Result<Self> {
        let lab = Lab::shared();
        let (mariadb, template) = (lab.mariadb().await?, lab.template(wish.version).await?);
        let name = unique("site");
        let mut site = Self {
            port: wish.port.map_or_else(free_port, Ok)?,
            folder: base().await?.join(&name),
            version: template.version.clone(),
            os_user: template.user.clone(),
            nginx: None,
            fpm: None,
            schema: mariadb.schema(&name.replace('-', "_")).await?,
            wish,
        };
        let database = async {
            mariadb
                .sql(&site.schema.name, &site.database(&template.sql))
                .await
        };
        tokio::try_join!(site.files(template), database)?;
        if site.wish.wants_arranging() {
            let wish =
                json!({"locale": site.wish.locale, "users": site.wish.users, "content": site.wish.content});
            site.php(
                ARRANGE_PHP.trim_start_matches("<?php"),
                wish.to_string().as_bytes(),
            )
            .await?;
        }
        site.start_php().await?;
        site.start_web().await?;
        Ok(site)
    }

    /// The template's database with this site's address.
    fn database(&self, sql: &str) -> String {
        let (old, new) = (TEMPLATE_URL, self.url());
        format!(
            "{sql}\nUPDATE wp_options SET option_value = '{new}' WHERE option_name IN ('siteurl', 'home');\n\
             UPDATE wp_posts SET guid = REPLACE(guid, '{old}', '{new}'), \
             post_content = REPLACE(post_content, '{old}', '{new}');\n"
        )
    }

    /// Lays its files: WordPress' own code as hard links, since nobody changes it; the rest as copies.
    async fn files(&self, template: &Template) -> Result<()> {
        let tree = self.tree();
        for dir in [self.folder.join("tmp"), tree.join("wp-content/languages")] {
            fs::create_dir_all(&dir).map_err(at(&dir))?;
        }
        let path = |p: &Path| p.display().to_string();
        let (from, to) = (path(&template.tree), path(&tree));
        run_args(
            "cp",
            [
                "-al",
                &format!("{from}/wp-admin"),
                &format!("{from}/wp-includes"),
                &to,
            ],
        )
        .await?;
        let mut rest = vec!["-a".to_owned(), "--target-directory".into(), to];
        let entries = fs::read_dir(&template.tree)
            .map_err(at(&template.tree))?
            .flatten()
            .map(|e| e.path());
        rest.extend(
            entries
                .filter(|p| !p.ends_with("wp-admin") && !p.ends_with("wp-includes"))
                .map(|p| path(&p)),
        );
        run_args("cp", rest).await?;
        self.translations(template)?;
        for (name, php) in &self.wish.mu_plugins {
            self.put_mu_plugin(name, php)?;
        }
        let constants = self.wish.all_constants(&path(&self.folder.join("debug.log")));
        self.put("wp-config.php", &config::wp_config(&self.schema, &constants)?)?;
        if self.wish.tls {
            self.certificate().await?;
        }
        // Not the whole tree: the template's files have their owner already.
        for own in [
            &self.folder,
            &self.folder.join("tmp"),
            &self.folder.join("htdocs"),
        ] {
            self.own(own)?;
        }
        give(&tree.join("wp-content"), &self.os_user)
    }

    fn own(&self, path: &Path) -> Result<()> {
        match self.os_user.change_to {
            Some((uid, gid)) => std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(at(path)),
            None => Ok(()),
        }
    }

    fn translations(&self, template: &Template) -> Result<()> {
        let Some(locale) = &self.wish.locale else {
            return Ok(());
        };
        let to = self.tree().join("wp-content/languages");
        let mut found = false;
        for entry in fs::read_dir(&template.languages)
            .map_err(at(&template.languages))?
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == format!("{locale}.mo") || name.ends_with(&format!("-{locale}.mo")) {
                fs::copy(entry.path(), to.join(&name)).map_err(at(&entry.path()))?;
                found = true;
            }
        }
        let missing = LabError::Missing {
            what: format!("the translation {locale}"),
            help: "take another language",
        };
        if found { Ok(()) } else { Err(missing) }
    }

    async fn certificate(&self) -> Result<()> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        run_args(
            "openssl",
            [
                "req",
                "-x509",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-keyout",
                &file("tls.key"),
                "-out",
                &file("tls.crt"),
            ],
        )
        .await?;
        self.own(&self.folder.join("tls.key"))
    }

    async fn start_php(&mut self) -> Result<()> {
        let conf = self.folder.join("fpm.conf");
        fs::write(&conf, config::fpm(&self.folder, &self.wish.ini)).map_err(at(&conf))?;
        let launch = Launch {
            run_as: self.os_user.change_to,
            ..Launch::new("php", installed("php-fpm*")?)
        };
        let conf = conf.display().to_string();
        let service = Service::start(launch.args(["--nodaemonize", "--fpm-config", &conf])).await?;
        let socket = self.folder.join("fpm.sock");
        service
            .ready(|| async { UnixStream::connect(&socket).await.is_ok() })
            .await?;
        self.fpm = Some(service);
        Ok(())
    }

    /// Starts nginx again after [`Self::stop_web`].
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_web(&mut self) -> Result<()> {
        let conf = self.folder.join("nginx.conf");
        let web = config::Web {
            folder: &self.folder,
            port: self.port,
            prefix: &self.wish.prefix,
            tls: self.wish.tls,
            max_body: &self.wish.max_body,
            extra: &self.wish.nginx,
        };
        fs::write(&conf, config::nginx(&web)).map_err(at(&conf))?;
        let launch = Launch {
            run_as: self.os_user.change_to,
            ..Launch::new("nginx", installed("nginx")?)
        };
        let (folder, conf) = (self.folder.display().to_string(), conf.display().to_string());
        let service = Service::start(launch.args(["-e", "stderr", "-p", &folder, "-c", &conf])).await?;
        service
            .ready(|| async { TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() })
            .await?;
        self.nginx = Some(service);
        Ok(())
    }

    /// Ends nginx: the site is down.
    pub fn stop_web(&mut self) {
        self.nginx = None;
    }

    /// Its address, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.wish.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}{}", self.wish.host, self.port, self.wish.prefix)
    }

    /// The path it lies below: empty or `/blog`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.wish.prefix
    }

    /// WordPress' version, such as `6.8.3`.
    #[must_use]
    pub fn wordpress(&self) -> &str {
        &self.version
    }

    /// The administrator.
    #[must_use]
    pub fn admin(&self) -> User {
        self.wish.users[0].clone()
    }

    /// A user that the builder was told of.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<User> {
        self.wish.users.iter().find(|u| u.name == name).cloned()
    }

    /// The folder of WordPress itself.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.folder
            .join("htdocs")
            .join(self.wish.prefix.trim_start_matches('/'))
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

    /// Adds a must-use plugin, or puts it in the place of the one of that name.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put_mu_plugin(&self, name: &str, php: &str) -> Result<()> {
        self.put(
            &format!("wp-content/mu-plugins/{name}.php"),
            &format!("<?php\n{php}\n"),
        )
    }

    /// Takes a must-use plugin away.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn remove_mu_plugin(&self, name: &str) -> Result<()> {
        let file = self.tree().join(format!("wp-content/mu-plugins/{name}.php"));
        fs::remove_file(&file).map_err(at(&file))
    }

    /// Runs PHP inside of WordPress, as the site's own user; returns what it prints.
    ///
    /// # Errors
    /// It fails, or takes longer than two minutes.
    pub async fn eval_php(&self, code: &str) -> Result<String> {
        self.php(code, b"").await
    }

    async fn php(&self, code: &str, input: &[u8]) -> Result<String> {
        let host = config::php_string(&format!("{}:{}", self.wish.host, self.port));
        let uri = config::php_string(&format!("{}/", self.wish.prefix));
        let begin = format!(
            "$_SERVER['HTTP_HOST'] = {host}; $_SERVER['REQUEST_URI'] = {uri}; $_SERVER['REQUEST_METHOD'] = 'GET'; \
             $_SERVER['SERVER_PROTOCOL'] = 'HTTP/1.1'; require 'wp-load.php';\n"
        );
        let mut php = command(&installed("php")?);
        php.current_dir(self.tree())
            .args(["-d", "display_errors=stderr", "-r", &(begin + code)]);
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

    /// Every request that it answered until now.
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
        Ok(hits
            .into_iter()
            .filter(|h| !h.path.starts_with(config::MARKER))
            .collect())
    }

    /// nginx writes its log after the answer: a request of our own, once it is there, is after all before it.
    async fn settle(&self) -> Result<()> {
        let marker = format!("{}?{}", config::MARKER, unique("hit"));
        let scheme = if self.wish.tls { "https" } else { "http" };
        let address = format!("{scheme}://127.0.0.1:{}{marker}", self.port);
        crate::client::http()?.get(address).send().await?;
        let log = self.folder.join("access.log");
        let written =
            async || fs::read_to_string(&log).is_ok_and(|text| text.contains(&format!("{marker}\"")));
        until(
            "nginx to write its log",
            Duration::from_secs(5),
            Some(&log),
            written,
        )
        .await
    }

    /// How many logins were tried.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn logins(&self) -> Result<usize> {
        let login = format!("{}/wp-login.php", self.wish.prefix);
        let is_login = |h: &&Hit| h.method == "POST" && h.path.split('?').next() == Some(&login);
        Ok(self.hits().await?.iter().filter(is_login).count())
    }

    /// What WordPress and its plugins complained about; empty without [`Builder::debug`].
    #[must_use]
    pub fn debug_log(&self) -> String {
        fs::read_to_string(self.folder.join("debug.log")).unwrap_or_default()
    }

    /// What PHP itself complained about, the last of it.
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

//! Creating and starting a site.

use std::fs;
use std::path::Path;

use serde_json::json;
use tokio::net::{TcpStream, UnixStream};

use super::version::{TEMPLATE_URL, Template};
use super::{Builder, Site, config};
use crate::command::run_args;
use crate::lab::Lab;
use crate::service::{Launch, Service};
use crate::user::give;
use crate::util::{at, base_folder, free_port, installed, unique};
use crate::{LabError, Result};

const SETUP_PHP: &str = include_str!("setup.php");

impl Site {
    pub(super) async fn start(spec: Builder) -> Result<Self> {
        let lab = Lab::shared();
        let (mariadb, template) = (lab.mariadb().await?, lab.template(spec.version).await?);
        let name = unique("site");
        let mut site = Self {
            port: spec.port.map_or_else(free_port, Ok)?,
            folder: base_folder().await?.join(&name),
            version: template.version.clone(),
            os_user: template.user.clone(),
            nginx: None,
            fpm: None,
            schema: mariadb.schema(&name.replace('-', "_")).await?,
            spec,
        };
        let database = async { mariadb.sql(&site.schema.name, &site.initial_sql(&template.sql)).await };
        tokio::try_join!(site.files(template), database)?;
        if site.spec.needs_setup() {
            let spec =
                json!({"locale": site.spec.locale, "users": site.spec.users, "content": site.spec.content});
            site.php(SETUP_PHP.trim_start_matches("<?php"), spec.to_string().as_bytes()).await?;
        }
        site.start_php().await?;
        site.start_web().await?;
        Ok(site)
    }

    /// The template's database with this site's address.
    fn initial_sql(&self, sql: &str) -> String {
        let (old, new) = (TEMPLATE_URL, self.url());
        format!(
            "{sql}\nUPDATE wp_options SET option_value = '{new}' WHERE option_name IN ('siteurl', 'home');\n\
             UPDATE wp_posts SET guid = REPLACE(guid, '{old}', '{new}'), \
             post_content = REPLACE(post_content, '{old}', '{new}');\n"
        )
    }

    /// Creates the files: WordPress core as hard links, because nothing changes it; the rest as copies.
    async fn files(&self, template: &Template) -> Result<()> {
        let tree = self.tree();
        for dir in [self.folder.join("tmp"), tree.join("wp-content/languages")] {
            fs::create_dir_all(&dir).map_err(at(&dir))?;
        }
        let path = |p: &Path| p.display().to_string();
        let (from, to) = (path(&template.tree), path(&tree));
        run_args("cp", ["-al", &format!("{from}/wp-admin"), &format!("{from}/wp-includes"), &to]).await?;
        let mut rest = vec!["-a".to_owned(), "--target-directory".into(), to];
        let entries = fs::read_dir(&template.tree).map_err(at(&template.tree))?.flatten().map(|e| e.path());
        rest.extend(
            entries.filter(|p| !p.ends_with("wp-admin") && !p.ends_with("wp-includes")).map(|p| path(&p)),
        );
        run_args("cp", rest).await?;
        self.translations(template)?;
        for (name, php) in &self.spec.mu_plugins {
            self.put_mu_plugin(name, php)?;
        }
        let constants = self.spec.all_constants(&path(&self.folder.join("debug.log")));
        self.put("wp-config.php", &config::wp_config(&self.schema, &constants)?)?;
        if self.spec.tls {
            self.make_certificate().await?;
        }
        // Not the whole tree: the template's files have their owner already.
        for own in [&self.folder, &self.folder.join("tmp"), &self.folder.join("htdocs")] {
            self.own(own)?;
        }
        give(&tree.join("wp-content"), &self.os_user)
    }

    pub(super) fn own(&self, path: &Path) -> Result<()> {
        match self.os_user.change_to {
            Some((uid, gid)) => std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(at(path)),
            None => Ok(()),
        }
    }

    fn translations(&self, template: &Template) -> Result<()> {
        let Some(locale) = &self.spec.locale else {
            return Ok(());
        };
        let to = self.tree().join("wp-content/languages");
        let mut found = false;
        for entry in fs::read_dir(&template.languages).map_err(at(&template.languages))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == format!("{locale}.mo") || name.ends_with(&format!("-{locale}.mo")) {
                fs::copy(entry.path(), to.join(&name)).map_err(at(&entry.path()))?;
                found = true;
            }
        }
        let missing =
            LabError::Missing { what: format!("the translation {locale}"), help: "take another language" };
        if found { Ok(()) } else { Err(missing) }
    }

    async fn make_certificate(&self) -> Result<()> {
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
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
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
        fs::write(&conf, config::fpm(&self.folder, &self.spec.ini)).map_err(at(&conf))?;
        let launch = Launch { run_as: self.os_user.change_to, ..Launch::new("php", installed("php-fpm*")?) };
        let conf = conf.display().to_string();
        let service = Service::start(launch.args(["--nodaemonize", "--fpm-config", &conf])).await?;
        let socket = self.folder.join("fpm.sock");
        service.ready(|| async { UnixStream::connect(&socket).await.is_ok() }).await?;
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
            prefix: &self.spec.prefix,
            tls: self.spec.tls,
            max_body: &self.spec.max_body,
            extra: &self.spec.nginx,
        };
        fs::write(&conf, config::nginx(&web)).map_err(at(&conf))?;
        let launch = Launch { run_as: self.os_user.change_to, ..Launch::new("nginx", installed("nginx")?) };
        let (folder, conf) = (self.folder.display().to_string(), conf.display().to_string());
        let service = Service::start(launch.args(["-e", "stderr", "-p", &folder, "-c", &conf])).await?;
        service.ready(|| async { TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() }).await?;
        self.nginx = Some(service);
        Ok(())
    }
}

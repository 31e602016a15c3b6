//! Builds the template from a pristine WordPress.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use wpclone_provision::clone_runtime::TASKS_SCRIPT;
use wpclone_provision::{SourceConfig, SourceFacts};

use crate::archive::pack;
use crate::blocking::run_blocking;
use crate::clone_paths::{ClonePaths, create_clone_dirs};
use crate::database_admin::DatabaseAdmin;
use crate::database_relay::DatabaseRelay;
use crate::files::{create_dir, remove_all, write_atomically};
use crate::host::Host;
use crate::php_fpm;
use crate::random::random_hex;
use crate::secrets::Secrets;
use crate::template::{self, TEMPLATE_PREFIX, TEMPLATE_URL, TEMPLATE_USER, Template};
use crate::tree;
use crate::users::{Ids, chown};
use crate::wordpress;
use crate::wp_config::{self, LocalWpConfig};

/// The schema that WordPress is installed in.
pub(crate) const TEMPLATE_SCHEMA: &str = "wpclone_template";
/// The most connections of the template's PHP to its database.
const TEMPLATE_CONNECTIONS: usize = 8;
/// A file beside the staged files: the key of the WordPress that is staged, complete and not yet installed.
const STAGED_MARKER: &str = "staged";

/// Copies the files of this WordPress to where the template is built, unless they are staged or the template exists;
/// returns the template's folder. It needs no database.
pub(crate) async fn stage_files(wordpress_dir: &Path, host: &Host) -> io::Result<PathBuf> {
    let (from, dir, user) = (wordpress_dir.to_owned(), host.state_dir.clone(), host.template_user());
    let work = move || {
        let has = |file: &str| from.join(file).is_file();
        if !has("wp-load.php") || !has("wp-includes/version.php") {
            let missing = "wp-load.php or wp-includes/version.php is missing";
            return Err(io::Error::new(io::ErrorKind::NotFound, missing));
        }
        let key = key(&from)?;
        let (made, paths) = (dir.template().join(&key), dir.template_paths());
        let is_staged =
            || fs::read_to_string(paths.folder.join(STAGED_MARKER)).is_ok_and(|staged| staged == key);
        if template::exists(&made) || is_staged() {
            return Ok(made);
        }
        remove_all(&paths.folder)?;
        // Templates of another WordPress or incomplete ones; no clone is created meanwhile.
        for entry in fs::read_dir(dir.template())? {
            remove_all(&entry?.path())?;
        }
        let stage = || {
            create_clone_dirs(&paths, user)?;
            copy_wordpress(&from, &paths.tree(), user, &dir.clone_runtime())?;
            pack(&paths.tree(), &paths.folder.join(template::FILES))?;
            fs::write(paths.folder.join(STAGED_MARKER), &key)
        };
        if let Err(error) = stage() {
            // The incomplete copy may be what fills the disk.
            let _ = remove_all(&paths.folder);
            return Err(error);
        }
        Ok(made)
    };
    host.lock.run_blocking(work).await
}

/// Builds a template with the shared database server.
pub(crate) struct TemplateBuilder<'a> {
    pub(crate) host: &'a Host,
    pub(crate) database: DatabaseAdmin,
}

impl TemplateBuilder<'_> {
    /// The template of this WordPress: the existing one, or a new one.
    pub(crate) async fn get_or_build(&self, wordpress_dir: &Path) -> io::Result<Template> {
        let folder = stage_files(wordpress_dir, self.host).await?;
        let made = folder.clone();
        if !run_blocking(move || Ok(template::exists(&made))).await? {
            self.build(&folder).await?;
        }
        self.host.lock.run_blocking(move || Template::open(&folder)).await
    }

    /// Builds it from the staged files. The installation changes no file, so they become the first prewarmed copy.
    async fn build(&self, folder: &Path) -> io::Result<()> {
        let paths = self.host.state_dir.template_paths();
        // Nothing of an installation that fails is used again.
        let staged = paths.folder.join(STAGED_MARKER);
        self.host.lock.run_blocking(move || fs::remove_file(staged)).await?;
        let (version, sql) = self.installed(&paths).await?;
        let (folder, new) = (folder.to_owned(), folder.with_extension("new"));
        let work = move || {
            let prewarmed = new.join(template::PREWARMED);
            for folder in [&new, &prewarmed] {
                create_dir(folder, 0o700)?;
            }
            fs::rename(paths.folder.join(template::FILES), new.join(template::FILES))?;
            fs::rename(paths.tree(), prewarmed.join(template::prewarmed_name()?))?;
            write_atomically(&new.join(template::DATABASE), &sql, 0o600)?;
            write_atomically(&new.join(template::VERSION), version.as_bytes(), 0o600)?;
            fs::rename(&new, &folder)?;
            remove_all(&paths.folder)
        };
        self.host.lock.run_blocking(work).await
    }

    /// Installs WordPress; returns its version, and its database as SQL.
    async fn installed(&self, paths: &ClonePaths) -> io::Result<(String, Vec<u8>)> {
        let secrets = Secrets::generate()?;
        self.database.create(TEMPLATE_SCHEMA, &secrets.database_password).await?;
        let dumped = match self.install(paths, &secrets).await {
            Ok(version) => self.database.dump(TEMPLATE_SCHEMA).await.map(|sql| (version, sql)),
            Err(error) => Err(error),
        };
        let dropped = self.database.drop(TEMPLATE_SCHEMA).await;
        let dumped = dumped?;
        dropped.map(|()| dumped)
    }

    /// Runs WordPress' own installation; returns its version.
    async fn install(&self, paths: &ClonePaths, secrets: &Secrets) -> io::Result<String> {
        let (user, runtime) = (self.host.template_user(), self.host.state_dir.clone_runtime());
        let config = LocalWpConfig {
            url: TEMPLATE_URL,
            table_prefix: TEMPLATE_PREFIX,
            source: &SourceConfig::default(),
            username: TEMPLATE_USER,
            database: TEMPLATE_SCHEMA,
            secrets,
            clone_runtime: &runtime,
        };
        wp_config::write(paths, &config, user, &self.host.lock).await?;
        let server = self.database.socket().to_owned();
        let _relay = DatabaseRelay::start(paths, user, server, TEMPLATE_CONNECTIONS).await?;
        let (_, program) = self.host.binaries.fpm_for(None);
        let facts = SourceFacts::default();
        let mut fpm = php_fpm::start(paths, &runtime, program, user, &facts, &self.host.launcher).await?;
        // Nobody logs in with this password: each clone gets its own.
        let input = json!({ "task": "install", "username": TEMPLATE_USER, "password": random_hex::<16>()? });
        let installed = wordpress::run_task(paths, user, &runtime, TEMPLATE_URL, input).await;
        fpm.stop().await;
        Ok(installed?.wordpress)
    }
}

/// What identifies a template: the WordPress that it is built from, and how.
fn key(wordpress_dir: &Path) -> io::Result<String> {
    let hash = Sha256::new()
        .chain_update(tree::fingerprint(wordpress_dir)?)
        .chain_update(TASKS_SCRIPT)
        .chain_update(wpclone_migrator::ZIP)
        .finalize();
    Ok(hex::encode(&hash[..8]))
}

/// Copies WordPress: links are followed, its own configuration is left out, the migrator is added.
fn copy_wordpress(from: &Path, to: &Path, user: Option<Ids>, clone_runtime: &Path) -> io::Result<()> {
    let excluded = |path: &Path| path == Path::new("wp-config.php") || path == Path::new(".htaccess");
    tree::copy(from, to, user, &excluded)?;
    for folder in ["wp-content", "wp-content/plugins", "wp-content/uploads", "wp-content/upgrade"] {
        create_dir(&to.join(folder), 0o755)?;
        chown(&to.join(folder), user)?;
    }
    let plugin = to.join("wp-content/plugins/wpclone-migrator");
    remove_all(&plugin)?;
    tree::copy(&clone_runtime.join("wpclone-migrator"), &plugin, user, &|_| false)
}

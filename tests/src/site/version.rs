//! WordPress versions, and the template site of each that new sites are copied from.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::command::{command, run};
use crate::lab::Lab;
use crate::mariadb::copy;
use crate::site::config;
use crate::user::{OsUser, give, os_user};
use crate::util::{at, base_folder, cache, random_text};
use crate::{LabError, Result};

const INSTALL_PHP: &str = include_str!("install.php");

/// The address in a template's dump, which is replaced with the new site's address.
pub(crate) const TEMPLATE_URL: &str = "http://template.invalid";

/// A WordPress, named after the Debian release that packages it, or npm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 6.1
    Bookworm,
    /// 6.8
    Trixie,
    /// 7.1 or newer
    Sid,
    /// 6.5 as npm has it; only `./dev test long` fetches it.
    Npm,
}

impl Version {
    /// The versions that are always installed, oldest first.
    pub const ALL: [Self; 3] = [Self::Bookworm, Self::Trixie, Self::Sid];
    pub(crate) const COUNT: usize = 4;

    /// Its files, as they were fetched.
    pub(crate) fn tree(self) -> Result<PathBuf> {
        let tree = cache()?.join("wordpress").join(self.name());
        if tree.join("wp-load.php").is_file() {
            return Ok(tree);
        }
        Err(LabError::Missing { what: tree.display().to_string(), help: "run `./dev install`" })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
            Self::Npm => "6.5",
        }
    }
}

/// Files and database of a new WordPress.
#[derive(Debug)]
pub(crate) struct Template {
    /// Its files, as the user that sites run as; without translations.
    pub(crate) tree: PathBuf,
    /// Its translations.
    pub(crate) languages: PathBuf,
    /// Its database.
    pub(crate) sql: String,
    /// The version that WordPress reports.
    pub(crate) version: String,
    /// The user that sites run as.
    pub(crate) user: OsUser,
}

impl Template {
    pub(crate) async fn make(version: Version) -> Result<Self> {
        let name = version.name();
        let source = version.tree()?;
        let user = os_user("www-data")?;
        let base = base_folder().await?;
        let (tree, languages) =
            (base.join(format!("template-{name}")), base.join(format!("languages-{name}")));
        copy(&source, &tree).await?;
        let translations = tree.join("wp-content/languages");
        fs::rename(&translations, &languages).map_err(at(&translations))?;
        fs::create_dir_all(tree.join("wp-content/mu-plugins"))?;
        give(&tree, &user)?;
        give(&languages, &user)?;
        let version = wordpress_version(&tree)?;
        let sql = installed_database(name, &version, &tree).await?;
        Ok(Self { tree, languages, sql, version, user })
    }
}

fn wordpress_version(tree: &Path) -> Result<String> {
    let file = tree.join("wp-includes/version.php");
    let text = fs::read_to_string(&file).map_err(at(&file))?;
    let version = text.split_once("$wp_version = '").and_then(|(_, rest)| rest.split('\'').next());
    version.map(str::to_owned).ok_or_else(|| at(&file)(std::io::Error::other("names no version")))
}

/// The database of a new site: from the cache, else by WordPress' own installation.
async fn installed_database(name: &str, version: &str, tree: &Path) -> Result<String> {
    let recipe = hex::encode(Sha256::digest(format!("{version} {INSTALL_PHP} {}", super::ADMIN_PASSWORD)));
    let kept = cache()?.join("wordpress").join(format!("{name}-{}.sql", &recipe[..16]));
    if let Ok(sql) = fs::read_to_string(&kept) {
        return Ok(sql);
    }
    let mariadb = Lab::shared().mariadb().await?;
    let schema = mariadb.schema(&format!("template_{}", name.replace('.', "_"))).await?;
    let file = tree.join("wp-config.php");
    fs::write(&file, config::wp_config(&schema, &[])?).map_err(at(&file))?;
    let mut php = command(&crate::util::installed("php")?);
    php.current_dir(tree).args([
        "-r",
        INSTALL_PHP.trim_start_matches("<?php"),
        TEMPLATE_URL,
        super::ADMIN_PASSWORD,
    ]);
    let installed = run(php, b"").await;
    fs::remove_file(&file).map_err(at(&file))?;
    installed?;
    let sql = mariadb.dump(&schema).await?;
    let own = kept.with_extension(random_text()?);
    fs::write(&own, &sql).map_err(at(&own))?;
    fs::rename(&own, &kept).map_err(at(&kept))?;
    Ok(sql)
}

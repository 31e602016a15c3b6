//! WordPress as it is after its installation: made once, so that a clone is a copy and some SQL.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memmem;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::config::{WpConfig, wp_config};
use super::dirs::{Dirs, Held, Seat, make_dir, remove_dir, write_whole};
use super::launch::Launcher;
use super::mariadb::Sql;
use super::php;
use super::programs::Programs;
use super::record::Secrets;
use super::tree;
use super::users::{Ids, give};
use crate::{SourceFacts, harness};

/// The address in a template's database.
const URL: &str = "http://template.invalid/wpclone-template";
/// The table prefix in a template's database: nothing else has it in it.
const PREFIX: &str = "wpct3mpl8_";
/// The administrator in a template's database.
pub(crate) const USER: &str = "wpclone-template";
/// The template's schema while it is made.
const SCHEMA: &str = "wpclone_template";

/// A template's folder with the copies of the files that are ready.
const SPARES: &str = "spares";
/// How many there are at rest: copying takes longer than all the rest.
const KEPT_SPARES: usize = 2;

/// A prepared WordPress: its database, and where its files are copied from.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    origin: Origin,
    /// The folder with the copies that are ready.
    spares: PathBuf,
    sql: Arc<Vec<u8>>,
    /// What it calls itself.
    pub(crate) wordpress: String,
}

/// The files that a template is made of.
#[derive(Debug, Clone)]
struct Origin {
    wordpress: PathBuf,
    harness: PathBuf,
    /// What the template is known by: these files, and how it is made.
    key: String,
    /// Bytes on the disk.
    size: u64,
}

/// The files are not those any more that the database was made with.
#[derive(Debug, thiserror::Error)]
#[error("it has changed, and is prepared anew")]
struct Changed;

/// Whether a copy was not made because the files have changed.
pub(crate) fn is_changed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<Changed>())
}

/// Where a template is made, and for whom.
pub(crate) struct Ground<'a> {
    pub(crate) dirs: &'a Dirs,
    pub(crate) user: Option<Ids>,
    /// What still writes there when nobody waits for it any more keeps others out.
    pub(crate) held: &'a Arc<Held>,
}

/// What a template is made with.
pub(crate) struct Workshop<'a> {
    pub(crate) ground: Ground<'a>,
    pub(crate) programs: &'a Programs,
    pub(crate) launcher: &'a Launcher,
    pub(crate) sql: Sql,
}

/// A file in the template's seat: the WordPress that lies there, whole and untouched.
const PLANTED: &str = "planted";

/// Puts the files of this WordPress where a template is made of them, unless they lie there or there is one of them. It
/// needs no database.
pub(crate) async fn plant(wordpress: &Path, ground: &Ground<'_>) -> io::Result<()> {
    planted(wordpress, ground).await.map(drop)
}

async fn planted(wordpress: &Path, ground: &Ground<'_>) -> io::Result<Origin> {
    let has = |file: &str| wordpress.join(file).is_file();
    if !has("wp-load.php") || !has("wp-includes/version.php") {
        let missing = "wp-load.php or wp-includes/version.php is missing";
        return Err(io::Error::new(io::ErrorKind::NotFound, missing));
    }
    let (from, dirs, user) = (wordpress.to_owned(), ground.dirs.clone(), ground.user);
    let held = Arc::clone(ground.held);
    super::blocking(move || {
        let _held = held;
        let (origin, seat) = (Origin::of(from, dirs.harness())?, dirs.seat(Seat::TEMPLATE));
        if is_made(&dirs.template().join(&origin.key)) {
            remove_dir(&seat.folder)?;
        } else if !fs::read_to_string(seat.folder.join(PLANTED)).is_ok_and(|planted| planted == origin.key) {
            remove_dir(&seat.folder)?;
            php::make_seat(&seat, user)?;
            origin.copy(&seat.tree(), user)?;
            write_whole(&seat.folder.join(PLANTED), origin.key.as_bytes(), 0o600)?;
        }
        Ok(origin)
    })
    .await
}

impl Origin {
    fn of(wordpress: PathBuf, harness: PathBuf) -> io::Result<Self> {
        let (files, size) = tree::fingerprint(&wordpress)?;
        let hash = Sha256::new()
            .chain_update(files)
            .chain_update(harness::TASKS)
            .chain_update(wpclone_migrator::ZIP)
            .finalize();
        Ok(Self { wordpress, harness, key: hex::encode(&hash[..8]), size })
    }

    /// A copy in which all files are those that the key stands for; otherwise there is none.
    fn copy(&self, to: &Path, user: Option<Ids>) -> io::Result<()> {
        let copied = self.copy_files(to, user);
        let now = Self::of(self.wordpress.clone(), self.harness.clone());
        if now.is_ok_and(|now| now.key == self.key) {
            return copied;
        }
        remove_dir(to)?;
        Err(io::Error::other(Changed))
    }

    /// WordPress' files: links followed, without a configuration of their own, with the migrator.
    fn copy_files(&self, to: &Path, user: Option<Ids>) -> io::Result<()> {
        let left_out = |path: &Path| path == Path::new("wp-config.php") || path == Path::new(".htaccess");
        tree::copy_but(&self.wordpress, to, user, &left_out)?;
        for folder in ["wp-content", "wp-content/plugins", "wp-content/uploads", "wp-content/upgrade"] {
            make_dir(&to.join(folder), 0o755)?;
            give(&to.join(folder), user)?;
        }
        let plugin = to.join("wp-content/plugins/wpclone-migrator");
        remove_dir(&plugin)?;
        tree::copy(&self.harness.join("wpclone-migrator"), &plugin, user)
    }
}

/// The last file of a template says that it is whole.
fn is_made(template: &Path) -> bool {
    template.join("wordpress").is_file()
}

impl Template {
    /// The one for this WordPress: that which was made before, or a new one.
    pub(crate) async fn get(wordpress: &Path, with: &Workshop<'_>) -> io::Result<Self> {
        let (all, origin) = (with.ground.dirs.template(), planted(wordpress, &with.ground).await?);
        let made = all.join(&origin.key);
        if !is_made(&made) {
            Self::make(with, &made).await?;
        }
        super::blocking(move || {
            // Others are of an older WordPress, or were not finished.
            for entry in fs::read_dir(&all)?.flatten().filter(|e| e.path() != made) {
                if let Err(error) = remove_dir(&entry.path()) {
                    tracing::warn!(%error, folder = %entry.path().display(), "an older WordPress is not removed");
                }
            }
            let sql = Arc::new(fs::read(made.join("db.sql"))?);
            let version = fs::read_to_string(made.join("wordpress"))?;
            Ok(Self { origin, spares: made.join(SPARES), sql, wordpress: version })
        })
        .await
    }

    /// Makes it of what is planted, which the first clone gets: WordPress' installation changes no file.
    async fn make(with: &Workshop<'_>, made: &Path) -> io::Result<()> {
        let seat = with.ground.dirs.seat(Seat::TEMPLATE);
        // Of an installation that fails nothing is used again.
        fs::remove_file(seat.folder.join(PLANTED))?;
        let (version, sql) = Self::installed(with, &seat).await?;
        let (made, new) = (made.to_owned(), made.with_extension("new"));
        super::blocking(move || {
            remove_dir(&made)?;
            remove_dir(&new)?;
            make_dir(&new, 0o700)?;
            make_dir(&new.join(SPARES), 0o700)?;
            fs::rename(seat.tree(), new.join(SPARES).join(ready_name()?))?;
            write_whole(&new.join("db.sql"), &sql, 0o600)?;
            write_whole(&new.join("wordpress"), version.as_bytes(), 0o600)?;
            fs::rename(&new, &made)?;
            remove_dir(&seat.folder)
        })
        .await
    }

    /// Installs WordPress in the seat; returns its version, and its database as SQL.
    async fn installed(with: &Workshop<'_>, seat: &Seat) -> io::Result<(String, Vec<u8>)> {
        let secrets = Secrets::new()?;
        with.sql.create(SCHEMA, &secrets.database_password).await?;
        let done = Self::install(with, seat, &secrets).await;
        let dumped = match done {
            Ok(told) => with.sql.dump(SCHEMA).await.map(|sql| (told, sql)),
            Err(error) => Err(error),
        };
        let dropped = with.sql.drop(SCHEMA).await;
        let dumped = dumped?;
        dropped.map(|()| dumped)
    }

    /// WordPress' own installation; returns its version.
    async fn install(with: &Workshop<'_>, seat: &Seat, secrets: &Secrets) -> io::Result<String> {
        let Ground { dirs, user, .. } = with.ground;
        let config = WpConfig {
            url: URL,
            table_prefix: PREFIX,
            database: SCHEMA,
            database_socket: &with.sql.socket,
            secrets,
            harness: &dirs.harness(),
        };
        php::write_wp_config(seat, &wp_config(seat, &config)?, user)?;
        let (_, program) = with.programs.fpm_for(None);
        let facts = SourceFacts::default();
        let fpm = php::start(dirs, seat, program, user, &facts, with.launcher).await?;
        // Nobody ever logs in with it: each clone gets its own.
        let wish =
            json!({ "task": "install", "username": USER, "password": super::record::random_hex::<16>()? });
        let told = php::task(dirs, seat, URL, wish).await;
        fpm.stop().await;
        Ok(told?.wordpress)
    }

    /// Bytes that the files of a clone take on the disk.
    pub(crate) fn size(&self) -> u64 {
        self.origin.size
    }

    /// The files, for a clone. See [`is_changed`] for one of the errors.
    pub(crate) fn copy_to(&self, to: &Path, user: Option<Ids>) -> io::Result<()> {
        // Of two that want the same one, one gets it.
        let taken = self.ready().any(|spare| fs::rename(spare, to).is_ok());
        if taken { tree::give_all(to, user) } else { self.origin.copy(to, user) }
    }

    /// Copies the files once more if there are too few copies; says whether it did. See [`is_changed`] for one of the
    /// errors.
    pub(crate) fn spare(&self) -> io::Result<bool> {
        if self.ready().count() >= KEPT_SPARES {
            return Ok(false);
        }
        let new = self.spares.join("new");
        remove_dir(&new)?;
        self.origin.copy(&new, None)?;
        fs::rename(&new, self.spares.join(ready_name()?))?;
        Ok(true)
    }

    fn ready(&self) -> impl Iterator<Item = PathBuf> {
        let entries = fs::read_dir(&self.spares).into_iter().flatten().flatten();
        entries.filter(|e| e.file_name().to_string_lossy().starts_with(READY_PREFIX)).map(|e| e.path())
    }

    /// The database, for a clone.
    pub(crate) fn sql_for(&self, url: &str, table_prefix: &str) -> Vec<u8> {
        let sql = replace(&self.sql, URL.as_bytes(), url.as_bytes());
        replace(&sql, PREFIX.as_bytes(), table_prefix.as_bytes())
    }
}

/// What names of whole copies begin with.
const READY_PREFIX: &str = "ready-";

fn ready_name() -> io::Result<String> {
    Ok(format!("{READY_PREFIX}{}", super::record::random_hex::<8>()?))
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 8);
    let mut done = 0;
    for at in memmem::find_iter(text, from) {
        out.extend_from_slice(&text[done..at]);
        out.extend_from_slice(to);
        done = at + from.len();
    }
    out.extend_from_slice(&text[done..]);
    out
}

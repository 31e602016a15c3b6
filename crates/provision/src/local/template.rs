//! WordPress as it is after its installation: made once, so that a clone is a copy and some SQL.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memmem;
use rustix::fs::syncfs;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::config::{WpConfig, wp_config};
use super::dirs::{Dirs, Permit, RESERVE, Seat, make_dir, remove_dir, room, write_whole};
use super::launch::Launcher;
use super::mariadb::Sql;
use super::pack::{pack, unpack};
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

/// A template's folder with the copies of its files that are ready.
const SPARES: &str = "spares";
/// How many copies of the files are ready at rest: copying takes longer than all the rest.
const KEPT_SPARES: usize = 2;

/// A prepared WordPress.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    /// Its files, packed.
    files: PathBuf,
    /// The folder with the copies that are ready.
    spares: PathBuf,
    sql: Arc<Vec<u8>>,
    /// What it calls itself.
    pub(crate) wordpress: String,
    /// Bytes that its files take.
    pub(crate) size: u64,
}

/// Where a template is made, and for whom.
pub(crate) struct Ground<'a> {
    pub(crate) dirs: &'a Dirs,
    pub(crate) user: Option<Ids>,
    pub(crate) held: &'a Arc<Permit>,
}

/// What a template is made with.
pub(crate) struct Workshop<'a> {
    pub(crate) ground: Ground<'a>,
    pub(crate) programs: &'a Programs,
    pub(crate) launcher: &'a Launcher,
    pub(crate) sql: Sql,
}

/// A file in the template's folder, and before in its seat: all files of WordPress.
const FILES: &str = "files.zip";
/// A file in the template's seat: which WordPress lies there, whole and untouched.
const PLANTED: &str = "planted";

/// Puts the files of this WordPress where a template is made of them, unless they lie there or there is one of them;
/// returns the template's folder. It needs no database.
pub(crate) async fn plant(wordpress: &Path, ground: &Ground<'_>) -> io::Result<PathBuf> {
    let has = |file: &str| wordpress.join(file).is_file();
    if !has("wp-load.php") || !has("wp-includes/version.php") {
        let missing = "wp-load.php or wp-includes/version.php is missing";
        return Err(io::Error::new(io::ErrorKind::NotFound, missing));
    }
    let (from, dirs, user) = (wordpress.to_owned(), ground.dirs.clone(), ground.user);
    let work = move || {
        let key = key(&from)?;
        let (made, seat) = (dirs.template().join(&key), dirs.seat(Seat::TEMPLATE));
        let planted = || fs::read_to_string(seat.folder.join(PLANTED)).is_ok_and(|planted| planted == key);
        if is_made(&made) || planted() {
            return Ok(made);
        }
        remove_dir(&seat.folder)?;
        // They are of an older WordPress, or were not finished, and no clone is made meanwhile.
        for entry in fs::read_dir(dirs.template())? {
            remove_dir(&entry?.path())?;
        }
        let plant = || {
            php::make_seat(&seat, user)?;
            copy_wordpress(&from, &seat.tree(), user, &dirs.harness())?;
            pack(&seat.tree(), &seat.folder.join(FILES))?;
            fs::write(seat.folder.join(PLANTED), &key)
        };
        if let Err(error) = plant() {
            // What there is of it may be what fills the disk.
            let _ = remove_dir(&seat.folder);
            return Err(error);
        }
        Ok(made)
    };
    ground.held.blocking(work).await
}

/// A template's folder gets its name when all is in it.
fn is_made(template: &Path) -> bool {
    template.join(FILES).is_file()
}

impl Template {
    /// The one for this WordPress: that which was made before, or a new one.
    pub(crate) async fn get(wordpress: &Path, with: &Workshop<'_>) -> io::Result<Self> {
        let made = plant(wordpress, &with.ground).await?;
        if !is_made(&made) {
            Self::make(with, &made).await?;
        }
        let work = move || {
            let sql = Arc::new(fs::read(made.join("db.sql"))?);
            let version = fs::read_to_string(made.join("wordpress"))?;
            let (files, spares) = (made.join(FILES), made.join(SPARES));
            make_dir(&spares, 0o700)?;
            Ok(Self { size: fs::metadata(&files)?.len(), files, spares, sql, wordpress: version })
        };
        with.ground.held.blocking(work).await
    }

    /// Makes it of what is planted, which the first clone gets: WordPress' installation changes no file.
    async fn make(with: &Workshop<'_>, made: &Path) -> io::Result<()> {
        let seat = with.ground.dirs.seat(Seat::TEMPLATE);
        // Of an installation that fails nothing is used again.
        fs::remove_file(seat.folder.join(PLANTED))?;
        let (version, sql) = Self::installed(with, &seat).await?;
        let (made, new) = (made.to_owned(), made.with_extension("new"));
        let work = move || {
            let spares = new.join(SPARES);
            for folder in [&new, &spares] {
                make_dir(folder, 0o700)?;
            }
            fs::rename(seat.folder.join(FILES), new.join(FILES))?;
            fs::rename(seat.tree(), spares.join(ready_name()?))?;
            write_whole(&new.join("db.sql"), &sql, 0o600)?;
            write_whole(&new.join("wordpress"), version.as_bytes(), 0o600)?;
            fs::rename(&new, &made)?;
            remove_dir(&seat.folder)
        };
        with.ground.held.blocking(work).await
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

    /// The files, for a clone.
    pub(crate) fn copy_to(&self, to: &Path, user: Option<Ids>) -> io::Result<()> {
        // Of two that want the same one, one gets it.
        let taken = self.ready().any(|spare| fs::rename(spare, to).is_ok());
        if taken { tree::give_all(to, user) } else { unpack(&self.files, to, user) }
    }

    /// Copies the files once more if there are too few copies, and room.
    pub(crate) fn spare(&self) -> io::Result<()> {
        if self.ready().count() >= KEPT_SPARES || room(&self.spares)? < self.size.saturating_add(RESERVE) {
            return Ok(());
        }
        let new = self.spares.join("new");
        remove_dir(&new)?;
        let copied = unpack(&self.files, &new, None)
            // Nobody waits, and who finds it ready after a power cut has to find it whole.
            .and_then(|()| Ok(syncfs(File::open(&self.spares)?)?))
            .and_then(|()| fs::rename(&new, self.spares.join(ready_name()?)));
        if copied.is_err() {
            let _ = remove_dir(&new);
        }
        copied
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

/// What a template is known by: the WordPress that it is made from, and how.
fn key(wordpress: &Path) -> io::Result<String> {
    let hash = Sha256::new()
        .chain_update(tree::fingerprint(wordpress)?)
        .chain_update(harness::TASKS)
        .chain_update(wpclone_migrator::ZIP)
        .finalize();
    Ok(hex::encode(&hash[..8]))
}

/// WordPress' files: links followed, without a configuration of their own, with the migrator.
fn copy_wordpress(wordpress: &Path, tree: &Path, user: Option<Ids>, harness: &Path) -> io::Result<()> {
    let left_out = |path: &Path| path == Path::new("wp-config.php") || path == Path::new(".htaccess");
    tree::copy_but(wordpress, tree, user, &left_out)?;
    for folder in ["wp-content", "wp-content/plugins", "wp-content/uploads", "wp-content/upgrade"] {
        make_dir(&tree.join(folder), 0o755)?;
        give(&tree.join(folder), user)?;
    }
    let plugin = tree.join("wp-content/plugins/wpclone-migrator");
    remove_dir(&plugin)?;
    tree::copy(&harness.join("wpclone-migrator"), &plugin, user)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// One with a single file, that needs so much room.
    fn template(folder: &Path, size: u64) -> Template {
        let (tree, files, spares) = (folder.join("tree"), folder.join(FILES), folder.join(SPARES));
        fs::create_dir_all(tree.join("wp-content")).unwrap();
        fs::write(tree.join("wp-content/index.php"), "<?php").unwrap();
        fs::create_dir(&spares).unwrap();
        pack(&tree, &files).unwrap();
        Template { files, spares, sql: Arc::default(), wordpress: "6.8".into(), size }
    }

    #[test]
    fn some_copies_are_ready_and_one_is_taken_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let template = template(folder.path(), 5);
        for _ in 0..KEPT_SPARES + 2 {
            template.spare().unwrap();
        }
        assert_eq!(template.ready().count(), KEPT_SPARES);
        template.copy_to(&folder.path().join("clone"), None).unwrap();
        assert_eq!(template.ready().count(), KEPT_SPARES - 1);
        assert_eq!(fs::read(folder.path().join("clone/wp-content/index.php")).unwrap(), b"<?php");
    }

    #[test]
    fn copies_in_advance_leave_the_disk_its_reserve() {
        let folder = tempfile::tempdir().unwrap();
        let all = room(folder.path()).unwrap();
        // Half the reserve is more than what others write to this disk meanwhile.
        let template = template(folder.path(), all - RESERVE / 2);
        template.spare().unwrap();
        assert_eq!(template.ready().count(), 0);
        template.copy_to(&folder.path().join("clone"), None).unwrap();
        assert!(folder.path().join("clone/wp-content/index.php").is_file(), "a clone is not in advance");
    }
}

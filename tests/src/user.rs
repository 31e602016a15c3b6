//! Operating system users that services run as.

use std::fs;
use std::path::Path;

use crate::{LabError, Result};

/// A user of the machine.
#[derive(Debug, Clone)]
pub(crate) struct OsUser {
    pub(crate) name: String,
    /// User and group id to switch to; `None` for the current user.
    pub(crate) change_to: Option<(u32, u32)>,
}

/// As root: the named user, because daemons refuse to run as root. Otherwise the current user.
pub(crate) fn os_user(wanted: &str) -> Result<OsUser> {
    let me = rustix::process::getuid().as_raw();
    let passwd = fs::read_to_string("/etc/passwd")?;
    let entry = |matches: &dyn Fn(&str, u32) -> bool| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, uid, gid) =
                (fields.next()?, fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            matches(name, uid).then(|| (name.to_owned(), uid, gid))
        })
    };
    if me == 0 {
        let found = entry(&|name, _| name == wanted);
        let help = "run `./dev install`";
        let (name, uid, gid) =
            found.ok_or(LabError::Missing { what: format!("the user `{wanted}`"), help })?;
        return Ok(OsUser { name, change_to: Some((uid, gid)) });
    }
    let name = entry(&|_, uid| uid == me).map_or_else(|| me.to_string(), |(name, ..)| name);
    Ok(OsUser { name, change_to: None })
}

/// The name of the current user, as MariaDB's socket authentication sees it.
pub(crate) fn current_user_name() -> Result<String> {
    if rustix::process::getuid().is_root() { Ok("root".into()) } else { Ok(os_user("")?.name) }
}

/// Changes the owner of a folder and everything in it; links are not followed.
pub(crate) fn give(path: &Path, user: &OsUser) -> Result<()> {
    let Some((uid, gid)) = user.change_to else {
        return Ok(());
    };
    let failed = crate::util::at(path);
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(&failed)?;
    if fs::symlink_metadata(path).map_err(&failed)?.is_dir() {
        for entry in fs::read_dir(path).map_err(&failed)? {
            give(&entry.map_err(&failed)?.path(), user)?;
        }
    }
    Ok(())
}

//! The state folder of a test's clones.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::mariadb::{copy, link};
use crate::util::{at, base_folder, tail, unique};
use crate::{Result, TestApp, Version};

/// How long a provisioner may take to prepare itself.
const PREPARE_LIMIT: Duration = Duration::from_secs(300);
/// What a provisioner makes at its first start and every other one takes as it is.
const PREPARED: [&str; 2] = ["layout", "mariadb/pristine"];
/// The same, of which no provisioner changes a file.
const TEMPLATE: &str = "template";

/// State folders after a first start, one per WordPress version.
static PREPARED_STATES: [OnceCell<PathBuf>; Version::COUNT] =
    [const { OnceCell::const_new() }; Version::COUNT];

/// The state folder of clones. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct ClonesState(PathBuf);

impl ClonesState {
    /// Creates the folder, `prepared` or empty, and adds the settings of clones to `env`.
    pub(crate) async fn create(
        version: Version,
        prepared: bool,
        env: &mut Vec<(String, String)>,
    ) -> Result<Self> {
        let folder = base_folder().await?.join(unique("clones"));
        let state = Self(folder.clone());
        let mut set = |name: &str, value: String| {
            if env.iter().all(|(n, _)| n != name) {
                env.push((name.into(), value));
            }
        };
        set("WPCLONE_STATE_DIR", folder.display().to_string());
        set("WPCLONE_WORDPRESS_DIR", version.tree()?.display().to_string());
        set("WPCLONE_CLONES_LISTEN", format!("127.0.0.1:{}", crate::free_port()?));
        if prepared {
            let from = PREPARED_STATES[version as usize].get_or_try_init(|| prepare(version)).await?;
            for dir in [folder.clone(), folder.join("mariadb")] {
                fs::create_dir(&dir).map_err(at(&dir))?;
                // Users of clones traverse it.
                fs::set_permissions(&dir, fs::Permissions::from_mode(0o711)).map_err(at(&dir))?;
            }
            for part in PREPARED {
                copy(&from.join(part), &folder.join(part)).await?;
            }
            link(&from.join(TEMPLATE), &folder.join(TEMPLATE)).await?;
        }
        Ok(state)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    /// Prints the PHP logs of clones, for a test that failed.
    fn print_logs(&self) {
        let clones = fs::read_dir(self.0.join("clones")).into_iter().flatten().flatten();
        let logs = clones.filter_map(|clone| fs::read_dir(clone.path().join("log")).ok()).flatten().flatten();
        for log in logs {
            eprintln!("--- {}\n{}", log.path().display(), tail(&log.path()));
        }
    }
}

/// Starts a provisioner once, and returns a copy of its state folder.
async fn prepare(version: Version) -> Result<PathBuf> {
    let builder = TestApp::builder().clones_from_scratch(version).env("WPCLONE_STAGES", "provisioning");
    let app = Box::pin(builder.start()).await?;
    let ready = |text: &str| text.starts_with("ready") && !text.contains("clones:");
    app.workers[0].until_ready_says("the provisioner to be ready", PREPARE_LIMIT, ready).await?;
    app.workers[0].terminate().await?;
    let kept = base_folder().await?.join(unique("prepared"));
    fs::create_dir_all(kept.join("mariadb")).map_err(at(&kept))?;
    if let Some(state) = app.clones_state() {
        for part in PREPARED {
            copy(&state.join(part), &kept.join(part)).await?;
        }
        copy(&state.join(TEMPLATE), &kept.join(TEMPLATE)).await?;
    }
    // Thousands of files, also where no clone is made. The first clone unpacks its own.
    for template in fs::read_dir(kept.join(TEMPLATE)).map_err(at(&kept))?.flatten() {
        let prewarmed = template.path().join("prewarmed");
        fs::remove_dir_all(&prewarmed).map_err(at(&prewarmed))?;
    }
    Ok(kept)
}

impl Drop for ClonesState {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_logs();
        }
        if let Err(error) = fs::remove_dir_all(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("{} is left over: {error}", self.0.display());
        }
    }
}

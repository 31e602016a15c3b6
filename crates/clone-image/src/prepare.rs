//! What is done when the image is built.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use wpclone_clone_php::unpack_migrator;
use wpclone_provision::clone_image::{CLONE_RUNTIME, LOGIN, TREE, WP_CONFIG};
use wpclone_provision::clone_runtime::{SANDBOX_PLUGIN, SANDBOX_PLUGIN_FILE, TASKS_SCRIPT};

use crate::wordpress_files;

/// The packed WordPress.
pub(crate) const ARCHIVE: &str = "/opt/wordpress.tar";

/// Writes the runtime's PHP, wp-config.php and the packed WordPress.
pub(crate) fn prepare(wordpress: &Path) -> anyhow::Result<()> {
    let runtime = Path::new(CLONE_RUNTIME);
    for folder in [CLONE_RUNTIME, TREE, LOGIN] {
        fs::create_dir_all(folder).with_context(|| format!("{folder} cannot be created"))?;
    }
    unpack_migrator(runtime).context("the migrator cannot be unpacked")?;
    fs::write(runtime.join(SANDBOX_PLUGIN_FILE), SANDBOX_PLUGIN)?;
    fs::write(runtime.join("tasks.php"), TASKS_SCRIPT)?;
    let config = Path::new(TREE).with_file_name("wp-config.php");
    fs::write(config, format!("<?php\nrequire '{WP_CONFIG}';\n"))?;
    wordpress_files::pack(wordpress, &runtime.join("wpclone-migrator"), Path::new(ARCHIVE))
        .with_context(|| format!("WordPress in {} cannot be packed", wordpress.display()))
}

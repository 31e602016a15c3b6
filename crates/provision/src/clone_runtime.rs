//! PHP that every clone has and its source has not.

/// The sandbox plugin: no mail, no cron, no outgoing requests, `noindex`. In a clone, wp-config.php loads it from outside
/// of the WordPress folder; in another target it is a must-use plugin, `wp-content/mu-plugins/` with the name
/// [`SANDBOX_PLUGIN_FILE`].
pub const SANDBOX_PLUGIN: &str = include_str!("../php/wpclone-sandbox.php");

/// The file name of the sandbox plugin.
pub const SANDBOX_PLUGIN_FILE: &str = wpclone_migrator::SANDBOX_PLUGIN_FILE;

/// The script that does in WordPress what only the provisioner may request: it installs WordPress, or creates the
/// administrator and opens the migrator. Input and output are JSON.
pub const TASKS_SCRIPT: &str = include_str!("../php/tasks.php");

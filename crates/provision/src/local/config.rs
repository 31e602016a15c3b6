//! The configuration files of a clone.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use secrecy::ExposeSecret as _;

use super::dirs::Seat;
use super::record::{Secrets, random_hex};
use crate::PhpLimits;
use crate::harness::MU_PLUGIN_FILE;

/// The table prefix of WordPress itself.
pub(crate) const USUAL_PREFIX: &str = "wp_";

/// The most that a clone takes in one request: the proxy's limit, too.
pub(crate) const MOST_UPLOAD: u64 = 128 << 20;

/// What wp-config.php says.
pub(crate) struct WpConfig<'a> {
    pub(crate) url: &'a str,
    pub(crate) table_prefix: &'a str,
    pub(crate) database: &'a str,
    pub(crate) database_socket: &'a Path,
    pub(crate) secrets: &'a Secrets,
    pub(crate) harness: &'a Path,
}

/// wp-config.php. It lies in the folder above WordPress, where neither the web nor an import reaches it.
pub(crate) fn wp_config(seat: &Seat, config: &WpConfig<'_>) -> io::Result<String> {
    let mut text = String::from("<?php\n// Made by wpclone for this clone alone.\n");
    let mut define = |name: &str, php: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "define( '{name}', {php} );");
    };
    define("DB_NAME", &php_string(config.database));
    define("DB_USER", &php_string(config.database));
    define("DB_PASSWORD", &php_string(config.secrets.database_password.expose_secret()));
    define("DB_HOST", &php_string(&format!("localhost:{}", config.database_socket.display())));
    define("DB_CHARSET", "'utf8mb4'");
    define("DB_COLLATE", "''");
    for key in ["AUTH", "SECURE_AUTH", "LOGGED_IN", "NONCE"] {
        define(&format!("{key}_KEY"), &php_string(&random_hex::<32>()?));
        define(&format!("{key}_SALT"), &php_string(&random_hex::<32>()?));
    }
    // Whatever the database says: this is where the clone is.
    define("WP_HOME", &php_string(config.url));
    define("WP_SITEURL", &php_string(config.url));
    define("WP_ENVIRONMENT_TYPE", "'staging'");
    define("DISABLE_WP_CRON", "true");
    define("AUTOMATIC_UPDATER_DISABLED", "true");
    define("WP_HTTP_BLOCK_EXTERNAL", "true");
    define("FS_METHOD", "'direct'");
    define("WP_DEBUG", "false");
    define("WPCLONE_HARNESS", &php_string(&config.harness.display().to_string()));
    define("WPCLONE_NAME", &php_string(config.database));
    define("WPCLONE_LOGIN", &php_string(&seat.login().display().to_string()));
    define("WPCLONE_LOGIN_KEY", &php_string(config.secrets.login_key.expose_secret()));
    define("WPCLONE_LOGIN_USER", &php_string(&config.secrets.username));
    let tree = php_string(&format!("{}/", seat.tree().display()));
    let _ = write!(
        text,
        "$table_prefix = {};\nif ( ! defined( 'ABSPATH' ) ) {{\n\tdefine( 'ABSPATH', {tree} );\n}}\n\
         require_once WPCLONE_HARNESS . '/{MU_PLUGIN_FILE}';\nrequire_once ABSPATH . 'wp-settings.php';\n",
        php_string(config.table_prefix),
    );
    Ok(text)
}

/// A text as a PHP expression.
fn php_string(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Whether a text can be a table prefix: what WordPress' own installer takes, and short enough for the longest names.
pub(crate) fn is_table_prefix(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// PHP's functions that start programs. A clone that runs as the worker's own user must not: a program is not bound by
/// `open_basedir`.
const NO_PROGRAMS: &str =
    "exec,passthru,shell_exec,system,popen,proc_open,pcntl_exec,pcntl_fork,dl,symlink,link";

/// php-fpm's configuration: one pool, workers when they are needed.
pub(crate) fn fpm(seat: &Seat, harness: &Path, own_user: bool, limits: PhpLimits) -> String {
    let (tmp, log) = (seat.tmp(), seat.log());
    let (tmp, log) = (tmp.display(), log.display());
    let mut text = format!(
        "[global]\nerror_log = {log}/fpm.log\nlog_level = warning\ndaemonize = no\n\
         process_control_timeout = 1s\n\
         [clone]\nlisten = {}\nlisten.mode = 0600\nlisten.backlog = 256\n\
         pm = ondemand\npm.max_children = 8\npm.process_idle_timeout = 20s\npm.max_requests = 1000\n\
         clear_env = yes\ncatch_workers_output = yes\nsecurity.limit_extensions = .php\n\
         request_terminate_timeout = 330s\nchdir = /\n",
        seat.socket().display(),
    );
    let mut admin = |name: &str, value: &str| {
        let _ = writeln!(text, "php_admin_value[{name}] = {value}");
    };
    admin("error_log", &format!("{log}/php.log"));
    for name in ["sys_temp_dir", "upload_tmp_dir", "session.save_path"] {
        admin(name, &tmp.to_string());
    }
    // Mail that goes round WordPress goes nowhere as well.
    admin("sendmail_path", "/bin/true");
    admin("log_errors", "1");
    admin("display_errors", "0");
    admin("expose_php", "0");
    // An import replaces files under PHP's hands.
    admin("opcache.revalidate_freq", "0");
    admin("mysqli.allow_local_infile", "0");
    if !own_user {
        let reach = [seat.www(), seat.tmp(), seat.login(), harness.to_owned()];
        let reach: Vec<String> = reach.iter().map(|p| format!("{}/", p.display())).collect();
        admin("open_basedir", &reach.join(":"));
        admin("disable_functions", NO_PROGRAMS);
    }
    let Limits { memory, upload, seconds, vars } = Limits::of(limits);
    admin("upload_max_filesize", &upload.to_string());
    admin("post_max_size", &upload.to_string());
    // WordPress and plugins may change these, as they may on the source.
    for (name, value) in [("memory_limit", memory), ("max_execution_time", seconds), ("max_input_vars", vars)]
    {
        let _ = writeln!(text, "php_value[{name}] = {value}");
    }
    text
}

/// PHP's limits as a clone gets them.
struct Limits {
    memory: u64,
    upload: u64,
    seconds: u64,
    vars: u64,
}

impl Limits {
    /// The source's within bounds, where it has any.
    fn of(source: PhpLimits) -> Self {
        let within = |value: Option<u64>, least: u64, most: u64, usual: u64| {
            value.map_or(usual, |value| value.clamp(least, most))
        };
        Self {
            memory: within(source.memory_limit, 64 << 20, 1 << 30, 256 << 20),
            // What is taken in comes as uploads: never less than the proxy lets through.
            upload: within(source.upload_max_filesize, MOST_UPLOAD, MOST_UPLOAD, MOST_UPLOAD),
            seconds: within(source.max_execution_time, 10, 300, 120),
            vars: within(source.max_input_vars, 1_000, 100_000, 5_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_that_could_end_a_string_or_a_name_is_none() {
        for good in ["wp_", "a", "WP7_x", "_"] {
            assert!(is_table_prefix(good), "{good}");
        }
        for bad in ["", "wp-", "wp_'; --", "wp`", "w\u{fc}_", &"a".repeat(33)] {
            assert!(!is_table_prefix(bad), "{bad}");
        }
    }

    #[test]
    fn texts_stay_texts_in_php() {
        assert_eq!(php_string("a'b\\c"), r"'a\'b\\c'");
    }

    #[test]
    fn limits_have_bounds() {
        let wild = PhpLimits {
            memory_limit: Some(1),
            upload_max_filesize: Some(u64::MAX),
            max_execution_time: Some(0),
            max_input_vars: Some(u64::MAX),
        };
        let got = Limits::of(wild);
        assert_eq!((got.memory, got.upload, got.seconds, got.vars), (64 << 20, MOST_UPLOAD, 10, 100_000));
    }
}

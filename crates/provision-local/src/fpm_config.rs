//! The configuration of a clone's php-fpm.

use std::fmt::Write as _;
use std::path::Path;

use wpclone_clone_proxy::MAX_BODY_BYTES;
use wpclone_provision::{EffectivePhpLimits, PhpLimits};

use crate::clone_paths::{ClonePaths, PHP_LOG};

/// PHP's functions that start programs. They are disabled for clones that run as the worker's own user, because
/// `open_basedir` does not restrict programs.
const DISABLED_FUNCTIONS: &str =
    "exec,passthru,shell_exec,system,popen,proc_open,pcntl_exec,pcntl_fork,dl,symlink,link";

/// php-fpm's configuration: one pool, whose workers are started on demand.
pub(crate) fn fpm_config(
    paths: &ClonePaths,
    clone_runtime: &Path,
    own_user: bool,
    limits: PhpLimits,
) -> String {
    let (tmp, log) = (paths.tmp(), paths.log());
    let (tmp, log) = (tmp.display(), log.display());
    let mut text = format!(
        "[global]\nerror_log = {log}/fpm.log\nlog_level = warning\ndaemonize = no\n\
         process_control_timeout = 1s\n\
         [clone]\nlisten = {}\nlisten.mode = 0600\nlisten.backlog = 256\n\
         pm = ondemand\npm.max_children = 8\npm.process_idle_timeout = 20s\npm.max_requests = 1000\n\
         clear_env = yes\ncatch_workers_output = yes\nsecurity.limit_extensions = .php\n\
         request_terminate_timeout = 330s\nchdir = /\n",
        paths.socket().display(),
    );
    let mut admin = |name: &str, value: &str| {
        let _ = writeln!(text, "php_admin_value[{name}] = {value}");
    };
    admin("error_log", &format!("{log}/{PHP_LOG}"));
    for name in ["sys_temp_dir", "upload_tmp_dir", "session.save_path"] {
        admin(name, &tmp.to_string());
    }
    // Mail that PHP itself sends is discarded. The program reads all of it: PHP's mail() fails when the pipe closes
    // before it has written. What PHP adds (such as `-f SENDER`) become arguments that the command does not use.
    admin("sendmail_path", "\"/bin/sh -c 'cat >/dev/null'\"");
    admin("log_errors", "1");
    admin("display_errors", "0");
    admin("expose_php", "0");
    // As in every distribution's php.ini: without it no cookie can be set after a byte before the PHP code of a file.
    admin("output_buffering", "4096");
    // An import replaces PHP files while PHP runs.
    admin("opcache.revalidate_freq", "0");
    // A new clone compiles all of WordPress and serves few requests: optimising the code takes longer than it saves.
    admin("opcache.optimization_level", "0");
    admin("mysqli.allow_local_infile", "0");
    if !own_user {
        let allowed = [paths.www(), paths.tmp(), paths.login(), clone_runtime.to_owned()];
        let allowed: Vec<String> = allowed.iter().map(|p| format!("{}/", p.display())).collect();
        admin("open_basedir", &allowed.join(":"));
        admin("disable_functions", DISABLED_FUNCTIONS);
    }
    let EffectivePhpLimits { memory, seconds, vars } = EffectivePhpLimits::from_source(limits);
    // Imports are uploads, whatever the source allows: as much as the proxy lets through.
    for name in ["upload_max_filesize", "post_max_size"] {
        admin(name, &MAX_BODY_BYTES.to_string());
    }
    // WordPress and plugins can change these, as on the source.
    for (name, value) in [("memory_limit", memory), ("max_execution_time", seconds), ("max_input_vars", vars)]
    {
        let _ = writeln!(text, "php_value[{name}] = {value}");
    }
    text
}

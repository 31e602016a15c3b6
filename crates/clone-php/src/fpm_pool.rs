//! The configuration of a clone's php-fpm.

use std::fmt::Write as _;
use std::path::Path;

use wpclone_clone_proxy::MAX_BODY_BYTES;
use wpclone_provision::EffectivePhpLimits;

/// PHP's functions that start programs. They are disabled where `open_basedir` restricts PHP, because it does not restrict
/// programs.
const DISABLED_FUNCTIONS: &str =
    "exec,passthru,shell_exec,system,popen,proc_open,pcntl_exec,pcntl_fork,dl,symlink,link";

/// What php-fpm's configuration is made from: one pool, whose workers are started on demand.
#[derive(Debug, Clone, Copy)]
pub struct FpmPool<'a> {
    /// The socket that it listens on.
    pub socket: &'a Path,
    /// The log of php-fpm itself.
    pub fpm_log: &'a Path,
    /// The log of PHP.
    pub php_log: &'a Path,
    /// The folder of temporary files, uploads and sessions.
    pub tmp: &'a Path,
    /// The folders that PHP may open files in; without them any.
    pub open_basedir: Option<&'a [&'a Path]>,
    /// PHP's limits, unless an ini file of the clone sets them.
    pub limits: Option<EffectivePhpLimits>,
}

impl FpmPool<'_> {
    /// The text of the configuration.
    #[must_use]
    pub fn config(&self) -> String {
        let mut text = format!(
            "[global]\nerror_log = {}\nlog_level = warning\ndaemonize = no\n\
             process_control_timeout = 1s\n\
             [clone]\nlisten = {}\nlisten.mode = 0600\nlisten.backlog = 256\n\
             pm = ondemand\npm.max_children = 8\npm.process_idle_timeout = 20s\npm.max_requests = 1000\n\
             clear_env = yes\ncatch_workers_output = yes\nsecurity.limit_extensions = .php\n\
             request_terminate_timeout = 330s\nchdir = /\n",
            self.fpm_log.display(),
            self.socket.display(),
        );
        let mut admin = |name: &str, value: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "php_admin_value[{name}] = {value}");
        };
        admin("error_log", &self.php_log.display().to_string());
        for name in ["sys_temp_dir", "upload_tmp_dir", "session.save_path"] {
            admin(name, &self.tmp.display().to_string());
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
        if let Some(folders) = self.open_basedir {
            let folders: Vec<String> =
                folders.iter().map(|folder| format!("{}/", folder.display())).collect();
            admin("open_basedir", &folders.join(":"));
            admin("disable_functions", DISABLED_FUNCTIONS);
        }
        // Imports are uploads, whatever the source allows: as much as the proxy lets through.
        for name in ["upload_max_filesize", "post_max_size"] {
            admin(name, &MAX_BODY_BYTES.to_string());
        }
        if let Some(EffectivePhpLimits { memory, seconds, vars }) = self.limits {
            // WordPress and plugins can change these, as on the source.
            for (name, value) in
                [("memory_limit", memory), ("max_execution_time", seconds), ("max_input_vars", vars)]
            {
                let _ = writeln!(text, "php_value[{name}] = {value}");
            }
        }
        text
    }
}

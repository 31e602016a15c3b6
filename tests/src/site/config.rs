//! The configuration files of a site.

use std::fmt::Write;
use std::path::Path;

use crate::Result;
use crate::mariadb::Schema;
use crate::util::random_text;

/// wp-config.php; `constants` are names and PHP expressions.
pub(crate) fn wp_config(schema: &Schema, constants: &[(String, String)]) -> Result<String> {
    let mut text = String::from("<?php\n");
    let mut define = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "define('{name}', {value});");
    };
    define("DB_NAME", &php_string(&schema.name));
    define("DB_USER", &php_string(&schema.name));
    define("DB_PASSWORD", &php_string(&schema.password));
    define("DB_HOST", &php_string(&format!("localhost:{}", schema.socket.display())));
    define("DB_CHARSET", "'utf8mb4'");
    define("DB_COLLATE", "''");
    for key in ["AUTH", "SECURE_AUTH", "LOGGED_IN", "NONCE"] {
        define(&format!("{key}_KEY"), &php_string(&random_text()?));
        define(&format!("{key}_SALT"), &php_string(&random_text()?));
    }
    for (name, value) in constants {
        define(name, value);
    }
    text.push_str("$table_prefix = 'wp_';\nif (!defined('ABSPATH')) define('ABSPATH', __DIR__ . '/');\n");
    text.push_str("require_once ABSPATH . 'wp-settings.php';\n");
    Ok(text)
}

/// A text as a PHP expression.
pub(crate) fn php_string(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// php-fpm's: one pool, workers when they are needed, which stay: nobody tells it of a connection that it misses while one ends. A site serves few requests, so optimising its code would take longer
/// than it saves.
pub(crate) fn fpm(folder: &Path, ini: &[(String, String)]) -> String {
    let folder = folder.display();
    let mut text = format!(
        "[global]\nerror_log = {folder}/php.log\n\
         [site]\nlisten = {folder}/fpm.sock\npm = ondemand\npm.max_children = 6\npm.process_idle_timeout = 3600s\n\
         catch_workers_output = yes\nphp_admin_value[sys_temp_dir] = {folder}/tmp\n\
         php_admin_value[upload_tmp_dir] = {folder}/tmp\nphp_admin_value[opcache.revalidate_freq] = 0\n\
         php_admin_value[opcache.optimization_level] = 0\n\
         php_admin_value[error_log] = {folder}/php.log\nphp_admin_flag[log_errors] = on\n"
    );
    // Of two values for one name, PHP-FPM would use the first.
    let usual = [("upload_max_filesize", "64M"), ("post_max_size", "64M")];
    let usual = usual.into_iter().filter(|(name, _)| ini.iter().all(|(wanted, _)| wanted != name));
    for (name, value) in ini.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain(usual) {
        let _ = writeln!(text, "php_admin_value[{name}] = {value}");
    }
    text
}

/// Parameters of nginx' configuration.
pub(crate) struct Web<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) port: u16,
    pub(crate) prefix: &'a str,
    pub(crate) tls: bool,
    pub(crate) max_body: &'a str,
    pub(crate) extra: &'a str,
}

/// The path that nginx itself answers.
pub(crate) const MARKER: &str = "/lab-marker";

/// nginx' configuration.
pub(crate) fn nginx(web: &Web<'_>) -> String {
    let Web { folder, port, prefix, max_body, .. } = web;
    let folder = folder.display();
    let extra = web.extra.replace("{base}", prefix).replace("{port}", &port.to_string());
    let tls = if web.tls {
        format!("ssl_certificate {folder}/tls.crt; ssl_certificate_key {folder}/tls.key;")
    } else {
        String::new()
    };
    let ssl = if web.tls { "ssl" } else { "" };
    format!(
        r#"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr warn;
events {{ worker_connections 512; }}
http {{
  include /etc/nginx/mime.types; default_type application/octet-stream;
  log_format lab escape=json '{{"scheme":"$scheme","method":"$request_method","path":"$request_uri","status":$status}}';
  access_log {folder}/access.log lab;
  client_body_temp_path {folder}/tmp/body; fastcgi_temp_path {folder}/tmp/fastcgi; proxy_temp_path {folder}/tmp/proxy;
  uwsgi_temp_path {folder}/tmp/uwsgi; scgi_temp_path {folder}/tmp/scgi;
  client_max_body_size {max_body};
  server {{
    listen 127.0.0.1:{port} {ssl}; {tls}
    root {folder}/htdocs; index index.php;
    fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; fastcgi_param SCRIPT_NAME $fastcgi_script_name;
    fastcgi_param DOCUMENT_ROOT $document_root; fastcgi_param DOCUMENT_URI $document_uri;
    fastcgi_param REQUEST_URI $request_uri; fastcgi_param QUERY_STRING $query_string;
    fastcgi_param REQUEST_METHOD $request_method; fastcgi_param CONTENT_TYPE $content_type;
    fastcgi_param CONTENT_LENGTH $content_length; fastcgi_param SERVER_PROTOCOL $server_protocol;
    fastcgi_param SERVER_NAME $host; fastcgi_param SERVER_PORT $server_port; fastcgi_param SERVER_ADDR $server_addr;
    fastcgi_param REMOTE_ADDR $remote_addr; fastcgi_param REMOTE_PORT $remote_port;
    fastcgi_param HTTPS $https if_not_empty; fastcgi_param REDIRECT_STATUS 200;
    fastcgi_read_timeout 300s;
    location = {MARKER} {{ return 204; }}
    {extra}
    location {prefix}/ {{ try_files $uri $uri/ {prefix}/index.php?$args; }}
    location ~ \.php$ {{ try_files $uri =404; fastcgi_pass unix:{folder}/fpm.sock; }}
  }}
}}
"#
    )
}

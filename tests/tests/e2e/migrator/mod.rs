//! The migrator on real sites: everything is read as it is, nothing that must not be read is, and nothing breaks it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod checker;
mod endpoints;
mod files;
mod keys;
mod rows;
mod safety;
mod test_site;

use std::path::Path;

use reqwest::redirect::Policy;
use wpclone_migrator::{Client, Key, Request};
use wpclone_tests::{Builder, Result, Site, Version};

/// What the migrator promises to work with.
fn small(version: Version) -> Builder {
    Site::builder(version).ini("memory_limit", "64M").ini("max_execution_time", "10").debug()
}

/// Puts the plugin of this repository on a site, opens it, and gives its key.
async fn key(site: &Site, import: bool) -> Result<Key> {
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrator-plugin/wpclone-migrator");
    put(site, &plugin, "wp-content/plugins/wpclone-migrator")?;
    let open = format!(
        "require_once ABSPATH . 'wp-admin/includes/plugin.php'; \
         activate_plugin('wpclone-migrator/wpclone-migrator.php'); \
         require_once WP_PLUGIN_DIR . '/wpclone-migrator/includes/all.php'; \
         Wpclone\\Migrator\\State::open(time(), {import}); echo Wpclone\\Migrator\\State::load()->key(time());"
    );
    let printed = site.eval_php(&open).await?;
    // Plugins of some stories print as well.
    let mut words = printed.split(|c: char| !c.is_ascii_hexdigit());
    Ok(words.find_map(|word| word.parse().ok()).expect("a key"))
}

fn put(site: &Site, from: &Path, to: &str) -> Result<()> {
    for entry in std::fs::read_dir(from)?.flatten() {
        let name = entry.file_name().into_string().expect("a plain name");
        let to = format!("{to}/{name}");
        if entry.path().is_dir() {
            put(site, &entry.path(), &to)?;
        } else {
            site.put(&to, &std::fs::read_to_string(entry.path())?)?;
        }
    }
    Ok(())
}

fn client(site: &Site, key: Key) -> Client {
    let http = reqwest::Client::builder().redirect(Policy::none()).no_proxy().build().expect("a client");
    Client::new(http, format!("{}/", site.url()).parse().expect("an address"), key)
}

/// What a site's front door answers to a signed request for its manifest.
async fn sent(site: &Site, key: &Key, request: &Request<'_>) -> Result<reqwest::Response> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("{}/?wpclone_migrator=manifest&_={}", site.url(), request.unique);
    Ok(http.post(url).headers(request.headers(key)).body("{}").send().await?)
}

/// The migrator of a site, opened.
async fn open(site: &Site, import: bool) -> Result<Client> {
    Ok(client(site, key(site, import).await?))
}

/// What PHP complained about.
fn complaints(site: &Site) -> Vec<String> {
    let log = site.php_log() + &site.debug_log();
    log.lines().filter(|line| line.contains("PHP ")).map(str::to_owned).collect()
}

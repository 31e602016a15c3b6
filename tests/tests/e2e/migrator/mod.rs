//! The migrator on real sites: exports are exact, private data is not exported, and hostile input does not break it.

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

/// The smallest PHP limits that the migrator supports.
fn small(version: Version) -> Builder {
    Site::builder(version).ini("memory_limit", "64M").ini("max_execution_time", "10").debug()
}

/// Installs this repository's plugin on a site, opens its access window, and returns its key.
async fn key(site: &Site, import: bool) -> Result<Key> {
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrator-plugin/wpclone-migrator");
    put(site, &plugin, "wp-content/plugins/wpclone-migrator")?;
    let open = format!(
        "require_once ABSPATH . 'wp-admin/includes/plugin.php'; \
         activate_plugin('wpclone-migrator/wpclone-migrator.php'); \
         require_once WP_PLUGIN_DIR . '/wpclone-migrator/includes/load.php'; \
         Wpclone\\Migrator\\Access_Window::open(time(), {import}); echo Wpclone\\Migrator\\Access_Window::load()->key(time());"
    );
    let printed = site.eval_php(&open).await?;
    // Plugins of some tests print as well.
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

/// The front page's response to a signed manifest request.
async fn sent(site: &Site, key: &Key, request: &Request<'_>) -> Result<reqwest::Response> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("{}/?wpclone_migrator=manifest&_={}", site.url(), request.unique);
    Ok(http.post(url).headers(request.headers(key)).body("{}").send().await?)
}

/// A client of a site's migrator with an open access window.
async fn open(site: &Site, import: bool) -> Result<Client> {
    Ok(client(site, key(site, import).await?))
}

/// PHP's warnings and errors.
fn complaints(site: &Site) -> Vec<String> {
    let log = site.php_log() + &site.debug_log();
    log.lines().filter(|line| line.contains("PHP ")).map(str::to_owned).collect()
}

//! `./dev bench browser`: how long setting a site up and making an application password takes, by three methods, on real
//! WordPress sites. Prints a table; stores nothing.

mod http_requests;
mod report;
mod run;
mod webdriver_script;
mod wpclone;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use reqwest::Client;
use wpclone_migrator::{PLUGIN, ZIP};
use wpclone_tests::{Lab, Site, TestApp, Version, load};

use report::Table;
use run::Run;

/// A run takes seconds; one that takes this long is stuck.
const RUN_LIMIT: Duration = Duration::from_secs(150);

/// Resets the site. Prints `gone` when the migrator is not installed.
const RESET: &str = "
    require_once ABSPATH . 'wp-admin/includes/plugin.php';
    require_once ABSPATH . 'wp-admin/includes/file.php';
    $folder = WP_PLUGIN_DIR . '/' . dirname($plugin);
    if (is_dir($folder)) { deactivate_plugins($plugin); delete_plugins([$plugin]); }
    WP_Application_Passwords::delete_all_application_passwords(1);
    WP_Session_Tokens::get_instance(1)->destroy_all();
    clearstatcache();
    echo is_dir($folder) ? 'there' : 'gone';";

/// Measures setup and application password by a plain WebDriver script, by wpclone and by bare HTTP requests.
#[derive(Parser)]
#[command(name = "browser")]
struct Options {
    /// Runs of each method on each WordPress, after one that does not count
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Releases: bookworm (WordPress 6.1), trixie (6.8), sid (the current one)
    #[arg(long, value_delimiter = ',', default_value = "bookworm,trixie,sid", value_parser = version)]
    versions: Vec<Version>,
    /// Passed by `cargo bench`; ignored
    #[arg(long, hide = true)]
    bench: bool,
}

fn version(name: &str) -> Result<Version, String> {
    match name {
        "bookworm" => Ok(Version::Bookworm),
        "trixie" => Ok(Version::Trixie),
        "sid" => Ok(Version::Sid),
        _ => Err("it is one of bookworm, trixie and sid".to_owned()),
    }
}

/// A method of doing the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    WebDriverScript,
    Wpclone,
    HttpRequests,
}

impl Method {
    const ALL: [Self; 3] = [Self::WebDriverScript, Self::Wpclone, Self::HttpRequests];
}

/// What all methods use.
struct Bench {
    app: TestApp,
    /// The migrator's zip as a file, because a WebDriver script uploads a file.
    zip: PathBuf,
}

impl Bench {
    /// Does the job once on a reset site, and checks the result.
    async fn once(&self, method: Method, site: &Site) -> Result<Run> {
        let reset = format!("$plugin = '{PLUGIN}.php'; {RESET}");
        let after = site.eval_php(&reset).await?;
        ensure!(after.trim() == "gone", "the site could not be reset: {after}");
        let work = async {
            match method {
                Method::WebDriverScript => webdriver_script::run(site, &self.zip).await,
                Method::Wpclone => wpclone::run(&self.app, site).await,
                Method::HttpRequests => http_requests::run(site).await,
            }
        };
        let run = tokio::time::timeout(RUN_LIMIT, work).await.context("it did not come to an end")??;
        check(site, &run).await?;
        Ok(run)
    }
}

/// Checks key and password, outside the measured time.
async fn check(site: &Site, run: &Run) -> Result<()> {
    let is_key = run.key.len() == 64 && run.key.bytes().all(|b| b.is_ascii_hexdigit());
    ensure!(is_key, "the key is not 64 hex digits");
    let me = format!("{}/index.php?rest_route=/wp/v2/users/me", site.url());
    let http = Client::builder().no_proxy().timeout(RUN_LIMIT).build()?;
    let answer = http.get(me).basic_auth(&site.admin().name, Some(&run.password)).send().await?;
    ensure!(
        answer.status() == 200,
        "the application password does not work: users/me answers {}",
        answer.status()
    );
    Ok(())
}

async fn measure(options: &Options) -> Result<Vec<Table>> {
    let mut sites = Vec::new();
    for version in &options.versions {
        sites.push(Site::builder(*version).start().await?);
    }
    let zip = Lab::shared().folder().await?.join("wpclone-migrator.zip");
    fs::write(&zip, ZIP)?;
    let app = TestApp::builder().slots(1).start().await?;
    let bench = Bench { app, zip };
    let mut tables: Vec<Table> = sites.iter().map(|s| Table::new(s.wordpress())).collect();
    // The first round fills caches and is not counted. The order of the methods rotates.
    for round in 0..=options.rounds {
        for (site, table) in sites.iter().zip(&mut tables) {
            for turn in 0..Method::ALL.len() {
                let method = Method::ALL[(round as usize + turn) % Method::ALL.len()];
                let run = bench.once(method, site).await;
                if round > 0 {
                    table.add(method, run);
                } else {
                    run.with_context(|| format!("{method:?} on WordPress {}", site.wordpress()))?;
                }
            }
        }
        eprintln!("round {round} of {}; load {}", options.rounds, load());
    }
    Ok(tables)
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let before = load();
    let measured = measure(&options).await;
    Lab::shared().end();
    let tables = measured?;
    println!(
        "\nSetup and application password, {} rounds; milliseconds. Load before {before}, after {}.",
        options.rounds,
        load()
    );
    for table in &tables {
        println!("\n{table}");
    }
    for table in &tables {
        table.sound()?;
    }
    Ok(())
}

//! Sites that are bound to their address or PHP: pages request it, plugins check it, WordPress requires a PHP version.

use serde_json::{Value, json};
use wpclone_task::{Code, TaskView};
use wpclone_tests::{Database, Result, Site, TestApp, Version};

use crate::clone::{PLUGIN, assert_nothing_left, at, cloned, failed, problem};

/// Prints an option in each page's footer, like analytics plugins.
const FOOTER: &str = "add_action('wp_footer', function () { echo get_option('footer_code'); });";

fn artifacts(task: &TaskView) -> Vec<&str> {
    task.artifacts.iter().map(|artifact| artifact.name.as_str()).collect()
}

async fn requests_for(site: &Site, path: &str) -> Result<usize> {
    Ok(site.hits().await?.iter().filter(|hit| hit.path.starts_with(path)).count())
}

#[tokio::test]
async fn a_clone_whose_front_page_contacts_its_source_is_verified_twice_and_published_as_broken() -> Result {
    let site = Site::builder(Version::Bookworm).mu_plugin("footer", FOOTER).start().await?;
    let port = site.url().rsplit(':').next().unwrap().to_owned();
    // Built at run time, so that no rewriting finds the address. The other is a second domain of the same site.
    let script = format!(
        "<script>new Image().src = ['http:', '', [127, 0, 0, 1].join('.') + ':' + {port}, 'counts-visitors'].join('/');</script>\
         <img src=\"http://localhost:{port}/second-domain.png\"><a href=\"https://shop.example/cart?a=b\">the shop</a>"
    );
    site.sql(&format!(
        "INSERT INTO wp_options (option_name, option_value) VALUES ('footer_code', '{}')",
        script.replace('\'', "''")
    ))
    .await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = failed(&client, &site).await?;
    let problem = problem(&task);
    assert_eq!((problem.code, problem.changed_target), (Code::CloneBroken, false), "{problem:#?}");
    assert!(problem.detail.contains("connect to its source"), "{problem:#?}");
    let verify = task.steps.iter().find(|step| step.name == "verify").unwrap();
    assert_eq!(verify.attempts, 2, "{verify:#?}");
    let second = format!("http://localhost:{port}");
    assert!(
        problem.detail.contains("The front page")
            && problem.detail.contains(&format!("http://127.0.0.1:{port}/")),
        "{problem:#?}"
    );
    assert_eq!(at(&task, "/source/aliases"), &json!([second]), "another name of the source");
    for path in ["/counts-visitors", "/second-domain.png"] {
        assert_eq!(requests_for(&site, path).await?, 0, "the browser reached the source: {path}");
    }
    // The artifacts show the pages and the connection.
    let names = artifacts(&task);
    for name in ["clone-front-page.png", "clone-dashboard.png", "network.log"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let log = task.artifacts.iter().find(|artifact| artifact.name == "network.log").unwrap();
    let log = client.get(&log.href).await?.text().await?;
    for host in ["127.0.0.1", "localhost"] {
        assert!(log.contains(&format!("connect {host}:{port} OtherSite")), "{log}");
    }
    let clone = &problem.more["clone"];
    assert_eq!(reqwest::get(clone["url"].as_str().unwrap()).await?.status(), 200, "{clone:#}");
    assert!(clone["expires_at"].is_string() && clone["username"].is_string(), "{clone:#}");
    Ok(())
}

/// Blocks logins at any other address than its own.
const HOST_BOUND_PLUGIN: &str = "<?php\n/* Plugin Name: Host bound */\nif (get_option('bound_to') !== md5(get_option('home'))) \
    add_filter('authenticate', function () { wp_die('locked out', '', 503); }, 1);\n";

/// Plugins that are active, as WordPress keeps them.
const ACTIVE: &str = "SELECT option_value FROM wp_options WHERE option_name = 'active_plugins'";

#[tokio::test]
async fn a_plugin_that_blocks_logins_is_disabled_and_reported_in_the_clone_only() -> Result {
    let site = Site::builder(Version::Bookworm).start().await?;
    let bound = [
        "wordfence-login-security/wordfence-login-security.php",
        "wordfence/wordfence.php",
        "wps-hide-login/wps-hide-login.php",
    ];
    for plugin in bound {
        site.put(&format!("wp-content/plugins/{plugin}"), HOST_BOUND_PLUGIN)?;
    }
    site.put("wp-content/plugins/harmless/harmless.php", "<?php\n/* Plugin Name: Harmless */\n")?;
    site.eval_php(&format!(
        "update_option('bound_to', md5(get_option('home'))); update_option('active_plugins', \
         ['harmless/harmless.php', '{}']);",
        bound.join("', '")
    ))
    .await?;
    let before = site.sql(ACTIVE).await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    assert_eq!(at(&task, "/fidelity/deactivated_plugins"), &json!(bound));
    let report = task.artifacts.iter().find(|artifact| artifact.name == "fidelity.json").unwrap();
    let report: Value = client.get(&report.href).await?.json().await?;
    assert_eq!(report["deactivated_plugins"], json!(bound));
    let name = at(&task, "/clone/name").as_str().unwrap();
    let www = app.clones_state().unwrap().join("clones").join(name).join("www");
    let active = Database::of(&www.join("wp-config.php"))?.sql(ACTIVE).await?;
    assert!(active.contains("harmless/harmless.php"), "{active}");
    assert!(!active.contains("wordfence") && !active.contains("wps-hide-login"), "{active}");
    assert!(www.join(name).join("wp-content/plugins/wordfence/wordfence.php").is_file(), "off, but there");
    assert_eq!(site.sql(ACTIVE).await?, before, "the source's own");
    assert!(before.contains("wordfence/wordfence.php"), "{before}");
    let names = artifacts(&task);
    assert!(names.contains(&"clone-front-page.png") && names.contains(&"clone-dashboard.png"), "{names:?}");
    assert_eq!(at(&task, "/verification/connections_to_source"), 0);
    Ok(())
}

/// An unsupported WordPress: it has checked its PHP version before this raises the requirement.
const NEEDS: &str = "$GLOBALS['required_php_version'] = '99.1';";

#[tokio::test]
async fn a_source_that_needs_a_newer_php_is_refused_before_the_first_row_is_transferred() -> Result {
    let site = Site::builder(Version::Bookworm).mu_plugin("needs", NEEDS).start().await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = failed(&client, &site).await?;
    let problem = problem(&task);
    assert_eq!((problem.code, problem.changed_target), (Code::PhpMismatch, false), "{problem:#?}");
    assert!(problem.detail.contains("requires PHP 99.1"), "{problem:#?}");
    let transfer = task.steps.iter().find(|step| step.name == "transfer").unwrap();
    assert_eq!(transfer.attempts, 1, "a retry would have the same result: {transfer:#?}");
    let hits = site.hits().await?;
    let rows = hits.iter().filter(|hit| hit.path.contains("wpclone_migrator=rows")).count();
    assert_eq!(rows, 0, "{hits:#?}");
    assert!(hits.iter().any(|hit| hit.path.contains("wpclone_migrator=")), "no other request: {hits:#?}");
    assert_nothing_left(&app, &client).await?;
    assert!(!site.tree().join(PLUGIN).exists(), "the migrator is left");
    Ok(())
}

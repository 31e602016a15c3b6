//! Sites with https that a request names by http: behind a server that redirects, and where WordPress itself does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::process::Command;
use wpclone_task::{Code, State, TaskView};
use wpclone_tests::{Builder, Client, Result, Site, TestApp, Version};

use crate::clone::checker::Pair;
use crate::clone::{at, date_posts_apart, problem};

/// The server redirects to https.
const SERVER_REDIRECTS: &str = "error_page 497 =301 https://$http_host$request_uri;";

/// The server has the same pages at http, and WordPress redirects, because its addresses have https.
const WORDPRESS_REDIRECTS: &str = "error_page 497 = @http; location @http { rewrite ^(.*)$ $1 last; }";

/// Where Chromium is.
const BROWSERS: [&str; 2] = ["/usr/lib/chromium/chromium-headless-shell", "/usr/bin/chromium"];

/// A site with https. WordPress has application passwords there in every environment.
fn site() -> Builder {
    Site::builder(Version::Trixie).tls().environment(None)
}

/// The same site at http.
fn http_url(site: &Site) -> String {
    site.url().replace("https:", "http:")
}

/// Sends a request that names the site by http, and waits until its task ends.
async fn requested(client: &Client, path: &str, site: &Site) -> Result<TaskView> {
    let mut login = site.login(&site.admin());
    login["url"] = json!(http_url(site));
    let body = if path == "/clone" { json!({"source": login}) } else { login };
    let task = client.accepted(path, &body).await?;
    client.wait(task.id).await
}

/// A service that trusts the certificate of one site.
struct TrustingApp {
    app: TestApp,
    client: Client,
    /// Has the browser's program.
    _folder: TempDir,
}

impl TrustingApp {
    async fn start(site: &Site) -> Result<Self> {
        let folder = TempDir::new()?;
        let browser = folder.path().join("browser");
        let real = BROWSERS.iter().find(|path| Path::new(path).is_file()).unwrap();
        let pin = public_key_pin(&site.certificate()).await?;
        fs::write(
            &browser,
            format!("#!/bin/sh\nexec {real} --ignore-certificate-errors-spki-list={pin} \"$@\"\n"),
        )?;
        for path in [folder.path(), &browser] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        let app = TestApp::builder()
            .clones(Version::Trixie)
            .env("SSL_CERT_FILE", &site.certificate().display().to_string())
            .env("WPCLONE_BROWSER_BINARY", &browser.display().to_string())
            // The sandbox is proven by the program of the browser's processes, which is not the one that is named here.
            .env("WPCLONE_UNSAFE_NO_BROWSER_SANDBOX", "true")
            .start()
            .await?;
        Ok(Self { client: app.client()?, app, _folder: folder })
    }
}

/// By what Chromium knows a key: the SHA-256 of its SubjectPublicKeyInfo, in base64.
async fn public_key_pin(certificate: &Path) -> Result<String> {
    let output =
        Command::new("openssl").args(["x509", "-noout", "-pubkey", "-in"]).arg(certificate).output().await?;
    let pem = String::from_utf8(output.stdout).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    Ok(STANDARD.encode(Sha256::digest(STANDARD.decode(base64).unwrap())))
}

/// The password went to https once, and http was only asked for pages.
async fn assert_http_got_no_password(site: &Site) -> Result {
    assert_eq!(site.logins().await?, 1);
    let hits = site.hits().await?;
    let by_http: Vec<_> = hits.iter().filter(|hit| hit.scheme == "http").collect();
    assert!(!by_http.is_empty(), "nothing came by http: {hits:#?}");
    assert!(by_http.iter().all(|hit| hit.method == "GET"), "{by_http:#?}");
    Ok(())
}

#[tokio::test]
async fn a_site_that_redirects_to_https_is_cloned_from_there() -> Result {
    for redirects in [SERVER_REDIRECTS, WORDPRESS_REDIRECTS] {
        let site = site().nginx(redirects).content(3).start().await?;
        date_posts_apart(&site).await?;
        let trusting = TrustingApp::start(&site).await?;
        let task = requested(&trusting.client, "/clone", &site).await?;
        assert_eq!(task.state, State::Succeeded, "{task:#?}");
        assert_eq!(at(&task, "/source/url"), &site.url());
        assert_http_got_no_password(&site).await?;
        assert_eq!(at(&task, "/verification/differences"), &json!([]));
        Pair::of(&site, &trusting.app, &trusting.client, &task).await?.assert_equal().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_site_that_redirects_to_https_with_an_invalid_certificate_gets_no_password() -> Result {
    let site = site().nginx(SERVER_REDIRECTS).start().await?;
    let app = TestApp::start().await?;
    let task = requested(&app.client()?, "/setup", &site).await?;
    assert_eq!(problem(&task).code, Code::TlsInvalid, "{task:#?}");
    assert_eq!(site.logins().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_hidden_login_page_of_a_site_that_redirects_to_https_is_told_as_hidden() -> Result {
    let hidden = format!("location = /wp-login.php {{ return 404; }} {SERVER_REDIRECTS}");
    let site = site().nginx(&hidden).start().await?;
    let trusting = TrustingApp::start(&site).await?;
    let task = requested(&trusting.client, "/setup", &site).await?;
    assert_eq!(problem(&task).code, Code::LoginUrlNotFound, "{task:#?}");
    Ok(())
}

//! The lower bound: the fewest HTTP requests that do the job, without a browser and without checks.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::multipart::{Form, Part};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use wpclone_migrator::{SETTINGS_PAGE, ZIP};
use wpclone_tests::Site;

use crate::run::{Run, Watch};

const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Does the job in nine requests.
pub(crate) async fn run(site: &Site) -> Result<Run> {
    let mut watch = Watch::start();
    let http = Client::builder()
        .cookie_store(true)
        .redirect(Policy::none())
        .no_proxy()
        .timeout(ANSWER_LIMIT)
        .build()?;
    let at = |path: &str| format!("{}/{path}", site.url());
    let admin = site.admin();

    let login = [("log", admin.name), ("pwd", admin.password)];
    text(http.post(at("wp-login.php")).form(&login), 302).await?;
    watch.lap("login");

    let page = text(http.get(at("wp-admin/plugin-install.php?tab=upload")), 200).await?;
    let nonce = quoted(&page, &["wp-upload-form", r#"name="_wpnonce" value=""#])?;
    let file = Part::bytes(ZIP).file_name("wpclone-migrator.zip").mime_str("application/zip")?;
    let form = Form::new().text("_wpnonce", nonce.to_owned()).part("pluginzip", file);
    let upload = http.post(at("wp-admin/update.php?action=upload-plugin")).multipart(form);
    let page = text(upload, 200).await?;
    watch.lap("upload");

    const ACTIVATE: &str = "plugins.php?action=activate";
    let link = quoted(&page, &[&format!("href=\"{ACTIVATE}")])?.replace("&amp;", "&");
    text(http.get(at(&format!("wp-admin/{ACTIVATE}{link}"))), 302).await?;
    watch.lap("activate");

    let settings = at(&format!("wp-admin/{SETTINGS_PAGE}"));
    let page = text(http.get(&settings), 200).await?;
    let nonce = quoted(&page, &["wpclone-migrator-open", r#"name="_wpnonce" value=""#])?;
    let open = [("action", "wpclone_migrator_open"), ("_wpnonce", nonce)];
    text(http.post(at("wp-admin/admin-post.php")).form(&open), 303).await?;
    let page = text(http.get(&settings), 200).await?;
    let key = quoted(&page, &[r#"id="wpclone-migrator-key""#, r#"value=""#])?.to_owned();
    watch.lap("open and read the key");

    let nonce = text(http.get(at("wp-admin/admin-ajax.php?action=rest-nonce")), 200).await?;
    let passwords = at("index.php?rest_route=/wp/v2/users/me/application-passwords");
    let make = http.post(passwords).header("X-WP-Nonce", nonce).json(&json!({ "name": "bench" }));
    let made: Value = serde_json::from_str(&text(make, 201).await?)?;
    let password = made["password"].as_str().context("no password was made")?.to_owned();
    watch.lap("application password");

    let (laps, beside) = (watch.stop(), Vec::new());
    Ok(Run { laps, beside, key, password })
}

async fn text(request: RequestBuilder, wanted: u16) -> Result<String> {
    let answer = request.send().await?;
    let (path, status) = (answer.url().path().to_owned(), answer.status());
    ensure!(status == wanted, "{path} answers {status}, not {wanted}");
    Ok(answer.text().await?)
}

/// The text after these markers, in order, up to the next quotation mark.
fn quoted<'a>(page: &'a str, marks: &[&str]) -> Result<&'a str> {
    let mut rest = page;
    for mark in marks {
        (_, rest) = rest.split_once(mark).with_context(|| format!("a page lacks {mark}"))?;
    }
    Ok(rest.split('"').next().unwrap_or_default())
}

//! Finds WordPress' own files where they lie in a folder of their own (`siteurl` is below `home`): the front page is at the
//! address that a user knows, wp-login.php and wp-admin are in the folder.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use wpclone_task::SiteUrl;

use super::rest::route;
use crate::net::{HtmlPage, SiteClient, SiteRequest, SiteResponse};

/// Folders of WordPress whose files pages link to; the first is never moved out of it.
const FOLDERS: [&str; 2] = ["/wp-includes/", "/wp-content/"];

/// How pages link to files.
const LINKS: [(&str, &str); 3] = [("link[href]", "href"), ("script[src]", "src"), ("img[src]", "src")];

/// How many links of each kind are read.
const MAX_LINKS: usize = 200;

/// Where WordPress' files seem to be according to its front page. `None` if they are at the site's own address, or at
/// another site's.
pub(super) fn linked(front: &SiteResponse, site: &SiteUrl) -> Option<SiteUrl> {
    let links = front.page(|page: &HtmlPage| {
        LINKS.into_iter().flat_map(|(css, name)| page.attrs(css, name, MAX_LINKS)).collect::<Vec<_>>()
    });
    let links: Vec<Url> = links.iter().filter_map(|link| front.url.join(link).ok()).collect();
    let folder = FOLDERS.into_iter().find_map(|folder| {
        let mut before = links.iter().filter_map(|link| Some((link, link.path().split_once(folder)?.0)));
        before.find_map(|(link, path)| at_own_origin(link, path, site))
    })?;
    (folder != *site).then_some(folder)
}

/// Where WordPress' files are according to the index of its REST API, with the same exceptions.
pub(super) async fn configured(http: &SiteClient, site: &SiteUrl) -> Option<SiteUrl> {
    #[derive(Deserialize)]
    struct Index {
        url: Url,
    }
    let url = rest_index::<Index>(http, site, "url").await?.url;
    at_own_origin(&url, url.path(), site).filter(|folder| folder != site)
}

/// Whether the front page of the WordPress in a folder is the site's: another WordPress may be on the same host. Its REST
/// API's index says so, or where that is closed, the link of its login page to the front page.
pub(super) async fn has_front_page_at(
    http: &SiteClient,
    folder: &SiteUrl,
    login: &SiteResponse,
    site: &SiteUrl,
) -> bool {
    #[derive(Deserialize)]
    struct Index {
        home: String,
    }
    let home = match rest_index::<Index>(http, folder, "home").await {
        Some(index) => Some(index.home),
        None => login
            .page(|page| page.attr("#backtoblog a", "href"))
            .and_then(|link| login.url.join(&link).ok())
            .map(String::from),
    };
    home.and_then(|home| SiteUrl::parse(&home).ok()).is_some_and(|home| home.key() == site.key())
}

/// One field of the index of the REST API; `None` if there is no such index.
async fn rest_index<T: DeserializeOwned>(http: &SiteClient, site: &SiteUrl, field: &str) -> Option<T> {
    let index = http.send(SiteRequest::get(route(site, "/", &[("_fields", field)]))).await.ok()?;
    if index.is_success() { index.json() } else { None }
}

/// The address with this path on the site's own origin, if the link leads to its host. A site behind https may still have
/// links with http.
fn at_own_origin(link: &Url, path: &str, site: &SiteUrl) -> Option<SiteUrl> {
    let mut folder = site.url().clone();
    if (link.host(), link.port()) != (folder.host(), folder.port()) {
        return None;
    }
    folder.set_path(path);
    SiteUrl::parse(folder.as_str()).ok()
}

//! Finds WordPress' own files where they lie in a folder of their own (`siteurl` is below `home`): the front page is at the
//! address that a user knows, wp-login.php and wp-admin are in the folder.

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
    #[derive(serde::Deserialize)]
    struct Index {
        url: Url,
    }
    let index = http.send(SiteRequest::get(route(site, "/", &[("_fields", "url")]))).await.ok()?;
    let url = index.json::<Index>()?.url;
    at_own_origin(&url, url.path(), site).filter(|folder| folder != site)
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

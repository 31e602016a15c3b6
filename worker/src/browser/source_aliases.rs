//! Recognises other addresses of a source: second domains, domains of languages, hosts of its content.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;
use url::Url;
use wpclone_migrator::{Client, Key, Manifest};
use wpclone_task::SiteUrl;

use super::page_questions::Asked;
use crate::net::SiteClient;

/// The most hosts that are resolved, and the most that are asked.
const MAX_RESOLVED: usize = 40;
const MAX_ASKED: usize = 4;
/// The deadline of resolving a host, and of one answer.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(2);
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);

/// Finds origins that are a source by another name: those that it has its content at, and those of its pages' links that have
/// an address of the source's and where its migrator responds. `own` are its addresses of WordPress and of the front page.
pub(super) async fn find(
    visitor: &SiteClient,
    own: (&SiteUrl, &SiteUrl),
    manifest: &Manifest,
    key: &Key,
    asked: &[Asked],
) -> Vec<String> {
    let (site, home) = own;
    let is_own = |url: &Url| [site, home].iter().any(|own| own.url().host_str() == url.host_str());
    let others = |address: &str| Url::parse(address).ok().filter(|url| !is_own(url));
    let Manifest { content_url, plugins_url, mu_plugins_url, uploads_url, .. } = manifest;
    let contents = [content_url, plugins_url, mu_plugins_url, uploads_url].into_iter();
    let contents = contents.filter_map(|url| others(url));
    let mut aliases: BTreeSet<String> = contents.map(|url| url.origin().ascii_serialization()).collect();
    let linked: BTreeSet<&String> = asked.iter().flat_map(|asked| &asked.origins.linked).collect();
    let linked = linked.into_iter().filter(|origin| !aliases.contains(*origin));
    let linked: Vec<Url> = linked.filter_map(|origin| others(origin)).take(MAX_RESOLVED).collect();
    if linked.is_empty() {
        return aliases.into_iter().collect();
    }
    let own_addresses = addresses(visitor, site.url()).await;
    let resolved = linked.iter().map(async |url| {
        let shared = !addresses(visitor, url).await.is_disjoint(&own_addresses);
        shared.then_some(url)
    });
    let candidates = futures_util::future::join_all(resolved).await;
    let answers = candidates.into_iter().flatten().take(MAX_ASKED).map(async |url| {
        let mut base = url.clone();
        base.set_path(site.url().path());
        // Only the same installation accepts the signature; the key itself is not sent.
        let client = Client::new(visitor.without_cookies().clone(), base, key.clone());
        let accepted = timeout(ANSWER_DEADLINE, client.status()).await;
        matches!(accepted, Ok(Ok(_))).then(|| url.origin().ascii_serialization())
    });
    aliases.extend(futures_util::future::join_all(answers).await.into_iter().flatten());
    aliases.into_iter().collect()
}

/// The addresses of a host; none if it does not resolve in time.
async fn addresses(visitor: &SiteClient, url: &Url) -> BTreeSet<IpAddr> {
    let found = timeout(RESOLVE_DEADLINE, visitor.addresses_of(url)).await;
    found.into_iter().flatten().collect()
}

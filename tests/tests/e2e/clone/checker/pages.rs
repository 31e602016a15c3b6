//! Pages and REST responses as a visitor sees them.

use serde_json::Value;
use wpclone_tests::Result;

use super::{Pair, Side};

/// Pages that every site has.
const PAGES: [&str; 5] = ["", "?s=a", "?feed=rss2", "?feed=comments-rss2", "?p=999999"];
/// Exists only where search engines may index the site.
const SITEMAP: &str = "wp-sitemap.xml";
/// What REST lists.
const LISTS: [&str; 8] = ["posts", "pages", "categories", "tags", "comments", "users", "media", "types"];

impl Pair<'_> {
    /// Pages and lists are equal, and none of the clone's links to the source.
    pub(super) async fn assert_same_pages(&self) -> Result {
        let mut links: Vec<String> = PAGES.map(str::to_owned).to_vec();
        for list in LISTS {
            let all = format!("index.php?rest_route=/wp/v2/{list}&per_page=100&orderby=id");
            let all = if list == "types" { "index.php?rest_route=/wp/v2/types".into() } else { all };
            let (source, clone) = tokio::try_join!(self.source.get(&all), self.clone.get(&all))?;
            assert_eq!(source.0, 200, "{all}: {}", source.1);
            let listed: Value = serde_json::from_str(&source.1)?;
            self.expect_same_response(&all, &source, &clone);
            links.extend(listed.as_array().into_iter().flatten().take(2).filter_map(|one| {
                let link = one["link"].as_str()?.strip_prefix("SITE/")?;
                Some(link.to_owned())
            }));
        }
        for page in &links {
            let (source, clone) = tokio::try_join!(self.source.get(page), self.clone.get(page))?;
            self.expect_same_response(page, &source, &clone);
            let host = self.source.url.split('/').nth(2).unwrap();
            if clone.1.contains(host) {
                self.fault(format!("/{page} has {host}"));
            }
        }
        // A site that must not be indexed has no sitemap.
        let (on_source, on_clone) = tokio::try_join!(self.source.get(SITEMAP), self.clone.get(SITEMAP))?;
        self.equal("answers for the sitemap", &(on_source.0, on_clone.0), &(200, 404));
        eprintln!("{} pages and {} lists are the same", links.len(), LISTS.len());
        Ok(())
    }

    /// Reports the first difference of two responses.
    fn expect_same_response(&self, page: &str, source: &(u16, String), clone: &(u16, String)) {
        if source == clone {
            return;
        }
        let pairs = source.1.bytes().zip(clone.1.bytes());
        let at = pairs.take_while(|(one, two)| one == two).count();
        let from = |text: &str| {
            let bytes = &text.as_bytes()[at.saturating_sub(200).min(text.len())..];
            String::from_utf8_lossy(&bytes[..bytes.len().min(500)]).into_owned()
        };
        self.fault(format!(
            "/{page} is {}:\n{}\nOn the clone it is {}:\n{}",
            source.0,
            from(&source.1),
            clone.0,
            from(&clone.1)
        ));
    }
}

impl Side {
    /// A visitor's response with the side's address replaced by `SITE`.
    async fn get(&self, path: &str) -> Result<(u16, String)> {
        let answer = self.http.get(format!("{}/{path}", self.url)).send().await?;
        let (status, text) = (answer.status().as_u16(), answer.text().await?);
        Ok((status, self.normalize(&text)))
    }

    /// Replaces each spelling of the address with `SITE`, and removes what a clone adds: the robots tag and the
    /// speculation rules.
    fn normalize(&self, text: &str) -> String {
        let encode = |text: &str| text.replace(':', "%3A").replace('/', "%2F");
        let bare = self.url.trim_start_matches("https:").trim_start_matches("http:");
        let mut text = text.to_owned();
        for url in [self.url.as_str(), bare] {
            for form in [url.to_owned(), url.replace('/', "\\/"), encode(url), url.replace('/', "&#047;")] {
                text = text.replace(&form, "SITE");
            }
        }
        // Some addresses have no port, and some no host.
        let (host, path) = bare.trim_start_matches('/').split_once('/').unwrap_or((bare, ""));
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        let host = host.trim_start_matches('/').split(':').next().unwrap_or_default();
        text = text.replace(&format!("http://{host}{path}/"), "SITE/");
        for quote in ["\"", "'"] {
            text = text.replace(&format!("{quote}{path}/"), &format!("{quote}PATH/"));
            // The end of a tag.
            text = text.replace(&format!("{quote}PATH/>"), &format!("{quote}/>"));
        }
        // The clone has its content in the standard folder.
        let content = self.content();
        text = text.replace(&format!("/{content}/"), "/CONTENT/");
        text = text.replace(&format!("\\/{content}\\/"), "\\/CONTENT\\/");
        let text = cut_out(&text, "<meta name='robots'", "/>");
        let text = cut_out(&text, "<meta name=\"robots\"", "/>");
        cut_out(&text, "<script type=\"speculationrules\">", "</script>")
    }
}

/// Removes the text between `begin` and `end`, and both.
fn cut_out(text: &str, begin: &str, end: &str) -> String {
    let Some((before, rest)) = text.split_once(begin) else { return text.to_owned() };
    let after = rest.split_once(end).map_or("", |(_, after)| after);
    format!("{before}{after}")
}

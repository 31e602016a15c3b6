//! A copy as its owner will see it: its front page, its REST API, and wp-admin with the login that they get.

use serde_json::{Map, Value, json};
use wpclone_artifacts::COPY_FRONT;
use wpclone_task::{Code, Login, SiteUrl};

use super::stage::Tools;
use super::wordpress::{self, Done, Trouble};
use crate::net::{Answer, Ask};

const DASHBOARD: &str = "wp-admin/index.php";

impl Tools<'_> {
    /// Looks at a copy, whose pages must not lead a browser to its source. Tells what was seen, by name.
    pub(super) async fn look(
        &self,
        login: &Login,
        source: &SiteUrl,
        site: &SiteUrl,
    ) -> Done<Map<String, Value>> {
        let front = self.visitor(site, "").await?;
        if !front.is_success() || !wordpress::is_wordpress(&front) {
            let detail =
                format!("The copy's front page is no page of WordPress (it answers {}).", front.status);
            return Err(broken(detail, &front));
        }
        self.ledger.say(40, "The front page answers");
        let rest = self.visitor(site, "index.php?rest_route=/").await?;
        let told = rest.json::<Value>().and_then(|index| Some(index.get("url")?.as_str()?.to_owned()));
        let says = told.as_deref().and_then(|url| SiteUrl::parse(url).ok());
        if !rest.is_success() || says.as_ref() != Some(site) {
            let says =
                told.map_or("does not answer".to_owned(), |url| format!("says that the site is at {url}"));
            return Err(broken(format!("The copy's REST API {says}."), &rest));
        }
        self.enter(site, login, DASHBOARD).await?;
        self.ledger.say(70, "Logged in to the copy");
        for (page, picture) in [(DASHBOARD, "copy-dashboard.png"), ("", COPY_FRONT)] {
            self.browser.go(&site.at(page)).await?;
            self.ledger.evidence.picture(self.browser, picture, None).await;
        }
        let (host, port) = (source.url().host_str(), source.url().port_or_known_default());
        let visits = self.gate.visits();
        let is_source = |host_of: &str, port_of| Some(host_of) == host && Some(port_of) == port;
        let to_source = visits.iter().filter(|visit| is_source(&visit.host, visit.port)).count();
        if to_source > 0 {
            let detail =
                format!("Pages of the copy made a browser connect to its source, {to_source} times.");
            return Err(Trouble::new(Code::CloneBroken, detail).into());
        }
        let seen = [
            ("front_page", json!(front.status)),
            ("rest", json!(rest.status)),
            ("login", json!(true)),
            ("connections_to_source", json!(to_source)),
        ];
        Ok(seen.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// What somebody gets who is not logged in.
    async fn visitor(&self, site: &SiteUrl, path: &str) -> Done<Answer> {
        let ask = Ask::get(site.at(path));
        self.part("A page of the copy", async { Ok(self.http.send_bare(ask).await?) }).await
    }
}

fn broken(detail: String, answer: &Answer) -> Box<Trouble> {
    Box::new(Trouble::shown(Code::CloneBroken, detail, answer))
}

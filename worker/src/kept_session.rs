//! The session of a step's login, kept sealed for the step's next attempt, which may be another worker's: the password is sent
//! once.

use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use url::Url;
use wpclone_queue::{Claim, Queue, QueueError, SiteCleanup, session_name};
use wpclone_service::seal::{SealError, Sealer};
use wpclone_task::{ExposeSecret as _, Problem, SecretString, SiteUrl, TaskId};

use crate::browser::Cookie;
use crate::net::SESSION_COOKIE;
use crate::queue_retry::store_with_retry;
use crate::site_cleanup::{CleanupDetails, seal_field};

/// It is no secret, and set before the login.
const TEST_COOKIE: &str = "wordpress_test_cookie";
/// The most cookies of a session. WordPress sets three (wp_set_auth_cookie()).
const MAX_COOKIES: usize = 6;
/// The most bytes of a session as JSON: sealed it fits into a registration of the queue.
const MAX_BYTES: usize = 2700;

/// A session on a site.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoginSession {
    /// The address of the site that has set the cookies.
    pub(crate) site: Url,
    pub(crate) cookies: Vec<Cookie>,
}

/// Why a session is not kept.
#[derive(Debug, thiserror::Error)]
enum NotKept {
    #[error("it has no cookie of WordPress' own name")]
    NoCookie,
    #[error("its cookies are too many or too large")]
    TooLarge,
    #[error("{0}")]
    Seal(#[from] SealError),
    #[error("{0}")]
    Queue(#[from] QueueError),
}

impl LoginSession {
    /// The session among a site's cookies: those that WordPress sets with a login, and no others.
    fn of(site: &SiteUrl, cookies: &[Cookie]) -> Result<Self, NotKept> {
        let of_session = cookies.iter().filter_map(|cookie| cookie.name.strip_prefix(SESSION_COOKIE));
        let hashes: Vec<&str> = of_session.collect();
        // The names of wp-includes/default-constants.php: COOKIEHASH is the same in all of them.
        let is_own = |cookie: &&Cookie| {
            let name = cookie.name.strip_prefix("wordpress_").unwrap_or_default();
            let hash = ["logged_in_", "sec_"].iter().find_map(|kind| name.strip_prefix(kind)).unwrap_or(name);
            // Of this very host, or of a domain that is told to be wider.
            let is_for_host = cookie.domain.starts_with('.') || site.url().host_str() == Some(&cookie.domain);
            !cookie.value.is_empty() && hashes.contains(&hash) && is_for_host
        };
        let mut cookies: Vec<Cookie> = cookies.iter().filter(is_own).cloned().collect();
        // Browsers have no order of their own.
        cookies.sort_by(|a, b| (&a.name, &a.path).cmp(&(&b.name, &b.path)));
        if !cookies.iter().any(Cookie::is_session) {
            return Err(NotKept::NoCookie);
        }
        if cookies.len() > MAX_COOKIES {
            return Err(NotKept::TooLarge);
        }
        Ok(Self { site: site.url().clone(), cookies })
    }

    fn to_json(&self) -> Result<SecretString, NotKept> {
        let json = serde_json::to_string(self).map_err(|_| NotKept::TooLarge)?;
        if json.len() > MAX_BYTES { Err(NotKept::TooLarge) } else { Ok(json.into()) }
    }

    /// Opens a session that was sealed for a step or a clean-up of this name.
    ///
    /// # Errors
    /// The seal was altered, its key is missing, or it contains no session.
    pub(crate) fn open(sealer: &Sealer, task: TaskId, name: &str, sealed: &str) -> Result<Self, SealError> {
        let json = sealer.open(task, &seal_field(name), sealed)?;
        serde_json::from_str(json.expose_secret()).map_err(|_| SealError::Malformed)
    }

    /// What must not be written anywhere of a site's cookies: those of its session, as they are and decoded.
    pub(crate) fn secrets_of(cookies: &[Cookie]) -> Vec<SecretString> {
        let names = |cookie: &&Cookie| cookie.name.starts_with("wordpress_") && cookie.name != TEST_COOKIE;
        let values = cookies.iter().filter(names).take(MAX_COOKIES).map(|cookie| cookie.value.as_str());
        let decoded = |value: &str| percent_decode_str(value).decode_utf8_lossy().into_owned();
        values.flat_map(|value| [value.to_owned(), decoded(value)]).map(SecretString::from).collect()
    }
}

/// The session that a step keeps for its next attempt.
pub(crate) struct KeptSession {
    queue: Queue,
    sealer: Sealer,
    claim: Claim,
    /// That of an earlier attempt.
    earlier: Option<LoginSession>,
    /// What is stored now.
    stored: Mutex<Option<LoginSession>>,
    /// Why this attempt's session is not kept.
    failure: Mutex<Option<String>>,
}

impl KeptSession {
    /// # Errors
    /// The seal was altered, or its key is missing.
    pub(crate) fn of(queue: &Queue, claim: &Claim, sealer: &Sealer) -> Result<Self, SealError> {
        let name = session_name(&claim.lease);
        let open = |sealed: &String| LoginSession::open(sealer, claim.lease.task, &name, sealed);
        let earlier = claim.kept_session.as_ref().map(open).transpose()?;
        Ok(Self {
            queue: queue.clone(),
            sealer: sealer.clone(),
            claim: claim.clone(),
            stored: Mutex::new(earlier.clone()),
            earlier,
            failure: Mutex::default(),
        })
    }

    /// The session of an earlier attempt.
    pub(crate) fn earlier(&self) -> Option<&LoginSession> {
        self.earlier.as_ref()
    }

    /// Why the session of this attempt is not kept.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// Keeps the session among a site's cookies, before another page is asked for. One that is not in bounds, or has no
    /// cookies by which it is known, is not kept.
    pub(crate) async fn keep(&self, site: &SiteUrl, cookies: &[Cookie]) {
        let failure = match self.try_keep(site, cookies).await {
            Ok(()) => None,
            Err(why) => {
                tracing::warn!(%why, "the session of the login is not kept for another attempt");
                Some(why.to_string())
            }
        };
        *self.failure.lock() = failure;
    }

    async fn try_keep(&self, site: &SiteUrl, cookies: &[Cookie]) -> Result<(), NotKept> {
        let session = LoginSession::of(site, cookies)?;
        if self.stored.lock().as_ref() == Some(&session) {
            return Ok(());
        }
        let field = seal_field(&session_name(&self.claim.lease));
        let sealed = self.sealer.seal(self.claim.lease.task, &field, &session.to_json()?)?;
        let registration = SiteCleanup {
            site: site.key(),
            left: format!("A session of wpclone may still be open on {}.", site.url()),
            details: CleanupDetails::of_session(site.url()),
            sealed: Some(sealed),
        };
        self.store(Some(&registration)).await?;
        *self.stored.lock() = Some(session);
        Ok(())
    }

    /// Whether another attempt at the step will need what is kept.
    pub(crate) fn is_needed_after(&self, problem: &Problem) -> bool {
        self.stored.lock().is_some() && self.queue.is_retried(&self.claim, problem)
    }

    /// The session that is kept now.
    pub(crate) fn stored(&self) -> Option<LoginSession> {
        self.stored.lock().clone()
    }

    /// Deletes the session, which has ended.
    pub(crate) async fn delete(&self) {
        if self.stored.lock().take().is_some()
            && let Err(error) = self.store(None).await
        {
            tracing::warn!(%error, "a session that has ended cannot be deleted; a clean-up will find it ended");
        }
    }

    async fn store(&self, session: Option<&SiteCleanup>) -> Result<(), QueueError> {
        store_with_retry(|| self.queue.keep_session(&self.claim.lease, session)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(name: &str, value: &str) -> Cookie {
        Cookie {
            name: name.into(),
            value: value.into(),
            path: "/".into(),
            domain: "a.example".into(),
            secure: true,
            http_only: true,
        }
    }

    fn session(cookies: &[Cookie]) -> Result<LoginSession, NotKept> {
        LoginSession::of(&SiteUrl::parse("https://a.example").unwrap(), cookies)
    }

    #[test]
    fn the_cookies_of_a_login_are_kept_and_no_others() {
        let own = ["wordpress_ab12", "wordpress_logged_in_ab12", "wordpress_sec_ab12"];
        let others = ["wordpress_test_cookie", "wordpress_cd34", "wp-settings-1", "PHPSESSID", "wordpress_"];
        let cookies: Vec<Cookie> = own.iter().chain(&others).map(|name| cookie(name, "v")).collect();
        let kept = session(&cookies).ok().unwrap();
        assert_eq!(kept.cookies.iter().map(|cookie| cookie.name.as_str()).collect::<Vec<_>>(), own);
        assert!(matches!(session(&cookies[2..]), Err(NotKept::NoCookie)));
        assert!(matches!(session(&[cookie("wordpress_logged_in_ab12", "")]), Err(NotKept::NoCookie)));
    }

    #[test]
    fn a_cookie_of_another_host_is_not_kept() {
        let of = |domain: &str| Cookie { domain: domain.into(), ..cookie("wordpress_logged_in_a", "v") };
        for (domain, kept) in
            [("a.example", true), (".example", true), ("example", false), ("b.a.example", false)]
        {
            assert_eq!(session(&[of(domain)]).is_ok(), kept, "{domain}");
        }
    }

    #[test]
    fn a_session_that_a_site_makes_too_large_is_not_kept() {
        let many: Vec<Cookie> = (0..=MAX_COOKIES).map(|_| cookie("wordpress_logged_in_a", "v")).collect();
        assert!(matches!(session(&many), Err(NotKept::TooLarge)));
        let large = session(&[cookie("wordpress_logged_in_a", &"v".repeat(4000))]).ok().unwrap();
        assert!(matches!(large.to_json(), Err(NotKept::TooLarge)));
        // A user's name has 60 characters at most; encoded, one of three bytes has nine.
        let name = "%E5%90%8D".repeat(60);
        let value = format!("{name}%7C1799999999%7C{}%7C{}", "t".repeat(43), "h".repeat(64));
        let names = ["logged_in_", "sec_", "sec_"].map(|kind| format!("wordpress_{kind}{}", "a".repeat(32)));
        let usual: Vec<Cookie> = names.iter().map(|name| cookie(name, &value)).collect();
        assert!(session(&usual).ok().unwrap().to_json().is_ok());
    }
}

//! Problem codes.

use serde::{Deserialize, Serialize};

use crate::UnknownName;

/// Whether doing the same again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// The same answer will come: a site refused, or the request is wrong.
    Never,
    /// One more try is worth it.
    Once,
    /// As often as the queue's limit allows.
    Limited,
}

/// One row of the table of codes.
struct Row {
    name: &'static str,
    title: &'static str,
    action: &'static str,
    status: Option<u16>,
    again: Again,
    page: &'static str,
}

macro_rules! codes {
    ($($variant:ident $name:literal $status:expr, $again:ident, $title:literal, $action:literal;)+) => {
        /// A stable problem code. Each has a page in `docs/problems/`; without it this does not compile.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $(#[doc = $title] $variant),+ }

        impl Code {
            /// All of them: first those a task can end with, then those of callbacks, then those of the API alone.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row {
                        name: $name,
                        title: $title,
                        action: $action,
                        status: $status,
                        again: Again::$again,
                        page: include_str!(concat!("../../../docs/problems/", $name, ".md")),
                    }),+
                }
            }
        }
    };
}

codes! {
    // What a task can end with: no HTTP status of its own, for the request for it was fine.
    AuthBadCredentials "AUTH_BAD_CREDENTIALS" None, Never, "The site turned the login down",
        "Check the user name and the password by logging in with a browser, then send a new request.";
    AuthUnanswered "AUTH_UNANSWERED" None, Never, "The site did not answer the login",
        "Look whether the site is slow or down; log in with a browser once, then send a new request.";
    AuthLockedOut "AUTH_LOCKED_OUT" None, Never, "The site has locked the login",
        "Wait until the site's login protection lets the user in again, or allow our address in it.";
    Auth2faRequired "AUTH_2FA_REQUIRED" None, Never, "The login asks for a second factor",
        "Use an administrator without a second factor, or switch it off for this user while the task runs.";
    AuthCaptcha "AUTH_CAPTCHA" None, Never, "The login asks for a captcha",
        "Switch the captcha off for our address, or for the time of the task.";
    AuthInterstitial "AUTH_INTERSTITIAL" None, Never, "After the login the site shows a page that a person must answer",
        "Log in with a browser, answer what the site asks, then have the task done again.";
    HttpAuthRequired "HTTP_AUTH_REQUIRED" None, Never, "The web server asks for a login before WordPress",
        "Switch the server's password protection off for our address while the task runs.";
    EdgeChallenge "EDGE_CHALLENGE" None, Never, "A firewall in front of the site wants to see a person",
        "Allow our address in the site's firewall or bot protection.";
    CapMissing "CAP_MISSING" None, Never, "The user is not allowed to do this",
        "Use the login of an administrator.";
    FileModsDisabled "FILE_MODS_DISABLED" None, Never, "The site forbids installing plugins",
        "Take DISALLOW_FILE_MODS out of wp-config.php, or install the migrator by the host's own means.";
    FsMethodNotDirect "FS_METHOD_NOT_DIRECT" None, Never, "WordPress cannot write its own plugin folder",
        "Let the web server's user write wp-content/plugins, or set FS_METHOD to direct.";
    UploadTooLarge "UPLOAD_TOO_LARGE" None, Never, "The site takes no upload as large as the migrator",
        "Raise upload_max_filesize, post_max_size and the web server's body limit to at least 1 MB.";
    WafBlockedUpload "WAF_BLOCKED_UPLOAD" None, Never, "A firewall refused the plugin's upload",
        "Allow plugin uploads from our address in the site's firewall.";
    ReqUnmet "REQ_UNMET" None, Never, "The site's WordPress or PHP is too old for the migrator",
        "Update to at least WordPress 5.6 and PHP 7.4.";
    PluginInstallFailed "PLUGIN_INSTALL_FAILED" None, Never, "WordPress did not install the migrator",
        "Look at the screenshot and the page; then try installing any plugin by hand.";
    PluginActivationFailed "PLUGIN_ACTIVATION_FAILED" None, Never, "WordPress did not activate the migrator",
        "Look at the screenshot and the site's PHP error log.";
    MigratorUnreachable "MIGRATOR_UNREACHABLE" None, Limited, "The migrator is active but does not answer",
        "Exclude requests with wpclone_migrator in the query from caches and firewalls.";
    AppPwDisabled "APPPW_DISABLED" None, Never, "Application passwords are switched off on the site",
        "Serve the site over https, and switch application passwords on in its security plugin.";
    AuthHeaderStripped "AUTH_HEADER_STRIPPED" None, Never, "The new application password is not accepted",
        "Let the web server pass the Authorization header on to PHP.";
    RestBlocked "REST_BLOCKED" None, Never, "The site's REST API is closed",
        "Allow the REST API for logged-in administrators in the site's security plugin or firewall.";
    Redirected "REDIRECTED" None, Never, "The site's address leads elsewhere",
        "Send the request again with the address that the site redirects to.";
    LoginUrlNotFound "LOGIN_URL_NOT_FOUND" None, Never, "There is no login form at wp-login.php",
        "Switch the plugin that hides the login page off while the task runs.";
    NotWordPress "NOT_WORDPRESS" None, Never, "The address is no WordPress",
        "Check the address; a WordPress in a folder needs the folder in it.";
    SiteUnreachable "SITE_UNREACHABLE" None, Limited, "The site does not answer",
        "Open the address in a browser; check that the site is up and lets our address in.";
    TlsInvalid "TLS_INVALID" None, Never, "The site's certificate is not valid",
        "Renew the certificate, or serve its whole chain.";
    SiteNotAllowed "SITE_NOT_ALLOWED" None, Never, "The address is in a network that we do not visit",
        "Use a public address, or have the operator allow the network in WPCLONE_ALLOW_PRIVATE_SITES.";
    SiteFatal "SITE_FATAL" None, Never, "The site itself is broken",
        "Mend the error that WordPress shows (its PHP error log tells more), then try again.";
    DbUpgradePending "WP_DB_UPGRADE_PENDING" None, Never, "WordPress waits for a database upgrade",
        "Log in with a browser and run the database upgrade after a backup.";
    UnexpectedAnswer "UNEXPECTED_ANSWER" None, Never, "The site answered what we do not understand",
        "Look at the screenshot and the page that the site answered.";
    SessionLost "SESSION_LOST" None, Once, "The site ended our session",
        "Try again; if it happens again, look for a plugin that binds sessions to an address or ends them early.";
    BrowserCrashed "BROWSER_CRASHED" None, Limited, "The browser died",
        "Try again; if it happens again, give the worker more memory.";
    Deadline "DEADLINE" None, Limited, "The work took too long",
        "Try again when the site is quicker.";
    ProvisionerUnavailable "PROVISIONER_UNAVAILABLE" None, Limited, "No clone can be made at the moment",
        "Have the operator look at the provisioning worker: its log and /readyz name what is missing.";
    IsolationUnavailable "ISOLATION_UNAVAILABLE" None, Never, "Clones cannot be isolated in this way here",
        "Send the request again with `isolation` as `shared`, or have the operator set up what the other needs.";
    ClonesFull "CLONES_FULL" None, Limited, "There is no place for another clone",
        "Delete a clone that nobody needs, or have the operator raise WPCLONE_MAX_CLONES.";
    DiskInsufficient "DISK_INSUFFICIENT" None, Never, "There is not enough space for the content",
        "Free space where `detail` says, then send a new request.";
    TargetNotEmpty "TARGET_NOT_EMPTY" None, Never, "The target holds content",
        "Use a new WordPress as the target: one user, at most its first post, page and comment, no uploads.";
    MultisiteUnsupported "MULTISITE_UNSUPPORTED" None, Never, "The site is a network of sites",
        "Use a WordPress that is one site; networks cannot be cloned.";
    PhpMismatch "PHP_MISMATCH" None, Never, "The copy's PHP is older than the source's WordPress needs",
        "Change the PHP of one side to the other's version, or have the operator install what `detail` names.";
    TransferFailed "TRANSFER_FAILED" None, Limited, "The content could not be moved",
        "Try again; if it happens again, look at `detail` and into the PHP error log of the side that it names.";
    VerifyFailed "VERIFY_FAILED" None, Limited, "The copy is not what the source is",
        "Try again when the site is quieter.";
    CloneBroken "CLONE_BROKEN" None, Once, "The clone does not work as it should",
        "Look at the screenshots, then at the copy itself; where it is a clone, `clone` tells its address, user and end, and the result its password.";
    Poison "POISON" None, Never, "The task crashed its worker again and again",
        "Report it with the task's id: this is a defect of ours.";
    WorkerFault "WORKER_FAULT" None, Limited, "Something went wrong in the worker",
        "Report it with the task's id: this is a defect of ours.";

    // What telling a task's end to its callback address can fail with: it stands in the task's `callback`, but no task ends with it.
    CallbackFailed "CALLBACK_FAILED" None, Limited, "The callback address did not take the message",
        "Ask for the task itself, and look into the receiver's log.";
    CallbackRefused "CALLBACK_REFUSED" None, Never, "The callback address wants no messages",
        "Send new requests with an address that takes them.";
    CallbackNotAllowed "CALLBACK_NOT_ALLOWED" None, Never, "The callback address is in a network that we do not call",
        "Use a public address, or have the operator allow the network in WPCLONE_ALLOW_PRIVATE_CALLBACKS.";

    // What the API answers.
    InvalidRequest "INVALID_REQUEST" Some(422), Never, "The request has faults",
        "Mend each field named in `errors`.";
    MalformedJson "MALFORMED_JSON" Some(400), Never, "The body is not JSON",
        "Send a JSON object.";
    BadParameter "BAD_PARAMETER" Some(400), Never, "A parameter or header has a wrong value",
        "Mend what `detail` names.";
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" Some(415), Never, "The body must be application/json",
        "Send the header Content-Type: application/json.";
    BodyTooLarge "BODY_TOO_LARGE" Some(413), Never, "The body is too large",
        "Send at most 64 KiB.";
    RequestTimeout "REQUEST_TIMEOUT" Some(408), Limited, "The request did not arrive in time",
        "Send it again.";
    Unauthenticated "UNAUTHENTICATED" Some(401), Never, "A valid token is missing",
        "Send Authorization: Bearer with a token that is in the tokens file.";
    Forbidden "FORBIDDEN" Some(403), Never, "The token may not do this",
        "Use a token with the scope that the detail names.";
    OriginRefused "ORIGIN_REFUSED" Some(403), Never, "The request comes from another site",
        "Call the API from its own origin, or without an Origin header.";
    HostRefused "HOST_REFUSED" Some(403), Never, "The Host is not a loopback name",
        "Call the API as localhost, or configure tokens to serve other names.";
    NotFound "NOT_FOUND" Some(404), Never, "There is nothing at this address",
        "See /docs for what there is.";
    TaskNotFound "TASK_NOT_FOUND" Some(404), Never, "There is no such task",
        "Check the id; a token sees only its own tasks.";
    TaskGone "TASK_GONE" Some(410), Never, "The task is no longer kept",
        "Finished tasks are kept for seven days.";
    CloneNotFound "CLONE_NOT_FOUND" Some(404), Never, "There is no such clone",
        "Check the name; a token sees only its own clones.";
    CloneGone "CLONE_GONE" Some(410), Never, "The clone is no longer there",
        "Ask for a new clone.";
    CloneNotReady "CLONE_NOT_READY" Some(409), Limited, "The clone is not ready yet",
        "Wait for the end of the task that makes it.";
    ArtifactNotFound "ARTIFACT_NOT_FOUND" Some(404), Never, "The task has no such artifact",
        "Use a name from the task's `artifacts`.";
    ArtifactGone "ARTIFACT_GONE" Some(410), Never, "The artifact is no longer kept",
        "Artifacts are kept for a day while there is room.";
    MethodNotAllowed "METHOD_NOT_ALLOWED" Some(405), Never, "This address does not know that method",
        "Use a method from the Allow header.";
    TaskFinished "TASK_FINISHED" Some(409), Never, "The task has ended",
        "Look at its result or problem.";
    NotFailed "NOT_FAILED" Some(409), Never, "Only a failed task can be done again",
        "Look at the task; when it succeeded or was cancelled, send a new request.";
    CredentialsGone "CREDENTIALS_GONE" Some(422), Never, "The task's secrets are no longer kept",
        "Send the replay with the password.";
    RateLimited "RATE_LIMITED" Some(429), Limited, "The token has asked for too many tasks within a minute",
        "Try again after the seconds in Retry-After.";
    TooManyTasks "TOO_MANY_TASKS" Some(429), Limited, "The token has too many unfinished tasks",
        "Try again when one of its tasks has ended, or cancel one.";
    TooManyStreams "TOO_MANY_STREAMS" Some(429), Limited, "The token has too many event streams open",
        "Close streams that nobody reads, or ask for the task now and then.";
    IdempotencyMismatch "IDEMPOTENCY_MISMATCH" Some(422), Never, "The Idempotency-Key belongs to another request",
        "Use a new key for a new request.";
    QueueUnavailable "QUEUE_UNAVAILABLE" Some(503), Limited, "The queue cannot be reached",
        "Try again in a few seconds; nothing was accepted.";
    Internal "INTERNAL" Some(500), Limited, "Something went wrong here",
        "Try again; report it with the request id if it stays.";
}

impl Code {
    /// `AUTH_BAD_CREDENTIALS`, for example.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// What happened, in one short sentence.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// What the person should do.
    #[must_use]
    pub const fn user_action(self) -> &'static str {
        self.row().action
    }

    /// The HTTP status it is answered with; `None` for what only a task can end with. A task can end with
    /// [`Code::CloneGone`] too.
    #[must_use]
    pub const fn status(self) -> Option<u16> {
        self.row().status
    }

    /// The page that explains it (Markdown).
    #[must_use]
    pub const fn page(self) -> &'static str {
        self.row().page
    }

    /// Whether the same request may succeed at another time without anybody changing anything.
    #[must_use]
    pub const fn retryable(self) -> bool {
        !matches!(self.row().again, Again::Never)
    }

    /// How many attempts a step may make that fails with this code, given the queue's limit.
    #[must_use]
    pub const fn attempts(self, limit: u32) -> u32 {
        match self.row().again {
            Again::Never => 1,
            Again::Once => 2,
            Again::Limited => limit,
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Code {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|c| c.as_str() == text).ok_or_else(|| UnknownName {
            given: text.chars().take(64).collect(),
            known: "the codes in docs/problems".into(),
        })
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Code {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .enum_values(Some(Self::ALL.iter().map(|c| c.as_str())))
            .description(Some("A stable problem code; `/problems/{code}` explains it."))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Code {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_one_name_a_page_and_each_page_a_code() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse::<Code>().unwrap(), *code);
            assert!(code.page().starts_with(&format!("# {code}\n")), "{code}'s page begins with its name");
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/problems");
        let pages: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        for page in &pages {
            let name = page.strip_suffix(".md").unwrap();
            assert!(name == "README" || name.parse::<Code>().is_ok(), "{page} explains no code");
        }
    }
}

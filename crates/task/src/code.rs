//! Problem codes.

use serde::{Deserialize, Serialize};

use crate::UnknownName;

/// How often a step is retried that fails with a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retries {
    /// Not at all: the site refused or the request is invalid, so a retry fails as well.
    Never,
    /// Once.
    Once,
    /// Up to the queue's limit of attempts.
    Limited,
}

/// One row of the table of codes.
struct Row {
    name: &'static str,
    title: &'static str,
    action: &'static str,
    status: Option<u16>,
    retries: Retries,
    page: &'static str,
}

macro_rules! codes {
    ($($variant:ident $name:literal $status:expr, $retries:ident, $title:literal, $action:literal;)+) => {
        /// A stable problem code. Each has a page in `docs/problems/`, which is included at compile time.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $(#[doc = $title] $variant),+ }

        impl Code {
            /// All codes: first those of failed tasks, then those of webhooks, then those of the API alone.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row {
                        name: $name,
                        title: $title,
                        action: $action,
                        status: $status,
                        retries: Retries::$retries,
                        page: include_str!(concat!("../../../docs/problems/", $name, ".md")),
                    }),+
                }
            }
        }
    };
}

codes! {
    // Codes of failed tasks. They have no HTTP status, because the request for the task was valid.
    AuthBadCredentials "AUTH_BAD_CREDENTIALS" None, Never, "The site rejected the login",
        "Read what the site says; if it is about the user or the password, check both by logging in with a browser, then run the task again with the right password.";
    AuthUnanswered "AUTH_UNANSWERED" None, Never, "The site did not respond to the login",
        "Check whether the site is slow or down and log in once with a browser, then run the task again.";
    AuthLockedOut "AUTH_LOCKED_OUT" None, Never, "The site has locked the login",
        "Wait until the site's login protection admits the user again, or allow the workers' address in it.";
    Auth2faRequired "AUTH_2FA_REQUIRED" None, Never, "The login requires a second factor",
        "Use an administrator without a second factor, or disable it for this user while the task runs.";
    AuthCaptcha "AUTH_CAPTCHA" None, Never, "The login requires a captcha",
        "Disable the captcha for the workers' address, or while the task runs.";
    AuthInterstitial "AUTH_INTERSTITIAL" None, Never, "After the login the site shows a page that a person must answer",
        "Log in with a browser, answer the page, then run the task again.";
    HttpAuthRequired "HTTP_AUTH_REQUIRED" None, Never, "The web server requires a login before WordPress",
        "Disable the web server's password protection for the workers' address while the task runs.";
    EdgeChallenge "EDGE_CHALLENGE" None, Never, "A firewall in front of the site blocks automated browsers",
        "Allow the workers' address in the site's firewall or bot protection.";
    CapMissing "CAP_MISSING" None, Never, "The user lacks a required capability",
        "Use the login of an administrator.";
    FileModsDisabled "FILE_MODS_DISABLED" None, Never, "The site forbids installing plugins",
        "Remove DISALLOW_FILE_MODS from wp-config.php, or install the migrator by the host's own means.";
    FsMethodNotDirect "FS_METHOD_NOT_DIRECT" None, Never, "WordPress cannot write to its plugin folder",
        "Give the web server's user write access to wp-content/plugins, or set FS_METHOD to direct.";
    UploadTooLarge "UPLOAD_TOO_LARGE" None, Never, "The site's upload limit is too small for the migrator",
        "Raise upload_max_filesize, post_max_size and the web server's body limit to at least 1 MB.";
    WafBlockedUpload "WAF_BLOCKED_UPLOAD" None, Never, "A firewall blocked the plugin's upload",
        "Allow plugin uploads from the workers' address in the site's firewall.";
    ReqUnmet "REQ_UNMET" None, Never, "The site's WordPress or PHP is too old for the migrator",
        "Update to at least WordPress 5.6 and PHP 7.4.";
    PluginInstallFailed "PLUGIN_INSTALL_FAILED" None, Never, "WordPress did not install the migrator",
        "Check the screenshot and the page, then try to install any plugin by hand.";
    PluginActivationFailed "PLUGIN_ACTIVATION_FAILED" None, Never, "WordPress did not activate the migrator",
        "Check the screenshot and the site's PHP error log.";
    MigratorUnreachable "MIGRATOR_UNREACHABLE" None, Limited, "The migrator is active but does not respond",
        "Exclude requests with wpclone_migrator in the query from caches and firewalls.";
    AppPwDisabled "APPPW_DISABLED" None, Never, "Application passwords are disabled on the site",
        "Serve the site over https, and enable application passwords in its security plugin.";
    AuthHeaderStripped "AUTH_HEADER_STRIPPED" None, Never, "The site does not accept the new application password",
        "Configure the web server to pass the Authorization header to PHP.";
    RestBlocked "REST_BLOCKED" None, Never, "The site's REST API is blocked",
        "Allow the REST API for logged-in administrators in the site's security plugin or firewall.";
    Redirected "REDIRECTED" None, Never, "The site's URL redirects to another site",
        "If the address that it redirects to is yours as well, send a new request with that.";
    LoginUrlNotFound "LOGIN_URL_NOT_FOUND" None, Never, "There is no login form at wp-login.php",
        "Use the address in `to` if there is one; else disable the plugin that hides the login page, or lets another server do \
         the login, while the task runs.";
    NotWordPress "NOT_WORDPRESS" None, Never, "There is no WordPress at this URL",
        "Check the URL; a WordPress in a folder needs the folder in it.";
    SiteUnreachable "SITE_UNREACHABLE" None, Limited, "The site does not respond",
        "Open the site in a browser; check that it is up and does not block the workers' address.";
    TlsInvalid "TLS_INVALID" None, Never, "The site's certificate is not valid",
        "Renew the certificate, or serve its whole chain.";
    SiteNotAllowed "SITE_NOT_ALLOWED" None, Never, "The site is in a network that the workers do not connect to",
        "Use a public address, or ask the operator to allow the network in WPCLONE_ALLOW_PRIVATE_SITES.";
    SiteFatal "SITE_FATAL" None, Never, "The site itself is broken",
        "Fix the error that WordPress shows (its PHP error log has more), then run the task again.";
    DbUpgradePending "WP_DB_UPGRADE_PENDING" None, Never, "WordPress requires a database upgrade",
        "Make a backup, log in with a browser and run the database upgrade.";
    UnexpectedAnswer "UNEXPECTED_ANSWER" None, Never, "The site sent an unexpected response",
        "Check the screenshot and the page that the site returned.";
    SessionLost "SESSION_LOST" None, Never, "The site ended the session",
        "Make sure that nobody else logs in or out as this user meanwhile, then run the task again; if it fails again, look for a plugin that binds sessions to an address or ends them early.";
    BrowserCrashed "BROWSER_CRASHED" None, Limited, "The browser crashed",
        "Run the task again; if it fails again, give the worker more memory.";
    Deadline "DEADLINE" None, Limited, "The work exceeded its deadline",
        "Run the task again when the site is faster.";
    ProvisionerUnavailable "PROVISIONER_UNAVAILABLE" None, Limited, "Clones cannot be created at the moment",
        "Ask the operator to check the provisioning worker: its log and /readyz name what is missing.";
    IsolationUnavailable "ISOLATION_UNAVAILABLE" None, Never, "The requested isolation is not available",
        "Send the request again with `isolation` set to `shared`, or ask the operator to set up dedicated clones.";
    ClonesFull "CLONES_FULL" None, Limited, "The maximum number of clones is reached",
        "Delete a clone that is no longer needed, or ask the operator to raise WPCLONE_MAX_CLONES.";
    DefinitionInactive "DEFINITION_INACTIVE" None, Limited, "The cluster's definition of clones does not work",
        "Ask the operator to mend the ResourceGraphDefinition that `detail` names.";
    QuotaReached "QUOTA_REACHED" None, Limited, "A quota of the cluster is reached",
        "Delete a clone that is no longer needed, or ask the operator to raise the quota that `detail` names.";
    ImageUnavailable "IMAGE_UNAVAILABLE" None, Limited, "The clone's image cannot be pulled",
        "Ask the operator to check WPCLONE_CLONE_IMAGES and the registry.";
    CloneCrashed "CLONE_CRASHED" None, Once, "The clone's pod crashes",
        "Check the last lines of its log in `detail`, and whether WPCLONE_CLONE_MEMORY is enough.";
    DatabaseRefused "DATABASE_REFUSED" None, Limited, "The clones' database server does not work",
        "Ask the operator to check the server and the user of WPCLONE_DATABASE_URL.";
    InstanceFailed "INSTANCE_FAILED" None, Once, "The cluster cannot make the clone",
        "Ask the operator to check what the cluster says in `detail`.";
    DiskInsufficient "DISK_INSUFFICIENT" None, Never, "There is not enough free space for the content",
        "Free space where `detail` says, then send a new request.";
    TargetNotEmpty "TARGET_NOT_EMPTY" None, Never, "The target is not empty",
        "Use a new WordPress as the target: one user, at most its first post, page and comment, no uploads.";
    MultisiteUnsupported "MULTISITE_UNSUPPORTED" None, Never, "The site is a multisite network",
        "Use a WordPress that is a single site; networks cannot be cloned.";
    PhpMismatch "PHP_MISMATCH" None, Never, "The copy's PHP is too old for the source's WordPress",
        "Change the PHP of one side to the other's version, or ask the operator to install what `detail` names.";
    TransferFailed "TRANSFER_FAILED" None, Limited, "The content could not be transferred",
        "Run the task again; if it fails again, check `detail` and the PHP error log of the side that it names.";
    VerifyFailed "VERIFY_FAILED" None, Limited, "The copy differs from the source",
        "Run the task again when the site is less busy.";
    CloneBroken "CLONE_BROKEN" None, Once, "The clone does not work as expected",
        "Check the screenshots, then the copy itself; for a clone, `clone` has its URL, user and expiry, and the result its password.";
    ResultTooLarge "RESULT_TOO_LARGE" None, Never, "The result is too large to be stored",
        "Report it with the task's id: the site sent unusually large values.";
    Poison "POISON" None, Never, "The task crashed its worker repeatedly",
        "Report it with the task's id: this is a defect of wpclone.";
    WorkerFault "WORKER_FAULT" None, Limited, "The worker failed",
        "Report it with the task's id: this is a defect of wpclone.";

    // Codes of failed webhook deliveries. They stand in the task's `callback`; no task fails with them.
    CallbackFailed "CALLBACK_FAILED" None, Limited, "The webhook could not be delivered",
        "Read the task itself, and check the receiver's log.";
    CallbackRefused "CALLBACK_REFUSED" None, Never, "The webhook's receiver no longer accepts messages",
        "Send new requests with a callback URL that accepts messages.";
    CallbackNotAllowed "CALLBACK_NOT_ALLOWED" None, Never, "The callback URL is in a network that the workers do not connect to",
        "Use a public address, or ask the operator to allow the network in WPCLONE_ALLOW_PRIVATE_CALLBACKS.";

    // Codes of API responses.
    InvalidRequest "INVALID_REQUEST" Some(422), Never, "The request is invalid",
        "Correct each field that `errors` names.";
    MalformedJson "MALFORMED_JSON" Some(400), Never, "The body is not valid JSON",
        "Send a JSON object.";
    BadParameter "BAD_PARAMETER" Some(400), Never, "A parameter or header is invalid",
        "Correct what `detail` names.";
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" Some(415), Never, "The body must be application/json",
        "Send the header Content-Type: application/json.";
    BodyTooLarge "BODY_TOO_LARGE" Some(413), Never, "The body is too large",
        "Send at most 64 KiB.";
    RequestTimeout "REQUEST_TIMEOUT" Some(408), Limited, "The request did not arrive in time",
        "Send it again.";
    Unauthenticated "UNAUTHENTICATED" Some(401), Never, "A valid token is missing",
        "Send Authorization: Bearer with a token that is in the tokens file.";
    Forbidden "FORBIDDEN" Some(403), Never, "The token's scope does not permit this",
        "Use a token with the scope that `detail` names.";
    OriginRefused "ORIGIN_REFUSED" Some(403), Never, "The request comes from another origin",
        "Call the API from its own origin, or without an Origin header.";
    HostRefused "HOST_REFUSED" Some(403), Never, "The Host header is not a loopback name",
        "Call the API as localhost, or configure tokens to serve other names.";
    ForwardedRefused "FORWARDED_REFUSED" Some(403), Never, "The request was forwarded by a proxy",
        "Call the API directly on its machine, or configure tokens to serve others.";
    NotFound "NOT_FOUND" Some(404), Never, "There is nothing at this path",
        "See /docs for the API's paths.";
    TaskNotFound "TASK_NOT_FOUND" Some(404), Never, "There is no such task",
        "Check the id; a token sees only its own tasks.";
    TaskGone "TASK_GONE" Some(410), Never, "The task is no longer kept",
        "Finished tasks are kept for seven days.";
    CloneNotFound "CLONE_NOT_FOUND" Some(404), Never, "There is no such clone",
        "Check the name; a token sees only its own clones.";
    CloneGone "CLONE_GONE" Some(410), Never, "The clone no longer exists",
        "Request a new clone.";
    CloneNotReady "CLONE_NOT_READY" Some(409), Limited, "The clone is not ready yet",
        "Wait for the end of the task that creates it.";
    ArtifactNotFound "ARTIFACT_NOT_FOUND" Some(404), Never, "The task has no such artifact",
        "Use a name from the task's `artifacts`.";
    ArtifactGone "ARTIFACT_GONE" Some(410), Never, "The artifact is no longer kept",
        "Artifacts are kept for a day while there is room.";
    MethodNotAllowed "METHOD_NOT_ALLOWED" Some(405), Never, "This path does not support the method",
        "Use a method from the Allow header.";
    TaskFinished "TASK_FINISHED" Some(409), Never, "The task has already ended",
        "Check its result or problem.";
    NotFailed "NOT_FAILED" Some(409), Never, "Only a failed task can be run again",
        "Check the task; if it succeeded or was cancelled, send a new request.";
    CredentialsGone "CREDENTIALS_GONE" Some(422), Never, "The task's passwords are no longer kept",
        "Send the replay with the password.";
    RateLimited "RATE_LIMITED" Some(429), Limited, "The token's rate limit is exceeded",
        "Try again after the seconds in Retry-After.";
    TooManyTasks "TOO_MANY_TASKS" Some(429), Limited, "The token has too many unfinished tasks",
        "Try again when one of its tasks has ended, or cancel one.";
    TooManyStreams "TOO_MANY_STREAMS" Some(429), Limited, "The token has too many event streams open",
        "Close streams that nobody reads, or poll the task.";
    IdempotencyMismatch "IDEMPOTENCY_MISMATCH" Some(422), Never, "The Idempotency-Key belongs to another request",
        "Use a new key for a new request.";
    QueueUnavailable "QUEUE_UNAVAILABLE" Some(503), Limited, "The queue cannot be reached",
        "Try again in a few seconds; nothing was accepted.";
    Internal "INTERNAL" Some(500), Limited, "The API failed",
        "Try again; if it persists, report it with the request id.";
}

impl Code {
    /// `AUTH_BAD_CREDENTIALS`, for example.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// What happened, as a short sentence without a full stop.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// The recommended action.
    #[must_use]
    pub const fn user_action(self) -> &'static str {
        self.row().action
    }

    /// The HTTP status of a response with this code; `None` for codes that only tasks and webhooks have. A task can
    /// fail with [`Code::CloneGone`] and [`Code::CloneNotFound`] too.
    #[must_use]
    pub const fn status(self) -> Option<u16> {
        self.row().status
    }

    /// The page in `docs/problems/` (Markdown).
    #[must_use]
    pub const fn page(self) -> &'static str {
        self.row().page
    }

    /// Whether the same request may succeed later without a change by anybody.
    #[must_use]
    pub const fn retryable(self) -> bool {
        !matches!(self.row().retries, Retries::Never)
    }

    /// Maximum number of attempts of a step that fails with this code; `limit` is the queue's.
    #[must_use]
    pub const fn attempts(self, limit: u32) -> u32 {
        match self.row().retries {
            Retries::Never => 1,
            Retries::Once => 2,
            Retries::Limited => limit,
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
    fn each_code_has_a_page_and_each_page_a_code() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse::<Code>().unwrap(), *code);
            assert!(
                code.page().starts_with(&format!("# {code}\n")),
                "the page of {code} begins with the code"
            );
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/problems");
        let pages: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        for page in &pages {
            let name = page.strip_suffix(".md").unwrap();
            assert!(name == "README" || name.parse::<Code>().is_ok(), "{page} has no code");
        }
    }
}

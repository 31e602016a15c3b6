//! The names of the dashboard's session cookie: the API sets it, and the proxy in front of clones keeps it from them.

/// The session's cookie where the API is reached by http.
pub const SESSION_COOKIE: &str = "wpclone_session";
/// The session's cookie where the API is reached by https. Browsers accept this prefix only for a secure cookie of this
/// host and the path `/` (RFC 6265bis, 4.1.3.2), so that no other host and no other path can set one of this name.
pub const HOST_SESSION_COOKIE: &str = "__Host-wpclone_session";
/// Both.
pub const SESSION_COOKIES: [&str; 2] = [SESSION_COOKIE, HOST_SESSION_COOKIE];

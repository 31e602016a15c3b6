//! Table prefixes, and the options and user metadata named after them.

/// An old and a new table prefix.
///
/// ```
/// let prefix = wpclone_rewrite::PrefixMapping::new("wp_", "clone7_");
/// assert_eq!(prefix.table(b"wp_posts").as_deref(), Some(&b"clone7_posts"[..]));
/// assert_eq!(prefix.option(b"wp_user_roles").as_deref(), Some(&b"clone7_user_roles"[..]));
/// assert_eq!(prefix.option(b"wp_page_for_privacy_policy"), None);
/// assert_eq!(prefix.user_meta(b"wp_capabilities").as_deref(), Some(&b"clone7_capabilities"[..]));
/// ```
#[derive(Debug, Clone)]
pub struct PrefixMapping {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl PrefixMapping {
    /// Both prefixes include their final underscore, as in `wp_`.
    #[must_use]
    pub fn new(from: &str, to: &str) -> Self {
        Self { from: from.as_bytes().to_vec(), to: to.as_bytes().to_vec() }
    }

    pub(crate) fn from(&self) -> &[u8] {
        &self.from
    }

    /// The new name of a table; `None` if the table does not have the old prefix.
    #[must_use]
    pub fn table(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.renamed(name)
    }

    /// The new name of an option; `None` if it is not renamed. Only the roles are named after the prefix, in a
    /// network with the site's number: `wp_user_roles`, `wp_2_user_roles`.
    #[must_use]
    pub fn option(&self, name: &[u8]) -> Option<Vec<u8>> {
        let rest = name.strip_prefix(self.from.as_slice())?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let site = rest[digits..].strip_prefix(b"_").filter(|_| digits > 0);
        (rest == b"user_roles" || site == Some(b"user_roles")).then(|| self.renamed(name))?
    }

    /// The new name of a key of user metadata; `None` if it is not renamed. WordPress puts the prefix before what a
    /// user may have on one site and not on another: capabilities, level, screen settings, plugins' own keys.
    #[must_use]
    pub fn user_meta(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.renamed(key)
    }

    /// Whether an option has a name that [`option`](Self::option) gives to another one.
    #[must_use]
    pub fn is_renamed_option(&self, name: &[u8]) -> bool {
        self.option(name).is_none() && self.inverse().option(name).is_some()
    }

    /// Whether a key of user metadata grants a user's rights under the new prefix.
    #[must_use]
    pub fn is_renamed_capability(&self, key: &[u8]) -> bool {
        let rest = key.strip_prefix(self.to.as_slice()).filter(|_| self.from != self.to);
        matches!(rest, Some(b"capabilities" | b"user_level"))
    }

    fn inverse(&self) -> Self {
        Self { from: self.to.clone(), to: self.from.clone() }
    }

    fn renamed(&self, name: &[u8]) -> Option<Vec<u8>> {
        let rest = name.strip_prefix(self.from.as_slice()).filter(|rest| !rest.is_empty())?;
        Some([&self.to, rest].concat())
    }
}

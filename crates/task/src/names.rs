//! User names, names of application passwords, and passwords, as WordPress accepts them.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// The longest user name, and the longest name of an application password, in characters.
pub(crate) const MAX_CHARS: usize = 100;
/// The longest password: what wp_check_password() takes.
pub(crate) const MAX_PASSWORD_BYTES: usize = 4096;

/// A WordPress user's login name or e-mail address: 1 to 100 characters, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Username(String);

/// The name an application password is listed under: 1 to 100 characters, no control characters, no `<`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppName(String);

impl Username {
    pub(crate) fn read(text: String) -> Result<Self, String> {
        line(text, MAX_CHARS).map(Self)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Username {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::read(text)
    }
}

impl AppName {
    /// The name in a request without one.
    pub const DEFAULT: &'static str = "wpclone";

    pub(crate) fn read(text: String) -> Result<Self, String> {
        // sanitize_text_field() removes tags and folds spaces: WordPress would store another name.
        let text = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        if text.contains('<') || text.contains('%') {
            return Err("must not contain `<` or `%`, which WordPress removes".into());
        }
        line(text, MAX_CHARS).map(Self)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for AppName {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

fn line(text: String, max: usize) -> Result<String, String> {
    let text = text.trim().to_owned();
    match text.chars().count() {
        0 => Err("must not be empty".into()),
        n if n > max => Err(format!("must have at most {max} characters")),
        _ if text.chars().any(char::is_control) => Err("must not contain control characters".into()),
        _ => Ok(text),
    }
}

pub(crate) fn password(text: String) -> Result<SecretString, String> {
    // Not trimmed: WordPress' own form keeps the spaces of a password.
    match text.len() {
        0 => Err("must not be empty".into()),
        n if n > MAX_PASSWORD_BYTES => Err(format!("must have at most {MAX_PASSWORD_BYTES} bytes")),
        // A browser's field for passwords holds one line.
        _ if text.contains(['\0', '\r', '\n']) => Err("must not contain NUL or a line break".into()),
        _ => Ok(SecretString::from(text)),
    }
}

//! Where secrets come from: the environment, a file, a prompt. Never an argument.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use secrecy::SecretString;

use crate::failure::Failure;
use crate::prompt;

/// The environment variable of the API's token.
const TOKEN: &str = "WPCLONE_TOKEN";
/// The environment variable of a site's password.
const PASSWORD: &str = "WPCLONE_SITE_PASSWORD";
/// The environment variable of the password of a clone's target.
const TARGET_PASSWORD: &str = "WPCLONE_TARGET_PASSWORD";
/// More than any token or password has; the API judges the rest.
const MAX_BYTES: u64 = 8 * 1024;

/// The token for the API, if there is one.
pub(crate) fn token(file: Option<&Path>) -> Result<Option<SecretString>, Failure> {
    match file {
        Some(file) => from_file(file, "--token-file").map(Some),
        None => from_env(TOKEN),
    }
}

/// Whose password: where it comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The file that was named for it.
    pub(crate) file: Option<&'a Path>,
    flag: &'static str,
    variable: &'static str,
}

impl<'a> Source<'a> {
    /// That of a site, or of a clone's source.
    pub(crate) fn site(file: Option<&'a Path>) -> Self {
        Self { file, flag: "--password-file", variable: PASSWORD }
    }

    /// That of a clone's target.
    pub(crate) fn target(file: Option<&'a Path>) -> Self {
        Self { file, flag: "--target-password-file", variable: TARGET_PASSWORD }
    }

    /// The password. A prompt shows `who`.
    pub(crate) fn password(self, who: &str) -> Result<SecretString, Failure> {
        let Self { file, flag, variable } = self;
        if let Some(file) = file {
            return from_file(file, flag);
        }
        if let Some(password) = from_env(variable)? {
            return Ok(password);
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::Usage(format!(
                "there is no password of {who}: set {variable}, or give {flag} FILE (- is standard input)"
            )));
        }
        match prompt::ask(&format!("Password of {who}: ")) {
            Ok(Some(password)) => not_empty(password, "the password"),
            Ok(None) => Err(Failure::Interrupted),
            Err(error) => {
                Err(Failure::Usage(format!("the password cannot be read from the terminal: {error}")))
            }
        }
    }

    /// Whether [`Self::password`] would find one without a file: in the environment, or from somebody at a terminal.
    pub(crate) fn can_be_had(self) -> bool {
        std::env::var_os(self.variable).is_some_and(|password| !password.is_empty())
            || std::io::stdin().is_terminal()
    }
}

fn from_env(name: &str) -> Result<Option<SecretString>, Failure> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(SecretString::from(value))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Failure::Usage(format!("{name} is not UTF-8"))),
    }
}

fn from_file(file: &Path, flag: &str) -> Result<SecretString, Failure> {
    let wrong = |what: String| Failure::Usage(format!("{flag} {}: {what}", file.display()));
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(MAX_BYTES + 1).read_to_string(&mut text))
    };
    let bytes = read.map_err(|error| wrong(error.to_string()))?;
    if bytes as u64 > MAX_BYTES {
        return Err(wrong(format!("is larger than {MAX_BYTES} bytes")));
    }
    // Editors and `echo` end a file with a line break; spaces may belong to a password.
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line).to_owned();
    not_empty(SecretString::from(line), &format!("{flag} {}", file.display()))
}

fn not_empty(secret: SecretString, what: &str) -> Result<SecretString, Failure> {
    use secrecy::ExposeSecret as _;
    if secret.expose_secret().is_empty() {
        Err(Failure::Usage(format!("{what} is empty")))
    } else {
        Ok(secret)
    }
}

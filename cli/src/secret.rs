//! Reads secrets from the environment, a file or a prompt; never from an argument.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use secrecy::SecretString;

use crate::failure::Failure;
use crate::prompt;

/// Environment variable of the API token.
const TOKEN_VARIABLE: &str = "WPCLONE_TOKEN";
/// Environment variable of a site's password.
const PASSWORD_VARIABLE: &str = "WPCLONE_SITE_PASSWORD";
/// Environment variable of the password of a clone's target.
const TARGET_PASSWORD_VARIABLE: &str = "WPCLONE_TARGET_PASSWORD";
/// Limit on the size of a secret's file. The API checks the length of passwords itself.
const MAX_BYTES: u64 = 8 * 1024;

/// The API token, if one is configured.
pub(crate) fn token(file: Option<&Path>) -> Result<Option<SecretString>, Failure> {
    match file {
        Some(file) => from_file(file, "--token-file").map(Some),
        None => from_env(TOKEN_VARIABLE),
    }
}

/// Where a password is read from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PasswordSource<'a> {
    /// The file given on the command line.
    pub(crate) file: Option<&'a Path>,
    flag: &'static str,
    variable: &'static str,
}

impl<'a> PasswordSource<'a> {
    /// The password of a site, or of a clone's source.
    pub(crate) fn site(file: Option<&'a Path>) -> Self {
        Self { file, flag: "--password-file", variable: PASSWORD_VARIABLE }
    }

    /// The password of a clone's target.
    pub(crate) fn target(file: Option<&'a Path>) -> Self {
        Self { file, flag: "--target-password-file", variable: TARGET_PASSWORD_VARIABLE }
    }

    /// Reads the password. A prompt shows `account`.
    pub(crate) fn password(self, account: &str) -> Result<SecretString, Failure> {
        let Self { file, flag, variable } = self;
        if let Some(file) = file {
            return from_file(file, flag);
        }
        if let Some(password) = from_env(variable)? {
            return Ok(password);
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::Usage(format!(
                "no password for {account}: set {variable}, or use {flag} FILE (- is standard input)"
            )));
        }
        match prompt::ask_password(&format!("Password of {account}: ")) {
            Ok(Some(password)) => not_empty(password, "the password"),
            Ok(None) => Err(Failure::Interrupted),
            Err(error) => {
                Err(Failure::Usage(format!("the password cannot be read from the terminal: {error}")))
            }
        }
    }

    /// Whether [`Self::password`] can read one without a file: from the environment or a terminal.
    pub(crate) fn is_available(self) -> bool {
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
    let invalid = |what: String| Failure::Usage(format!("{flag} {}: {what}", file.display()));
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(MAX_BYTES + 1).read_to_string(&mut text))
    };
    let bytes = read.map_err(|error| invalid(error.to_string()))?;
    if bytes as u64 > MAX_BYTES {
        return Err(invalid(format!("is larger than {MAX_BYTES} bytes")));
    }
    // Editors and `echo` add a line break at the end. Spaces may be part of the password.
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

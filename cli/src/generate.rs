//! Generates API tokens, seal keys, webhook secrets and idempotency keys.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::args::{LimitArgs, Scope};
use crate::failure::Failure;

/// Prefix of every token, which lets secret scanners recognise a leaked one.
const TOKEN_PREFIX: &str = "wpc_";

/// A new token.
pub(crate) struct Token {
    /// The token that its holder sends.
    pub(crate) token: String,
    /// The line for the API's tokens file.
    pub(crate) line: String,
}

/// Creates a token of 256 random bits.
///
/// # Errors
/// The name is not valid in the tokens file, or limits were given for the scope `metrics`.
pub(crate) fn token(name: &str, scope: Scope, limits: &LimitArgs) -> Result<Token, Failure> {
    check_name(name, 64, "the token's name")?;
    if scope == Scope::Metrics && (limits.per_minute, limits.concurrent) != (None, None) {
        return Err(Failure::Usage("a token of scope metrics starts no tasks and takes no limits".into()));
    }
    let token = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(random_bytes()?));
    let hash = hex::encode(Sha256::digest(token.as_bytes()));
    let text = |limit: Option<u32>| limit.map(|n| n.to_string()).unwrap_or_default();
    let limits = match (limits.per_minute, limits.concurrent) {
        (None, None) => String::new(),
        (per_minute, None) => format!(":{}", text(per_minute)),
        (per_minute, concurrent) => format!(":{}:{}", text(per_minute), text(concurrent)),
    };
    let line = format!("{name}:{hash}:{}{limits}", scope.as_str());
    Ok(Token { token, line })
}

/// Creates a key in the form of `WPCLONE_SEAL_KEYS`; its id is today's date by default.
///
/// # Errors
/// The id is not valid in the setting.
pub(crate) fn seal_key(id: Option<String>) -> Result<String, Failure> {
    let id = id.unwrap_or_else(|| jiff::Timestamp::now().strftime("%Y-%m-%d").to_string());
    check_name(&id, 32, "the key's id")?;
    Ok(format!("{id}:{}", STANDARD.encode(random_bytes()?)))
}

/// Creates a secret in the form of `WPCLONE_WEBHOOK_SECRETS`.
pub(crate) fn webhook_secret() -> Result<String, Failure> {
    Ok(format!("whsec_{}", STANDARD.encode(random_bytes()?)))
}

/// Creates a random `Idempotency-Key`.
pub(crate) fn idempotency_key() -> Result<String, Failure> {
    Ok(format!("cli-{}", hex::encode(&random_bytes()?[..16])))
}

fn random_bytes() -> Result<[u8; 32], Failure> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

fn check_name(name: &str, max: usize, what: &str) -> Result<(), Failure> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if (1..=max).contains(&name.len()) && name.bytes().all(fits) {
        Ok(())
    } else {
        Err(Failure::Usage(format!("{what} must be 1 to {max} of A-Z a-z 0-9 - _ .")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_accept_new_seal_keys_and_webhook_secrets() {
        let key = seal_key(None).unwrap();
        key.parse::<wpclone_service::seal::Sealer>().unwrap();
        webhook_secret().unwrap().parse::<wpclone_service::webhook::WebhookSecrets>().unwrap();
        assert!(seal_key(Some("a:b".into())).is_err());
        assert!(seal_key(Some("x".repeat(33))).is_err());
    }

    #[test]
    fn the_tokens_file_line_holds_only_the_tokens_hash() {
        let none = LimitArgs::default();
        let made = token("ci.1", Scope::Operator, &none).unwrap();
        let random = made.token.strip_prefix(TOKEN_PREFIX).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(random).unwrap().len(), 32);
        let parts: Vec<&str> = made.line.split(':').collect();
        assert_eq!((parts[0], parts[2]), ("ci.1", "operator"));
        assert_eq!(hex::decode(parts[1]).unwrap(), Sha256::digest(made.token.as_bytes()).as_slice());
        assert!(!made.line.contains(random));
        assert_ne!(made.token, token("ci.1", Scope::Operator, &none).unwrap().token);
        for name in ["", "a b", "a:b", "a\nb"] {
            assert!(token(name, Scope::User, &none).is_err(), "{name:?}");
        }
    }

    #[test]
    fn limits_follow_the_scope_and_metrics_tokens_take_none() {
        for (per_minute, concurrent, end) in [
            (None, None, ":user"),
            (Some(60), None, ":user:60"),
            (Some(60), Some(2), ":user:60:2"),
            (None, Some(5), ":user::5"),
        ] {
            let made = token("ci", Scope::User, &LimitArgs { per_minute, concurrent }).unwrap();
            assert!(made.line.ends_with(end), "{}", made.line);
            let metrics = token("ci", Scope::Metrics, &LimitArgs { per_minute, concurrent });
            assert_eq!(metrics.is_ok(), end == ":user", "metrics tokens take no limits");
        }
    }
}

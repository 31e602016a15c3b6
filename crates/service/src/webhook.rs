//! Signatures of callbacks, as [Standard Webhooks](https://www.standardwebhooks.com) defines them.

use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The prefix of every secret.
const PREFIX: &str = "whsec_";
/// The length of a secret in bytes.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// The most secrets: each makes the header longer.
const MAX_SECRETS: usize = 10;

/// The secrets that sign callbacks, newest first; none when callbacks are not configured. A callback has a signature of each,
/// so that receivers can rotate secrets.
#[derive(Clone, Default)]
pub struct WebhookSecrets(Arc<[SecretSlice<u8>]>);

impl FromStr for WebhookSecrets {
    type Err = String;

    /// `whsec_base64 …`, separated by spaces; each 24 to 64 bytes in standard, padded base64. Errors name secrets by their
    /// position.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut secrets, mut faults) = (Vec::<SecretSlice<u8>>::new(), Vec::new());
        for (place, part) in text.split_whitespace().enumerate() {
            match secret(part) {
                Ok(secret) if secrets.iter().any(|s| s.expose_secret() == secret.expose_secret()) => {
                    faults.push(format!("secret {} is given twice", place + 1));
                }
                Ok(secret) => secrets.push(secret),
                Err(what) => faults.push(format!("secret {} {what}", place + 1)),
            }
        }
        if secrets.len() > MAX_SECRETS {
            faults.push(format!("there may be at most {MAX_SECRETS}"));
        }
        if faults.is_empty() { Ok(Self(secrets.into())) } else { Err(faults.join("; ")) }
    }
}

fn secret(text: &str) -> Result<SecretSlice<u8>, String> {
    let code = text.strip_prefix(PREFIX).ok_or_else(|| format!("must begin with {PREFIX}"))?;
    let bytes = STANDARD.decode(code).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| "must be standard, padded base64 after its beginning")?;
    if !BYTES.contains(&bytes.len()) {
        return Err(format!("must have {} to {} bytes", BYTES.start(), BYTES.end()));
    }
    Ok(SecretSlice::from(bytes.to_vec()))
}

impl std::fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WebhookSecrets({})", self.0.len())
    }
}

impl WebhookSecrets {
    /// Whether there are no secrets.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the header `webhook-signature`: a signature of each secret, separated by spaces. `timestamp` is that of
    /// `webhook-timestamp`, in seconds since 1970.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let one = |secret| format!("v1,{}", STANDARD.encode(signature(secret, id, timestamp, body)));
        self.0.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn signature(secret: &SecretSlice<u8>, id: &str, timestamp: i64, body: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret()).expect("any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn sign(secrets: &str) -> String {
        let secrets: WebhookSecrets = secrets.parse().unwrap();
        secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#)
    }

    #[test]
    fn the_published_example_is_signed_as_published() {
        assert_eq!(sign(EXAMPLE), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_secret_signs_newest_first() {
        let newer = format!("{PREFIX}{}", STANDARD.encode([7; 32]));
        assert_eq!(sign(&format!("{newer} {EXAMPLE}")), format!("{} {}", sign(&newer), sign(EXAMPLE)));
    }

    #[test]
    fn every_error_is_reported_and_no_secret_is_shown() {
        let short = format!("{PREFIX}{}", STANDARD.encode([1; 23]));
        let long = format!("{PREFIX}{}", STANDARD.encode([1; 65]));
        let text = format!("canary {EXAMPLE} {short} {long} {PREFIX}can#ary {EXAMPLE}");
        assert_eq!(
            text.parse::<WebhookSecrets>().unwrap_err(),
            "secret 1 must begin with whsec_; secret 3 must have 24 to 64 bytes; \
             secret 4 must have 24 to 64 bytes; secret 5 must be standard, padded base64 after its beginning; \
             secret 6 is given twice"
        );
        assert!(!format!("{:?}", EXAMPLE.parse::<WebhookSecrets>().unwrap()).contains("MfKQ"));
        assert!(" ".parse::<WebhookSecrets>().unwrap().is_empty());
        let many: Vec<String> = (0..11).map(|n| format!("{PREFIX}{}", STANDARD.encode([n; 24]))).collect();
        assert!(many.join(" ").parse::<WebhookSecrets>().unwrap_err().contains("at most 10"));
    }

    proptest! {
        #[test]
        fn a_secret_is_accepted_exactly_when_it_has_a_valid_length(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let text = format!("{PREFIX}{}", STANDARD.encode(&bytes));
            prop_assert_eq!(text.parse::<WebhookSecrets>().is_ok(), BYTES.contains(&bytes.len()));
        }

        #[test]
        fn invalid_text_is_rejected_without_repeating_it(text in "\\PC{0,60}") {
            match text.parse::<WebhookSecrets>() {
                Ok(secrets) => prop_assert!(secrets.is_empty() == text.trim().is_empty()),
                Err(why) => prop_assert!(text.trim().len() < 12 || !why.contains(text.trim())),
            }
        }
    }
}

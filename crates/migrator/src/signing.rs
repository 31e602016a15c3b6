//! Signatures of requests and responses.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{HeaderMap, HeaderValue};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::content_digest::ContentHasher;

/// The first bytes of every sequence of frames, which the signature includes.
pub(crate) const MAGIC: &[u8] = b"WPCLONE1";

/// First line of a request's signed text; separates it from other protocols and versions.
const REQUEST: &str = "wpclone-migrator-v1";

/// The same for responses: JSON, and frames.
const JSON_RESPONSE: &str = "wpclone-migrator-response-v1";
const FRAMES_RESPONSE: &str = "wpclone-migrator-frames-v1";

/// The key of a migrator: 256 random bits generated on the site. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

/// A text that is not a key. The text is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a migrator's key has 64 lower-case hex digits")]
pub struct KeyError;

impl Key {
    /// The key as the settings page shows it: 64 hex digits.
    #[must_use]
    pub fn to_secret(&self) -> SecretString {
        hex::encode(*self.0).into()
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.0).expect("a key of 32 bytes");
        for part in parts {
            mac.update(part);
        }
        mac
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        if text.bytes().any(|b| b.is_ascii_uppercase()) || hex::decode_to_slice(text, &mut *bytes).is_err() {
            return Err(KeyError);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([hidden])")
    }
}

/// The signed parts of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The route's name, such as `status`.
    pub route: &'a str,
    /// The query parameter `_`, which makes the address unique: 32 hex digits.
    pub unique: String,
    /// Unix seconds.
    pub timestamp: i64,
    /// 128 random bits as 32 hex digits.
    pub nonce: String,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// A request with the current time and a new nonce.
    ///
    /// # Errors
    /// The system's random number generator failed.
    pub fn new(route: &'a str, body: &'a [u8]) -> Result<Self, getrandom::Error> {
        let timestamp = jiff::Timestamp::now().as_second();
        Ok(Self { route, unique: random_hex()?, timestamp, nonce: random_hex()?, body })
    }

    /// The signed text, one part per line. The README explains the choice of parts.
    #[must_use]
    pub fn canonical(&self) -> String {
        let Self { route, unique, timestamp, nonce, body } = self;
        let mut hasher = ContentHasher::default();
        hasher.update(body);
        let body = hex::encode(hasher.finish().0);
        format!("{REQUEST}\nPOST\n{route}\n_={unique}\n{timestamp}\n{nonce}\n{body}")
    }

    /// `v1=` and the HMAC-SHA256 of the canonical text in hex.
    #[must_use]
    pub fn sign(&self, key: &Key) -> String {
        format!("v1={}", hex::encode(key.mac(&[self.canonical().as_bytes()]).finalize().into_bytes()))
    }

    /// Verifies the signature of a JSON response to this request, in constant time.
    #[must_use]
    pub fn verifies_json(&self, key: &Key, status: u16, body: &[u8], signature: &str) -> bool {
        let Some(Ok(mac)) = signature.strip_prefix("v1=").map(hex::decode) else { return false };
        let hash = hex::encode(Sha256::digest(body));
        let text = format!("{JSON_RESPONSE}\n{}\n{}\n{status}\n{hash}", self.route, self.nonce);
        key.mac(&[text.as_bytes()]).verify_slice(&mac).is_ok()
    }

    /// A verifier for a response of frames to this request.
    #[must_use]
    pub(crate) fn frames_verifier(&self, key: &Key) -> FramesVerifier {
        let text = format!("{FRAMES_RESPONSE}\n{}\n{}\n", self.route, self.nonce);
        FramesVerifier(key.mac(&[text.as_bytes(), MAGIC]))
    }

    /// The three headers of a signed request. The signature is marked sensitive.
    #[must_use]
    pub fn headers(&self, key: &Key) -> HeaderMap {
        let value = |text: &str| {
            #[expect(clippy::expect_used, reason = "digits, hex and `v1=` may stand in a header")]
            HeaderValue::from_str(text).expect("plain ASCII")
        };
        let mut signature = value(&self.sign(key));
        signature.set_sensitive(true);
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert("x-wpclone-timestamp", HeaderValue::from(self.timestamp));
        headers.insert("x-wpclone-nonce", value(&self.nonce));
        headers.insert("x-wpclone-signature", signature);
        headers
    }
}

/// Verifies the HMAC of a response of frames.
pub(crate) struct FramesVerifier(Hmac<Sha256>);

impl FramesVerifier {
    /// Adds a frame: its header (kind and length), and its payload, of which the digest is signed.
    pub(crate) fn add(&mut self, header: &[u8], payload: &[u8]) {
        self.0.update(header);
        self.0.update(&Sha256::digest(payload));
    }

    /// Compares the HMAC of all frames with the received one, in constant time.
    pub(crate) fn matches(self, mac: &[u8]) -> bool {
        self.0.verify_slice(mac).is_ok()
    }
}

fn random_hex() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Vector {
        name: String,
        key: String,
        route: String,
        unique: String,
        timestamp: i64,
        nonce: String,
        body_hex: String,
        canonical: String,
        signature: String,
    }

    #[test]
    fn the_test_vectors_shared_with_the_plugin_hold() {
        let vectors: Vec<Vector> =
            serde_json::from_str(include_str!("../../../fixtures/migrator/signing.json")).unwrap();
        assert!(vectors.len() >= 6);
        for v in vectors {
            let body = hex::decode(v.body_hex).unwrap();
            let request = Request {
                route: &v.route,
                unique: v.unique,
                timestamp: v.timestamp,
                nonce: v.nonce,
                body: &body,
            };
            assert_eq!(request.canonical(), v.canonical, "{}", v.name);
            assert_eq!(request.sign(&v.key.parse().unwrap()), v.signature, "{}", v.name);
        }
    }

    #[test]
    fn only_64_lower_case_hex_digits_are_a_key() {
        let whole = "0123456789abcdef".repeat(4);
        assert_eq!(whole.parse::<Key>().unwrap().to_secret().expose_secret(), whole);
        for wrong in
            ["", "00", &whole[1..], &format!("{whole}00"), &whole.to_uppercase(), &whole.replace('f', "g")]
        {
            assert_eq!(wrong.parse::<Key>().unwrap_err(), KeyError, "{wrong:?}");
        }
    }

    #[test]
    fn debug_output_contains_neither_key_nor_signature() {
        let whole = "0123456789abcdef".repeat(4);
        let key: Key = whole.parse().unwrap();
        let request = Request::new("status", b"{}").unwrap();
        let printed = format!("{key:?} {request:?} {:?}", request.headers(&key));
        assert!(!printed.contains(&whole) && !printed.contains(&request.sign(&key)[3..]), "{printed}");
    }

    #[test]
    fn requests_never_share_nonce_or_address() {
        let [a, b] = [(); 2].map(|()| Request::new("status", b"{}").unwrap());
        assert!(a.nonce != b.nonce && a.unique != b.unique && a.nonce != a.unique);
        assert!(a.nonce.len() == 32 && a.unique.len() == 32);
    }
}

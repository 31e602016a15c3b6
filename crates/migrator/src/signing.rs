//! Signed requests: what is signed, and with what.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{HeaderMap, HeaderValue};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::content_digest::ContentHasher;
use crate::frames::MAGIC;

/// First line of what is signed: no text of another protocol, or of another version, can be taken for ours.
const PROTOCOL: &str = "wpclone-migrator-v1";

/// The same for the proof of an answer that is JSON, and of one that is frames.
const ANSWER: &str = "wpclone-migrator-response-v1";
const FRAMES: &str = "wpclone-migrator-frames-v1";

/// The key of one migrator: 256 random bits, made on the site. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

/// A text that is no key. The text is not told.
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

/// What is signed of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The route's name: `status`.
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
    /// A request of this moment with a fresh nonce.
    ///
    /// # Errors
    /// The system has no random bytes to give.
    pub fn new(route: &'a str, body: &'a [u8]) -> Result<Self, getrandom::Error> {
        let timestamp = jiff::Timestamp::now().as_second();
        Ok(Self { route, unique: random_hex()?, timestamp, nonce: random_hex()?, body })
    }

    /// What is signed, one part a line. The README tells why these parts.
    #[must_use]
    pub fn canonical(&self) -> String {
        let Self { route, unique, timestamp, nonce, body } = self;
        let mut hasher = ContentHasher::default();
        hasher.update(body);
        let body = hex::encode(hasher.finish().0);
        format!("{PROTOCOL}\nPOST\n{route}\n_={unique}\n{timestamp}\n{nonce}\n{body}")
    }

    /// `v1=` and the HMAC-SHA256 of the canonical text in hex.
    #[must_use]
    pub fn sign(&self, key: &Key) -> String {
        format!("v1={}", hex::encode(key.mac(&[self.canonical().as_bytes()]).finalize().into_bytes()))
    }

    /// Whether `proof` is that of a JSON answer to this request. Compared in constant time.
    #[must_use]
    pub fn verifies_json(&self, key: &Key, status: u16, body: &[u8], proof: &str) -> bool {
        let Some(Ok(proof)) = proof.strip_prefix("v1=").map(hex::decode) else { return false };
        let hash = hex::encode(Sha256::digest(body));
        let text = format!("{ANSWER}\n{}\n{}\n{status}\n{hash}", self.route, self.nonce);
        key.mac(&[text.as_bytes()]).verify_slice(&proof).is_ok()
    }

    /// The proof of an answer of frames to this request, before the first frame.
    #[must_use]
    pub(crate) fn frames_verifier(&self, key: &Key) -> FramesVerifier {
        let text = format!("{FRAMES}\n{}\n{}\n", self.route, self.nonce);
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

/// The proof of an answer of frames, as they come.
pub(crate) struct FramesVerifier(Hmac<Sha256>);

impl FramesVerifier {
    /// One more frame: its kind and length, and its payload. Of that only the digest counts.
    pub(crate) fn add(&mut self, head: &[u8], payload: &[u8]) {
        self.0.update(head);
        self.0.update(&Sha256::digest(payload));
    }

    /// Whether that is the proof of all of them. Compared in constant time.
    pub(crate) fn is(self, proof: &[u8]) -> bool {
        self.0.verify_slice(proof).is_ok()
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
    fn the_vectors_that_the_plugin_is_tested_with_hold_here_too() {
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
    fn only_a_whole_key_is_one() {
        let whole = "0123456789abcdef".repeat(4);
        assert_eq!(whole.parse::<Key>().unwrap().to_secret().expose_secret(), whole);
        for wrong in
            ["", "00", &whole[1..], &format!("{whole}00"), &whole.to_uppercase(), &whole.replace('f', "g")]
        {
            assert_eq!(wrong.parse::<Key>().unwrap_err(), KeyError, "{wrong:?}");
        }
    }

    #[test]
    fn neither_key_nor_signature_is_in_a_debug_output() {
        let whole = "0123456789abcdef".repeat(4);
        let key: Key = whole.parse().unwrap();
        let request = Request::new("status", b"{}").unwrap();
        let printed = format!("{key:?} {request:?} {:?}", request.headers(&key));
        assert!(!printed.contains(&whole) && !printed.contains(&request.sign(&key)[3..]), "{printed}");
    }

    #[test]
    fn no_two_requests_are_alike() {
        let [a, b] = [(); 2].map(|()| Request::new("status", b"{}").unwrap());
        assert!(a.nonce != b.nonce && a.unique != b.unique && a.nonce != a.unique);
        assert!(a.nonce.len() == 32 && a.unique.len() == 32);
    }
}

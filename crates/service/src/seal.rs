//! Encrypting secrets for the lifetime of a task or a clone.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;
use wpclone_task::{CloneName, TaskId};

/// The format of a seal: version, length of the key id, key id, nonce, ciphertext with tag; all of it in base64.
const VERSION: u8 = 1;
const NONCE: usize = 24;

/// Seals secrets with the newest key, and opens seals of any key.
#[derive(Clone)]
pub struct Sealer(std::sync::Arc<Vec<Key>>);

struct Key {
    id: String,
    bytes: SecretBox<[u8; 32]>,
}

/// Why a seal could not be made or opened. It reveals nothing of the content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not a seal of ours.
    #[error("not a seal")]
    Malformed,
    /// Sealed with a key that is not configured.
    #[error("sealed with key `{0}`, which is not configured")]
    UnknownKey(String),
    /// Altered, or sealed for another task, clone or field.
    #[error("the seal does not match")]
    Broken,
}

impl FromStr for Sealer {
    type Err = String;

    /// `id:base64,…`, newest first; each key 32 bytes in standard, padded base64.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut keys: Vec<Key> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (id, code) = part.split_once(':').ok_or("each key must read id:base64")?;
            if !(1..=32).contains(&id.len())
                || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            {
                return Err("a key's id must be 1 to 32 of A-Z a-z 0-9 - _ .".into());
            }
            if keys.iter().any(|k| k.id == id) {
                return Err(format!("the key id `{id}` is used twice"));
            }
            let wrong = || format!("key `{id}` must be 32 bytes in standard, padded base64");
            let bytes = zeroize::Zeroizing::new(STANDARD.decode(code).map_err(|_| wrong())?);
            let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| wrong())?;
            keys.push(Key { id: id.to_owned(), bytes: SecretBox::new(Box::new(bytes)) });
        }
        if keys.is_empty() { Err("at least one key is needed".into()) } else { Ok(Self(keys.into())) }
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|k| &k.id)).finish()
    }
}

/// The task or clone that a secret belongs to. No clone's name is a task's id.
#[derive(Debug, Clone, Copy)]
pub enum SealSubject<'a> {
    /// A task.
    Task(TaskId),
    /// A clone.
    Clone(&'a CloneName),
}

impl From<TaskId> for SealSubject<'_> {
    fn from(task: TaskId) -> Self {
        Self::Task(task)
    }
}

impl<'a> From<&'a CloneName> for SealSubject<'a> {
    fn from(name: &'a CloneName) -> Self {
        Self::Clone(name)
    }
}

/// The associated data of a seal, so that it cannot be moved to another task, clone or field.
fn associated_data(subject: SealSubject<'_>, field: &str) -> String {
    match subject {
        SealSubject::Task(task) => format!("{task}|{field}"),
        SealSubject::Clone(name) => format!("{name}|{field}"),
    }
}

impl Sealer {
    /// A new random key in the format of the setting.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn new_key(id: &str) -> Result<String, getrandom::Error> {
        let mut bytes = zeroize::Zeroizing::new([0u8; 32]);
        getrandom::fill(bytes.as_mut())?;
        Ok(format!("{id}:{}", STANDARD.encode(*bytes)))
    }

    /// Seals a secret for one field of one task or clone.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn seal<'a>(
        &self,
        subject: impl Into<SealSubject<'a>>,
        field: &str,
        secret: &SecretString,
    ) -> Result<String, SealError> {
        let key = &self.0[0];
        let mut nonce = [0u8; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| SealError::Broken)?;
        let aad = associated_data(subject.into(), field);
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: aad.as_bytes() };
        let sealed = cipher(key).encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Broken)?;
        let id_len = u8::try_from(key.id.len()).map_err(|_| SealError::Malformed)?;
        let parts: [&[u8]; 4] = [&[VERSION, id_len], key.id.as_bytes(), &nonce, &sealed];
        Ok(STANDARD.encode(parts.concat()))
    }

    /// Opens a seal that [`Self::seal`] made for the same task or clone, and field.
    ///
    /// # Errors
    /// It is no such seal, was altered, or its key is not configured.
    pub fn open<'a>(
        &self,
        subject: impl Into<SealSubject<'a>>,
        field: &str,
        seal: &str,
    ) -> Result<SecretString, SealError> {
        let bytes = STANDARD.decode(seal).map_err(|_| SealError::Malformed)?;
        let [VERSION, id_len, rest @ ..] = bytes.as_slice() else {
            return Err(SealError::Malformed);
        };
        let (id, rest) = rest.split_at_checked(usize::from(*id_len)).ok_or(SealError::Malformed)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE).ok_or(SealError::Malformed)?;
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| SealError::Malformed)?;
        let id = std::str::from_utf8(id).map_err(|_| SealError::Malformed)?;
        let key = self.0.iter().find(|k| k.id == id).ok_or_else(|| SealError::UnknownKey(id.to_owned()))?;
        let aad = associated_data(subject.into(), field);
        let plain = cipher(key)
            .decrypt(&XNonce::from(nonce), Payload { msg: sealed, aad: aad.as_bytes() })
            .map_err(|_| SealError::Broken)?;
        String::from_utf8(plain).map(SecretString::from).map_err(|_| SealError::Broken)
    }

    /// HMACs of a text, one per key, newest first. Equal texts have equal hashes under the same key; without the key passwords
    /// cannot be guessed from them.
    #[must_use]
    pub fn fingerprints(&self, text: &SecretString) -> Vec<String> {
        self.0.iter().map(|key| format!("{}:{}", key.id, fingerprint(key, text))).collect()
    }
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.bytes.expose_secret().into())
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn fingerprint(key: &Key, text: &SecretString) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes.expose_secret()).expect("any length");
    mac.update(b"wpclone fingerprint 1\0");
    mac.update(text.expose_secret().as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(ids: &[&str]) -> Sealer {
        let keys: Vec<String> =
            ids.iter().map(|id| format!("{id}:{}", STANDARD.encode([id.len() as u8; 32]))).collect();
        keys.join(",").parse().unwrap()
    }

    #[test]
    fn a_seal_opens_only_for_its_task_and_field() {
        let (sealer, task) = (sealer(&["a"]), TaskId::new());
        let secret = SecretString::from("canary");
        let seal = sealer.seal(task, "password", &secret).unwrap();
        assert_ne!(seal, sealer.seal(task, "password", &secret).unwrap(), "each seal has its own nonce");
        assert_eq!(sealer.open(task, "password", &seal).unwrap().expose_secret(), "canary");
        assert_eq!(sealer.open(task, "other", &seal).unwrap_err(), SealError::Broken);
        assert_eq!(sealer.open(TaskId::new(), "password", &seal).unwrap_err(), SealError::Broken);
    }

    #[test]
    fn a_rotated_key_still_opens_and_a_removed_one_is_named() {
        let task = TaskId::new();
        let old = sealer(&["a"]).seal(task, "f", &SecretString::from("x")).unwrap();
        assert!(sealer(&["bb", "a"]).open(task, "f", &old).is_ok());
        assert_eq!(sealer(&["bb"]).open(task, "f", &old).unwrap_err(), SealError::UnknownKey("a".into()));
        let text = SecretString::from("body");
        assert_eq!(sealer(&["bb", "a"]).fingerprints(&text)[1], sealer(&["a"]).fingerprints(&text)[0]);
    }

    #[test]
    fn an_invalid_seal_is_an_error_and_never_panics() {
        let sealer = sealer(&["a"]);
        for garbage in
            ["", "AQ==", "AQE=", "AQFh", "AQ////8=", "not base64", &STANDARD.encode([1, 1, b'a', 0, 0])]
        {
            assert_eq!(
                sealer.open(TaskId::new(), "f", garbage).unwrap_err(),
                SealError::Malformed,
                "{garbage}"
            );
        }
        let task = TaskId::new();
        let seal = STANDARD.decode(sealer.seal(task, "f", &SecretString::from("x")).unwrap()).unwrap();
        for i in 0..seal.len() {
            let mut altered = seal.clone();
            altered[i] ^= 1;
            assert!(sealer.open(task, "f", &STANDARD.encode(altered)).is_err(), "byte {i}");
        }
    }

    #[test]
    fn keys_are_validated_and_not_shown() {
        for (given, why) in
            [("", "at least one"), ("abc", "id:base64"), ("a:AAAA", "32 bytes"), ("a b:AAAA", "key's id")]
        {
            assert!(given.parse::<Sealer>().unwrap_err().contains(why), "{given}");
        }
        let key = Sealer::new_key("k1").unwrap();
        let twice = format!("{key},{key}");
        assert!(twice.parse::<Sealer>().unwrap_err().contains("twice"));
        assert_eq!(format!("{:?}", key.parse::<Sealer>().unwrap()), r#"["k1"]"#);
    }
}

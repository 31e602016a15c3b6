//! The sealed secrets of a clone, shared by the worker that seals them and the api that opens them; and the one-time login
//! link of a clone.

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use wpclone_task::CloneName;
use zeroize::Zeroizing;

use crate::seal::{SealError, Sealer};

/// The field that the secrets of a clone are sealed for.
const FIELD: &str = "clone";

/// The query parameter of a clone's front page for a one-time login.
const LOGIN: &str = "wpclone_login";

/// First line of the signed text, so that no text of another protocol or version has a valid signature.
const PROTOCOL: &str = "wpclone-login-v1";

/// The secrets for logging in to a clone.
#[derive(Clone)]
pub struct CloneSecrets {
    /// The administrator's password.
    pub password: SecretString,
    /// The key that signs one-time logins: 32 random bytes as 64 lower-case hex digits.
    pub login_key: SecretString,
}

/// The JSON object that is sealed.
#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    #[serde(borrow)]
    password: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    login_key: std::borrow::Cow<'a, str>,
}

/// Seals the secrets of a clone.
///
/// # Errors
/// The system has no random bytes.
pub fn seal_clone(sealer: &Sealer, name: &CloneName, secrets: &CloneSecrets) -> Result<String, SealError> {
    let plain = Plain {
        password: secrets.password.expose_secret().into(),
        login_key: secrets.login_key.expose_secret().into(),
    };
    let json = serde_json::to_string(&plain).map_err(|_| SealError::Malformed)?;
    sealer.seal(name, FIELD, &SecretString::from(json))
}

/// Opens a seal of [`seal_clone`]. Only the clone's owner may see the secrets.
///
/// # Errors
/// The seal was altered, belongs to another clone, or its key is not configured.
pub fn open_clone(sealer: &Sealer, name: &CloneName, sealed: &str) -> Result<CloneSecrets, SealError> {
    let json = sealer.open(name, FIELD, sealed)?;
    let plain: Plain<'_> = serde_json::from_str(json.expose_secret()).map_err(|_| SealError::Malformed)?;
    Ok(CloneSecrets {
        password: SecretString::from(plain.password.as_ref()),
        login_key: SecretString::from(plain.login_key.as_ref()),
    })
}

impl CloneSecrets {
    /// The address that logs in to the clone at `url` as its administrator, once, before `expires_at`.
    ///
    /// # Errors
    /// The login key is invalid, or the system has no random bytes.
    pub fn login_link(
        &self,
        name: &CloneName,
        url: &str,
        expires_at: Timestamp,
    ) -> Result<SecretString, SealError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|_| SealError::Broken)?;
        let (nonce, expires) = (hex::encode(nonce), expires_at.as_second());
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(self.login_key.expose_secret(), &mut *key).map_err(|_| SealError::Malformed)?;
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&*key).expect("a key of 32 bytes");
        mac.update(format!("{PROTOCOL}\n{name}\n{expires}\n{nonce}").as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let url = url.trim_end_matches('/');
        Ok(SecretString::from(format!("{url}/?{LOGIN}={expires}.{nonce}.{signature}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> CloneName {
        text.parse().unwrap()
    }

    fn secrets() -> CloneSecrets {
        CloneSecrets { password: "canary \"\\\u{e9}".into(), login_key: "0b".repeat(32).into() }
    }

    #[test]
    fn a_seal_opens_only_for_its_clone() {
        let sealer: Sealer = Sealer::new_key("a").unwrap().parse().unwrap();
        let clone = name("clone-20261123-163105-abcdef");
        let sealed = seal_clone(&sealer, &clone, &secrets()).unwrap();
        let opened = open_clone(&sealer, &clone, &sealed).unwrap();
        assert_eq!(opened.password.expose_secret(), "canary \"\\\u{e9}");
        assert_eq!(opened.login_key.expose_secret(), secrets().login_key.expose_secret());
        let other = open_clone(&sealer, &name("clone-20261123-163105-abcdeg"), &sealed);
        assert_eq!(other.err(), Some(SealError::Broken));
    }

    #[test]
    fn a_login_link_is_signed_with_the_bytes_of_the_key() {
        let (clone, until) = (name("clone-20261123-163105-abcdef"), Timestamp::from_second(1_795_451_865));
        let until = until.unwrap();
        let link = secrets().login_link(&clone, "http://127.0.0.1:8090/clone/", until).unwrap();
        let login = link.expose_secret().strip_prefix("http://127.0.0.1:8090/clone/?wpclone_login=").unwrap();
        let [expires, nonce, signature] = login.split('.').collect::<Vec<_>>()[..] else { panic!("{login}") };
        assert_eq!((expires, nonce.len()), ("1795451865", 32));
        let mut mac = Hmac::<Sha256>::new_from_slice(&[0x0b; 32]).unwrap();
        mac.update(format!("wpclone-login-v1\nclone-20261123-163105-abcdef\n1795451865\n{nonce}").as_bytes());
        mac.verify_slice(&hex::decode(signature).unwrap()).unwrap();
        let again = secrets().login_link(&clone, "http://127.0.0.1:8090/clone", until).unwrap();
        assert_ne!(again.expose_secret(), link.expose_secret(), "each has a nonce of its own");

        let broken = CloneSecrets { login_key: "canary".into(), ..secrets() };
        assert_eq!(broken.login_link(&clone, "http://a", until).err(), Some(SealError::Malformed));
    }
}

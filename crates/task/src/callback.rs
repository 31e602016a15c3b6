//! Where the end of a task is told.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::FieldError;

/// The most bytes that such an address may have.
pub(crate) const MAX_LEN: usize = 2048;

/// Where the end of a task is told: an `http` or `https` URL with a host, without a login and without a fragment. Its
/// path or query may hold a secret, so it is kept like one: it has no printable form.
#[derive(Debug, Clone)]
pub struct CallbackUrl(SecretString);

/// Why a text is no callback address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallbackUrlError {
    /// Not a URL at all.
    #[error("must be an absolute URL such as https://example.com/hook")]
    NotAUrl,
    /// Neither http nor https.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// A user name or password in the URL.
    #[error("must not contain a user name or password")]
    Credentials,
    /// A fragment, which is never sent.
    #[error("must not contain a fragment")]
    Fragment,
    /// A control character.
    #[error("must not contain control characters")]
    Control,
    /// Longer than 2,048 bytes.
    #[error("must have at most {MAX_LEN} bytes")]
    TooLong,
}

impl CallbackUrl {
    /// Its name in a request, and in what it is sealed with.
    pub const FIELD: &'static str = "callback_url";

    /// Reads an address.
    ///
    /// # Errors
    /// [`CallbackUrlError`] tells what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, CallbackUrlError> {
        if text.len() > MAX_LEN {
            return Err(CallbackUrlError::TooLong);
        }
        // The URL parser drops some of them silently.
        if text.chars().any(char::is_control) {
            return Err(CallbackUrlError::Control);
        }
        let url = Url::parse(text).map_err(|_| CallbackUrlError::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(CallbackUrlError::Scheme);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(CallbackUrlError::NotAUrl);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(CallbackUrlError::Credentials);
        }
        if url.fragment().is_some() {
            return Err(CallbackUrlError::Fragment);
        }
        Ok(Self(SecretString::from(String::from(url))))
    }

    /// Takes the field out of a request's body. `possible`: whether anything can be told at all.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(body: &mut Value, possible: bool) -> Result<Option<Self>, FieldError> {
        let fault = |detail: String| FieldError { pointer: format!("/{}", Self::FIELD), detail };
        match body.as_object_mut().and_then(|fields| fields.remove(Self::FIELD)) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(_)) if !possible => {
                Err(fault("is not possible: the API has no WPCLONE_WEBHOOK_SECRETS".into()))
            }
            Some(Value::String(text)) => Self::parse(SecretString::from(text).expose_secret())
                .map(Some)
                .map_err(|e| fault(e.to_string())),
            Some(_) => Err(fault("must be a string".into())),
        }
    }

    /// The address as text: to be sealed, or to be sent to.
    #[must_use]
    pub fn secret(&self) -> &SecretString {
        &self.0
    }

    /// The address, to be sent to.
    ///
    /// # Panics
    /// Never: it was a URL when it was read.
    #[must_use]
    pub fn url(&self) -> Url {
        #[expect(clippy::expect_used, reason = "what a URL is written as is a URL")]
        Url::parse(self.0.expose_secret()).expect("a URL")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_callback_address_is_refused() {
        for (given, why) in [
            ("", CallbackUrlError::NotAUrl),
            ("/hook", CallbackUrlError::NotAUrl),
            ("https://", CallbackUrlError::NotAUrl),
            ("ftp://a.example", CallbackUrlError::Scheme),
            ("file:///etc/passwd", CallbackUrlError::Scheme),
            ("https://me@a.example", CallbackUrlError::Credentials),
            ("https://:pw@a.example", CallbackUrlError::Credentials),
            ("https://a.example/#", CallbackUrlError::Fragment),
            ("https://a.ex\nample/", CallbackUrlError::Control),
            ("https://a.example/\u{85}", CallbackUrlError::Control),
        ] {
            assert_eq!(CallbackUrl::parse(given).unwrap_err(), why, "{given:?}");
        }
        let long = format!("https://a.example/{}", "a".repeat(MAX_LEN));
        assert_eq!(CallbackUrl::parse(&long).unwrap_err(), CallbackUrlError::TooLong);
        assert!(CallbackUrl::parse(&long[..MAX_LEN]).is_ok());
    }

    #[test]
    fn an_address_is_kept_whole_and_not_shown() {
        let callback = CallbackUrl::parse("http://A.example:8080/hook/canary?b=c%20d&e").unwrap();
        assert_eq!(callback.url().as_str(), "http://a.example:8080/hook/canary?b=c%20d&e");
        assert_eq!(callback.secret().expose_secret(), callback.url().as_str());
        assert!(!format!("{callback:?}").contains("canary"));
    }

    #[test]
    fn the_field_is_taken_out_of_a_body() {
        let detail = |mut body: Value, possible| CallbackUrl::take(&mut body, possible).unwrap_err().detail;
        assert_eq!(detail(json!({"callback_url": {}}), false), "must be a string");
        assert!(
            detail(json!({"callback_url": "https://a.example"}), false).contains("WPCLONE_WEBHOOK_SECRETS")
        );
        assert!(detail(json!({"callback_url": "x"}), true).contains("absolute URL"));
        for none in [json!({}), json!({"callback_url": null}), json!([])] {
            assert!(CallbackUrl::take(&mut none.clone(), false).unwrap().is_none());
        }
        let mut body = json!({"callback_url": "https://a.example", "url": "b"});
        assert!(CallbackUrl::take(&mut body, true).unwrap().is_some());
        assert_eq!(body, json!({"url": "b"}));
    }
}

//! The URL that receives a webhook when a task ends.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::FieldError;

/// The longest URL, in bytes.
pub(crate) const MAX_LEN: usize = 2048;

/// The URL that receives a webhook when a task ends: `http` or `https`, with a host, without login and fragment. Its path or
/// query may hold a secret, so it is stored encrypted and never printed.
#[derive(Debug, Clone)]
pub struct CallbackUrl(SecretString);

/// Why a text is not a callback URL.
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
    /// A fragment, which HTTP does not send.
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
    /// The field's name in a request, and in the associated data when it is sealed.
    pub const FIELD: &'static str = "callback_url";

    /// Parses a URL.
    ///
    /// # Errors
    /// [`CallbackUrlError`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, CallbackUrlError> {
        if text.len() > MAX_LEN {
            return Err(CallbackUrlError::TooLong);
        }
        // The URL parser silently drops some of them.
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

    /// Takes the field out of a request's body. `enabled`: whether webhooks are configured; otherwise it is refused.
    ///
    /// # Errors
    /// The field's fault.
    pub fn take(body: &mut Value, enabled: bool) -> Result<Option<Self>, FieldError> {
        let fault = |detail: String| FieldError { pointer: format!("/{}", Self::FIELD), detail };
        match body.as_object_mut().and_then(|fields| fields.remove(Self::FIELD)) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(_)) if !enabled => {
                Err(fault("is not enabled: the API has no WPCLONE_WEBHOOK_SECRETS".into()))
            }
            Some(Value::String(text)) => Self::parse(SecretString::from(text).expose_secret())
                .map(Some)
                .map_err(|e| fault(e.to_string())),
            Some(_) => Err(fault("must be a string".into())),
        }
    }

    /// The URL as text.
    #[must_use]
    pub fn secret(&self) -> &SecretString {
        &self.0
    }

    /// The URL.
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
    fn invalid_urls_are_refused() {
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
    fn a_url_is_kept_whole_and_not_printed() {
        let callback = CallbackUrl::parse("http://A.example:8080/hook/canary?b=c%20d&e").unwrap();
        assert_eq!(callback.url().as_str(), "http://a.example:8080/hook/canary?b=c%20d&e");
        assert_eq!(callback.secret().expose_secret(), callback.url().as_str());
        assert!(!format!("{callback:?}").contains("canary"));
    }

    #[test]
    fn the_field_is_taken_out_of_a_body() {
        let detail = |mut body: Value, enabled| CallbackUrl::take(&mut body, enabled).unwrap_err().detail;
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

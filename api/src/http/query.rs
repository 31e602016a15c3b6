//! Query strings, read strictly: what is not understood is said, all of it at once.

use wpclone_task::Code;

use crate::http::error::ApiError;

/// How many parameters an address may have.
const MAX_PAIRS: usize = 32;

/// A query string being read.
pub struct Query {
    pairs: Vec<(String, String)>,
    faults: Vec<String>,
}

impl Query {
    /// Takes a query string apart.
    #[must_use]
    pub fn of(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let mut query = Self { pairs: pairs.into_owned().take(MAX_PAIRS + 1).collect(), faults: Vec::new() };
        if query.pairs.len() > MAX_PAIRS {
            query.pairs.clear();
            query.faults.push(format!("There are more than {MAX_PAIRS} parameters."));
        }
        query
    }

    /// The same of what a form sends: a field that was left empty is absent.
    #[must_use]
    pub fn of_form(query: Option<&str>) -> Self {
        let mut query = Self::of(query);
        query.pairs.retain(|(_, value)| !value.is_empty());
        query
    }

    /// A parameter as text; an empty one counts as absent.
    pub fn text(&mut self, name: &str, max: usize) -> Option<String> {
        let text = self.sent(name).filter(|t| !t.is_empty())?;
        if text.chars().count() > max {
            self.faults.push(format!("`{name}` must have at most {max} characters."));
            return None;
        }
        Some(text)
    }

    /// A parameter as it was sent, once.
    fn sent(&mut self, name: &str) -> Option<String> {
        let (mut found, mut repeated) = (None, false);
        self.pairs.retain(|(n, value)| {
            let this = n == name;
            if this {
                repeated |= found.replace(value.trim().to_owned()).is_some();
            }
            !this
        });
        if repeated {
            self.faults.push(format!("`{name}` must stand once."));
            return None;
        }
        found
    }

    /// The same; an empty one counts as absent.
    pub fn parsed_if_any<T: std::str::FromStr>(&mut self, name: &str) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        self.pairs.retain(|(n, value)| n != name || !value.trim().is_empty());
        self.parsed(name)
    }

    /// A parameter that is parsed.
    pub fn parsed<T: std::str::FromStr>(&mut self, name: &str) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.sent(name)?;
        text.parse().map_err(|e: T::Err| self.faults.push(format!("`{name}` is wrong: {e}."))).ok()
    }

    /// A whole number from 1 to `max`.
    pub fn number(&mut self, name: &str, max: u32) -> Option<u32> {
        let text = self.sent(name)?;
        let number = text.parse().ok().filter(|n| (1..=max).contains(n));
        if number.is_none() {
            self.faults.push(format!("`{name}` must be from 1 to {max}."));
        }
        number
    }

    /// # Errors
    /// All that was wrong.
    pub fn finish(mut self) -> Result<(), ApiError> {
        for (name, _) in self.pairs {
            let name: String = name.chars().take(64).collect();
            self.faults.push(format!("`{name}` is no parameter of this address."));
        }
        if self.faults.is_empty() {
            return Ok(());
        }
        Err(ApiError::new(Code::BadParameter, self.faults.join(" ")))
    }
}

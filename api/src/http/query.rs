//! Query strings, parsed strictly: every fault is reported at once.

use wpclone_task::Code;

use crate::http::error::ApiError;

/// The most parameters of a query string.
const MAX_PARAMETERS: usize = 32;

/// A query string being parsed.
pub struct Query {
    pairs: Vec<(String, String)>,
    faults: Vec<String>,
}

impl Query {
    /// Splits a query string.
    #[must_use]
    pub fn new(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let mut query =
            Self { pairs: pairs.into_owned().take(MAX_PARAMETERS + 1).collect(), faults: Vec::new() };
        if query.pairs.len() > MAX_PARAMETERS {
            query.pairs.clear();
            query.faults.push(format!("There are more than {MAX_PARAMETERS} parameters."));
        }
        query
    }

    /// Splits the query string of a form: empty fields count as absent.
    #[must_use]
    pub fn from_form(query: Option<&str>) -> Self {
        let mut query = Self::new(query);
        query.pairs.retain(|(_, value)| !value.is_empty());
        query
    }

    /// A parameter as text; an empty one counts as absent.
    pub fn text(&mut self, name: &str, max: usize) -> Option<String> {
        let text = self.take(name).filter(|t| !t.is_empty())?;
        if text.chars().count() > max {
            self.faults.push(format!("`{name}` must have at most {max} characters."));
            return None;
        }
        Some(text)
    }

    /// Takes a parameter, which may be sent once.
    fn take(&mut self, name: &str) -> Option<String> {
        let (mut found, mut repeated) = (None, false);
        self.pairs.retain(|(n, value)| {
            let found_name = n == name;
            if found_name {
                repeated |= found.replace(value.trim().to_owned()).is_some();
            }
            !found_name
        });
        if repeated {
            self.faults.push(format!("`{name}` must be sent once."));
            return None;
        }
        found
    }

    /// A parameter that is parsed; an empty one counts as absent.
    pub fn parsed_unless_empty<T: std::str::FromStr>(&mut self, name: &str) -> Option<T>
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
        let text = self.take(name)?;
        text.parse().map_err(|e: T::Err| self.faults.push(format!("`{name}` is invalid: {e}."))).ok()
    }

    /// A whole number from 1 to `max`.
    pub fn number(&mut self, name: &str, max: u32) -> Option<u32> {
        let text = self.take(name)?;
        let number = text.parse().ok().filter(|n| (1..=max).contains(n));
        if number.is_none() {
            self.faults.push(format!("`{name}` must be between 1 and {max}."));
        }
        number
    }

    /// Ends parsing.
    ///
    /// # Errors
    /// Every fault, one for each unknown parameter included.
    pub fn finish(mut self) -> Result<(), ApiError> {
        for (name, _) in self.pairs {
            let name: String = name.chars().take(64).collect();
            self.faults.push(format!("`{name}` is not a parameter of this operation."));
        }
        if self.faults.is_empty() {
            return Ok(());
        }
        Err(ApiError::new(Code::BadParameter, self.faults.join(" ")))
    }
}

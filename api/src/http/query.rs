//! Query strings, read strictly: what is not understood is said, all of it at once.

use wpclone_task::Code;

use crate::http::error::ApiError;

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
        Self { pairs: pairs.into_owned().take(32).collect(), faults: Vec::new() }
    }

    /// A parameter as text; an empty one counts as absent, for that is what a form sends.
    pub fn text(&mut self, name: &str, max: usize) -> Option<String> {
        let mut found = None;
        self.pairs.retain(|(n, value)| {
            let this = n == name;
            if this {
                found = Some(value.trim().to_owned());
            }
            !this
        });
        let text = found.filter(|t| !t.is_empty())?;
        if text.chars().count() > max {
            self.faults.push(format!("`{name}` must have at most {max} characters."));
            return None;
        }
        Some(text)
    }

    /// A parameter that is parsed.
    pub fn parsed<T: std::str::FromStr>(&mut self, name: &str) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.text(name, 100)?;
        text.parse().map_err(|e: T::Err| self.faults.push(format!("`{name}` is wrong: {e}."))).ok()
    }

    /// A whole number from 1 to `max`.
    pub fn number(&mut self, name: &str, max: u32) -> Option<u32> {
        let text = self.text(name, 20)?;
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

//! What is read of a page that is JSON. As a value in memory it would take a hundred times its length.

use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A JSON text, of which little is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JsonPage {
    Text(String),
    /// An object, of which the field `url` is kept: WordPress' REST index has its address there.
    Object {
        url: Option<Box<JsonPage>>,
    },
    Other,
}

impl JsonPage {
    /// The address that a REST index reports.
    pub(super) fn url(&self) -> Option<&str> {
        match self {
            Self::Object { url: Some(url) } => match &**url {
                Self::Text(url) => Some(url),
                _ => None,
            },
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for JsonPage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PageVisitor)
    }
}

struct PageVisitor;

impl<'de> Visitor<'de> for PageVisitor {
    type Value = JsonPage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<JsonPage, E> {
        Ok(JsonPage::Other)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<JsonPage, E> {
        Ok(JsonPage::Other)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<JsonPage, E> {
        Ok(JsonPage::Other)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<JsonPage, E> {
        Ok(JsonPage::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<JsonPage, E> {
        Ok(JsonPage::Other)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<JsonPage, E> {
        Ok(JsonPage::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<JsonPage, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(JsonPage::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<JsonPage, A::Error> {
        let mut url = None;
        while let Some(name) = fields.next_key::<String>()? {
            if name == "url" {
                url = Some(fields.next_value()?);
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(JsonPage::Object { url })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_any_json_little_is_kept() {
        let read = |text: &str| serde_json::from_str::<JsonPage>(text).ok();
        let index = read(r#"{"a": [{}], "url": "http://x", "b": {"url": 1}}"#).unwrap();
        assert_eq!(index.url(), Some("http://x"));
        for other in
            ["null", "1", "-1", "1.5", "true", r#""url""#, r#"["url"]"#, "{}", r#"{"url": {"url": "a"}}"#]
        {
            assert_eq!(read(other).unwrap().url(), None, "{other}");
        }
        assert_eq!(read("{"), None);
        // 4 MiB of objects, each of which would take some 600 bytes.
        let nested = format!("{}0{}", r#"{"":"#.repeat(100), "}".repeat(100));
        assert_eq!(read(&format!("[{}]", vec![nested.clone(); 8_000].join(","))), Some(JsonPage::Other));
        assert_eq!(read(&nested), Some(JsonPage::Object { url: None }));
    }
}

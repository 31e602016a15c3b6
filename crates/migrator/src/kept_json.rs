//! JSON of a site that is kept, or read whatever it contains. In memory a value takes a hundred times the length of its text, so
//! it is read within bounds.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

/// The most lists and objects of a text whose fields are read into memory before it is known which of them are needed.
const MAX_PARTS: usize = 1 << 16;

/// Reads a text in which unknown fields may be kept for a moment; `None` if it is something else, or has very many parts.
pub(crate) fn parse<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    has_few_parts(json).then(|| serde_json::from_slice(json).ok()).flatten()
}

fn has_few_parts(json: &[u8]) -> bool {
    let (mut is_text, mut is_escaped, mut parts) = (false, false, 0);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => parts += 1,
            _ => {}
        }
    }
    parts <= MAX_PARTS
}

/// A value with at most so many values in it, itself included.
pub(crate) struct Bounded<const MOST: usize>(pub(crate) Value);

impl<'de, const MOST: usize> Deserialize<'de> for Bounded<MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Part(&Cell::new(MOST)).deserialize(deserializer).map(Self)
    }
}

/// A field that is such a value.
pub(crate) fn bounded<'de, const MOST: usize, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Value, D::Error> {
    Bounded::<MOST>::deserialize(deserializer).map(|Bounded(value)| value)
}

/// A field with single values by name: texts, numbers and the like.
pub(crate) fn single_values<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Value>, D::Error> {
    let values = BTreeMap::<String, Bounded<1>>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|(name, Bounded(value))| (name, value)).collect())
}

/// A field that is a text; anything else counts as nothing.
pub(crate) fn text_or_nothing<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    deserializer.deserialize_any(TextVisitor)
}

/// A field with a list of which the first elements are kept.
pub(crate) fn first<'de, const MOST: usize, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct FirstVisitor<T, const MOST: usize>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for FirstVisitor<T, MOST> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut kept = Vec::new();
            while kept.len() < MOST {
                let Some(element) = list.next_element()? else { return Ok(kept) };
                kept.push(element);
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(kept)
        }
    }
    deserializer.deserialize_seq(FirstVisitor::<T, MOST>(std::marker::PhantomData))
}

/// A value, and how many values may still come.
struct Part<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.0.get().checked_sub(1).ok_or_else(|| D::Error::custom("too many values"))?;
        self.0.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Part(self.0))? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            values.insert(name, map.next_value_seed(Part(self.0))?);
        }
        Ok(Value::Object(values))
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Option<String>, E> {
        Ok(Some(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<String>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<String>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_read_as_it_is_and_up_to_a_number_of_values() {
        let value = json!({"a": [1, -2, 1.5, null, true, "t"], "b": {}});
        let read = |text: &str| serde_json::from_str::<Bounded<9>>(text).ok().map(|Bounded(value)| value);
        assert_eq!(read(&value.to_string()), Some(value));
        assert!(read("[[],[],[],[],[],[],[],[]]").is_some() && read("[[],[],[],[],[],[],[],[],0]").is_none());
        assert!(read(&"[".repeat(100_000)).is_none());
    }

    #[test]
    fn a_text_with_very_many_parts_is_not_read() {
        let list = |parts: usize| format!("[{}]", vec!["{}"; parts - 1].join(","));
        assert!(parse::<Value>(list(MAX_PARTS).as_bytes()).is_some());
        assert!(parse::<Value>(list(MAX_PARTS + 1).as_bytes()).is_none());
        let brackets = json!(r#"\"{[""#.repeat(MAX_PARTS)).to_string();
        assert!(parse::<Value>(brackets.as_bytes()).is_some(), "they are of a text");
    }

    #[derive(Deserialize)]
    struct Fields {
        #[serde(deserialize_with = "text_or_nothing")]
        text: Option<String>,
        #[serde(deserialize_with = "first::<2, _, _>")]
        list: Vec<u8>,
    }

    #[test]
    fn of_a_list_the_first_elements_are_kept_and_of_anything_but_a_text_nothing() {
        let read =
            |text: Value| serde_json::from_value::<Fields>(json!({"text": text, "list": [1, 2, 3]})).unwrap();
        assert_eq!((read("a".into()).text.as_deref(), read("a".into()).list), (Some("a"), vec![1, 2]));
        for other in [json!(null), json!(1), json!(true), json!(1.5), json!([[1]]), json!({"a": {}})] {
            assert_eq!(read(other).text, None);
        }
    }
}

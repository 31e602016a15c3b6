//! Shortens the public part of an output that is larger than the queue accepts.

use serde_json::{Map, Value};

/// The field of a result that was shortened.
pub const TRUNCATED: &str = "truncated";

/// Strings are not cut below this many bytes.
const MIN_TEXT: usize = 64;
/// Objects with at most this many fields keep all of them: their names are fixed. Larger ones are maps of data.
const MAX_FIELDS: usize = 32;
/// Each cut halves the largest value, so that this many suffice for any result.
const MAX_CUTS: usize = 1000;

/// Shortens the largest lists, maps and texts of a result until its JSON has at most `max_bytes`, and says so in the field
/// [`TRUNCATED`]. No field changes its type. Returns false when it cannot be shortened that far.
#[must_use]
pub fn truncate_result(result: &mut Map<String, Value>, max_bytes: usize) -> bool {
    if object_size(result) <= max_bytes {
        return true;
    }
    result.insert(TRUNCATED.to_owned(), Value::Bool(true));
    for _ in 0..MAX_CUTS {
        if object_size(result) <= max_bytes {
            return true;
        }
        if !cut_object(result) {
            return false;
        }
    }
    false
}

/// The bytes of its JSON.
fn size(value: &Value) -> usize {
    // Serialising a value cannot fail.
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}

fn object_size(object: &Map<String, Value>) -> usize {
    serde_json::to_vec(object).map_or(usize::MAX, |json| json.len())
}

/// Halves a value; false when it has nothing to cut.
fn cut(value: &mut Value) -> bool {
    match value {
        Value::String(text) => cut_text(text),
        Value::Array(list) => cut_list(list),
        Value::Object(object) => cut_object(object),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn cut_text(text: &mut String) -> bool {
    if text.len() <= MIN_TEXT {
        return false;
    }
    text.truncate(text.floor_char_boundary(text.len() / 2));
    text.push('\u{2026}');
    true
}

/// Cuts the largest element when it is most of the list, otherwise the second half of the list.
fn cut_list(list: &mut Vec<Value>) -> bool {
    let total: usize = list.iter().map(size).sum();
    if let Some(largest) = list.iter_mut().max_by_key(|value| size(value))
        && (size(largest) > total / 2 && cut(largest))
    {
        return true;
    }
    let half = list.len() / 2;
    list.truncate(half);
    total > 0
}

/// Cuts the largest value that can be cut, or the second half of a map of data.
fn cut_object(object: &mut Map<String, Value>) -> bool {
    let total = object_size(object);
    let mut by_size: Vec<(usize, String)> =
        object.iter().map(|(name, value)| (size(value), name.clone())).collect();
    by_size.sort_unstable_by(|a, b| b.cmp(a));
    let is_map = object.len() > MAX_FIELDS;
    for (bytes, name) in by_size {
        if is_map && bytes <= total / 2 {
            break;
        }
        if object.get_mut(&name).is_some_and(cut) {
            return true;
        }
    }
    if is_map {
        let dropped: Vec<String> = object.keys().skip(object.len() / 2).cloned().collect();
        object.retain(|name, _| !dropped.contains(name));
    }
    is_map
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const LIMIT: usize = 32 << 10;

    fn truncated(value: Value) -> Map<String, Value> {
        let Value::Object(mut result) = value else { panic!("an object") };
        assert!(truncate_result(&mut result, LIMIT));
        assert!(object_size(&result) <= LIMIT);
        result
    }

    #[test]
    fn a_result_that_fits_is_left_as_it_is() {
        let result = json!({"fidelity": {"rows": 5, "omitted": ["a", "b"]}, "clone": null});
        assert_eq!(Value::Object(truncated(result.clone())), result);
    }

    #[test]
    fn the_largest_part_is_cut_and_the_rest_is_kept() {
        let names: Vec<String> = (0..5000).map(|n| format!("wp-content/uploads/file-{n}.jpg")).collect();
        let tables: Map<String, Value> = (0..3000).map(|n| (format!("wp_{n}"), json!({"rows": n}))).collect();
        let result = truncated(json!({
            "fidelity": {"rows": 7, "omitted": names, "tables": tables, "note": "x".repeat(100_000)},
            "source_api_key": null, "clone": {"url": "https://a.example"},
        }));
        assert_eq!(result[TRUNCATED], true);
        assert_eq!(
            (&result["clone"]["url"], &result["fidelity"]["rows"]),
            (&json!("https://a.example"), &json!(7))
        );
        assert!(result.contains_key("source_api_key") && result["source_api_key"].is_null());
        let fidelity = &result["fidelity"];
        assert!(!fidelity["omitted"].as_array().unwrap().is_empty());
        assert!(!fidelity["tables"].as_object().unwrap().is_empty());
        assert!(fidelity["note"].as_str().unwrap().ends_with('\u{2026}'));
        assert!(object_size(&result) > LIMIT / 4, "no more is cut than has to be");
    }

    #[test]
    fn a_result_of_nothing_but_fixed_fields_is_not_cut() {
        let mut result: Map<String, Value> = [("n".repeat(LIMIT), json!(1))].into_iter().collect();
        assert!(!truncate_result(&mut result, LIMIT));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,3000}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 40, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..40).prop_map(Value::from),
                prop::collection::hash_map("[a-z]{1,12}", inner, 0..40)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_a_site_says_fits_afterwards(data in value()) {
            let mut result: Map<String, Value> = [("fidelity".to_owned(), data)].into_iter().collect();
            let was_small = object_size(&result) <= 8192;
            if truncate_result(&mut result, 8192) {
                prop_assert!(object_size(&result) <= 8192);
                prop_assert_eq!(result.contains_key(TRUNCATED), !was_small);
            } else {
                // Only fixed fields are left: 32 at each of five levels, with what cannot be cut.
                prop_assert!(!was_small);
            }
        }
    }
}

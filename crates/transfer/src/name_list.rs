//! Lists of names in sentences.

/// The first `most` of these names, and how many more there are of `count`.
pub(crate) fn listed(names: &[String], count: u64, most: usize) -> String {
    let first = names.iter().take(most).map(String::as_str).collect::<Vec<_>>();
    match count.saturating_sub(first.len() as u64) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// The same of names that are all there.
pub(crate) fn all_listed(names: &[String], most: usize) -> String {
    listed(names, names.len() as u64, most)
}

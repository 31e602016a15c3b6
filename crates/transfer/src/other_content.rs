//! Tables of the source's database that are not the site's: they are named in any case.

use wpclone_migrator::Manifest;

use crate::name_list::{all_listed, listed};

/// How many tables or prefixes one warning names.
const MAX_NAMED: usize = 5;

/// Warnings that name the tables without the site's prefix, unless they are copied, and other WordPress installations.
pub(crate) fn warnings(source: &Manifest, copies_unprefixed: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    let (names, prefix) = (&source.unprefixed_tables, &source.wordpress.prefix);
    if !copies_unprefixed && !names.is_empty() {
        let count = source.unprefixed_count.max(names.len() as u64);
        warnings.push(format!(
            "Tables without the prefix {prefix} are not in the copy ({count}; `copy_unprefixed_tables` copies them): {}.",
            listed(names, count, MAX_NAMED)
        ));
    }
    let others = &source.other_prefixes;
    if !others.is_empty() {
        let names: Vec<String> = others
            .iter()
            .map(|prefix| if prefix.is_empty() { "no prefix".into() } else { prefix.clone() })
            .collect();
        warnings.push(format!(
            "Other WordPress installations in the same database are not in the copy; their table prefixes: {}.",
            all_listed(&names, MAX_NAMED)
        ));
    }
    warnings
}

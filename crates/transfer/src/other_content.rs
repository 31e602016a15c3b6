//! What lies beside a site: tables of its database that are not its own, themes and other files outside of its folders. It
//! is named in any case.

use wpclone_migrator::Manifest;

use crate::name_list::{all_listed, listed};

/// How many tables or prefixes one warning names.
const MAX_NAMED: usize = 5;

/// Warnings that name the tables without the site's prefix, unless they are copied, other WordPress installations, themes
/// elsewhere, and the folder of WordPress if other files of the site may lie beside it.
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
    let themes = &source.wordpress.omitted_themes;
    if !themes.is_empty() {
        warnings.push(format!(
            "Themes in folders that plugins have registered outside of WordPress' content are not in the copy: {}.",
            all_listed(themes, MAX_NAMED)
        ));
    }
    if is_in_own_folder(source) {
        warnings.push(format!(
            "Files beside the folder of WordPress ({}) are not in the copy, except for the content, plugins and uploads.",
            source.wordpress.site_url
        ));
    }
    warnings
}

/// Whether the front page is above the folder that WordPress is in.
fn is_in_own_folder(source: &Manifest) -> bool {
    let (site, home) = (&source.wordpress.site_url, source.wordpress.home_url.trim_end_matches('/'));
    site.strip_prefix(home)
        .is_some_and(|folder| folder.starts_with('/') && !folder.trim_end_matches('/').is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::side;

    #[test]
    fn a_folder_of_wordpress_below_the_front_page_is_named() {
        for (site, home, is_below) in [
            ("https://a.example/wp", "https://a.example", true),
            ("https://a.example/blog/core", "https://a.example/blog/", true),
            ("https://a.example", "https://a.example", false),
            ("https://a.example/", "https://a.example", false),
            ("https://a.example", "https://a.example/shop", false),
            ("https://a.example.com/wp", "https://a.example", false),
        ] {
            let mut manifest = side("a.example", "8.2.1", "7.2");
            (manifest["wordpress"]["site_url"], manifest["wordpress"]["home_url"]) =
                (site.into(), home.into());
            let warnings = warnings(&serde_json::from_value(manifest).unwrap(), true);
            let named = warnings.iter().any(|warning| warning.contains(&format!("WordPress ({site})")));
            assert_eq!(named, is_below, "{site} {home}: {warnings:?}");
        }
    }
}

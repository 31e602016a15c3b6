//! Root-relative addresses.

use std::collections::BTreeMap;

use regex::bytes::Regex;

use super::Pair;
use super::tables::Table;

/// Their name in the report.
pub(super) const ROOT_RELATIVE: &str = "root-relative";

impl Pair<'_> {
    /// Counts them in the tables of a clone whose path differs from its source's.
    pub(super) fn root_relative(&self, clone: &BTreeMap<String, Table>) -> usize {
        let path = |url: &str| url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
        let (old, new) = (path(&self.source.url), path(&self.clone.url));
        if old == new {
            return 0;
        }
        let quote = r#"\\*(?:["']|&quot;|&#0?34;|&#x22;|&#0?39;|&apos;)\\*"#;
        let attribute = "(?:href|src|srcset|action|formaction|poster|cite|background|data|longdesc|link|url)";
        let begin = format!(
            r#"(?i-u)(?:(?:^|[^a-z0-9_]){attribute}\s*=\s*(?:{quote})?|(?:^|[^a-z0-9_])url\(\s*(?:{quote})?|(?:^|[^a-z0-9_])(?:url|href|src|link){quote}\s*:\s*{quote})\\*/"#
        );
        let begin = Regex::new(&begin).unwrap();
        let counted = |text: &[u8]| {
            let rests = begin.find_iter(text).map(|found| &text[found.end()..]);
            rests.filter(|rest| of_site(&old, rest)).count()
        };
        let mut found = 0;
        for (name, table) in clone {
            for cell in table.rows.iter().flatten() {
                found += hex::decode(cell).map_or(0, |text| counted(&text));
            }
            if name == &format!("{}postmeta", self.prefix) {
                let (key, value) = (table.column_index("meta_key"), table.column_index("meta_value"));
                let items = table.rows.iter().filter(|row| row[key] == hex::encode_upper("_menu_item_url"));
                let items = items.filter_map(|row| hex::decode(&row[value]).ok());
                found += items.filter(|url| url.first() == Some(&b'/') && of_site(&old, &url[1..])).count();
            }
        }
        found
    }
}

/// Whether the text after a first slash is a path below `old`, not a host.
fn of_site(old: &str, rest: &[u8]) -> bool {
    let plain = String::from_utf8_lossy(rest).replace('\\', "");
    let ours = format!("/{plain}");
    let Some(below) = ours.strip_prefix(old) else { return false };
    let ends = below.starts_with(|c| "/?#\"'&)< ,".contains(c)) || below.is_empty();
    !plain.starts_with('/') && (old.is_empty() || ends)
}

//! Compares the wp-config.php of both sides, which is not transferred.

use wpclone_migrator::Manifest;

use crate::name_list::all_listed;

/// The most constants that are named.
const MAX_NAMES: usize = 20;
/// Addresses and folders: a copy has its own, and what is named after them moves along.
const MOVED: [&str; 9] = [
    "UPLOADS",
    "WPMU_PLUGIN_DIR",
    "WPMU_PLUGIN_URL",
    "WP_CONTENT_DIR",
    "WP_CONTENT_URL",
    "WP_HOME",
    "WP_PLUGIN_DIR",
    "WP_PLUGIN_URL",
    "WP_SITEURL",
];

/// Warnings about what wp-config.php says at the source and not on the target.
pub(crate) fn warnings(source: &Manifest, target: &Manifest) -> Vec<String> {
    [charset(source, target), collation(source, target), constants(source, target), uploads(source, target)]
        .into_iter()
        .flatten()
        .collect()
}

/// Another character set of the connection makes other letters of the same bytes.
fn charset(source: &Manifest, target: &Manifest) -> Option<String> {
    let (from, to) = (source.wordpress.effective_charset(), target.wordpress.effective_charset());
    let is_utf8 = |name: &str| name.starts_with("utf8");
    let differs = from != to && !(is_utf8(from) && is_utf8(to)) && !from.is_empty();
    differs.then(|| {
        format!(
            "The source reads its database as {from}, the copy as {to} (DB_CHARSET in wp-config.php): letters outside of \
             ASCII may be others."
        )
    })
}

fn collation(source: &Manifest, target: &Manifest) -> Option<String> {
    let (from, to) = (&source.wordpress.collation, &target.wordpress.collation);
    let differs = from != to && !from.is_empty();
    let of_copy = if to.is_empty() { "none" } else { to.as_str() };
    differs.then(|| format!("DB_COLLATE is {from} at the source, and {of_copy} on the copy."))
}

/// Code that uses a constant ends with an error where it is missing.
fn constants(source: &Manifest, target: &Manifest) -> Option<String> {
    let (from, to) = (&source.wordpress, &target.wordpress);
    let is_missing = |name: &&String| {
        !to.constants.contains_key(*name)
            && !to.omitted_constants.contains_key(*name)
            && !MOVED.contains(&name.as_str())
    };
    let without_reason = from.constants.keys().filter(is_missing).cloned();
    let with_reason = from.omitted_constants.iter().filter(|(name, _)| is_missing(name));
    let mut names: Vec<String> = with_reason.map(|(name, reason)| format!("{name} ({reason})")).collect();
    names.extend(without_reason);
    (!names.is_empty()).then(|| {
        let named = all_listed(&names, MAX_NAMES);
        format!("Constants of the source's wp-config.php that the copy does not have: {named}.")
    })
}

/// Whether the source has files in the usual folder of uploads beside its uploads, and the target's own uploads are there. A
/// clone has the folders of its source; a target of the caller's keeps its own.
pub(crate) fn is_usual_uploads_folder_taken(source: &Manifest, target: &Manifest) -> bool {
    source.uploads.has_usual_dir && !target.uploads.dir.is_empty() && target.uploads_of_copy().is_none()
}

fn uploads(source: &Manifest, target: &Manifest) -> Option<String> {
    is_usual_uploads_folder_taken(source, target).then(|| {
        "The source has uploads in two folders, and the copy in one: files of the usual folder, where they are no uploads any \
         more, are left out (refused-by-target)."
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::tests::side;

    fn manifest(change: impl FnOnce(&mut Value)) -> Manifest {
        let mut site = side("a.example", "8.2.1", "7.2");
        change(&mut site);
        serde_json::from_value(site).unwrap()
    }

    #[test]
    fn another_character_set_or_a_missing_constant_is_named() {
        let source = manifest(|site| {
            site["wordpress"]["charset"] = json!("latin1");
            site["wordpress"]["connection"] = json!("latin1");
            site["wordpress"]["collation"] = json!("latin1_german2_ci");
            site["wordpress"]["constants"] = json!({"EXAMPLE_A": 1, "EXAMPLE_B": true, "WP_HOME": "x"});
            site["wordpress"]["omitted_constants"] = json!({"EXAMPLE_KEY": "secret", "DB_NAME": "secret"});
        });
        let same = warnings(&source, &source);
        assert_eq!(same, [""; 0]);
        let target = manifest(|site| {
            site["wordpress"]["constants"] = json!({"EXAMPLE_B": false});
            site["wordpress"]["omitted_constants"] = json!({"DB_NAME": "secret"});
        });
        assert_eq!(
            warnings(&source, &target),
            [
                "The source reads its database as latin1, the copy as utf8mb4 (DB_CHARSET in wp-config.php): letters \
                 outside of ASCII may be others.",
                "DB_COLLATE is latin1_german2_ci at the source, and none on the copy.",
                "Constants of the source's wp-config.php that the copy does not have: EXAMPLE_KEY (secret), EXAMPLE_A.",
            ]
        );
        let older = manifest(|site| site["wordpress"]["charset"] = json!("utf8"));
        assert_eq!(warnings(&older, &target), [""; 0]);
    }

    #[test]
    fn uploads_in_two_folders_are_named_where_the_copy_has_one() {
        let dirs = |dir: &str, has_usual_dir: bool| {
            manifest(|site| {
                site["content_dir"] = json!("/srv/a.example/wp-content");
                site["uploads"] = json!({"dir": dir, "has_usual_dir": has_usual_dir, "path_option": "",
                    "url_option": "", "missing": []});
            })
        };
        let two = dirs("/srv/a.example/files", true);
        let usual = dirs("/srv/a.example/wp-content/uploads", false);
        assert_eq!(warnings(&two, &usual).len(), 1);
        assert_eq!(warnings(&two, &dirs("/srv/a.example/files", false)), [""; 0]);
        assert_eq!(warnings(&dirs("/srv/a.example/files", false), &usual), [""; 0]);
    }
}

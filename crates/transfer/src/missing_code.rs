//! Compares what is active on both sides after a transfer: a copy without a theme or a plugin is another site.

use std::collections::HashSet;

use wpclone_migrator::Manifest;

use crate::name_list::all_listed;

/// Drop-ins that are caches of one server.
const CACHES: [&str; 2] = ["object-cache.php", "advanced-cache.php"];
/// The drop-in that is no cache and that a source does not export: it may name database servers and their passwords.
const DATABASE_ACCESS: &str = "db.php";
/// The most names in one warning.
const MAX_NAMES: usize = 20;

/// Warnings about what is active at the source and not on the copy. `deactivated`: plugins that were to be.
pub(crate) fn warnings(source: &Manifest, copy: &Manifest, deactivated: &[String]) -> Vec<String> {
    let (from, to) = (&source.wordpress, &copy.wordpress);
    let plugins = |manifest: &Manifest| {
        manifest.wordpress.plugins.iter().map(|plugin| plugin.file.clone()).collect::<Vec<_>>()
    };
    let expected = plugins(source).into_iter().filter(|plugin| !deactivated.contains(plugin)).collect();
    let drop_ins: Vec<String> =
        from.drop_ins.iter().filter(|name| !CACHES.contains(&name.as_str())).cloned().collect();
    let (access, drop_ins): (Vec<_>, Vec<_>) =
        missing(drop_ins, &to.drop_ins).into_iter().partition(|name| name == DATABASE_ACCESS);
    let themes = [&from.template, &from.stylesheet].into_iter();
    let active: HashSet<&String> = [&to.template, &to.stylesheet].into_iter().collect();
    let lost = |theme: &&String| !active.contains(theme) || to.missing_themes.contains(theme);
    let there = |theme: &&String| !from.missing_themes.contains(theme);
    let mut themes: Vec<String> = themes.filter(there).filter(lost).cloned().collect();
    themes.dedup();
    let lacking = [
        ("the theme", themes),
        ("the active plugin", missing(expected, &plugins(copy))),
        ("the must-use plugin", missing(from.must_use_plugins.clone(), &to.must_use_plugins)),
        ("the drop-in", drop_ins),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(what, names)| {
        let plural = if names.len() > 1 { "s" } else { "" };
        format!("The copy lacks {what}{plural} {}.", all_listed(&names, MAX_NAMES))
    });
    let access = access.iter().map(|name| {
        format!(
            "The copy lacks the drop-in {name}. It is never copied, because it may lead to the source's own database \
             servers; what a plugin does there, such as monitoring queries, is missing."
        )
    });
    lacking.chain(access).collect()
}

fn missing(expected: Vec<String>, found: &[String]) -> Vec<String> {
    expected.into_iter().filter(|name| !found.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::tests::side;

    fn manifest(change: impl FnOnce(&mut Value)) -> Manifest {
        let mut site = side("a.example", "8.2.1", "7.2");
        let active = json!({
            "plugins": [{"file": "a/a.php", "version": "1"}, {"file": "two-factor/b.php", "version": "1"}],
            "must_use_plugins": ["m.php"], "template": "parent", "stylesheet": "child", "missing_themes": [],
            "drop_ins": ["object-cache.php", "db-error.php"],
        });
        site["wordpress"].as_object_mut().unwrap().extend(active.as_object().unwrap().clone());
        change(&mut site["wordpress"]);
        serde_json::from_value(site).unwrap()
    }

    #[test]
    fn what_is_active_at_the_source_and_not_on_the_copy_is_named() {
        let source = manifest(|_| {});
        let deactivated = ["two-factor/b.php".to_owned()];
        let same = manifest(|site| {
            site["plugins"] = json!([{"file": "a/a.php", "version": "1"}]);
            site["drop_ins"] = json!(["db-error.php"]);
        });
        assert_eq!(warnings(&source, &same, &deactivated), [""; 0]);
        let less = manifest(|site| {
            for list in ["plugins", "must_use_plugins", "drop_ins"] {
                site[list] = json!([]);
            }
            site["missing_themes"] = json!(["child"]);
        });
        assert_eq!(
            warnings(&source, &less, &deactivated),
            [
                "The copy lacks the theme child.",
                "The copy lacks the active plugin a/a.php.",
                "The copy lacks the must-use plugin m.php.",
                "The copy lacks the drop-in db-error.php.",
            ]
        );
        let split = manifest(|site| site["drop_ins"] = json!(["db.php", "db-error.php"]));
        let named = warnings(&split, &less, &deactivated);
        assert_eq!(named[3], "The copy lacks the drop-in db-error.php.");
        assert!(named[4].starts_with("The copy lacks the drop-in db.php. It is never copied"), "{named:?}");
        let other = manifest(|site| {
            site["stylesheet"] = json!("twentyten");
            site["template"] = json!("twentyten");
        });
        assert_eq!(warnings(&source, &other, &[])[0], "The copy lacks the themes parent, child.");
        // What the source lacks itself is no loss.
        let lacking = manifest(|site| site["missing_themes"] = json!(["child", "parent"]));
        assert_eq!(warnings(&lacking, &lacking, &[]), [""; 0]);
    }
}

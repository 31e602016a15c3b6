//! Where the uploads of a copy belong, so that its files have the same addresses below its own as those of the site.

use crate::Manifest;

/// The usual folder for uploads.
const USUAL: &str = "wp-content/uploads";
/// The folder for uploads that lie outside of the site, where the usual folder has other files.
const OUTSIDE: &str = "wp-content/uploads-moved";
/// The maximum length of the folder's path.
const MAX_BYTES: usize = 200;
/// The first names of paths that belong to WordPress itself.
const TAKEN: [&str; 2] = ["wp-admin", "wp-includes"];
/// Folders of the content that have another use.
const TAKEN_CONTENT: [&str; 6] = ["plugins", "mu-plugins", "themes", "languages", "cache", "upgrade"];

impl Manifest {
    /// The folder of a copy's uploads, relative to its WordPress, if it is not the usual one. A copy has its content in
    /// `wp-content`.
    ///
    /// The uploads of a site may have been in two places, one after the other: the files of both have to stay apart, because
    /// they may have the same names.
    #[must_use]
    pub fn uploads_of_copy(&self) -> Option<String> {
        let real = |root: &str| self.roots.get(root).and_then(|root| root.path.clone()).unwrap_or_default();
        // As configured, because links have addresses of their own, or else with links resolved.
        let places = [
            folder_of_copy(&self.uploads.dir, &self.content_dir, &self.abspath),
            folder_of_copy(&real("uploads"), &real("content"), &real("core")),
        ];
        for folder in places.into_iter().flatten() {
            if folder == USUAL {
                return None;
            }
            if is_uploads_folder(&folder) {
                return Some(folder);
            }
        }
        self.uploads.has_usual_dir.then(|| OUTSIDE.to_owned())
    }
}

/// Where a folder of a site is in a copy, relative to its WordPress; `None` for one outside of the site.
fn folder_of_copy(folder: &str, content: &str, core: &str) -> Option<String> {
    let [folder, content, core] = [folder, content, core].map(normalized);
    let below =
        |base: &str| (!base.is_empty()).then(|| folder.strip_prefix(base)?.strip_prefix('/')).flatten();
    let in_content = below(&content).map(|rest| format!("wp-content/{rest}"));
    in_content.or_else(|| below(&core).map(str::to_owned))
}

/// A path without the empty names and single dots that options and constants have: `/srv//site/./files/`.
fn normalized(path: &str) -> String {
    let names = path.split('/').filter(|name| !name.is_empty() && *name != ".");
    names.fold(String::new(), |path, name| path + "/" + name)
}

/// Whether a path can be the folder of uploads below WordPress: plain names, none of them hidden, and not a folder that has
/// another use.
#[must_use]
pub fn is_uploads_folder(path: &str) -> bool {
    let is_plain = |name: &str| {
        !name.is_empty()
            && !name.starts_with('.')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
    };
    let mut names = path.split('/');
    let (first, second) = (names.next().unwrap_or_default(), names.next());
    let is_free = match second {
        None => first != "wp-content",
        Some(second) => first != "wp-content" || !TAKEN_CONTENT.contains(&second),
    };
    path.len() <= MAX_BYTES && path.split('/').all(is_plain) && !TAKEN.contains(&first) && is_free
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(content: &str, uploads: &str, has_usual_dir: bool) -> Manifest {
        serde_json::from_value(json!({
            "plugin_version": "1",
            "wordpress": {
                "version": "6.8", "locale": "", "multisite": false, "site_url": "", "home_url": "", "prefix": "wp_",
                "charset": "", "collation": "", "plugins": [], "template": "", "stylesheet": "", "drop_ins": [],
                "environment": "",
            },
            "php": {"version": "8.2.1", "sapi": "", "os": "", "int_bytes": 8, "extensions": []},
            "database": {"server": "mariadb", "version": "10", "name": "", "charset": "", "collation": "",
                "max_allowed_packet": 1, "lower_case_table_names": 0, "sql_mode": "", "collations": []},
            "roots": {}, "other_prefixes": [], "abspath": "/srv/site/", "content_url": "", "uploads_url": "",
            "content_dir": content,
            "uploads": {
                "dir": uploads, "has_usual_dir": has_usual_dir, "path_option": "", "url_option": "", "missing": [],
            },
            "limits": {"memory_bytes": null, "max_execution_s": 0, "post_max_bytes": null, "budget_ms": 1, "parallel": 1},
        }))
        .unwrap()
    }

    #[test]
    fn uploads_of_a_copy_are_at_the_same_place_and_never_where_other_files_are() {
        let content = "/srv/site/wp-content";
        for (content, uploads, has_usual_dir, expected) in [
            (content, "/srv/site/wp-content/uploads", false, None),
            ("/srv/site/app", "/srv/site/app/uploads", false, None),
            (content, "/srv/site/files", true, Some("files")),
            (content, "/srv/site/files/", false, Some("files")),
            (content, "/srv/site/a/b-c_1", true, Some("a/b-c_1")),
            (content, "/srv/site/wp-content/media", true, Some("wp-content/media")),
            ("/srv/site/app", "/srv/site/app/media", true, Some("wp-content/media")),
            ("/srv/app", "/srv/app/uploads/sub", false, Some("wp-content/uploads/sub")),
            // Written otherwise.
            (content, "/srv/site//files", true, Some("files")),
            (content, "/srv//site/./wp-content/uploads/", true, None),
            // Outside of the site.
            (content, "/mnt/media", false, None),
            (content, "/mnt/media", true, Some(OUTSIDE)),
            (content, "/srv/site2/files", true, Some(OUTSIDE)),
            // Where a copy cannot have them.
            (content, "/srv/site/../media", true, Some(OUTSIDE)),
            (content, "/srv/site/wp-content/plugins/x/files", false, None),
            (content, "/srv/site/wp-includes/x", true, Some(OUTSIDE)),
            (content, "/srv/site", false, None),
            (content, "/srv/site/wp-content", true, Some(OUTSIDE)),
            (content, "/srv/site/.hidden", true, Some(OUTSIDE)),
            (content, "/srv/site/a'b", true, Some(OUTSIDE)),
            // An older migrator does not say.
            ("", "", false, None),
        ] {
            let found = manifest(content, uploads, has_usual_dir).uploads_of_copy();
            assert_eq!(found.as_deref(), expected, "{content} {uploads} {has_usual_dir}");
        }
    }

    #[test]
    fn uploads_whose_path_goes_through_a_link_are_found_with_links_resolved() {
        let root = |path: &str| json!({"path": path, "writable": true, "free_bytes": null});
        let of = |uploads: &str| {
            let mut site = manifest("/srv/site/wp-content", "/home/me/site/files", true);
            let roots = json!({"core": root("/srv/site"), "content": root("/srv/site/wp-content"), "uploads": root(uploads)});
            site.roots = serde_json::from_value(roots).unwrap();
            site.uploads_of_copy()
        };
        assert_eq!(of("/srv/site/files").as_deref(), Some("files"));
        assert_eq!(of("/srv/site/wp-content/uploads"), None);
        assert_eq!(of("/mnt/files").as_deref(), Some(OUTSIDE));
    }
}

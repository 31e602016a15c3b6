//! Checks the uploads of a copy: WordPress has to look for them where they are, and has to find its attachments.

use wpclone_migrator::Manifest;

use crate::name_list::all_listed;

/// The most files that are named.
const MAX_NAMES: usize = 10;

/// Warnings about a copy whose uploads are not where the transfer put them. `target` was reported before the transfer, `copy`
/// after it.
pub(crate) fn warnings(source: &Manifest, target: &Manifest, copy: &Manifest) -> Vec<String> {
    let mut warnings = Vec::new();
    let places = |site: &Manifest| (site.uploads.dir.clone(), site.uploads_url.clone());
    let ((dir, url), (new_dir, new_url)) = (places(target), places(copy));
    if dir != new_dir || url != new_url {
        warnings.push(format!(
            "The copy's uploads are in {dir} at {url}, but its WordPress looks for them in {new_dir} at {new_url}."
        ));
    }
    let mut missing = copy.uploads.missing.clone();
    missing.retain(|file| !source.uploads.missing.contains(file));
    if !missing.is_empty() {
        let named = all_listed(&missing, MAX_NAMES);
        warnings.push(format!("The copy lacks files of attachments: {named}."));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::tests::side;

    fn manifest(dir: &str, url: &str, missing: &[&str]) -> Manifest {
        let mut site = side("a.example", "8.2.1", "7.2");
        site["uploads_url"] = json!(url);
        site["uploads"] = json!({"dir": dir, "has_usual_dir": false, "path_option": "", "url_option": "", "missing": missing});
        serde_json::from_value(site).unwrap()
    }

    #[test]
    fn uploads_that_are_elsewhere_and_attachments_that_got_lost_are_named() {
        let source = manifest("/a", "http://a.example/a", &["2019/offloaded.jpg"]);
        let target = manifest("/b", "http://b.example/b", &[]);
        let good = manifest("/b", "http://b.example/b", &["2019/offloaded.jpg"]);
        assert_eq!(warnings(&source, &target, &good), [""; 0]);
        let bad = manifest("/c", "http://b.example/b", &["2019/offloaded.jpg", "2020/lost.jpg"]);
        assert_eq!(
            warnings(&source, &target, &bad),
            [
                "The copy's uploads are in /b at http://b.example/b, but its WordPress looks for them in /c at http://b.example/b.",
                "The copy lacks files of attachments: 2020/lost.jpg.",
            ]
        );
    }
}

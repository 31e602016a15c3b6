//! Which addresses and directories of the source become which of the target.

use std::collections::HashSet;

use wpclone_migrator::Manifest;
use wpclone_rewrite::{FolderMapping, SiteMapping};

/// The addresses to replace.
pub(crate) fn site_mappings(
    source: &Manifest,
    target: &Manifest,
) -> Result<Vec<SiteMapping>, wpclone_rewrite::MappingError> {
    let (from, to) = (&source.wordpress, &target.wordpress);
    let mut pairs = vec![SiteMapping::new(&from.home_url, &to.home_url)?];
    if from.site_url != from.home_url {
        pairs.push(SiteMapping::new(&from.site_url, &to.site_url)?);
    }
    // Content, plugins and uploads may have URLs of their own.
    let folders = |site: &Manifest| {
        [&site.content_url, &site.plugins_url, &site.mu_plugins_url, &site.uploads_url].map(Clone::clone)
    };
    for (from_url, to_url) in folders(source).iter().zip(&folders(target)) {
        let below = |base: &str| from_url.strip_prefix(base.trim_end_matches('/')).map(str::to_owned);
        let moved = below(&from.site_url).or_else(|| below(&from.home_url));
        let same = moved.is_some_and(|rest| to_url.ends_with(&rest));
        // An older migrator does not report all.
        if !same && !from_url.is_empty() && !to_url.is_empty() {
            pairs.push(SiteMapping::new(from_url, to_url)?);
        }
    }
    Ok(pairs)
}

/// The directories to replace: plugins store absolute paths in the database.
pub(crate) fn folder_mappings(
    source: &Manifest,
    target: &Manifest,
    warnings: &mut Vec<String>,
) -> Vec<FolderMapping> {
    let path = |manifest: &Manifest, root: &str| manifest.roots.get(root).and_then(|root| root.path.clone());
    let mut folders = Vec::new();
    let named =
        ["plugins", "mu-plugins", "uploads", "content"].map(|root| (path(source, root), path(target, root)));
    // As configured: a link may lead to the folder itself.
    let configured = [
        (&source.uploads.dir, &target.uploads.dir),
        (&source.content_dir, &target.content_dir),
        (&source.abspath, &target.abspath),
    ];
    let configured = configured.map(|(from, to)| (Some(from.clone()), Some(to.clone())));
    let mut seen = HashSet::new();
    for (from, to) in named.into_iter().chain(configured) {
        let (Some(from), Some(to)) = (from, to) else { continue };
        if from.is_empty() || to.is_empty() || !seen.insert(from.trim_end_matches('/').to_owned()) {
            continue;
        }
        match FolderMapping::new(&from, &to) {
            Ok(folder) => folders.push(folder),
            Err(_) => warnings.push(format!("The folder {from} is not replaced in the database.")),
        }
    }
    folders
}

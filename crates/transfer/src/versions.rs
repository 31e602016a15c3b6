//! The versions of both sides: of WordPress, PHP and the database.

use wpclone_migrator::Manifest;

use crate::error::{PreflightFailure, TransferError};
use crate::fidelity::Versions;
use crate::name_list::all_listed;

/// The most PHP extensions that one warning names.
const MAX_NAMED_EXTENSIONS: usize = 20;

/// WordPress refuses to run on a PHP older than it requires.
pub(crate) fn check_php_version(source: &Manifest, target: &Manifest) -> Result<(), TransferError> {
    let numbers = |version: &str| -> Vec<u32> {
        // Distributions add their own: `8.1.2-1ubuntu2.14`.
        let own = version.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
        own.split('.').map_while(|part| part.parse().ok()).chain(std::iter::repeat(0)).take(3).collect()
    };
    let (needs, has) = (&source.wordpress.requires_php, &target.php.version);
    if numbers(has) >= numbers(needs) {
        return Ok(());
    }
    let version = &source.wordpress.version;
    let detail = format!("WordPress {version} of the source requires PHP {needs}; the target has {has}.");
    Err(TransferError::Preflight(PreflightFailure::PhpVersion, detail))
}

/// Adds warnings about what differs between the servers of both sides.
pub(crate) fn compare(source: &Manifest, target: &Manifest, warnings: &mut Vec<String>) {
    let minor = |version: &str| version.split('.').take(2).collect::<Vec<_>>().join(".");
    let (from, to) = (&source.php.version, &target.php.version);
    if minor(from) != minor(to) {
        warnings.push(format!("The source runs PHP {from}, the copy PHP {to}."));
    }
    let missing: Vec<_> =
        source.php.extensions.iter().filter(|name| !target.php.extensions.contains(name)).cloned().collect();
    if !missing.is_empty() {
        let named = all_listed(&missing, MAX_NAMED_EXTENSIONS);
        warnings.push(format!("PHP extensions of the source that the copy lacks: {named}."));
    }
    let (from, to) = (&source.database, &target.database);
    if from.server != to.server || minor(&from.version) != minor(&to.version) {
        warnings.push(format!(
            "The source has {} {}, the copy {} {}.",
            from.server, from.version, to.server, to.version
        ));
    }
    if from.max_allowed_packet > to.max_allowed_packet {
        warnings.push(format!(
            "The copy's database takes values of at most {} bytes, the source's of {}.",
            to.max_allowed_packet, from.max_allowed_packet
        ));
    }
}

/// The versions of a site.
pub(crate) fn of(manifest: &Manifest) -> Versions {
    Versions {
        wordpress: manifest.wordpress.version.clone(),
        php: manifest.php.version.clone(),
        database: format!("{} {}", manifest.database.server, manifest.database.version),
    }
}

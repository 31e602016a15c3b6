//! A site that has everything that ever went wrong.

use wpclone_tests::{Result, Site, Version};

/// Another one than WordPress' own.
pub(crate) const PREFIX: &str = "we_";

/// The site, with its odd tables below [`PREFIX`].
pub(crate) async fn source(version: Version) -> Result<Site> {
    let site = crate::migrator::small(version).content(40).start().await?;
    site.rename_prefix(PREFIX).await?;
    site.add_odd_tables(PREFIX).await?;
    Ok(site)
}

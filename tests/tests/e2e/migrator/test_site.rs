//! A site with edge cases in its database.

use wpclone_tests::{Result, Site, Version};

/// A table prefix other than WordPress' default.
pub(crate) const PREFIX: &str = "we_";

/// Starts the site with edge-case tables below [`PREFIX`].
pub(crate) async fn source(version: Version) -> Result<Site> {
    let site = crate::migrator::small(version).content(40).start().await?;
    site.rename_prefix(PREFIX).await?;
    site.add_edge_case_tables(PREFIX).await?;
    Ok(site)
}

//! A site that has everything that ever went wrong.

use wpclone_tests::{Result, Site, Version};

/// Another one than WordPress' own.
pub(crate) const PREFIX: &str = "we_";

/// The site, with its odd tables below [`PREFIX`].
pub(crate) async fn source(version: Version) -> Result<Site> {
    let site = crate::small(version).content(40).start().await?;
    let odd = include_str!("odd.sql").replace("wp_", PREFIX);
    let renames = site.sql("SHOW TABLES").await?;
    let renames: Vec<_> =
        renames.lines().map(|t| format!("`{t}` TO `{}`", t.replacen("wp_", PREFIX, 1))).collect();
    site.sql(&format!(
        "RENAME TABLE {}; \
         UPDATE {PREFIX}options SET option_name = '{PREFIX}user_roles' WHERE option_name = 'wp_user_roles'; \
         UPDATE {PREFIX}usermeta SET meta_key = CONCAT('{PREFIX}', SUBSTRING(meta_key, 4)) WHERE meta_key LIKE 'wp\\_%';",
        renames.join(", ")
    ))
    .await?;
    let config = std::fs::read_to_string(site.tree().join("wp-config.php"))?;
    site.put(
        "wp-config.php",
        &config.replace("$table_prefix = 'wp_'", &format!("$table_prefix = '{PREFIX}'")),
    )?;
    // The option is put together where packets are long, and read where they are short again.
    site.sql("SET GLOBAL max_allowed_packet = 67108864").await?;
    let result = site.sql(&odd).await;
    site.sql("SET GLOBAL max_allowed_packet = 16777216").await?;
    result?;
    Ok(site)
}

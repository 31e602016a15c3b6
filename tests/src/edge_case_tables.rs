//! Tables with edge cases, added to an existing site.

use std::fs;

use crate::util::at;
use crate::{Result, Site};

impl Site {
    /// Replaces the table prefix `wp_`: in table names, in the rows where WordPress stores it, and
    /// in wp-config.php.
    ///
    /// # Errors
    /// MariaDB refuses it, or wp-config.php cannot be written.
    pub async fn rename_prefix(&self, prefix: &str) -> Result<()> {
        let tables = self.sql("SHOW TABLES").await?;
        let renames: Vec<_> =
            tables.lines().map(|t| format!("`{t}` TO `{}`", t.replacen("wp_", prefix, 1))).collect();
        self.sql(&format!(
            "RENAME TABLE {}; \
             UPDATE {prefix}options SET option_name = '{prefix}user_roles' WHERE option_name = 'wp_user_roles'; \
             UPDATE {prefix}usermeta SET meta_key = CONCAT('{prefix}', SUBSTRING(meta_key, 4)) WHERE meta_key LIKE 'wp\\_%';",
            renames.join(", ")
        ))
        .await?;
        self.edit_config("$table_prefix = 'wp_'", &format!("$table_prefix = '{prefix}'"))
    }

    /// Replaces a text in wp-config.php.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn edit_config(&self, old: &str, new: &str) -> Result<()> {
        let file = self.tree().join("wp-config.php");
        let config = fs::read_to_string(&file).map_err(at(&file))?;
        self.put("wp-config.php", &config.replacen(old, new, 1))
    }

    /// Adds tables whose names begin with `prefix`: without keys, with every column type, with wrong charsets, a
    /// view, a trigger, foreign keys; and an option of 20 MiB.
    ///
    /// # Errors
    /// MariaDB refuses them.
    pub async fn add_edge_case_tables(&self, prefix: &str) -> Result<()> {
        let sql = include_str!("edge_case_tables.sql").replace("wp_", prefix);
        // The option is built while max_allowed_packet is large; the limit is then lowered again.
        self.sql("SET GLOBAL max_allowed_packet = 67108864").await?;
        let result = self.sql(&sql).await;
        self.sql("SET GLOBAL max_allowed_packet = 16777216").await?;
        result.map(drop)
    }
}

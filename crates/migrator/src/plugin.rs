//! The plugin's zip, and the identifiers of its settings page.

/// The plugin's version, from its header; the build checks that it is this crate's.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The zip to upload.
pub const ZIP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/deflated.zip"));

/// The same files, uncompressed: some firewalls accept only this one.
pub const ZIP_STORED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stored.zip"));

/// The plugin's name in REST (`/wp/v2/plugins/…`); with `.php` it is the name in wp-admin (`data-plugin`).
pub const PLUGIN: &str = "wpclone-migrator/wpclone-migrator";

/// The settings page, relative to the site's `wp-admin/`.
pub const SETTINGS_PAGE: &str = "options-general.php?page=wpclone-migrator";

/// Ids, fields and attributes of the settings page. Its texts are for people only.
pub mod page {
    /// Id of the element that contains the page and has the `DATA_…` attributes.
    pub const ROOT_ID: &str = "wpclone-migrator";
    /// The plugin's version.
    pub const DATA_VERSION: &str = "data-version";
    /// `1` while access is enabled, else `0`.
    pub const DATA_OPEN: &str = "data-open";
    /// `1` while import is enabled, else `0`.
    pub const DATA_IMPORT: &str = "data-import";
    /// Id of the form that enables access. Sent as it is, with or without [`IMPORT_FIELD`].
    pub const OPEN_FORM_ID: &str = "wpclone-migrator-open";
    /// Name of the checkbox (value `1`) that enables import.
    pub const IMPORT_FIELD: &str = "import";
    /// Id of the input with the key (64 hex digits); present only while access is enabled.
    pub const KEY_ID: &str = "wpclone-migrator-key";
    /// Id of the form that revokes the key; present only if there is one.
    pub const CLOSE_FORM_ID: &str = "wpclone-migrator-close";
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};
    use std::path::Path;

    use zip::{CompressionMethod, ZipArchive};

    use super::*;
    use crate::pack;

    fn folder() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrator-plugin/wpclone-migrator"))
    }

    fn source(file: &str) -> String {
        std::fs::read_to_string(folder().join(file)).unwrap()
    }

    #[test]
    fn the_zips_are_reproducible() {
        for (embedded, method) in
            [(ZIP, CompressionMethod::Deflated), (ZIP_STORED, CompressionMethod::Stored)]
        {
            let again = pack::zip("wpclone-migrator", &pack::files(folder()).unwrap(), method).unwrap();
            assert!(embedded == again, "{method} differs");
        }
    }

    #[test]
    fn both_zips_contain_every_file_of_the_plugin_and_are_small() {
        let files = pack::files(folder()).unwrap();
        for (zip, most) in [(ZIP, 128 * 1024), (ZIP_STORED, 384 * 1024)] {
            assert!(zip.len() < most, "{} bytes", zip.len());
            let mut archive = ZipArchive::new(Cursor::new(zip)).unwrap();
            assert_eq!(archive.len(), files.len());
            for (index, (name, bytes)) in files.iter().enumerate() {
                let mut member = archive.by_index(index).unwrap();
                assert_eq!(member.name().unwrap(), format!("wpclone-migrator/{name}"));
                assert_eq!(member.unix_mode(), Some(0o100_644));
                assert_eq!(member.last_modified(), Some(zip::DateTime::default()));
                let mut read = Vec::new();
                member.read_to_end(&mut read).unwrap();
                assert!(read == *bytes, "{name} differs");
            }
            assert!(archive.index_for_name(&format!("{PLUGIN}.php")).is_some());
            assert!(archive.index_for_name("wpclone-migrator/license.txt").is_some());
        }
    }

    #[test]
    fn the_settings_page_has_the_ids_and_attributes_it_is_read_by() {
        let php = source("includes/admin/class-settings-page.php");
        for id in [page::ROOT_ID, page::OPEN_FORM_ID, page::KEY_ID, page::CLOSE_FORM_ID] {
            assert_eq!(php.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
        }
        for attribute in [page::DATA_VERSION, page::DATA_OPEN, page::DATA_IMPORT] {
            assert_eq!(php.matches(&format!("{attribute}=\"")).count(), 1, "{attribute}");
        }
        assert!(
            php.contains(&format!("<input name=\"{}\" type=\"checkbox\" value=\"1\"", page::IMPORT_FIELD))
        );
        let slug = SETTINGS_PAGE.strip_prefix("options-general.php?page=").unwrap();
        assert!(php.contains(&format!("const SLUG  = '{slug}';")));
    }
}

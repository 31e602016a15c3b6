//! Text files that hold the site's address. What plugins generate below uploads, or in folders of their own beside them, is
//! rewritten like a value; any other file is copied byte for byte and named.

use wpclone_migrator::Root;
use wpclone_rewrite::{Report, Rewriter};

use crate::address_search::{AddressSearch, InflateBudget, SearchResult, holds_address};

/// The largest generated file that is rewritten. It is in memory as a whole.
const MAX_REWRITTEN_BYTES: u64 = 4 << 20;
/// Text formats that plugins generate for browsers.
const GENERATED: [&str; 10] = ["css", "htm", "html", "js", "json", "mjs", "svg", "webmanifest", "xml", "xsl"];
/// Other text formats that may hold addresses.
const TEXT: [&str; 10] = ["csv", "inc", "map", "md", "mo", "php", "po", "txt", "yaml", "yml"];
/// Folders of the content that plugins generate nothing in. Other roots than that of the content are not below it.
const CODE_FOLDERS: [&str; 5] = ["languages", "mu-plugins", "plugins", "themes", "upgrade"];

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileRule {
    /// Its addresses are replaced.
    Rewrite,
    /// It is copied and searched for addresses.
    Search,
    /// It is copied.
    Copy,
}

impl FileRule {
    /// The rule for a file, by its place, format and size.
    pub(crate) fn of(root: Root, path: &[u8], size: u64) -> Self {
        let Some(mut extension) = extension(path) else { return Self::Copy };
        // Web servers send such a file in place of the one without this extension.
        let compressed = match extension.as_str() {
            "gz" => self::extension(&path[..path.len() - ".gz".len()]),
            "svgz" => Some("svg".to_owned()),
            _ => None,
        };
        let is_compressed = compressed.is_some();
        extension = compressed.unwrap_or(extension);
        // WordPress' own files hold no site's address.
        if root == Root::Core {
            return Self::Copy;
        }
        if !GENERATED.contains(&extension.as_str()) {
            return if TEXT.contains(&extension.as_str()) { Self::Search } else { Self::Copy };
        }
        let is_generated = match root {
            Root::Uploads => is_plugins_folder(path),
            Root::Content => is_plugins_folder(path) && !is_code_folder(path),
            _ => false,
        };
        let is_rewritten = is_generated && !is_compressed && size <= MAX_REWRITTEN_BYTES;
        if is_rewritten { Self::Rewrite } else { Self::Search }
    }
}

/// The extension of a file's name, in lower case.
fn extension(path: &[u8]) -> Option<String> {
    let name = path.rsplit(|byte| *byte == b'/').next()?;
    let at = name.iter().rposition(|byte| *byte == b'.')?;
    std::str::from_utf8(&name[at + 1..]).ok().map(str::to_ascii_lowercase)
}

/// Whether a path below uploads is in a folder of a plugin. WordPress, and what plugins let people upload, store uploads of
/// people at the top or in folders of a year and month (`2024/05`); these are never changed.
fn is_plugins_folder(path: &[u8]) -> bool {
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let folders = &names[..names.len() - 1];
    let is_number = |name: &[u8], digits| name.len() == digits && name.iter().all(u8::is_ascii_digit);
    let has_month = folders.windows(2).any(|pair| is_number(pair[0], 4) && is_number(pair[1], 2));
    !folders.is_empty() && !has_month
}

/// Whether a path below the content folder is in a folder of WordPress, which holds code and translations.
fn is_code_folder(path: &[u8]) -> bool {
    let first = path.split(|byte| *byte == b'/').next().unwrap_or_default();
    CODE_FOLDERS.iter().any(|folder| first.eq_ignore_ascii_case(folder.as_bytes()))
}

/// A generated file with its addresses replaced.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RewrittenFile {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_changed: bool,
    /// What a search for old addresses has found in it.
    pub(crate) search: SearchResult,
}

/// Replaces the addresses in a generated file. One that is not text stays as it is.
pub(crate) fn rewrite(rewriter: &Rewriter, bytes: Vec<u8>, budget: &mut InflateBudget) -> RewrittenFile {
    if std::str::from_utf8(&bytes).is_err() || bytes.contains(&0) {
        let mut search = AddressSearch::default();
        search.push(rewriter, &bytes, budget);
        return RewrittenFile { is_changed: false, search: search.finish(rewriter), bytes };
    }
    let mut report = Report::default();
    let new = rewriter.rewrite(&bytes, &mut report).into_owned();
    let search = if holds_address(&report) { SearchResult::Found } else { SearchResult::NotFound };
    RewrittenFile { is_changed: new != bytes, search, bytes: new }
}

#[cfg(test)]
mod tests {
    use wpclone_rewrite::{Options, SiteMapping};

    use super::*;

    fn rewritten(bytes: Vec<u8>) -> RewrittenFile {
        let pair = SiteMapping::new("https://shop.example", "http://127.0.0.1:8090/clone").unwrap();
        let rewriter = Rewriter::new(&[pair], Options::default()).unwrap();
        rewrite(&rewriter, bytes, &mut InflateBudget::default())
    }

    #[test]
    fn what_plugins_generate_is_rewritten_and_what_people_upload_is_not() {
        let rule = |root, path: &str| FileRule::of(root, path.as_bytes(), 100);
        for path in ["elementor/css/post-7.css", "a/B.JS", "feeds/2024/all.xml", "x/y/data.json"] {
            assert_eq!(rule(Root::Uploads, path), FileRule::Rewrite, "{path}");
        }
        for path in ["2024/05/page.html", "woocommerce_uploads/2024/05/app.js", "style.css", "a/people.csv"] {
            assert_eq!(rule(Root::Uploads, path), FileRule::Search, "{path}");
        }
        assert_eq!(rule(Root::Uploads, "2024/05/photo.jpg"), FileRule::Copy);
        assert_eq!(rule(Root::Plugins, "a/a.js"), FileRule::Search);
        assert_eq!(rule(Root::Content, "builder-css/a.css"), FileRule::Rewrite);
        for path in ["a.css", "themes/a/style.css", "languages/de_DE-a.json", "builder-css/a.php"] {
            assert_eq!(rule(Root::Content, path), FileRule::Search, "{path}");
        }
        for path in ["min/a.css.gz", "builder/a.SVGZ", "map/index.xml.gz"] {
            assert_eq!(rule(Root::Uploads, path), FileRule::Search, "{path}");
        }
        for path in ["shop/orders.gz", "shop/all.tar.gz", ".gz", "shop/.gz"] {
            assert_eq!(rule(Root::Uploads, path), FileRule::Copy, "{path}");
        }
        assert_eq!(rule(Root::Core, "wp-includes/a.js"), FileRule::Copy);
        let large = FileRule::of(Root::Uploads, b"a/b.css", MAX_REWRITTEN_BYTES + 1);
        assert_eq!(large, FileRule::Search);
    }

    #[test]
    fn addresses_in_generated_files_are_replaced_and_other_bytes_stay() {
        let css = b"/*\r\n*/ .a{background:url(https://shop.example/wp-content/a.png)}".to_vec();
        let new = rewritten(css);
        assert_eq!((new.is_changed, new.search), (true, SearchResult::NotFound));
        assert_eq!(new.bytes, b"/*\r\n*/ .a{background:url(http://127.0.0.1:8090/clone/wp-content/a.png)}");
        let json = rewritten(br#"{"ajax":"https:\/\/shop.example\/wp-admin"}"#.to_vec());
        assert_eq!(json.bytes, br#"{"ajax":"http:\/\/127.0.0.1:8090\/clone\/wp-admin"}"#);
        let other = rewritten(b"https://shop.example.com/".to_vec());
        assert_eq!((other.is_changed, other.search), (false, SearchResult::NotFound));
        let binary = rewritten(b"\0 https://shop.example/".to_vec());
        assert_eq!((binary.is_changed, binary.search), (false, SearchResult::Found));
        let utf16: Vec<u8> =
            "\u{feff}var a = 'https://shop.example/'".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let wide = rewritten(utf16.clone());
        assert_eq!((wide.is_changed, wide.search), (false, SearchResult::Found));
        assert_eq!(wide.bytes, utf16);
    }
}

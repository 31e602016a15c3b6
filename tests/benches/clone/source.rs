//! The source: a site with many posts, metadata and files, always the same.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::Result;
use wpclone_tests::{Site, Version};

/// How large a site is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) posts: u32,
    pub(crate) metas: u32,
    pub(crate) files: u32,
}

/// Posts or metadata rows per statement.
const AT_ONCE: u32 = 20_000;
/// Files of a folder.
const IN_A_FOLDER: u32 = 500;
/// One of this many files is large.
const LONG: u32 = 400;

/// Sentences with ASCII words, multibyte characters, and characters that need escaping.
const SENTENCES: [&str; 9] = [
    "The quick brown fox jumps over the lazy dog, while the editor looks for a headline that says what it is about.",
    "Every now and then somebody asks whether the old pages are still there; they are, and so are their pictures.",
    "Prices include VAT where it applies. Orders before noon leave the same day, others on the next working day.",
    "Wir w\u{fc}nschen gute Reise \u{2013} und gr\u{fc}\u{df}en alle, die zu Hause geblieben sind, mit vielen Gr\u{fc}\u{df}en.",
    "\u{201c}It isn\u{2019}t finished,\u{201d} she said, \u{201c}but it works\u{201d}; nobody in the room had a better word for it.",
    "Use <code>C:\\\\temp</code> or <em>any other</em> folder &amp; don''t forget the quotes: \"like these\", or ''these''.",
    "\u{65e5}\u{672c}\u{8a9e}\u{306e}\u{6587}\u{7ae0}\u{3082}\u{3042}\u{308a}\u{307e}\u{3059}\u{3002}\u{3053}\u{308c}\u{306f}\u{8a66}\u{9a13}\u{3067}\u{3059}\u{3002}",
    "A list of things to do: water the plants, feed the cat, call the plumber, and write all of it down somewhere.",
    "100% of those asked said that they had been asked; 3 in 10 of them remembered by whom, and 1 in 10 what about.",
];

/// A site of this size, filled by SQL, because PHP would take minutes.
pub(crate) async fn make(size: Size) -> Result<Site> {
    let site = Site::builder(Version::Bookworm).start().await?;
    let url = site.url();
    // The lab's server has a small buffer pool, with which it would write every page many times.
    site.sql("SET GLOBAL innodb_buffer_pool_size = 256 << 20; SET GLOBAL innodb_log_file_size = 128 << 20")
        .await?;
    for from in (0..size.posts).step_by(AT_ONCE as usize) {
        let to = size.posts.min(from + AT_ONCE);
        site.sql(&posts(&url, from + 1, to)).await?;
    }
    for from in (0..size.metas).step_by(AT_ONCE as usize) {
        let to = size.metas.min(from + AT_ONCE);
        site.sql(&metas(&url, size.posts.max(1), from + 1, to)).await?;
    }
    site.sql("ANALYZE TABLE wp_posts, wp_postmeta").await?;
    let uploads = site.tree().join("wp-content/uploads/bench");
    tokio::task::spawn_blocking(move || files(&uploads, size.files)).await??;
    Ok(site)
}

/// Posts of some 2 KB; a third of them with addresses of the site, all with one in their `guid`.
fn posts(url: &str, from: u32, to: u32) -> String {
    let mut content = String::new();
    for (part, prime) in [2_u32, 3, 5, 7, 11, 13, 17].into_iter().enumerate() {
        let _ = write!(content, "'<!-- wp:paragraph -->\\n<p>', ");
        for step in [1, 4] {
            let numbers = format!("1 + (seq * {step} DIV {prime} + {part}) % {}", SENTENCES.len());
            let _ = write!(content, "ELT({numbers}, {}), ' ', ", quoted_sentences());
        }
        if part % 3 == 1 {
            let link = format!("CONCAT('<a href=\"{url}/?p=', seq, '\">', seq, '</a> ')");
            let image = format!("CONCAT('<img src=\"{url}/wp-content/uploads/bench/0/', seq, '.jpg\" />')");
            let _ = write!(content, "IF(seq % 3, '', CONCAT({link}, {image})), ");
        }
        let _ = write!(content, "'</p>\\n<!-- /wp:paragraph -->\\n\\n', ");
    }
    format!(
        "INSERT INTO wp_posts (post_author, post_date, post_date_gmt, post_content, post_title, post_excerpt, \
         post_status, post_name, to_ping, pinged, post_modified, post_modified_gmt, post_content_filtered, guid, \
         post_type) SELECT 1, @d := '2020-01-01' + INTERVAL seq * 11 MINUTE, @d, CONCAT({content} ''), \
         CONCAT('Post number ', seq), '', 'publish', CONCAT('post-number-', seq), '', '', @d, @d, '', \
         CONCAT('{url}/?p=', seq), IF(seq % 500, 'post', 'page') FROM seq_{from}_to_{to};"
    )
}

fn quoted_sentences() -> String {
    SENTENCES.map(|sentence| format!("'{sentence}'")).join(", ")
}

/// Metadata: one third edit locks, one third numbers, one third serialized arrays, half of them with an address.
fn metas(url: &str, posts: u32, from: u32, to: u32) -> String {
    let file = "CONCAT('2024/05/picture-', seq, '.jpg')";
    let address = format!("IF(seq % 2, {file}, CONCAT('{url}/wp-content/uploads/', {file}))");
    let array = format!(
        "CONCAT('a:4:{{s:5:\"width\";i:1200;s:6:\"height\";i:', 100 + seq % 900, ';s:4:\"file\";s:', LENGTH({address}), \
         ':\"', {address}, '\";s:5:\"sizes\";a:1:{{s:9:\"thumbnail\";a:2:{{s:5:\"width\";i:150;s:4:\"mime\";s:10:\"image/jpeg\";}}}}}}')"
    );
    format!(
        "INSERT INTO wp_postmeta (post_id, meta_key, meta_value) SELECT 1 + seq DIV 3 % {posts}, \
         ELT(1 + seq % 3, '_edit_lock', '_thumbnail_id', '_wp_attachment_metadata'), \
         CASE seq % 3 WHEN 0 THEN CONCAT(1700000000 + seq, ':1') WHEN 1 THEN seq ELSE {array} END \
         FROM seq_{from}_to_{to};"
    )
}

/// Files that do not compress, of 5 to 100 KB, a few of several MB.
fn files(folder: &Path, count: u32) -> Result<()> {
    let mut noise = Noise(0x2545_F491_4F6C_DD1D);
    for number in 0..count {
        let inner = folder.join((number / IN_A_FOLDER).to_string());
        if number % IN_A_FOLDER == 0 {
            fs::create_dir_all(&inner)?;
        }
        let bytes = if number % LONG == LONG - 1 {
            noise.within(2 << 20, 8 << 20)
        } else {
            noise.within(5_000, 100_000)
        };
        let mut content = Vec::with_capacity(bytes + 8);
        while content.len() < bytes {
            content.extend(noise.next().to_le_bytes());
        }
        content.truncate(bytes);
        File::create(inner.join(format!("{number}.jpg")))?.write_all(&content)?;
    }
    Ok(())
}

/// Reproducible pseudo-random numbers (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn within(&mut self, least: usize, most: usize) -> usize {
        least + (self.next() % (most - least) as u64) as usize
    }
}

//! Arbitrary bytes as a dump: no panic, and the result does not depend on chunk boundaries. The first two bytes
//! choose the options and the boundaries; the rest is the dump, or chooses the words of one.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wpclone_rewrite::{DumpOptions, GuidPolicy, PrefixMapping, Report};
use wpclone_rewrite_fuzz::{REWRITER, WORDS, max_len};

static PREFIX: LazyLock<PrefixMapping> = LazyLock::new(|| PrefixMapping::new("wp_", "new_"));

const SQL: [&str; 68] = [
    "INSERT INTO ",
    "INSERT IGNORE INTO ",
    "REPLACE INTO ",
    "UPDATE ",
    "`wp_posts`",
    "`wp_options`",
    "wp_usermeta",
    "\"wp_x\"",
    " (`ID`,`guid`)",
    " (`option_name`, `option_value`)",
    " VALUES ",
    " VALUE (",
    "(",
    ")",
    "),(",
    ",",
    ";\n",
    ";",
    "'",
    "''",
    "\\'",
    "\\\\'",
    "\\",
    "\"",
    "`",
    "0x",
    "0x687474703a2f2f6578616d706c652e636f6d",
    "X'6578616d706c65'",
    "x'",
    "_binary '",
    "_utf8mb4'",
    "N'",
    "b'01'",
    "NULL",
    "1",
    "-1.5e3",
    "--",
    "-- x\n",
    "#",
    "/*",
    "*/",
    "/*!40101 ",
    "/*M!100000 ",
    "SET sql_mode='NO_BACKSLASH_ESCAPES';\n",
    "SET NAMES gbk;\n",
    "SET @a=@@sql_mode;\n",
    "DELIMITER ;;\n",
    "DELIMITER ;\n",
    ";;",
    "CREATE TABLE `wp_x` (",
    "LOCK TABLES `wp_posts` WRITE;\n",
    " ON DUPLICATE KEY UPDATE a='",
    "'http://example.com'",
    "'s:18:\\\"http://example.com\\\";'",
    "'wp_user_roles'",
    "\0",
    "\\0",
    "\\Z",
    " SELECT ",
    "ü",
    "\u{feff}",
    "PRAGMA foreign_keys=OFF;\n",
    "replace(",
    "'http://example.com\\n'",
    ",'\\n',char(10))",
    "unistr(",
    "`a` longblob,",
    "INSERT INTO `wp_x` VALUES (",
];

fuzz_target!(|data: &[u8]| {
    let [options, cut, rest @ ..] = data else { return };
    let generated = if options & 1 == 0 { None } else { words(rest).ok() };
    let text = generated.as_deref().unwrap_or(rest);
    let (whole, report) = rewrite_in_chunks(text, *options, |_| text.len().max(1));
    // Chunks of up to 5 or up to 200 bytes.
    let mut state = u32::from(*cut);
    let step = move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (state >> 16) as usize % if *cut < 128 { 5 } else { 200 }
    };
    let (cut, cut_report) = rewrite_in_chunks(text, *options, step);
    assert!(
        whole == cut,
        "{}\nas a whole {}\nand cut    {}",
        text.escape_ascii(),
        whole.escape_ascii(),
        cut.escape_ascii()
    );
    assert_eq!(report, cut_report, "of {}", text.escape_ascii());
    assert!(whole.len() <= max_len(text, &report));
});

/// Rewrites a dump in chunks of these lengths.
fn rewrite_in_chunks(text: &[u8], options: u8, mut step: impl FnMut(usize) -> usize) -> (Vec<u8>, Report) {
    let dump_options = DumpOptions {
        backslash_escapes: options & 2 == 0,
        guid: if options & 4 == 0 { GuidPolicy::Rewrite } else { GuidPolicy::Keep },
        prefix: (options & 8 != 0).then(|| PREFIX.clone()),
        max_value_bytes: if options & 16 == 0 { 1 << 20 } else { 64 },
    };
    let (mut out, mut report) = (Vec::new(), Report::default());
    let mut dump = REWRITER.dump_rewriter(dump_options);
    let mut at = 0;
    while at < text.len() {
        let end = (at + step(at)).min(text.len());
        dump.push(&text[at..end], &mut out, &mut report);
        at = end;
    }
    dump.finish(&mut out, &mut report);
    // The context of an unreplaced address depends on the chunk boundaries.
    report.unreplaced_samples.iter_mut().for_each(|sample| sample.context.clear());
    (out, report)
}

fn words(data: &[u8]) -> Result<Vec<u8>> {
    let mut u = Unstructured::new(data);
    let mut text = Vec::new();
    while !u.is_empty() {
        match usize::from(u.arbitrary::<u8>()?) {
            word if word < SQL.len() => text.extend(SQL[word].bytes()),
            word if word - SQL.len() < WORDS.len() => text.extend(WORDS[word - SQL.len()].bytes()),
            _ => text.push(u.arbitrary()?),
        }
    }
    Ok(text)
}

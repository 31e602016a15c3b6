//! Binary data in dumps: known by the table's definition, by `_binary`, by hexadecimal digits or by its mark.

use wpclone_rewrite::{DumpOptions, UnreplacedReason};

use crate::{NEW, OLD, assert_rewritten_with, plain, rewrite, rows, text};

const DEFINITION: &str = "CREATE TABLE `t` (\n  `id` int(11) NOT NULL,\n  `data` longblob DEFAULT NULL COMMENT 'text',\n  \
    `note` longtext,\n  KIND VARBINARY(20),\n  PRIMARY KEY (`id`),\n  KEY `blob` (`note`(10))\n) ENGINE=InnoDB;\n";

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn assert_kept(dump: &str, binary: u64) {
    let (new, report) = rewrite(&DumpOptions::default(), dump.as_bytes());
    assert_eq!(text(&new), text(dump.as_bytes()), "{report:?}");
    assert_eq!(report.unreplaced.get(&UnreplacedReason::Binary), Some(&binary), "{report:?}");
    assert_eq!(report.unreplaced_total(), binary, "{report:?}");
}

#[test]
fn the_definition_says_which_literals_are_binary() {
    let row = |url: &str| format!("(1,'\\0{OLD}','\\0{url}','\u{1}{OLD}')");
    for statement in ["INSERT INTO `t` VALUES ", "REPLACE INTO t VALUES ", "INSERT INTO `wp`.`t` VALUES "] {
        let dump = |url: &str| format!("{DEFINITION}{statement}{},{};\n", row(url), row(url));
        assert_rewritten_with(&DumpOptions::default(), &[(&dump(OLD), &dump(NEW))]);
        let (_, report) = rewrite(&DumpOptions::default(), dump(OLD).as_bytes());
        assert_eq!(report.unreplaced.get(&UnreplacedReason::Binary), Some(&4), "{report:?}");
    }
    let listed =
        |url: &str| format!("{DEFINITION}INSERT INTO `t` (note, `data`) VALUES ('\\0{url}','\\0{OLD}');\n");
    assert_rewritten_with(&DumpOptions::default(), &[(&listed(OLD), &listed(NEW))]);
    let listed = |url: &str| format!("{DEFINITION}INSERT INTO `t` (id, note) VALUES (1,'\\0{url}');\n");
    assert_rewritten_with(&DumpOptions::default(), &[(&listed(OLD), &listed(NEW))]);
}

#[test]
fn text_in_a_binary_column_is_rewritten() {
    let dump = |url: &str| {
        let value = format!("a:1:{{s:3:\"\0u\0\";s:{}:\"{url}\";}}", url.len());
        let escaped = value.replace('\0', "\\0").replace('"', "\\\"");
        format!(
            "{DEFINITION}INSERT INTO `t` VALUES (1,'{escaped}','','{url}'),(2,0x{},'','');\n",
            hex(&value)
        )
    };
    assert_rewritten_with(&DumpOptions::default(), &[(&dump(OLD), &dump(NEW))]);
}

#[test]
fn hexadecimal_digits_of_a_text_column_are_text() {
    let dump = |url: &str| {
        format!(
            "{DEFINITION}INSERT INTO `t` VALUES (1,0x{},0x{},'');\n",
            hex(&format!("\0{OLD}")),
            hex(&format!("\0{url}"))
        )
    };
    assert_rewritten_with(&DumpOptions::default(), &[(&dump(OLD), &dump(NEW))]);
}

#[test]
fn digits_that_unhex_decodes_are_a_value() {
    // As Adminer writes binary columns.
    let dump = |url: &str| {
        format!(
            "{DEFINITION}INSERT INTO `t` VALUES (1,UNHEX('{}'),'{url}',unhex(\"{}\")),\n(2,UNHEX(''),'UNHEX(','x');\n\
             UPDATE t SET data = UNHEX('{}');\n",
            hex(url),
            hex(&format!("a:1:{{s:3:\"\0u\0\";s:{}:\"{url}\";}}", url.len())),
            hex(url)
        )
    };
    assert_rewritten_with(&DumpOptions::default(), &[(&dump(OLD), &dump(NEW))]);
    let digits = hex(&format!("\0{OLD}"));
    assert_kept(&rows(&format!("(UNHEX('{digits}'),unhex('{digits}'),UNHEX('{digits}0'))")), 2);
    let plain_text = rows(&format!("(MD5('{digits}'),'unhex(','{digits}')"));
    let (new, _) = rewrite(&DumpOptions::default(), plain_text.as_bytes());
    assert_eq!(text(&new), text(plain_text.as_bytes()));
}

#[test]
fn without_a_definition_binary_literals_are_known_by_how_they_are_written() {
    assert_kept(
        &rows(&format!("(_binary '\\0{OLD}',_BINARY'\u{1}{OLD}',0x00{},x'00{}')", hex(OLD), hex(OLD))),
        4,
    );
    assert_kept(&rows(&format!("('%PDF-1.4\\n({OLD})','PK\u{3}\u{4}{OLD}')")), 2);
    let text = |url: &str| rows(&format!("(_binary '{url}',_binary\n'\\0','{url}\\0',0x{})", hex(url)));
    assert_rewritten_with(&DumpOptions::default(), &[(&text(OLD), &text(NEW))]);
}

#[test]
fn the_columns_of_one_table_say_nothing_about_another() {
    let dump = |url: &str| {
        format!(
            "{DEFINITION}CREATE TABLE u LIKE t; CREATE TABLE v (a text);\n\
             INSERT INTO v VALUES ('\\0{url}'); INSERT INTO u VALUES (1,'\\0{url}');INSERT INTO t VALUES (1,'\\0{OLD}');\n"
        )
    };
    assert_rewritten_with(&DumpOptions::default(), &[(&dump(OLD), &dump(NEW))]);
    let plain_dump = |url: &str| {
        format!(
            "CREATE TABLE t(a BLOB,b,c TEXT);\nINSERT INTO t VALUES('\u{1}{OLD}','{url}','\u{1}{url}');\n"
        )
    };
    assert_rewritten_with(&plain(), &[(&plain_dump(OLD), &plain_dump(NEW))]);
}

//! A dump is rewritten and loaded: each row equals its values rewritten one by one.

use anyhow::{Context as _, Result, ensure};
use wpclone_rewrite::{Options, PrefixMapping, Report, Rewriter, SiteMapping};

use crate::rewrite::database::{Schema, rewrite};

const OLD: &str = "http://example.com";
const NEW: &str = "https://new.example.org/shop";
const FROM_TO: [&str; 4] = ["--from", OLD, "--to", NEW];

/// Tables of WordPress and of plugins.
const SITE: &str = r#"
SET sql_mode = '';
CREATE TABLE wp_posts (ID bigint unsigned NOT NULL AUTO_INCREMENT, post_date datetime NOT NULL DEFAULT '0000-00-00 00:00:00',
    post_content longtext NOT NULL, guid varchar(255) NOT NULL DEFAULT '', PRIMARY KEY (ID), KEY guid (guid)) CHARSET=utf8mb4;
CREATE TABLE wp_options (option_id bigint NOT NULL AUTO_INCREMENT, option_name varchar(191) NOT NULL, option_value longtext NOT NULL,
    autoload varchar(20) NOT NULL DEFAULT 'yes', PRIMARY KEY (option_id), UNIQUE KEY option_name (option_name));
CREATE TABLE wp_usermeta (umeta_id bigint NOT NULL AUTO_INCREMENT, user_id bigint NOT NULL, meta_key varchar(255), meta_value longtext,
    PRIMARY KEY (umeta_id));
CREATE TABLE `wp_odd``name` (id int PRIMARY KEY, `in``it` text COMMENT 'it''s http://example.com', latin varchar(200) CHARACTER SET latin1,
    data longblob, fixed binary(40), flags bit(9), whole double, price decimal(10,2), doc json, kind enum('a','it''s'), zero date,
    made varchar(255) GENERATED ALWAYS AS (concat(latin, '!')) VIRTUAL, kept varchar(255) AS (concat(latin, '?')) STORED, place point);
CREATE TABLE wp_child (id int PRIMARY KEY, parent int, CONSTRAINT wp_child_ibfk_1 FOREIGN KEY (parent) REFERENCES `wp_odd``name` (id));
CREATE TABLE other (id int PRIMARY KEY, url text) DEFAULT CHARSET=latin1;
INSERT INTO wp_posts VALUES (1, '0000-00-00', 'It''s <a href="http://example.com/a?b=1">\\ "quoted" \n\t\r\Z\0 http://www.example.com 😀 日本</a>', 'http://example.com/?p=1'),
    (2, '2026-02-30', '<!-- wp:image {"url":"http://example.com/a.png"} --> -- # /* ; '' ` \\'' \\', 'http://example.com/?p=2');
INSERT INTO wp_options VALUES (1, 'siteurl', 'http://example.com', 'yes'), (2, 'wp_user_roles', 'a:1:{s:4:"it''s";s:18:"http://example.com";}', 'yes'),
    (3, 'json', '{"u":"http:\\/\\/example.com\\/\\"x\\"","p":"\\u00fc"}', 'no'), (4, 'wp_page', 'aHR0cDovL2V4YW1wbGUuY29tLw==', 'no'),
    (5, 'broken', 's:3:"http://example.com";', 'no');
INSERT INTO wp_usermeta VALUES (1, 1, 'wp_capabilities', 'a:1:{s:13:"administrator";b:1;}'), (2, 1, 'nickname', 'wp_x'), (3, 1, 'wp_user-settings', NULL);
INSERT INTO `wp_odd``name` (id, `in``it`, latin, data, fixed, flags, whole, price, doc, kind, zero, place) VALUES
    (1, 'x', 'é http://example.com', CONCAT(0x00FF27225C0A0D1A, 'http://example.com', 0xC328), 'http://example.com', b'100000001', 1e300, -1.5, '{"a":"http://example.com"}', 'it''s', '0000-00-00', POINT(1, 2)),
    (2, NULL, NULL, 'a:1:{i:0;s:18:"http://example.com";}', '', 0, 0, 0, '[]', 'a', NULL, NULL), (3, '', '', '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO wp_child VALUES (1, 1);
INSERT INTO other VALUES (1, 'http://example.com/\\\\');
CREATE VIEW wp_view AS SELECT p.ID AS wp_id, wp_options.option_value, 'http://example.com' AS constant
    FROM wp_posts p JOIN wp_options ON wp_options.option_id = p.ID WHERE wp_options.option_name LIKE '%';
DELIMITER ;;
CREATE TRIGGER wp_trigger BEFORE UPDATE ON wp_posts FOR EACH ROW BEGIN SET NEW.guid = 'http://example.com''s; `'; INSERT INTO other VALUES (2, "x"); END ;;
CREATE PROCEDURE wp_procedure() BEGIN INSERT INTO other VALUES (3, 'http://example.com'); END ;;
DELIMITER ;
"#;

async fn site() -> Result<Schema> {
    let site = Schema::new().await?;
    site.sql(SITE).await?;
    // All bytes, and enough rows for several statements.
    let all: String = (0..=255_u8).map(|byte| format!("{byte:02X}")).collect();
    let url: String = OLD.bytes().map(|byte| format!("{byte:02X}")).collect();
    for id in 10..60 {
        let text = format!("0x{}{url}{all}", &all[..id * 2]);
        site.sql(&format!(
            "INSERT INTO `wp_odd``name` (id, data, latin) VALUES ({id}, {text}, 'http://example.com/{id}')"
        ))
        .await?;
    }
    Ok(site)
}

fn rewriter() -> Result<Rewriter> {
    Ok(Rewriter::new(&[SiteMapping::new(OLD, NEW)?], Options::default())?)
}

/// A column's value rewritten by itself, in hex.
fn moved(rewriter: &Rewriter, digits: &str) -> String {
    match hex::decode(digits) {
        Ok(bytes) => hex::encode_upper(rewriter.rewrite(&bytes, &mut Report::default())),
        // A number, or nothing.
        Err(_) => digits.to_owned(),
    }
}

/// The same of a binary column.
fn moved_binary(rewriter: &Rewriter, digits: &str) -> String {
    match hex::decode(digits) {
        Ok(bytes) => hex::encode_upper(rewriter.rewrite_binary(&bytes, &mut Report::default())),
        Err(_) => digits.to_owned(),
    }
}

/// Compares every row of these tables with its values rewritten one by one.
async fn compare(
    (old, tables): (&Schema, Vec<String>),
    new: &Schema,
    prefix: Option<&PrefixMapping>,
    keeps: &[&str],
) -> Result<()> {
    let rewriter = rewriter()?;
    let renamed = |name: &str, by: fn(&PrefixMapping, &[u8]) -> Option<Vec<u8>>| {
        let new = prefix.and_then(|prefix| by(prefix, name.as_bytes())).unwrap_or_else(|| name.into());
        String::from_utf8(new)
    };
    let mut changed = 0;
    for table in tables {
        let (columns, rows) = old.content(&table).await?;
        let name = renamed(&table, PrefixMapping::table)?;
        let (new_columns, new_rows) = new.content(&name).await?;
        ensure!(columns == new_columns && rows.len() == new_rows.len(), "{table} differs in shape");
        for (row, new_row) in rows.iter().zip(&new_rows) {
            for ((column, old), new) in columns.iter().zip(row).zip(new_row) {
                let text = || Ok::<_, anyhow::Error>(String::from_utf8(hex::decode(old)?)?);
                let wanted = match column.as_str() {
                    "option_name" => hex::encode_upper(renamed(&text()?, PrefixMapping::option)?),
                    "meta_key" => hex::encode_upper(renamed(&text()?, PrefixMapping::user_meta)?),
                    kept if keeps.contains(&kept) => old.clone(),
                    "data" | "fixed" => moved_binary(&rewriter, old),
                    _ => moved(&rewriter, old),
                };
                ensure!(*new == wanted, "{table}.{column} of {}: {new} instead of {wanted}", row[0]);
                changed += usize::from(new != old);
            }
        }
    }
    ensure!(changed > 5, "only {changed} values moved");
    Ok(())
}

#[tokio::test]
async fn every_value_of_a_mariadb_dump_is_rewritten() -> Result<()> {
    let site = site().await?;
    let sets: [&[&str]; 8] = [
        &[],
        &["--hex-blob"],
        &["--skip-extended-insert"],
        &["--complete-insert", "--hex-blob"],
        &["--skip-opt", "--create-options"],
        &["--skip-quote-names", "--replace"],
        &["--insert-ignore", "--net-buffer-length=4096", "--skip-comments", "--tz-utc=0"],
        &["--compact", "--hex-blob"],
    ];
    for options in sets {
        let mut options = options.to_vec();
        let (odd, only) =
            (format!("--ignore-table={}.wp_odd`name", site.name), options.contains(&"--skip-quote-names"));
        // Unquoted, the name is not valid.
        options.extend(only.then_some(odd.as_str()));
        let mut dump = site.dump(&options).await?;
        if options.contains(&"--compact") {
            // What it leaves out.
            dump.splice(..0, *b"SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO', foreign_key_checks = 0;\n");
        }
        let new = Schema::new().await?;
        let rewritten = rewrite(&FROM_TO, &dump).await?;
        new.load(&rewritten).await.with_context(|| format!("the dump of {options:?}"))?;
        let tables = site.tables("BASE TABLE").await?;
        let tables = tables.into_iter().filter(|table| !only || table != "wp_odd`name").collect();
        compare((&site, tables), &new, None, &[]).await.with_context(|| format!("{options:?}"))?;
        for made in ["TRIGGER wp_trigger", "PROCEDURE wp_procedure", "VIEW wp_view", "TABLE `wp_odd``name`"]
            .into_iter()
            .take(if only { 3 } else { 4 })
        {
            let show = |row: Vec<Vec<String>>| row[0].iter().find(|text| text.starts_with("CREATE")).cloned();
            let sql = format!("SHOW CREATE {made}");
            ensure!(
                show(site.rows(&sql).await?) == show(new.rows(&sql).await?),
                "{made} differs, {options:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_dump_is_loaded_with_another_prefix_and_with_its_guids() -> Result<()> {
    let site = site().await?;
    let prefix = PrefixMapping::new("wp_", "x7_");
    for options in [
        &["--skip-triggers"][..],
        &["--skip-triggers", "--complete-insert", "--hex-blob"],
        &["--skip-triggers", "--skip-opt"],
    ] {
        let dump = site.dump(options).await?;
        let new = Schema::new().await?;
        let args = [&FROM_TO[..], &["--prefix", "wp_=x7_", "--guid", "keep"]].concat();
        new.load(&rewrite(&args, &dump).await?).await.with_context(|| format!("the dump of {options:?}"))?;
        compare((&site, site.tables("BASE TABLE").await?), &new, Some(&prefix), &["guid"])
            .await
            .with_context(|| format!("{options:?}"))?;
        ensure!(new.tables("VIEW").await? == ["x7_view"]);
        ensure!(new.rows("SELECT option_value FROM x7_view WHERE wp_id = 1").await? == [[NEW]]);
        let parent =
            "SELECT constraint_name, referenced_table_name FROM information_schema.referential_constraints";
        let parent = new.rows(&format!("{parent} WHERE constraint_schema = '{}'", new.name)).await?;
        ensure!(parent == [["x7_child_ibfk_1", "x7_odd`name"]], "{parent:?}");
    }
    Ok(())
}

#[tokio::test]
async fn no_backslash_escapes_dumps_keep_their_values() -> Result<()> {
    let dump = r#"SET sql_mode = 'NO_BACKSLASH_ESCAPES';
CREATE TABLE wp_t (id int PRIMARY KEY, v text, w text);
INSERT INTO wp_t VALUES (1,'C:\','{"u":"http:\/\/example.com"}'),(2,'it''s "http://example.com"\',"http://example.com ""it's"" \");
SET sql_mode = '';
INSERT INTO wp_t VALUES (3,'\'','{\"u\":\"http:\\/\\/example.com\"}'),(4,0x687474703A2F2F6578616D706C652E636F6D,x'687474703a2f2f6578616d706c652e636f6d');
"#;
    let (old, new) = (Schema::new().await?, Schema::new().await?);
    old.sql(dump).await?;
    new.load(&rewrite(&FROM_TO, dump.as_bytes()).await?).await?;
    let rewriter = rewriter()?;
    let (_, rows) = old.content("wp_t").await?;
    let wanted: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|value| moved(&rewriter, value)).collect()).collect();
    let (_, is) = new.content("wp_t").await?;
    ensure!(is == wanted, "{is:?} instead of {wanted:?}");
    ensure!(is.iter().filter(|row| row[2].contains("6E65772E6578616D706C652E6F7267")).count() == 4, "{is:?}");
    Ok(())
}

/// Serialised data with letters outside of ASCII, in hex.
fn settings(url: &str) -> String {
    let title = format!("Gr\u{fc}\u{df}e aus \u{20ac}uropa {url}/\u{e4}");
    let value = format!("a:2:{{i:0;s:{}:\"{title}\";i:1;s:{}:\"{url}\";}}", title.len(), url.len());
    hex::encode_upper(value)
}

#[tokio::test]
async fn lengths_stay_consistent_in_dumps_that_convert_between_charsets() -> Result<()> {
    // UTF-8 in a table that says latin1, as old sites have it; and a table in UTF-8 that is dumped over latin1.
    for (charset, options) in [
        ("latin1", &[][..]),
        ("utf8mb4", &["--default-character-set=latin1"]),
        ("utf8mb4", &[]),
        ("latin1", &["--default-character-set=latin1"]),
    ] {
        let (old, new) = (Schema::new().await?, Schema::new().await?);
        let definition = format!("CREATE TABLE wp_t (id int PRIMARY KEY, v longtext) CHARSET={charset}");
        let bytes = settings(OLD);
        old.sql(&format!("{definition}; INSERT INTO wp_t VALUES (1, _{charset} 0x{bytes}), (2, '{OLD}')"))
            .await?;
        new.load(&rewrite(&FROM_TO, &old.dump(options).await?).await?).await?;
        let (_, rows) = new.content("wp_t").await?;
        ensure!(rows[0][1] == settings(NEW), "{charset}, {options:?}: {rows:?}");
        ensure!(rows[1][1] == hex::encode_upper(NEW), "{charset}, {options:?}: {rows:?}");
    }
    Ok(())
}

//! Values that must not become others: files in the database, and rows that an index holds apart.

use serde_json::Value;
use wpclone_tests::{Result, Site, TestApp, Version};

use crate::clone::checker::Pair;
use crate::clone::{at, cloned, reported_table, start_visited};

/// Adds a table with values of binary columns, each with its digest.
async fn add_files(site: &Site) -> Result<usize> {
    let url = site.url();
    let with_address = |before: &[u8], after: &[u8]| [before, url.as_bytes(), after].concat();
    let length = [u8::try_from(url.len()).unwrap()];
    let binary = [
        with_address(b"\x89PNG\r\n\x1a\n\0\0\0\x20tEXtSource\0", b"/logo.png\x12\x34\x56\x78"),
        with_address(b"PK\x03\x04\x14\0\0\0\0\0", b"PK\x01\x02"),
        with_address(b"%PDF-1.4\n1 0 obj <</URI (", b")>> endobj\nstartxref\n9\n%%EOF\n"),
        with_address(b"GIF89a\x01\0\x01\0\0\0\0!\xfe", b"\0;"),
        with_address(b"\0\0\0\x02\x14\x01\x11\x03url\x11", b""),
        with_address(&[b"\x81\xa3url\xd9".as_slice(), &length].concat(), b""),
        with_address(b"\x1f\x8b\x08\0", b""),
        with_address(b"caf\xe9 ", b""),
        with_address(b"", b"\0"),
        with_address(format!("a:1:{{s:3:\"\0u\0\";s:{}:\"", url.len() + 1).as_bytes(), b"\";}"),
    ];
    let text = [
        with_address(format!("a:1:{{s:3:\"\0u\0\";s:{}:\"", url.len()).as_bytes(), b"\";}"),
        with_address(b"{\"u\":\"", b"/x\"}"),
        with_address("f\u{fc}r ".as_bytes(), b"/y"),
    ];
    site.sql("CREATE TABLE wp_files (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, kind VARCHAR(10), data LONGBLOB, short VARBINARY(500), digest CHAR(64))")
        .await?;
    for (kind, values) in [("binary", &binary[..]), ("text", &text[..])] {
        for value in values {
            let digits = hex::encode(value);
            site.sql(&format!(
                "INSERT INTO wp_files (kind, data, short, digest) VALUES ('{kind}', 0x{digits}, 0x{digits}, SHA2(0x{digits}, 256))"
            ))
            .await?;
        }
    }
    Ok(binary.len())
}

#[tokio::test]
async fn files_in_the_database_stay_byte_for_byte_and_unique_indexes_stay_unique() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm)).await?;
    let binary = add_files(&site).await?;
    add_addresses(&site).await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let pair = Pair::of(&site, &app, &client, &task).await?;
    assert_files_stayed(&site, &pair, binary).await?;
    assert_addresses_are_unique(&site, &pair).await
}

/// Files are byte for byte what they were, and text beside them has the clone's address.
async fn assert_files_stayed(site: &Site, pair: &Pair<'_>, binary: usize) -> Result {
    let (old, new) = (site.url(), pair.clone.url.clone());
    let same = "SHA2(data, 256) = digest AND SHA2(short, 256) = digest";
    let sql = format!("SELECT COUNT(*) FROM wp_files WHERE kind = 'binary' AND {same}");
    assert_eq!(pair.clone.database.sql(&sql).await?.trim(), binary.to_string());
    let text = pair
        .clone
        .database
        .sql("SELECT HEX(data), HEX(short) FROM wp_files WHERE kind = 'text' ORDER BY id")
        .await?;
    let wanted = [
        format!("a:1:{{s:3:\"\0u\0\";s:{}:\"{new}\";}}", new.len()),
        format!("{{\"u\":\"{new}/x\"}}"),
        format!("f\u{fc}r {new}/y"),
    ];
    let wanted: Vec<_> =
        wanted.iter().map(hex::encode_upper).map(|digits| format!("{digits}\t{digits}")).collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), wanted, "of {old}");
    let unreplaced = at(pair.task, "/fidelity/unreplaced_addresses");
    assert_eq!(unreplaced["binary"], 2 * binary, "{unreplaced}");
    let samples = pair.fidelity["rewrite"]["unreplaced_samples"].as_array().unwrap();
    assert_eq!(samples.iter().filter(|sample| sample["reason"] == "binary").count(), 2 * binary);
    Ok(())
}

/// Tables with unique indexes: their definition, and how many rows collide of those that [`add_addresses`] adds.
const UNIQUE: [(&str, &str, u64); 8] = [
    ("wp_u_whole", "id INT PRIMARY KEY, url VARCHAR(200), UNIQUE KEY (url)", 2),
    ("wp_u_prefix", "id INT PRIMARY KEY, url TEXT, UNIQUE KEY (url(60))", 2),
    ("wp_u_stored", "id INT PRIMARY KEY, url TEXT, h CHAR(32) AS (MD5(url)) STORED, UNIQUE KEY (h)", 2),
    (
        "wp_u_virtual",
        "id INT PRIMARY KEY, url VARCHAR(200), l VARCHAR(200) AS (LOWER(url)) VIRTUAL, UNIQUE KEY (l)",
        2,
    ),
    ("wp_u_primary", "id INT, url VARCHAR(200) PRIMARY KEY", 2),
    ("wp_u_no_key", "id INT, url VARCHAR(200), UNIQUE KEY (url)", 2),
    ("wp_u_together", "id INT, url VARCHAR(200), UNIQUE KEY (url, id)", 0),
    ("wp_u_myisam", "id INT PRIMARY KEY, url VARCHAR(200), UNIQUE KEY (url)) ENGINE=MyISAM", 2),
];

/// Adds these tables, with two spellings of two addresses each.
async fn add_addresses(site: &Site) -> Result {
    let url = site.url();
    let other = url.replace("http://", "https://");
    for (name, columns, _) in UNIQUE {
        let end = if columns.contains("ENGINE") { "" } else { ")" };
        let null = if name == "wp_u_primary" { "" } else { ", (7, NULL)" };
        site.sql(&format!(
            "CREATE TABLE {name} ({columns}{end} DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci; \
             INSERT INTO {name} (id, url) VALUES (1, '{url}/one'), (2, '{other}/one'), (3, '{other}/two'), \
             (4, '{url}/two'), (5, '{url}/three'), (6, 'https://example.org/'){null}"
        ))
        .await?;
    }
    Ok(())
}

/// Rows of a unique index that would collide keep their addresses, and all others have the clone's.
async fn assert_addresses_are_unique(site: &Site, pair: &Pair<'_>) -> Result {
    let (old, new) = (site.url(), pair.clone.url.clone());
    let other = old.replace("http://", "https://");
    for (name, _, conflicts) in UNIQUE {
        let rows = pair.clone.database.sql(&format!("SELECT id, url FROM {name} ORDER BY id")).await?;
        // The first one that is read gets the new address: rows are read by their primary key.
        let (one, [third, fourth]) = match (name, conflicts) {
            (_, 0) => (&new, [&new, &new]),
            ("wp_u_primary", _) => (&other, [&other, &new]),
            _ => (&other, [&new, &old]),
        };
        let mut wanted = vec![
            format!("1\t{new}/one"),
            format!("2\t{one}/one"),
            format!("3\t{third}/two"),
            format!("4\t{fourth}/two"),
            format!("5\t{new}/three"),
            "6\thttps://example.org/".to_owned(),
            "7\tNULL".to_owned(),
        ];
        wanted.truncate(if name == "wp_u_primary" { 6 } else { 7 });
        assert_eq!(rows.lines().collect::<Vec<_>>(), wanted, "{name}");
        let table = reported_table(&pair.fidelity, name);
        assert_eq!(table["constraint_conflicts"].as_u64().unwrap_or(0), conflicts, "{table}");
        assert_eq!(table["changed_values"].as_u64().unwrap(), 5 - conflicts, "{table}");
        let warned = at(pair.task, "/fidelity/warnings").as_array().unwrap().iter().filter_map(Value::as_str);
        let warned = warned.filter(|warning| warning.contains(&format!("rows of {name} keep"))).count();
        assert_eq!(warned, usize::from(conflicts > 0), "{name}");
    }
    let unreplaced = at(pair.task, "/fidelity/unreplaced_addresses");
    let all: u64 = UNIQUE.iter().map(|(_, _, conflicts)| conflicts).sum();
    assert_eq!(unreplaced["constraint"], all, "{unreplaced}");
    Ok(())
}

#[tokio::test]
async fn rows_that_would_violate_a_check_keep_their_addresses_and_the_others_move() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm)).await?;
    let old = site.url();
    site.sql(&format!(
        "CREATE TABLE wp_c_own (id INT PRIMARY KEY, url VARCHAR(200), note VARCHAR(200), CONSTRAINT own CHECK (url LIKE '{old}%' OR id > 2)); \
         INSERT INTO wp_c_own VALUES (1, '{old}/one', '{old}/n'), (2, '{old}/two', NULL), (3, '{old}/three', NULL); \
         CREATE TABLE wp_c_host (id INT PRIMARY KEY, url VARCHAR(200), host VARCHAR(90) AS (SUBSTRING_INDEX(url, '/', 3)) STORED, CHECK (host = '{old}')); \
         INSERT INTO wp_c_host (id, url) VALUES (1, '{old}/one'); \
         CREATE TABLE wp_c_json (id INT PRIMARY KEY, doc JSON, u VARCHAR(200) AS (JSON_VALUE(doc, '$.u')) STORED); \
         INSERT INTO wp_c_json (id, doc) VALUES (1, '{{\"u\": \"{old}/j\"}}'); \
         CREATE TABLE wp_c_broken (id INT PRIMARY KEY, url VARCHAR(200), CHECK (id > 0)); \
         SET check_constraint_checks = 0; INSERT INTO wp_c_broken VALUES (-1, '{old}/b');"
    ))
    .await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let pair = Pair::of(&site, &app, &client, &task).await?;
    let new = pair.clone.url.clone();
    for (sql, wanted) in [
        (
            "SELECT id, url, note FROM wp_c_own ORDER BY id",
            format!("1\t{old}/one\t{new}/n\n2\t{old}/two\tNULL\n3\t{new}/three\tNULL"),
        ),
        ("SELECT url, host FROM wp_c_host", format!("{old}/one\t{old}")),
        ("SELECT u FROM wp_c_json", format!("{new}/j")),
        ("SELECT id, url FROM wp_c_broken", format!("-1\t{new}/b")),
    ] {
        assert_eq!(pair.clone.database.sql(sql).await?.trim(), wanted, "{sql}");
    }
    for (name, conflicts) in [("wp_c_own", 2), ("wp_c_host", 1), ("wp_c_json", 0), ("wp_c_broken", 0)] {
        let table = reported_table(&pair.fidelity, name);
        assert_eq!(table["constraint_conflicts"].as_u64().unwrap_or(0), conflicts, "{table}");
        let shape = format!("SHOW CREATE TABLE {name}");
        assert_eq!(pair.clone.database.sql(&shape).await?, site.sql(&shape).await?);
    }
    assert_eq!(at(&task, "/fidelity/unreplaced_addresses")["constraint"], 3);
    Ok(())
}

/// Charsets of columns: of one byte, of several, and those whose ASCII letters have more than one.
const CHARSETS: [&str; 9] =
    ["latin1", "cp1251", "utf8mb3", "utf8mb4", "gbk", "ucs2", "utf16", "utf16le", "utf32"];

#[tokio::test]
async fn text_of_every_charset_moves_and_what_its_column_would_truncate_stays_and_is_counted() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm)).await?;
    let old = site.url();
    let php = |url: &str| format!("a:1:{{s:1:\"u\";s:{}:\"{url}/\";}}", url.len() + 1);
    for charset in CHARSETS {
        site.sql(&format!(
            "CREATE TABLE wp_{charset} (id INT PRIMARY KEY, v VARCHAR(200), t LONGTEXT, k VARCHAR(200), KEY (k)) CHARSET={charset}; \
             INSERT INTO wp_{charset} VALUES (1, '{old}/a', '{}', '{old}/k'), (2, 'none', NULL, '');",
            php(&old)
        ))
        .await?;
    }
    let length = old.len();
    site.sql(&format!(
        "CREATE TABLE wp_full (id INT PRIMARY KEY, c VARCHAR({length}), b VARBINARY({length}), w VARCHAR({length}) CHARACTER SET utf16, t TINYTEXT, m TEXT); \
         INSERT INTO wp_full VALUES (1, '{old}', '{old}', '{old}', RPAD('{old}/', 255, 'x'), CONCAT('{old}/', REPEAT('x', 65534 - {length})))"
    ))
    .await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let pair = Pair::of(&site, &app, &client, &task).await?;
    let new = pair.clone.url.clone();
    for charset in CHARSETS {
        let sql = format!(
            "SELECT CONVERT(v USING utf8mb4), CONVERT(t USING utf8mb4), CONVERT(k USING utf8mb4) FROM wp_{charset} ORDER BY id"
        );
        let wanted = format!("{new}/a\t{}\t{new}/k\nnone\tNULL\t", php(&new));
        assert_eq!(pair.clone.database.sql(&sql).await?.trim_end_matches('\n'), wanted, "{charset}");
    }
    assert!(new.len() > length, "{new} is longer than {old}");
    let rows = "SELECT MD5(c), MD5(b), MD5(w), MD5(t), MD5(m) FROM wp_full";
    assert_eq!(pair.clone.database.sql(rows).await?, site.sql(rows).await?);
    assert_eq!(at(&task, "/fidelity/unreplaced_addresses")["column-too-short"], 5);
    Ok(())
}

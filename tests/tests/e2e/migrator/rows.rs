//! Export of rows, byte for byte.

use std::collections::BTreeSet;

use wpclone_migrator::{AdaptiveBatch, DefaultValue, Definition, Table};
use wpclone_tests::{Result, Version};

use crate::migrator::checker::{dump, read};
use crate::migrator::test_site::{PREFIX, source};

/// The limit of PHP's memory above idle.
const MOST_MEMORY: u64 = 8 * 1024 * 1024;

fn tables(all: &[Definition]) -> Vec<&Table> {
    let mut tables = Vec::new();
    for definition in all {
        if let Definition::Table(table) = definition {
            tables.push(table);
        }
    }
    tables
}

#[tokio::test]
async fn every_row_of_a_site_with_edge_cases_is_exported_exactly() -> Result {
    let site = source(Version::Trixie).await?;
    let client = crate::migrator::open(&site, false).await?;
    let manifest = client.manifest().await.expect("a manifest");
    let mut pace = AdaptiveBatch::new(manifest.limits.budget_ms);
    assert_eq!((manifest.limits.memory_bytes, manifest.limits.budget_ms), (Some(64 << 20), 5000));
    let all = client.all_definitions(pace.clone()).await.expect("definitions");
    let (mut rows, mut memory, mut seen) = (0, 0, BTreeSet::new());
    for table in tables(&all) {
        let mut read = read(&client, &table.name, pace.clone()).await;
        rows += read.rows.len();
        memory = memory.max(read.memory);
        seen.insert(table.name.clone());
        read.rows.sort();
        let expected = dump(&site, table).await?;
        assert_eq!(read.rows.len(), expected.len(), "rows of {}", table.name);
        for (ours, theirs) in read.rows.iter().zip(&expected) {
            assert_eq!(ours, theirs, "in {}", table.name);
        }
        let count = client.full_checksum(&table.name, u64::MAX, &mut pace).await.expect("a checksum");
        assert_eq!((count.rows, count.digest), (expected.len() as u64, read.digest), "{}", table.name);
    }
    assert!(rows > 30_000, "{rows}");
    assert!(memory < MOST_MEMORY, "{memory} bytes above idle");
    assert_eq!(crate::migrator::complaints(&site), [""; 0]);
    // All tables but other installations' and our own.
    let theirs =
        ["shop_options", "shop_posts", "shop_postmeta", "shop_terms", "wpclone_left", "wpclone_migrator"];
    let expected: BTreeSet<String> = site
        .sql("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE <> 'VIEW'")
        .await?
        .lines()
        .filter(|t| t.starts_with(PREFIX) && theirs.iter().all(|x| *t != format!("{PREFIX}{x}")))
        .map(str::to_owned)
        .collect();
    assert_eq!(seen, expected);
    assert_eq!(manifest.other_prefixes, [format!("{PREFIX}shop_")]);
    Ok(())
}

#[tokio::test]
async fn the_smallest_responses_continue_within_a_row() -> Result {
    let site = source(Version::Bookworm).await?;
    let client = crate::migrator::open(&site, false).await?;
    let all = client.all_definitions(AdaptiveBatch::new(5000)).await.expect("definitions");
    for table in tables(&all) {
        let short = table.name.trim_start_matches(PREFIX);
        if !["kinds", "textkey", "latin1_key", "enumkey", "uniquekey", "nullkey", "composite", "nokey_myisam"]
            .contains(&short)
        {
            continue;
        }
        let mut read =
            read(&client, &table.name, AdaptiveBatch::new(5000).capped_at(AdaptiveBatch::MIN_BYTES)).await;
        assert!(read.answers > 1 || read.rows.len() < 1000, "{short} came at once");
        read.rows.sort();
        assert_eq!(read.rows, dump(&site, table).await?, "{short}");
    }
    Ok(())
}

#[tokio::test]
async fn table_definitions_equal_those_of_the_database() -> Result {
    let site = source(Version::Bookworm).await?;
    let client = crate::migrator::open(&site, false).await?;
    let all = client.all_definitions(AdaptiveBatch::new(5000)).await.expect("definitions");
    let table = |name: &str| {
        *tables(&all).iter().find(|t| t.name == format!("{PREFIX}{name}")).unwrap_or_else(|| panic!("{name}"))
    };
    let key = |name: &str| table(name).key.join(" ");
    assert_eq!(key("posts"), "ID");
    assert_eq!(key("composite"), "a b c");
    assert_eq!([key("nokey"), key("nullkey"), key("enumkey")], ["", "", ""]);
    assert_eq!(key("uniquekey"), "u");

    let defaults = table("defaults");
    let preset = |name: &str| defaults.columns.iter().find(|c| c.name == name).unwrap().default.clone();
    let text = |t: &str| Some(DefaultValue::Text(t.to_owned()));
    assert_eq!(preset("a"), text("it's %s \\ x"));
    assert_eq!(preset("b"), Some(DefaultValue::Now(0)));
    assert_eq!(preset("c"), Some(DefaultValue::Now(3)));
    assert_eq!([preset("d"), preset("g"), preset("i")], [text("5"), text("5"), text("")]);
    assert_eq!([preset("e"), preset("id")], [None, None]);
    assert_eq!(preset("f"), Some(DefaultValue::Null(true)));
    assert!(matches!(preset("h"), Some(DefaultValue::Expression(_))));
    assert_eq!(defaults.columns.iter().find(|c| c.name == "b").unwrap().on_update, Some(0));
    assert_eq!((defaults.auto_increment, defaults.row_format.as_deref()), (Some(777), Some("Compressed")));
    let index = |name: &str| defaults.indexes.iter().find(|i| i.name == name).unwrap();
    assert_eq!(index("ft").kind, "FULLTEXT");
    assert_eq!(index("pre").parts[0].length, Some(3));
    assert!(index("two").parts[1].descending && !index("two").unique && index("PRIMARY").unique);

    let kinds = table("kinds");
    let generated =
        |name: &str| kinds.columns.iter().find(|c| c.name == name).unwrap().generated.clone().unwrap();
    assert!(!generated("virt").stored && generated("sto").stored);
    assert!(
        kinds.checks.iter().any(|c| c.name == "zc") && !kinds.transferred_columns().any(|c| c.name == "virt")
    );
    assert_eq!(table("latin1").charset, "latin1");
    assert_eq!(table("many").comment, "it's \"many\" %s");
    let fk = &table("child").foreign_keys[0];
    assert_eq!((fk.table.as_str(), fk.on_delete.as_str()), (format!("{PREFIX}parent").as_str(), "CASCADE"));
    assert!(all.iter().any(|d| matches!(d, Definition::View(v) if v.name == format!("{PREFIX}view"))));
    assert!(
        all.iter()
            .any(|d| matches!(d, Definition::Trigger(t) if t.event == "INSERT" && t.body.contains("NEW.id")))
    );
    Ok(())
}

#[tokio::test]
async fn a_table_that_changed_while_it_was_read_is_detected() -> Result {
    let site = source(Version::Bookworm).await?;
    let client = crate::migrator::open(&site, false).await?;
    let table = format!("{PREFIX}many");
    let mut read = crate::migrator::checker::Read::default();
    let mut stream = client.row_stream(&table, None, AdaptiveBatch::new(5000).capped_at(65536));
    read.take(&stream.next().await.expect("rows").expect("the first"));
    site.sql(&format!("UPDATE {table} SET n = 4711 WHERE id = 3")).await?;
    while let Some(rows) = stream.next().await.expect("rows") {
        read.take(&rows);
    }
    let count =
        client.full_checksum(&table, u64::MAX, &mut AdaptiveBatch::new(5000)).await.expect("a checksum");
    assert_eq!(count.rows, 15000);
    assert_ne!(count.digest, read.digest);
    Ok(())
}

#[tokio::test]
async fn an_export_continues_at_its_cursor_after_the_site_was_down() -> Result {
    let mut site = source(Version::Bookworm).await?;
    let client = crate::migrator::open(&site, false).await?;
    let table = format!("{PREFIX}composite");
    let mut read = crate::migrator::checker::Read::default();
    let mut stream = client.row_stream(&table, None, AdaptiveBatch::new(5000).capped_at(65536));
    read.take(&stream.next().await.expect("rows").expect("the first"));
    site.stop_web();
    assert!(stream.next().await.is_err());
    site.start_web().await?;
    while let Some(rows) = stream.next().await.expect("rows") {
        read.take(&rows);
    }
    assert_eq!(read.rows.len(), 9000);
    Ok(())
}

#[tokio::test]
async fn a_response_reads_few_more_rows_than_it_contains() -> Result {
    let site = source(Version::Bookworm).await?;
    let client = crate::migrator::open(&site, false).await?;
    // Each site has its own database user, named like its database.
    site.sql("SET GLOBAL userstat = 1").await?;
    let sent = async || -> Result<u64> {
        let count = site
            .sql("SELECT rows_sent FROM information_schema.user_statistics WHERE user = DATABASE()")
            .await?;
        Ok(count.trim().parse().unwrap_or(0))
    };
    let before = sent().await?;
    let read = read(&client, &format!("{PREFIX}many"), AdaptiveBatch::new(5000).capped_at(1 << 18)).await;
    let sent = sent().await? - before;
    assert_eq!(read.rows.len(), 15_000);
    assert!(read.answers > 20, "{} answers", read.answers);
    // Starting WordPress reads some hundreds of rows. If the rest of each result set were read as well, it would be thousands per request.
    let most = 30_000 + 500 * read.answers as u64;
    assert!((15_000..most).contains(&sent), "{sent} rows in {} answers", read.answers);
    Ok(())
}

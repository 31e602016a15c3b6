//! Sites as they are found in the world: tables without keys, what only MariaDB has, and objects that cannot be read.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use wpclone_task::{Code, State};
use wpclone_tests::{Client, Database, Result, Site, TestApp, Version};

use crate::clone::{PLUGIN, assert_nothing_left, at, cloned, failed, problem, reported_table, start_visited};

/// The database of a task's clone.
fn database_of(app: &TestApp, task: &wpclone_task::TaskView) -> Result<Database> {
    let name = at(task, "/clone/name").as_str().unwrap();
    Database::of(&app.clones_state().unwrap().join("clones").join(name).join("www/wp-config.php"))
}

/// The fidelity report of a task.
async fn fidelity(client: &Client, task: &wpclone_task::TaskView) -> Result<Value> {
    let report = task.artifacts.iter().find(|artifact| artifact.name == "fidelity.json").unwrap();
    Ok(client.get(&report.href).await?.json().await?)
}

/// The adjustments of a table, as one text.
fn adjustments(fidelity: &Value, table: &str) -> String {
    reported_table(fidelity, table)["adjustments"].to_string()
}

/// Both databases give the same result.
async fn assert_same(source: &Site, clone: &Database, sql: &str) -> Result {
    let (there, here) = (source.sql(sql).await?, clone.sql(sql).await?);
    assert!(!there.is_empty(), "{sql}");
    assert_eq!(there, here, "{sql}");
    Ok(())
}

/// The definition of a table. Defaults by sequences name the database.
async fn definition(database: &Database, table: &str) -> Result<String> {
    let own = format!("`{}`.", database.sql("SELECT DATABASE()").await?.trim());
    Ok(database.sql(&format!("SHOW CREATE TABLE wp_{table}")).await?.replace(&own, ""))
}

/// An import that stopped before the statements that add the keys, and the rows that such a site then collects.
const WITHOUT_KEYS: &str = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'; \
    ALTER TABLE wp_options MODIFY option_id BIGINT UNSIGNED NOT NULL, DROP PRIMARY KEY, DROP KEY option_name; \
    ALTER TABLE wp_posts MODIFY ID BIGINT UNSIGNED NOT NULL, DROP PRIMARY KEY; \
    ALTER TABLE wp_postmeta MODIFY meta_id BIGINT UNSIGNED NOT NULL, DROP PRIMARY KEY; \
    ALTER TABLE wp_users MODIFY ID BIGINT UNSIGNED NOT NULL, DROP PRIMARY KEY; \
    ALTER TABLE wp_usermeta MODIFY umeta_id BIGINT UNSIGNED NOT NULL, DROP PRIMARY KEY; \
    INSERT INTO wp_options (option_id, option_name, option_value, autoload) VALUES \
        (0, 'double', 'a', 'no'), (0, 'double', 'b', 'no'), (0, 'double', 'b', 'no'), (0, '', 'nameless', 'no'); \
    INSERT INTO wp_postmeta (meta_id, post_id, meta_key, meta_value) VALUES (0, 1, 'k', 'v'), (0, 1, 'k', 'v'), (0, 0, 'k', NULL); \
    INSERT INTO wp_posts (ID, post_title, post_content, post_excerpt, to_ping, pinged, post_content_filtered, post_status) \
        VALUES (0, 'nought', '', '', '', '', '', 'draft'), (0, 'nought', '', '', '', '', '', 'draft'); \
    CREATE TABLE wp_counted (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, v VARCHAR(9)); \
    INSERT INTO wp_counted VALUES (0, 'zero'), (-3, 'below'), (4, 'four');";

#[tokio::test]
async fn a_site_whose_tables_have_lost_their_keys_is_cloned_with_all_its_rows() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm).content(5)).await?;
    site.sql(WITHOUT_KEYS).await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let clone = database_of(&app, &task)?;
    let url = site.url();
    for sql in [
        "SELECT option_id, option_name, option_value FROM wp_options WHERE option_name IN ('double', '', 'blogname') ORDER BY 1, 2, 3".to_owned(),
        "SELECT COUNT(*), SUM(meta_id = 0), SUM(meta_value IS NULL) FROM wp_postmeta".to_owned(),
        "SELECT * FROM wp_counted ORDER BY id".to_owned(),
        "SELECT ID, post_title, post_status, post_type FROM wp_posts WHERE post_status <> 'auto-draft' ORDER BY 1, 2, 3".to_owned(),
        "SHOW CREATE TABLE wp_options".to_owned(),
        "SHOW CREATE TABLE wp_posts".to_owned(),
        "SHOW CREATE TABLE wp_users".to_owned(),
        format!("SELECT SUM(option_value LIKE '%{}%' AND option_name = 'double') FROM wp_options", &url[7..]),
    ] {
        assert_same(&site, &clone, &sql).await?;
    }
    // The clone's administrator has a number of its own, and nothing of the migrator is in the options.
    let numbers = "SELECT COUNT(*) - COUNT(DISTINCT ID) FROM wp_users";
    assert_eq!(clone.sql(numbers).await?.trim(), "0");
    for database in [site.database(), clone] {
        let ours = "SELECT COUNT(*) FROM wp_options WHERE option_name LIKE '%wpclone%'";
        assert_eq!(database.sql(ours).await?.trim(), "0");
    }
    assert_eq!(site.sql("SHOW TABLES LIKE '%wpclone%'").await?, "");
    Ok(())
}

/// Sequences, defaults that count, versions, periods, and what InnoDB compresses or hides.
const ONLY_MARIADB: &str = "CREATE SEQUENCE wp_numbers START WITH 1000 INCREMENT BY 5; DO NEXTVAL(wp_numbers); \
    CREATE TABLE wp_orders (id BIGINT NOT NULL DEFAULT (NEXT VALUE FOR wp_numbers) PRIMARY KEY, v VARCHAR(20)); \
    INSERT INTO wp_orders (v) VALUES ('a'), ('b'); \
    CREATE TABLE wp_twice (id BIGINT NOT NULL DEFAULT (NEXT VALUE FOR wp_numbers * 2) PRIMARY KEY, v VARCHAR(20)); \
    INSERT INTO wp_twice (v) VALUES ('a'); \
    CREATE TABLE wp_kept (id INT PRIMARY KEY, v VARCHAR(20)) WITH SYSTEM VERSIONING; \
    INSERT INTO wp_kept VALUES (1, 'old'), (2, 'gone'); UPDATE wp_kept SET v = 'new' WHERE id = 1; DELETE FROM wp_kept WHERE id = 2; \
    CREATE TABLE wp_dated (id INT PRIMARY KEY, v VARCHAR(20), since TIMESTAMP(6) GENERATED ALWAYS AS ROW START, \
        until TIMESTAMP(6) GENERATED ALWAYS AS ROW END INVISIBLE, PERIOD FOR SYSTEM_TIME (since, until)) WITH SYSTEM VERSIONING; \
    INSERT INTO wp_dated (id, v) VALUES (1, 'old'), (2, 'two'); UPDATE wp_dated SET v = 'new' WHERE id = 1; \
    CREATE TABLE wp_booked (room INT NOT NULL, a DATE NOT NULL, b DATE NOT NULL, PERIOD FOR stay (a, b), UNIQUE KEY once (room, stay WITHOUT OVERLAPS)); \
    INSERT INTO wp_booked VALUES (1, '2024-01-01', '2024-02-01'), (1, '2024-02-01', '2024-03-01'), (2, '2024-01-01', '2024-02-01'); \
    CREATE TABLE wp_packed (id INT PRIMARY KEY, t LONGTEXT COMPRESSED, b VARBINARY(99) COMPRESSED, k VARCHAR(20) INVISIBLE DEFAULT 'hidden', KEY k (k) IGNORED); \
    INSERT INTO wp_packed (id, t, b) SELECT 1, REPEAT(CONCAT(option_value, '/x '), 300), UNHEX('00ff') FROM wp_options WHERE option_name = 'home'; \
    CREATE TABLE wp_parted (id INT NOT NULL, y INT NOT NULL, PRIMARY KEY (id, y)) PARTITION BY RANGE (y) (PARTITION p0 VALUES LESS THAN (2020), PARTITION p1 VALUES LESS THAN MAXVALUE); \
    INSERT INTO wp_parted SELECT seq, 2000 + seq % 40 FROM seq_1_to_300; \
    CREATE TABLE wp_odd (id INT PRIMARY KEY, d VARCHAR(99) DEFAULT (CURRENT_USER()), c VARBINARY(99) AS (AES_ENCRYPT(id, 'k')) VIRTUAL, CONSTRAINT few CHECK (CONV(id, 10, 2) < 99999999 AND AES_ENCRYPT(id, 'k') IS NOT NULL)); \
    INSERT INTO wp_odd (id) VALUES (1); \
    CREATE TABLE wp_summed (a INT) CHECKSUM=1 ENGINE=MyISAM; INSERT INTO wp_summed VALUES (1); \
    CREATE TABLE wp_known (u UUID PRIMARY KEY, i6 INET6 NOT NULL, n INET6); \
    INSERT INTO wp_known SELECT UUID(), CONCAT('::', seq), IF(seq % 2, NULL, 'fe80::1') FROM seq_1_to_300;";

#[tokio::test]
async fn what_only_mariadb_has_is_carried_or_named() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm)).await?;
    site.sql(ONLY_MARIADB).await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let (clone, report) = (database_of(&app, &task)?, fidelity(&client, &task).await?);
    assert_eq!(
        clone.sql("SELECT COUNT(DISTINCT u), COUNT(DISTINCT i6) FROM wp_known").await?.trim(),
        "300\t300"
    );
    for table in ["orders", "kept", "dated", "booked", "packed", "known"] {
        let (there, here) = (definition(&site.database(), table).await?, definition(&clone, table).await?);
        assert_eq!(there, here, "{table}");
    }
    for sql in [
        "SELECT * FROM wp_orders ORDER BY id",
        "SELECT * FROM wp_twice ORDER BY id",
        "SELECT * FROM wp_kept ORDER BY id",
        "SELECT id, v FROM wp_dated ORDER BY id",
        "SELECT * FROM wp_booked ORDER BY room, a",
        "SELECT id, HEX(b), k, LENGTH(t) > 1000 FROM wp_packed",
        "SELECT * FROM wp_parted ORDER BY id, y",
        "SELECT id, d, HEX(c) FROM wp_odd",
        "SELECT * FROM wp_summed",
        "SELECT * FROM wp_known ORDER BY u",
        "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
         AND TABLE_NAME IN ('wp_numbers', 'wp_kept', 'wp_dated') ORDER BY 1",
    ] {
        assert_same(&site, &clone, sql).await?;
    }
    clone.sql("INSERT INTO wp_orders (v) VALUES ('new')").await?;
    let free = "SELECT COUNT(*) FROM wp_orders WHERE v = 'new' AND id > (SELECT MAX(id) FROM wp_orders WHERE v <> 'new')";
    assert_eq!(clone.sql(free).await?.trim(), "1");
    assert!(clone.sql("SELECT NEXT VALUE FOR wp_numbers").await?.trim().parse::<u64>().unwrap() > 1000);
    // What is not the same is named.
    for (table, named) in [
        ("wp_twice", "nextval"),
        ("wp_kept", "former rows"),
        ("wp_dated", "values of since"),
        ("wp_parted", "partitioned"),
        ("wp_odd", "generated c"),
        ("wp_odd", "few"),
        ("wp_summed", "CHECKSUM=1"),
    ] {
        let adjustments = adjustments(&report, table);
        assert!(adjustments.contains(named), "{table}: {adjustments}");
    }
    for table in ["wp_posts", "wp_options", "wp_booked", "wp_packed", "wp_orders"] {
        assert!(
            report["tables"]
                .as_array()
                .unwrap()
                .iter()
                .all(|one| one["name"] != table || one["adjustments"].is_null()),
            "{report:#}"
        );
    }
    let warnings = at(&task, "/fidelity/warnings").to_string();
    assert!(warnings.contains("wp_dated") && warnings.contains("adjustments"), "{warnings}");
    Ok(())
}

/// Where the database keeps the files of a site's tables.
async fn data_folder(site: &Site) -> Result<PathBuf> {
    Ok(site.sql("SELECT CONCAT(@@datadir, DATABASE())").await?.trim().into())
}

#[tokio::test]
async fn what_the_database_cannot_read_is_named_and_left_out_and_the_rest_arrives() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm).content(3)).await?;
    site.sql(
        "CREATE TABLE wp_lost (id INT PRIMARY KEY) ENGINE=InnoDB; ALTER TABLE wp_lost DISCARD TABLESPACE; \
         CREATE TABLE wp_crashed (id INT PRIMARY KEY, v TEXT) ENGINE=MyISAM; INSERT INTO wp_crashed VALUES (1, 'x'), (2, 'y'); \
         FLUSH TABLES wp_crashed; CREATE TABLE wp_gone (id INT); CREATE VIEW wp_of_gone AS SELECT id FROM wp_gone; DROP TABLE wp_gone; \
         CREATE VIEW wp_fine AS SELECT option_name FROM wp_options; CREATE TABLE wp_whole (id INT PRIMARY KEY); INSERT INTO wp_whole VALUES (7);",
    )
    .await?;
    let index = data_folder(&site).await?.join("wp_crashed.MYI");
    fs::OpenOptions::new().write(true).open(&index)?.set_len(300)?;
    site.sql("FLUSH TABLES wp_crashed").await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let report = fidelity(&client, &task).await?;
    let omitted = report["omitted_tables"].as_array().unwrap();
    let named: Vec<_> = omitted.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(named, ["wp_crashed", "wp_lost"], "{report:#}");
    assert!(omitted[1]["reason"].as_str().unwrap().contains("1814"), "{omitted:#?}");
    assert_eq!(report["omitted_views_and_triggers"], serde_json::json!(["wp_of_gone"]), "{report:#}");
    let warnings = at(&task, "/fidelity/warnings").to_string();
    assert!(named.iter().chain(&["wp_of_gone"]).all(|name| warnings.contains(name)), "{warnings}");
    let transfer = task.steps.iter().find(|step| step.name == "transfer").unwrap();
    assert_eq!(transfer.attempts, 0, "nothing was tried again: {transfer:#?}");
    let clone = database_of(&app, &task)?;
    assert_same(&site, &clone, "SELECT * FROM wp_whole").await?;
    assert_same(&site, &clone, "SELECT COUNT(*) FROM wp_postmeta").await?;
    assert_eq!(clone.sql("SHOW TABLES LIKE 'wp\\_%ed'").await?, "");
    assert_eq!(
        clone
            .sql("SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE()")
            .await?
            .trim(),
        "wp_fine"
    );
    Ok(())
}

#[tokio::test]
async fn a_table_of_wordpress_that_cannot_be_read_fails_the_clone_once_and_is_named_with_the_databases_words()
-> Result {
    let site = Site::builder(Version::Bookworm).start().await?;
    site.sql("ALTER TABLE wp_commentmeta DISCARD TABLESPACE").await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = failed(&client, &site).await?;
    assert_eq!(task.state, State::Failed);
    let problem = problem(&task);
    assert_eq!(problem.code, Code::TransferFailed, "{problem:#?}");
    for part in ["wp_commentmeta", "source", "1814", "iscarded"] {
        assert!(problem.detail.contains(part), "{part}: {problem:#?}");
    }
    assert!(!problem.retryable && !problem.changed_target, "{problem:#?}");
    let transfer = task.steps.iter().find(|step| step.name == "transfer").unwrap();
    assert_eq!(transfer.attempts, 1, "{transfer:#?}");
    assert_nothing_left(&app, &client).await?;
    assert!(!site.tree().join(PLUGIN).exists(), "the migrator is left");
    Ok(())
}

#[tokio::test]
async fn what_surrounds_the_tables_is_carried_or_named_and_addresses_in_it_are_counted() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm)).await?;
    let old = site.url();
    site.sql(&format!(
        "CREATE TABLE wp_log (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(99), home VARCHAR(99) DEFAULT '{old}/d', link VARCHAR(200) AS (CONCAT('{old}/', id)) VIRTUAL); \
         SET sql_mode = 'PIPES_AS_CONCAT'; \
         CREATE TRIGGER wp_z BEFORE INSERT ON wp_log FOR EACH ROW SET NEW.v = NEW.v || 'z'; \
         CREATE TRIGGER wp_a BEFORE INSERT ON wp_log FOR EACH ROW SET NEW.v = NEW.v || 'a'; \
         CREATE ALGORITHM = TEMPTABLE VIEW wp_all_links AS SELECT CONCAT('{old}/', id) AS link FROM wp_log; \
         CREATE FUNCTION wp_double (x INT) RETURNS INT DETERMINISTIC RETURN 2 * x; \
         CREATE EVENT wp_nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM wp_log; \
         CREATE TABLE audit_log (what TEXT); \
         CREATE TRIGGER wp_audit AFTER INSERT ON wp_posts FOR EACH ROW INSERT INTO audit_log VALUES (NEW.post_title); \
         CREATE TRIGGER wp_twice AFTER INSERT ON wp_usermeta FOR EACH ROW SET @twice = wp_double(NEW.umeta_id);"
    ))
    .await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let (clone, report) = (database_of(&app, &task)?, fidelity(&client, &task).await?);
    let copied = definition(&clone, "log").await?.replace(" AUTO_INCREMENT=10001", "");
    assert_eq!(copied, definition(&site.database(), "log").await?);
    clone.sql("INSERT INTO wp_log (v) VALUES ('x')").await?;
    assert_eq!(clone.sql("SELECT v FROM wp_log").await?.trim(), "xza");
    let view = clone.sql("SHOW CREATE VIEW wp_all_links").await?;
    assert!(view.contains("ALGORITHM=TEMPTABLE"), "{view}");
    assert_eq!(
        report["omitted_programs"],
        serde_json::json!(["event wp_nightly", "function wp_double"]),
        "{report:#}"
    );
    // With these triggers the copy would reject each login and each new post.
    assert_eq!(
        report["omitted_views_and_triggers"],
        serde_json::json!(["wp_audit", "wp_twice"]),
        "{report:#}"
    );
    clone.sql("INSERT INTO wp_usermeta (user_id, meta_key) VALUES (1, 'x')").await?;
    let post = "INSERT INTO wp_posts (post_content, post_title, post_excerpt, to_ping, pinged, post_content_filtered) \
        VALUES ('', '', '', '', '', '')";
    clone.sql(post).await?;
    let warnings = at(&task, "/fidelity/warnings").to_string();
    for name in
        ["wp_nightly", "wp_double", "wp_audit", "wp_twice", "the table audit_log", "the function wp_double"]
    {
        assert!(warnings.contains(name), "{name}: {warnings}");
    }
    assert_eq!(at(&task, "/fidelity/unreplaced_addresses")["outside-rows"], 3, "{report:#}");
    Ok(())
}

//! What plugins keep outside of WordPress' own places: generated files, orders that come while a shop is cloned, tables
//! without the table prefix.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use wpclone_task::{State, TaskView};
use wpclone_tests::{Database, Result, Site, TestApp, Version};

use crate::clone::checker::Pair;
use crate::clone::{at, cloned, reported_table, start_visited};

/// Whether one of the result's warnings has this text.
fn warns_of(task: &TaskView, text: &str) -> bool {
    let warnings = at(task, "/fidelity/warnings").as_array().unwrap();
    warnings.iter().any(|warning| warning.as_str().unwrap().contains(text))
}

const UPLOADS: &str = "wp-content/uploads";

/// A stylesheet that a page builder generates.
fn css(url: &str) -> String {
    format!(".hero{{background:url({url}/wp-content/uploads/hero.png)}}/*\r\n*/")
}

/// Data that a page builder generates.
fn data(url: &str) -> String {
    format!(r#"{{"ajax":"{}\/wp-admin\/admin-ajax.php"}}"#, url.replace('/', r"\/"))
}

/// A page that somebody uploads.
fn page(url: &str) -> String {
    format!("<a href=\"{url}/\">brought along</a>")
}

/// Compresses the stylesheet, for the web server to send, and writes a script in UTF-16.
const OTHER_ENCODINGS: &str = "$css = WP_CONTENT_DIR . '/uploads/builder/css/post-7.css'; \
    file_put_contents(\"$css.gz\", gzencode(file_get_contents($css))); \
    $script = \"fetch('\" . home_url('/feed/') . \"')\"; \
    file_put_contents(dirname($css) . '/wide.js', \"\\xff\\xfe\" . implode(\"\\0\", str_split($script)) . \"\\0\");";

/// Adds generated files and files of people.
async fn add_files(site: &Site) -> Result {
    let url = site.url();
    site.put(&format!("{UPLOADS}/builder/css/post-7.css"), &css(&url))?;
    site.put(&format!("{UPLOADS}/builder/data.json"), &data(&url))?;
    site.put("wp-content/builder-css/site.css", &css(&url))?;
    site.put(&format!("{UPLOADS}/2024/05/page.html"), &page(&url))?;
    site.put("wp-content/plugins/own/own.js", &format!("fetch('{url}/feed')"))?;
    site.eval_php(OTHER_ENCODINGS).await.map(drop)
}

/// Generated files have the clone's address, and files of people are byte for byte what they were.
async fn assert_files_arrived(site: &Site, pair: &Pair<'_>) -> Result {
    let new = &pair.clone.url;
    let get = async |path: &str| -> Result<String> {
        Ok(reqwest::get(format!("{new}/{UPLOADS}/{path}")).await?.error_for_status()?.text().await?)
    };
    assert_eq!(get("builder/css/post-7.css").await?, css(new));
    assert_eq!(get("builder/data.json").await?, data(new));
    assert_eq!(get("../builder-css/site.css").await?, css(new));
    assert_eq!(get("2024/05/page.html").await?, page(&site.url()));
    let files = &pair.fidelity["files"];
    assert_eq!(files["rewritten"], 3, "{files}");
    assert_eq!(
        files["rewritten_files"],
        json!([
            "Content/builder-css/site.css",
            "Uploads/builder/css/post-7.css",
            "Uploads/builder/data.json"
        ])
    );
    assert_eq!(
        files["files_holding_address"],
        json!([
            "Plugins/own/own.js",
            "Uploads/2024/05/page.html",
            "Uploads/builder/css/post-7.css.gz",
            "Uploads/builder/css/wide.js"
        ])
    );
    assert!(warns_of(pair.task, "Files that hold an address of the source, and are as they were (4)"));
    for file in ["post-7.css.gz", "wide.js"] {
        let (there, here) = (site.tree().join(UPLOADS), &pair.clone.roots["Uploads"]);
        let read = |uploads: &std::path::Path| std::fs::read(uploads.join("builder/css").join(file));
        assert_eq!(read(&there)?, read(here)?, "{file}");
    }
    assert_eq!(pair.fidelity["target"]["wordpress"], pair.fidelity["source"]["wordpress"]);
    Ok(())
}

/// The tables of a shop with some orders.
const SHOP: &str = "
    CREATE TABLE wp_shop_orders (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, status VARCHAR(20)) ENGINE=InnoDB;
    CREATE TABLE wp_shop_items (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, order_id BIGINT, name VARCHAR(200)) ENGINE=InnoDB;
    CREATE TABLE wp_shop_data (order_id BIGINT, name VARCHAR(20), value TEXT, PRIMARY KEY (name, order_id)) ENGINE=InnoDB;";
/// An order with its items and data.
const ORDER: &str = "START TRANSACTION;
    INSERT INTO wp_shop_orders (status) VALUES ('new'); SET @id = LAST_INSERT_ID();
    INSERT INTO wp_shop_items (order_id, name) VALUES (@id, 'a'), (@id, 'b');
    INSERT INTO wp_shop_data VALUES (@id, 'address', 'x'), (@id, 'total', '1');
    COMMIT;";
/// Orders, and those of which something is missing or too much.
const COUNTS: &str = "SELECT COUNT(*),
    (SELECT COUNT(*) FROM wp_shop_items i LEFT JOIN wp_shop_orders o ON o.id = i.order_id WHERE o.id IS NULL),
    (SELECT COUNT(*) FROM wp_shop_data d LEFT JOIN wp_shop_orders o ON o.id = d.order_id WHERE o.id IS NULL),
    SUM((SELECT COUNT(*) FROM wp_shop_items i WHERE i.order_id = o.id) <> 2),
    SUM((SELECT COUNT(*) FROM wp_shop_data d WHERE d.order_id = o.id) <> 2) FROM wp_shop_orders o";

/// Between two orders: enough of them come while tables are read, and the clients leave the processor to the clone.
const ORDER_INTERVAL: Duration = Duration::from_millis(50);

/// Writes orders without end.
async fn write_orders(database: Database) -> Result {
    loop {
        database.sql(ORDER).await?;
        sleep(ORDER_INTERVAL).await;
    }
}

/// The orders that have come are whole.
async fn assert_orders_are_whole(pair: &Pair<'_>) -> Result {
    let counts = pair.clone.database.sql(COUNTS).await?;
    let counts: Vec<u64> = counts.split_whitespace().map(|count| count.parse().unwrap()).collect();
    assert!(counts[0] > 50, "orders came while the site was copied: {counts:?}");
    assert_eq!(counts[1..], [0, 0, 0, 0], "of {} orders", counts[0]);
    for name in ["wp_shop_orders", "wp_shop_items", "wp_shop_data"] {
        let table = reported_table(&pair.fidelity, name);
        assert_eq!((&table["in_snapshot"], &table["consistent"]), (&true.into(), &true.into()), "{table}");
    }
    Ok(())
}

#[tokio::test]
async fn generated_files_call_the_clone_and_a_shop_that_gets_orders_meanwhile_arrives_whole() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm)).await?;
    add_files(&site).await?;
    site.sql(SHOP).await?;
    site.sql(&ORDER.repeat(50)).await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = tokio::select! {
        task = cloned(&client, &site) => task?,
        written = write_orders(site.database()) => return written,
    };
    let pair = Pair::of(&site, &app, &client, &task).await?;
    assert_files_arrived(&site, &pair).await?;
    assert_orders_are_whole(&pair).await
}

#[tokio::test]
async fn tables_without_the_prefix_are_named_and_copied_on_request() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm)).await?;
    let url = site.url();
    site.sql(&format!(
        "CREATE TABLE crm_people (id INT PRIMARY KEY, page VARCHAR(200)); INSERT INTO crm_people VALUES (1, '{url}/a');
         CREATE TABLE blog_options (id INT); CREATE TABLE blog_posts (id INT); CREATE TABLE blog_postmeta (id INT);
         CREATE TABLE blog_terms (id INT);"
    ))
    .await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let tables = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME NOT LIKE 'wp\\_%'";
    let task = cloned(&client, &site).await?;
    let pair = Pair::of(&site, &app, &client, &task).await?;
    assert_eq!(pair.clone.database.sql(tables).await?, "");
    assert_eq!(pair.fidelity["unprefixed_tables"], json!(["crm_people"]));
    assert!(warns_of(&task, "(1; `copy_unprefixed_tables` copies them): crm_people."));
    assert!(warns_of(&task, "their table prefixes: blog_."));
    let body: Value = json!({"source": site.login(&site.admin()), "copy_unprefixed_tables": true});
    let task = client.accepted("/clone", &body).await?;
    let task = client.wait(task.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    let pair = Pair::of(&site, &app, &client, &task).await?;
    assert_eq!(pair.clone.database.sql(tables).await?.trim(), "crm_people");
    let page = pair.clone.database.sql("SELECT page FROM crm_people").await?;
    assert_eq!(page.trim(), format!("{}/a", pair.clone.url));
    assert!(!warns_of(&task, "crm_people"));
    Ok(())
}

//! What wp-config.php decides: how the bytes of the database are read, and which constants code can use.

use std::fs;

use serde_json::Value;
use wpclone_tests::{Result, Site, TestApp, Version};

use crate::clone::checker::Pair;
use crate::clone::{at, cloned, start_visited};

/// Text outside of ASCII, in UTF-8.
const TEXT: &str = "Gr\u{fc}\u{df}e aus Z\u{fc}rich \u{2013} \u{65e5}\u{672c} \u{201e}x\u{201d}";

/// Uses a constant as plugins do: without it PHP ends with an error. Prints what visitors cannot see otherwise.
const USES_CONSTANTS: &str = "add_action('wp_footer', function () { \
    echo '<p>level ', EXAMPLE_LEVEL + 1, ', ', EXAMPLE_TEXT, ', key ', var_export(defined('EXAMPLE_API_KEY'), true), '</p>'; \
    echo '<pre>', json_encode([get_option('lab_text'), DB_CHARSET], JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES), '</pre>'; });";

/// Makes a site of years ago: UTF-8 bytes in latin1 tables, over a latin1 connection.
async fn make_latin1(site: &Site) -> Result {
    for table in ["posts", "postmeta", "options", "terms", "term_taxonomy", "comments", "usermeta", "users"] {
        site.sql(&format!("ALTER TABLE wp_{table} CONVERT TO CHARACTER SET latin1")).await?;
    }
    let hex = |text: &str| format!("x'{}'", hex::encode(text));
    let url = site.url();
    let content = hex(&format!("<p>{TEXT} <a href=\"{url}/?p=1\">\u{e4}</a></p>"));
    let address = format!("{url}/\u{fc}ber");
    let option =
        format!("a:2:{{s:1:\"t\";s:{}:\"{TEXT}\";s:1:\"u\";s:{}:\"{address}\";}}", TEXT.len(), address.len());
    site.sql(&format!(
        "INSERT INTO wp_posts (post_author, post_date, post_date_gmt, post_modified, post_modified_gmt, post_content, \
         post_title, post_excerpt, post_status, post_name, to_ping, pinged, post_content_filtered, guid) \
         VALUES (1, NOW(), NOW(), NOW(), NOW(), {content}, {title}, '', 'publish', 'letters', '', '', '', '{url}/?letters'); \
         INSERT INTO wp_options (option_name, option_value, autoload) VALUES ('lab_text', {option}, 'yes'); \
         UPDATE wp_options SET option_value = {name} WHERE option_name = 'blogname'",
        title = hex(TEXT),
        option = hex(&option),
        name = hex("B\u{fc}ro"),
    ))
    .await?;
    site.edit_config("define('DB_CHARSET', 'utf8mb4')", "define('DB_CHARSET', 'latin1')")
}

async fn page(url: &str, path: &str) -> Result<String> {
    Ok(reqwest::get(format!("{url}/{path}")).await?.text().await?)
}

#[tokio::test]
async fn a_copy_reads_its_database_as_its_source_does_and_has_the_constants_that_code_uses() -> Result {
    let site = start_visited(
        Site::builder(Version::Bookworm)
            .constant("EXAMPLE_LEVEL", "6")
            .constant("EXAMPLE_TEXT", "\"it's \u{e4} \\\\ one\"")
            .constant("EXAMPLE_API_KEY", "'abc-123'")
            .constant("EXAMPLE_FOLDER", "'/srv/customers/u123456/public_html/data/'")
            .mu_plugin("uses-constants", USES_CONSTANTS),
    )
    .await?;
    make_latin1(&site).await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let url = at(&task, "/clone/url").as_str().unwrap().trim_end_matches('/').to_owned();
    for (side, key) in [(&site.url(), "true"), (&url, "false")] {
        let letters = page(side, "?name=letters").await?;
        let front = page(side, "").await?;
        let footer = format!("<p>level 7, it's \u{e4} \\ one, key {key}</p>");
        let option = format!("[{{\"t\":\"{TEXT}\",\"u\":\"{side}/\u{fc}ber\"}},\"latin1\"]");
        for part in [TEXT, &footer, &option, &format!("{side}/?p=1")] {
            assert!(letters.contains(part), "{part} at {side}:\n{letters}");
        }
        assert!(front.contains("B\u{fc}ro") && front.contains(TEXT), "{side}:\n{front}");
    }
    let name = at(&task, "/clone/name").as_str().unwrap();
    let config =
        fs::read_to_string(app.clones_state().unwrap().join("clones").join(name).join("www/wp-config.php"))?;
    assert!(!config.contains("EXAMPLE_API_KEY") && !config.contains("/srv/customers"), "{config}");
    assert_eq!(at(&task, "/source/facts/charset"), "latin1");
    let warnings: Vec<_> =
        at(&task, "/fidelity/warnings").as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let named = warnings.iter().find(|warning| warning.starts_with("Constants")).unwrap_or_else(|| {
        panic!("{warnings:#?}");
    });
    for part in ["EXAMPLE_API_KEY (secret)", "EXAMPLE_FOLDER (path)"] {
        assert!(named.contains(part), "{named}");
    }
    assert!(!named.contains("EXAMPLE_LEVEL") && !named.contains("DB_"), "{named}");
    assert!(warnings.iter().all(|warning| !warning.contains("DB_CHARSET")), "{warnings:#?}");
    Ok(())
}

/// The tables of users have names of their own, and one with a usual name is left over.
const RENAMED_USERS: &str = "RENAME TABLE wp_users TO people, wp_usermeta TO wp_people_meta; \
    CREATE TABLE wp_users (id INT PRIMARY KEY)";

#[tokio::test]
async fn users_in_tables_with_names_of_their_own_are_the_users_of_the_copy() -> Result {
    let site = Site::builder(Version::Bookworm)
        .constant("CUSTOM_USER_TABLE", "'people'")
        .constant("CUSTOM_USER_META_TABLE", "'wp_people_meta'")
        .start()
        .await?;
    site.sql(RENAMED_USERS).await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let pair = Pair::of(&site, &app, &client, &task).await?;
    let of = |users: &str, meta: &str| {
        format!(
            "SELECT user_login, user_pass, user_email, meta_value FROM {users} JOIN {meta} ON user_id = ID \
             WHERE user_login = '{}' AND meta_key = 'wp_capabilities'",
            site.admin().name
        )
    };
    let user = site.sql(&of("people", "wp_people_meta")).await?;
    assert!(user.contains("administrator"), "{user}");
    assert_eq!(pair.clone.database.sql(&of("wp_users", "wp_usermeta")).await?, user);
    let others = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE '%people%'";
    assert_eq!(pair.clone.database.sql(others).await?, "");
    let omitted = pair.fidelity["omitted_tables"].to_string();
    assert!(omitted.contains("\"wp_users\""), "the one that is left over: {omitted}");
    Ok(())
}

//! Folders and their addresses: links instead of folders, uploads in two places, and names that look left over.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;
use wpclone_tests::{Result, Site, TestApp, Version};

use crate::clone::{at, cloned, start_visited};

/// Files of a plugin's own code that backup programs would leave out.
const LOOK_LEFT_OVER: [&str; 9] = [
    "vendor/acme/cache/Adapter.php",
    "vendor/acme/upgrade/Up.php",
    "backups/Store.php",
    "logs/Writer.php",
    "templates/wp-config.php",
    "data/schema.sql",
    "data/sample.log",
    "data/error_log",
    "dist/.vite/manifest.json",
];

/// Where WordPress looks for uploads, the file and address of an attachment, and whether the theme is there.
const UPLOADS: &str = "add_action('wp_footer', function () { $uploads = wp_upload_dir(null, false); \
    $files = get_posts(['post_type' => 'attachment', 'name' => 'new-one', 'post_status' => 'inherit']); \
    $id = $files[0]->ID ?? 0; \
    echo '<pre>', json_encode([$uploads['baseurl'], wp_get_attachment_url($id), is_file(get_attached_file($id)), wp_get_theme()->exists()], \
    JSON_UNESCAPED_SLASHES), '</pre>'; });";

/// Moves the theme, a plugin, a must-use plugin and a year of the uploads out of the web root, with links in their places.
async fn add_links(site: &Site) -> Result {
    let (content, shared) = (site.tree().join("wp-content"), site.tree().parent().unwrap().join("shared"));
    let footer = |text: &str| {
        format!(
            "<?php\n/* Plugin Name: {text} */\nadd_action('wp_footer', function () {{ echo '<p>{text}</p>'; }});\n"
        )
    };
    for (path, text) in [
        ("linked/linked.php", footer("linked plugin")),
        ("must-use.php", footer("linked must-use plugin")),
        ("2020/linked.txt", "linked".to_owned()),
    ] {
        let file = shared.join(path);
        fs::create_dir_all(file.parent().unwrap())?;
        fs::write(file, text)?;
    }
    let theme = site.eval_php("echo get_option('stylesheet');").await?;
    fs::rename(content.join("themes").join(&theme), shared.join("theme"))?;
    for folder in ["mu-plugins", "uploads"] {
        fs::create_dir_all(content.join(folder))?;
    }
    for (to, link) in [
        ("theme", format!("themes/{theme}")),
        ("linked", "plugins/linked".to_owned()),
        ("must-use.php", "mu-plugins/must-use.php".to_owned()),
        ("2020", "uploads/2020".to_owned()),
    ] {
        symlink(shared.join(to), content.join(link))?;
    }
    Ok(())
}

/// Adds a plugin that counts the files of its code.
fn add_vendor_plugin(site: &Site) -> Result {
    for file in LOOK_LEFT_OVER {
        site.put(&format!("wp-content/plugins/vendor/{file}"), "<?php\n")?;
    }
    let list = LOOK_LEFT_OVER.map(|file| format!("'{file}'")).join(", ");
    let php = format!(
        "<?php\n/* Plugin Name: Vendor */\nadd_action('wp_footer', function () {{ \
         $there = array_filter([{list}], function ($file) {{ return is_file(__DIR__ . '/' . $file); }}); \
         echo '<p>vendor: ', count($there), '</p>'; }});\n"
    );
    site.put("wp-content/plugins/vendor/vendor.php", &php)
}

/// Gives the uploads another folder, with a file of the same name as one in the former.
async fn move_uploads(site: &Site) -> Result {
    // Folders of the site, which its own user can write.
    for folder in ["files", "wp-content/uploads"] {
        site.put(&format!("{folder}/index.html"), "")?;
    }
    site.put("wp-content/uploads/2024/05/same.txt", "old")?;
    site.put("wp-content/uploads/2024/cache/thumb.txt", "not at the top")?;
    site.put("files/2024/05/same.txt", "new")?;
    site.put("files/cache/thumb.txt", "a picture of a page")?;
    site.eval_php(
        "update_option('upload_path', 'files'); \
         wp_insert_attachment(['post_title' => 'New one', 'post_name' => 'new-one', 'post_mime_type' => 'text/plain', \
         'post_status' => 'inherit'], '2024/05/same.txt'); \
         $old = home_url('/wp-content/uploads/2024/05/same.txt'); $new = home_url('/files/2024/05/same.txt'); \
         wp_insert_post(['post_status' => 'publish', 'post_name' => 'both', 'post_title' => 'Both', \
         'post_content' => \"<a href='$old'>old</a> <a href='$new'>new</a>\"]); \
         update_option('active_plugins', ['linked/linked.php', 'vendor/vendor.php']);",
    )
    .await
    .map(drop)
}

#[tokio::test]
async fn links_are_followed_code_is_whole_and_uploads_of_two_places_keep_their_addresses() -> Result {
    let site = start_visited(Site::builder(Version::Bookworm).mu_plugin("uploads", UPLOADS)).await?;
    add_links(&site).await?;
    add_vendor_plugin(&site)?;
    move_uploads(&site).await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let url = at(&task, "/clone/url").as_str().unwrap().trim_end_matches('/').to_owned();
    for side in [&site.url(), &url] {
        let get = async |path: &str| -> Result<String> {
            Ok(reqwest::get(format!("{side}/{path}")).await?.text().await?)
        };
        let front = get("").await?;
        let found = format!("vendor: {}", LOOK_LEFT_OVER.len());
        let uploads = format!("[\"{side}/files\",\"{side}/files/2024/05/same.txt\",true,true]");
        for part in ["<p>linked plugin</p>", "<p>linked must-use plugin</p>", &found, &uploads] {
            assert!(front.contains(part), "{part} at {side}:\n{front}");
        }
        let post = get("?name=both").await?;
        for (path, text) in [
            ("wp-content/uploads/2024/05/same.txt", "old"),
            ("files/2024/05/same.txt", "new"),
            ("wp-content/uploads/2024/cache/thumb.txt", "not at the top"),
            ("files/cache/thumb.txt", "a picture of a page"),
            ("wp-content/uploads/2020/linked.txt", "linked"),
        ] {
            assert_eq!(get(path).await?, text, "{path} at {side}");
            assert!(!path.contains("/05/") || post.contains(&format!("{side}/{path}")), "{path} in {post}");
        }
    }
    let report = task.artifacts.iter().find(|artifact| artifact.name == "fidelity.json").unwrap();
    let report: Value = client.get(&report.href).await?.json().await?;
    let hidden = report["files"]["hidden_files"].as_array().unwrap();
    assert!(hidden.contains(&"Plugins/vendor/dist/.vite/manifest.json".into()), "{hidden:?}");
    assert!(at(&task, "/fidelity/hidden_files").as_u64().unwrap() >= 1, "{task:#?}");
    let warnings = at(&task, "/fidelity/warnings").to_string();
    for part in ["lacks", "looks for them", "two folders", "Constants"] {
        assert!(!warnings.contains(part), "{warnings}");
    }
    let copied = at(&task, "/fidelity/omitted");
    assert!(copied["refused-by-target"].is_null(), "{copied}");
    Ok(())
}

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

/// Registers two more folders with themes when plugins have loaded.
const THEME_FOLDERS: &str = "add_action('plugins_loaded', function () { register_theme_directory(WP_CONTENT_DIR . '/more-themes'); \
    register_theme_directory(dirname(ABSPATH) . '/themes-elsewhere'); });";

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

async fn get_text(url: &str) -> Result<String> {
    Ok(reqwest::get(url).await?.text().await?)
}

#[tokio::test]
async fn links_are_followed_code_is_whole_and_uploads_of_two_places_keep_their_addresses() -> Result {
    let site = start_visited(
        Site::builder(Version::Bookworm)
            .mu_plugin("uploads", UPLOADS)
            .mu_plugin("theme-folders", THEME_FOLDERS),
    )
    .await?;
    add_links(&site).await?;
    for (folder, theme) in
        [("wp-content/more-themes", "theme-in-content"), ("../themes-elsewhere", "theme-elsewhere")]
    {
        site.put(&format!("{folder}/{theme}/style.css"), &format!("/* Theme Name: {theme} */"))?;
        site.put(&format!("{folder}/{theme}/index.php"), "<?php")?;
    }
    add_vendor_plugin(&site)?;
    move_uploads(&site).await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let url = at(&task, "/clone/url").as_str().unwrap().trim_end_matches('/').to_owned();
    for side in [&site.url(), &url] {
        let get = async |path: &str| get_text(&format!("{side}/{path}")).await;
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
    assert!(warnings.contains("content are not in the copy: theme-elsewhere."), "{warnings}");
    let theme = get_text(&format!("{url}/wp-content/more-themes/theme-in-content/style.css")).await?;
    assert_eq!(theme, "/* Theme Name: theme-in-content */");
    for part in ["lacks", "looks for them", "two folders", "Constants"] {
        assert!(!warnings.contains(part), "{warnings}");
    }
    let copied = at(&task, "/fidelity/omitted");
    assert!(copied["refused-by-target"].is_null(), "{copied}");
    Ok(())
}

/// Writes a post with an address of each kind that a site has whose WordPress is in a folder of its own.
async fn write_post_with_links(site: &Site) -> Result {
    site.put("wp-content/uploads/2024/05/file.txt", "uploaded")?;
    site.eval_php(
        "update_option('permalink_structure', '/%postname%/'); flush_rewrite_rules(false); \
         $links = [home_url('/'), home_url('/linked/'), home_url('/wp-json/'), site_url('/wp-login.php'), \
         content_url('/uploads/2024/05/file.txt'), includes_url('/js/jquery/jquery.min.js')]; \
         $text = implode(' ', array_map(function ($link) { return \"<a class='kind' href='$link'>x</a>\"; }, $links)); \
         wp_insert_post(['post_status' => 'publish', 'post_name' => 'linked', 'post_title' => 'Linked', 'post_content' => $text]);",
    )
    .await
    .map(drop)
}

/// The addresses of that post, as a page at this address has them.
async fn links_of_post(home: &str) -> Result<Vec<String>> {
    let page = reqwest::get(format!("{home}/linked/")).await?.error_for_status()?.text().await?;
    let mut links = page.split("<a class='kind' href='").skip(1);
    let links: Vec<String> = links.by_ref().map(|rest| rest.split_once('\'').unwrap().0.to_owned()).collect();
    assert_eq!(links.len(), 6, "{page}");
    Ok(links)
}

#[tokio::test]
async fn a_wordpress_in_a_folder_of_its_own_is_cloned_with_all_its_addresses() -> Result {
    let nginx = "location / { try_files $uri $uri/ /index.php?$args; }";
    let site = Site::builder(Version::Bookworm).prefix("/wp").nginx(nginx).start().await?;
    let home = site.move_front_page_to_root().await?;
    site.put("../ads.txt", "beside WordPress")?;
    write_post_with_links(&site).await?;
    let app = TestApp::builder().clones(Version::Bookworm).start().await?;
    let client = app.client()?;
    let task = cloned(&client, &site).await?;
    let url = at(&task, "/clone/url").as_str().unwrap().trim_end_matches('/').to_owned();
    let (there, here) = (links_of_post(&home).await?, links_of_post(&url).await?);
    for (source, copy) in there.iter().zip(&here) {
        let below = |base: &str| source.strip_prefix(&format!("{base}/"));
        let path = below(&site.url()).or_else(|| below(&home)).unwrap();
        assert_eq!(copy, &format!("{url}/{path}"), "{source}");
        let (source, copy) = (reqwest::get(source).await?, reqwest::get(copy).await?);
        assert_eq!((source.status().as_u16(), copy.status().as_u16()), (200, 200), "{path}");
        let text = copy.text().await?;
        assert!(!text.contains(&home), "an address of the source at {path}: {text}");
        assert!(!path.ends_with(".txt") || text == "uploaded", "{text}");
    }
    let warnings = at(&task, "/fidelity/warnings").to_string();
    let beside = format!("Files beside the folder of WordPress ({}) are not in the copy", site.url());
    assert!(warnings.contains(&beside) && !warnings.contains("lacks"), "{warnings}");
    assert_eq!(reqwest::get(format!("{url}/ads.txt")).await?.status(), 404);
    Ok(())
}

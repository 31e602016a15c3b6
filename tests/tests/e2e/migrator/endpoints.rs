//! Sites on which some endpoints are blocked.

use wpclone_migrator::{AdaptiveBatch, ClientError, Root};
use wpclone_tests::{Result, Version};

use crate::migrator::checker::read;
use crate::migrator::files::index;

/// Reads rows and files through whichever endpoint works.
async fn reads(client: &wpclone_migrator::Client) {
    assert!(read(client, "wp_posts", AdaptiveBatch::new(5000)).await.rows.len() > 3);
    assert!(!index(client, Root::Content, false, AdaptiveBatch::new(5000)).await.is_empty());
    assert!(client.manifest().await.is_ok());
}

#[tokio::test]
async fn where_a_cache_answers_for_the_front_page_rest_is_the_way() -> Result {
    let cache = "if ($arg_wpclone_migrator) { return 200 'cached'; }";
    let site =
        crate::migrator::small(Version::Trixie).prefix("/blog").content(5).nginx(cache).start().await?;
    let client = crate::migrator::open(&site, false).await?;
    reads(&client).await;
    assert_eq!(crate::migrator::complaints(&site), [""; 0]);
    // One failure is enough to decide.
    let requests = site.hits().await?.iter().filter(|h| h.path.contains("wpclone_migrator=")).count();
    assert_eq!(requests, 1);
    Ok(())
}

#[tokio::test]
async fn where_rest_is_closed_the_front_page_is_the_way() -> Result {
    let closed = "add_filter('rest_authentication_errors', function () { return new WP_Error('no', 'no', ['status' => 401]); });";
    let site = crate::migrator::small(Version::Trixie).content(5).mu_plugin("closed", closed).start().await?;
    reads(&crate::migrator::open(&site, false).await?).await;
    Ok(())
}

#[tokio::test]
async fn plugins_that_print_buffer_or_filter_rest_responses_do_no_harm() -> Result {
    let noisy = "ob_start(); echo 'noise'; ob_start(); echo \"\\u{feff}\"; \
        add_filter('rest_post_dispatch', function ($r) { $r->set_data(['changed' => 1]); return $r; }); \
        add_filter('rest_pre_serve_request', function () { echo 'more'; return false; }); \
        register_shutdown_function(function () { echo '<!-- served in 0.1 s -->'; });";
    for cache in ["", "if ($arg_wpclone_migrator) { return 200 'cached'; }"] {
        let site = crate::migrator::small(Version::Bookworm)
            .content(5)
            .mu_plugin("noisy", noisy)
            .nginx(cache)
            .start()
            .await?;
        let client = crate::migrator::open(&site, false).await?;
        assert!(read(&client, "wp_posts", AdaptiveBatch::new(5000)).await.rows.len() > 3);
    }
    Ok(())
}

#[tokio::test]
async fn a_stale_response_from_a_cache_is_rejected() -> Result {
    let kept = r#"{"plugin_version":"0.1.0","wordpress":"6.1","php":"8","import_enabled":true,"open_until":9999999999,"site_url":"","home_url":"","multisite":false}"#;
    let stale = format!(
        "if ($arg_wpclone_migrator) {{ rewrite ^ /stale last; }} location = /stale {{ default_type application/json; return 200 '{kept}'; }}"
    );
    let rest = "if ($arg_rest_route) { return 403 'no'; }";
    let site = crate::migrator::small(Version::Bookworm).nginx(&stale).nginx(rest).start().await?;
    let client = crate::migrator::open(&site, false).await?;
    assert!(matches!(client.status().await, Err(ClientError::Unverified { status: 200, .. })));
    Ok(())
}

#[tokio::test]
async fn a_custom_uploads_folder_is_a_root_of_its_own() -> Result {
    let site =
        crate::migrator::small(Version::Bookworm).constant("UPLOADS", "'media'").content(2).start().await?;
    let client = crate::migrator::open(&site, false).await?;
    let path = |e: &wpclone_migrator::Entry| String::from_utf8_lossy(&e.path).into_owned();
    let uploads: Vec<_> =
        index(&client, Root::Uploads, false, AdaptiveBatch::new(5000)).await.iter().map(path).collect();
    assert!(uploads.iter().any(|p| p.ends_with("picture-1.png")), "{uploads:?}");
    let core: Vec<_> =
        index(&client, Root::Core, false, AdaptiveBatch::new(5000)).await.iter().map(path).collect();
    assert!(core.iter().all(|p| !p.starts_with("media") && !p.starts_with("wp-content")), "{core:?}");
    assert!(core.iter().any(|p| p == "wp-admin/index.php"));
    Ok(())
}

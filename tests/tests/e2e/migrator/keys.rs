//! Keys: who may use them, and where they must never appear.

use serde_json::json;
use wpclone_migrator::{ClientError, Key, Request};
use wpclone_tests::{Result, Site, Version};

use crate::migrator::{client, key, sent, small};

/// Sends a signed request `times` times, and returns the statuses.
async fn statuses(site: &Site, key: &Key, times: usize) -> Result<Vec<u16>> {
    let request = Request::new("manifest", b"{}").expect("random bytes");
    let mut all = Vec::new();
    for _ in 0..times {
        all.push(sent(site, key, &request).await?.status().as_u16());
    }
    Ok(all)
}

/// Rule R17 (docs/TRANSFER.md).
#[tokio::test]
async fn the_key_of_one_site_is_refused_by_another() -> Result {
    let (one, other) = tokio::try_join!(small(Version::Bookworm).start(), small(Version::Bookworm).start())?;
    let (of_one, of_other) = (key(&one, true).await?, key(&other, true).await?);
    assert_eq!(statuses(&one, &of_one, 1).await?, [200]);
    assert_eq!(statuses(&other, &of_other, 1).await?, [200]);
    assert_eq!(statuses(&other, &of_one, 1).await?, [403]);
    let stranger = client(&other, of_one);
    assert!(matches!(stranger.manifest().await, Err(ClientError::Forbidden)));
    assert_eq!(statuses(&one, &of_other, 1).await?, [403]);
    Ok(())
}

/// Rule R21 (docs/TRANSFER.md).
#[tokio::test]
async fn strangers_see_nothing_of_the_plugin() -> Result {
    let site = small(Version::Bookworm).start().await?;
    let migrator = client(&site, key(&site, false).await?);
    migrator.manifest().await.expect("it is awake");
    let asleep = "require_once WP_PLUGIN_DIR . '/wpclone-migrator/includes/load.php'; \
                  Wpclone\\Migrator\\State_Store::delete_all(); echo 'asleep';";
    let http = reqwest::Client::builder().no_proxy().build()?;
    for state in ["awake", "asleep"] {
        if state == "asleep" {
            assert_eq!(site.eval_php(asleep).await?, "asleep");
        }
        for path in ["/", "/?rest_route=/", "/?rest_route=/wp/v2", "/wp-login.php", "/?feed=rss2"] {
            for method in [reqwest::Method::GET, reqwest::Method::POST, reqwest::Method::OPTIONS] {
                let url = format!("{}{path}", site.url());
                let answer = http.request(method.clone(), url).send().await?;
                let headers = format!("{:?}", answer.headers());
                let shown = headers + &answer.text().await?;
                assert!(!shown.contains("wpclone"), "{state}: {method} {path}: {shown}");
            }
        }
        // The namespace and its routes are unknown to those who ask for them with a GET.
        for route in ["/wpclone-migrator/v1", "/wpclone-migrator/v1/status"] {
            let answer = http.get(format!("{}/?rest_route={route}", site.url())).send().await?;
            let (status, text) = (answer.status().as_u16(), answer.text().await?);
            assert!(status == 404 && text.contains("rest_no_route"), "{state}: {route}: {status} {text}");
        }
    }
    Ok(())
}

/// Rule R11 (docs/TRANSFER.md).
#[tokio::test]
async fn a_replayed_request_is_refused() -> Result {
    let site = small(Version::Bookworm).start().await?;
    let key = key(&site, false).await?;
    assert_eq!(statuses(&site, &key, 3).await?, [200, 403, 403]);
    Ok(())
}

/// Rule R11 (docs/TRANSFER.md).
#[tokio::test]
async fn a_replayed_request_is_refused_by_a_site_whose_options_have_lost_their_keys() -> Result {
    let site = small(Version::Bookworm).start().await?;
    site.sql("ALTER TABLE wp_options MODIFY option_id BIGINT UNSIGNED NOT NULL, DROP PRIMARY KEY, DROP KEY option_name").await?;
    let key = key(&site, false).await?;
    assert_eq!(statuses(&site, &key, 3).await?, [200, 403, 403]);
    Ok(())
}

/// Rule R5 (docs/TRANSFER.md).
#[tokio::test]
async fn a_key_is_in_no_request_and_no_page_and_expires() -> Result {
    let site = small(Version::Bookworm).start().await?;
    site.put_mu_plugin(
        "overhears",
        "file_put_contents(ABSPATH . 'overheard.txt', json_encode([$_SERVER, file_get_contents('php://input')]) . \"\\n\", FILE_APPEND);",
    )?;
    let key = key(&site, false).await?;
    client(&site, key).manifest().await.unwrap();
    let known = "require_once WP_PLUGIN_DIR . '/wpclone-migrator/includes/load.php'; \
                 echo Wpclone\\Migrator\\Access_Window::load()->key(time());";
    let secret = site.eval_php(known).await?;
    assert_eq!(secret.len(), 64, "{secret}");
    let overheard = std::fs::read_to_string(site.tree().join("overheard.txt"))?;
    assert!(overheard.contains("wpclone_migrator"), "{overheard}");
    assert!(!overheard.to_lowercase().contains(&secret), "the key went over the wire");
    // No page and no REST response contains it, and it expires by itself.
    for path in ["/", "/?rest_route=/", "/?rest_route=/wp/v2/settings", "/wp-login.php"] {
        let page = reqwest::get(format!("{}{path}", site.url())).await?.text().await?;
        assert!(!page.contains(&secret), "{path}");
    }
    let later = site
        .eval_php(
            "require_once WP_PLUGIN_DIR . '/wpclone-migrator/includes/load.php'; \
             echo json_encode(Wpclone\\Migrator\\Access_Window::load()->key(time() + 3601));",
        )
        .await?;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&later)?, json!(null));
    Ok(())
}

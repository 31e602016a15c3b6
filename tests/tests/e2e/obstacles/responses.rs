//! Responses that a cache gives in WordPress' place or that have something printed around them, and pages with dialogs.

use crate::obstacles::*;

/// A cache that responds to GET requests whose address ends so, to everybody with what it had for somebody else.
fn cache(address: &str, content_type: &str, response: &str) -> String {
    format!(
        "if ($_SERVER['REQUEST_METHOD'] === 'GET' && str_ends_with($_SERVER['REQUEST_URI'], '{address}')) {{ \
            header('Content-Type: {content_type}'); header('X-Cache: HIT'); echo '{response}'; exit; }} "
    )
}

#[tokio::test]
async fn responses_of_a_session_are_not_read_from_a_cache() -> Result {
    let html = "text/html; charset=UTF-8";
    let json = "application/json";
    let cached = [
        ("admin-ajax.php?action=rest-nonce", html, "deadbeef42"),
        ("application-passwords&context=edit", json, "[]"),
        ("users%2Fme&context=edit&_fields=username", json, "{\"username\":\"somebody\"}"),
        ("wp-admin/plugin-install.php?tab=upload", html, "<html><body>another page</body></html>"),
        (
            "plugins%2Fwpclone-migrator%2Fwpclone-migrator",
            json,
            "{\"status\":\"active\",\"version\":\"0.0.1\"}",
        ),
    ];
    let mut php: String = cached
        .iter()
        .map(|(address, content_type, response)| cache(address, content_type, response))
        .collect();
    // Caches do not answer a POST: without this one the nonce would never be asked for by GET.
    php += "if ($_SERVER['REQUEST_METHOD'] === 'POST' && str_ends_with($_SERVER['REQUEST_URI'], 'action=rest-nonce')) { \
        echo 'none'; exit; } ";
    let site = site().mu_plugin("cache", &php).start().await?;
    setup_succeeds(&site).await?;
    app_password_succeeds(&site, &site.admin()).await?;
    assert_eq!(site.logins().await?, 2, "one a task");
    let hits = site.hits().await?;
    for (address, ..) in cached {
        let asked = hits.iter().filter(|hit| hit.method == "GET" && hit.path.contains(address));
        let asked: Vec<&str> = asked.map(|hit| hit.path.as_str()).collect();
        assert!(!asked.is_empty(), "{address} is not requested: {hits:#?}");
        assert!(!asked.iter().any(|path| path.ends_with(address)), "the cache answers: {asked:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_nonce_that_is_refused_is_read_elsewhere() -> Result {
    // It looks neither at the method nor at the query.
    let any = "if (strpos($_SERVER['REQUEST_URI'], 'action=rest-nonce')) { echo 'deadbeef42'; exit; }";
    // A firewall that lets no POST without a body pass.
    let post = "if (strpos($_SERVER['REQUEST_URI'], 'action=rest-nonce') && $_SERVER['REQUEST_METHOD'] === 'POST') { \
        http_response_code(405); exit; }";
    for php in [any, post] {
        for version in [Version::Bookworm, Version::Sid] {
            let site = Site::builder(version).mu_plugin("cache", php).start().await?;
            app_password_succeeds(&site, &site.admin()).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_session_whose_nonces_are_all_refused_has_no_rest_api() -> Result {
    let php = "add_filter('rest_authentication_errors', function ($e) { \
        return is_user_logged_in() ? new WP_Error('rest_cookie_invalid_nonce', 'no', ['status' => 403]) : $e; }, 200);";
    let site = site().mu_plugin("refused", php).start().await?;
    let problem = app_password_fails(&site, &site.admin(), Code::RestBlocked).await?;
    assert!(problem.detail.contains("rest_cookie_invalid_nonce"), "{}", problem.detail);
    assert!(!problem.changed_target);
    Ok(())
}

#[tokio::test]
async fn what_is_printed_around_responses_does_not_matter() -> Result {
    // Each by itself is a case of the parsers' own tests.
    let early = r#""\xEF\xBB\xBF\r\n<br />\n<b>Warning</b>:  Undefined array key \"a[0]\" in <b>/srv/{x}.php</b> on line <b>3</b><br />\n<!-- {} -->""#;
    let late = r#"add_action('shutdown', function () { echo "\n<!-- served in 0.1 s -->"; });"#;
    for php in [format!("echo {early};"), format!("echo \"\n\n\n\"; {late}")] {
        let site = site().ini("output_buffering", "4096").mu_plugin("printed", &php).start().await?;
        app_password_succeeds(&site, &site.admin()).await?;
        setup_succeeds(&site).await?;
        assert_eq!(site.logins().await?, 2, "{php}");
    }
    Ok(())
}

#[tokio::test]
async fn pages_with_dialogs_are_pages() -> Result {
    let php = r#"
        add_action('login_footer', function () { echo '<script>alert("Update your browser."); prompt("Your name?");
            setTimeout(function () { alert("Still here?"); }, 120); window.onbeforeunload = function () { return "Leave?"; };</script>'; });
        add_action('admin_footer', function () { echo '<script>setInterval(function () { alert("Your licence."); }, 40);
            addEventListener("beforeunload", function (e) { e.preventDefault(); e.returnValue = "x"; }); print();</script>'; });"#;
    for version in [Version::Bookworm, Version::Sid] {
        let site = Site::builder(version).mu_plugin("dialogs", php).start().await?;
        setup_succeeds(&site).await?;
        app_password_succeeds(&site, &site.admin()).await?;
        assert_eq!(site.logins().await?, 2);
    }
    Ok(())
}

#[tokio::test]
async fn a_rest_api_that_asks_for_a_pause_gets_the_request_again() -> Result {
    let php = "add_filter('rest_pre_dispatch', function ($r) { $last = (float) @file_get_contents(__DIR__ . '/last'); \
        if (microtime(true) - $last < 0.8) { header('Retry-After: 1'); \
            return new WP_Error('too_many_requests', 'no', ['status' => 429]); } \
        file_put_contents(__DIR__ . '/last', microtime(true)); return $r; });";
    let site = site().mu_plugin("limit", php).start().await?;
    app_password_succeeds(&site, &site.admin()).await?;
    assert_eq!((site.logins().await?, app_passwords(&site).await?.as_str()), (1, "1"));
    Ok(())
}

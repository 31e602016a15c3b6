//! Application passwords and the REST API.

use crate::obstacles::*;

#[tokio::test]
async fn application_passwords_are_off_over_http() -> Result {
    let site = site().environment(None).start().await?;
    let problem = app_password_fails(&site, &site.admin(), Code::AppPwDisabled).await?;
    assert!(!problem.changed_target);
    assert!(problem.detail.contains("served over http, where WordPress disables them"), "{problem:#?}");
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_disables_application_passwords_is_not_mistaken_for_http() -> Result {
    let php = "add_filter('wp_is_application_passwords_available', '__return_false');";
    let site = site().mu_plugin("no-passwords", php).start().await?;
    let problem = app_password_fails(&site, &site.admin(), Code::AppPwDisabled).await?;
    assert!(problem.detail.contains("A plugin or a setting disables them"), "{problem:#?}");
    Ok(())
}

#[tokio::test]
async fn a_closed_rest_api() -> Result {
    let php = "add_filter('rest_authentication_errors', function () { return new WP_Error('rest_disabled', 'no', ['status' => 401]); });";
    let site = site().mu_plugin("no-rest", php).start().await?;
    app_password_fails(&site, &site.admin(), Code::RestBlocked).await?;
    // The migrator works without REST.
    let client = client().await?;
    let task = client.wait(client.setup(&site, &site.admin(), Role::Source).await?.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    Ok(())
}

#[tokio::test]
async fn html_in_place_of_json_is_an_error() -> Result {
    let html = "if ($arg_rest_route) { return 200 '<html><body>{\"authentication\":{}}</body></html>'; }";
    let site = site().nginx(html).start().await?;
    let problem = app_password_fails(&site, &site.admin(), Code::RestBlocked).await?;
    assert!(!problem.changed_target);
    Ok(())
}

#[tokio::test]
async fn the_authorization_page_is_used_where_something_else_answers_in_place_of_rest() -> Result {
    let php = "add_filter('rest_pre_dispatch', function ($r, $s, $q) { \
        if ($q->get_method() !== 'POST' || !strpos($q->get_route(), 'application-passwords')) { return $r; } \
        status_header(404); header('Content-Type: text/html'); echo '<html><body>Not here</body></html>'; exit; }, 10, 3);";
    for version in [Version::Bookworm, Version::Sid] {
        let site = Site::builder(version).mu_plugin("no-making", php).start().await?;
        let client = client().await?;
        let task = client.wait(client.app_password(&site, &site.admin(), "by page").await?.id).await?;
        assert_eq!(task.state, State::Succeeded, "{task:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_ends_requests_with_an_application_password_is_quoted_and_leaves_none() -> Result {
    // It asks who the user is before WordPress reads application passwords, which are for REST only.
    let php = "add_action('init', 'wp_get_current_user'); add_action('rest_api_init', function () { \
        if (!wp_get_current_user()->exists()) { wp_die('REST is for members only'); } });";
    let site = site().mu_plugin("members-only", php).start().await?;
    let problem = app_password_fails(&site, &site.admin(), Code::RestBlocked).await?;
    assert!(!problem.changed_target, "{problem:#?}");
    for part in ["has just created", "500", "REST is for members only"] {
        assert!(problem.detail.contains(part), "{part}: {problem:#?}");
    }
    assert_eq!(app_passwords(&site).await?, "0");
    Ok(())
}

/// The Authorization header does not reach WordPress.
const STRIPPED: &str =
    "unset($_SERVER['PHP_AUTH_USER'], $_SERVER['PHP_AUTH_PW'], $_SERVER['HTTP_AUTHORIZATION']);";

#[tokio::test]
async fn a_stripped_authorization_header_leaves_no_application_password() -> Result {
    let site = site().mu_plugin("stripped", STRIPPED).start().await?;
    let problem = app_password_fails(&site, &site.admin(), Code::AuthHeaderStripped).await?;
    assert!(!problem.changed_target);
    assert_eq!(app_passwords(&site).await?, "0");
    Ok(())
}

#[tokio::test]
async fn a_rejected_application_password_is_no_lack_of_rights_where_rest_is_closed_to_visitors() -> Result {
    for (status, code) in [(401, Code::AuthHeaderStripped), (403, Code::RestBlocked)] {
        let closed = format!(
            "add_filter('rest_authentication_errors', function ($e) {{ return is_user_logged_in() ? $e : \
             new WP_Error('rest_cannot_access', 'Only for <b>members</b>.', ['status' => {status}]); }});"
        );
        let site = site().mu_plugin("stripped", STRIPPED).mu_plugin("closed", &closed).start().await?;
        let problem = app_password_fails(&site, &site.admin(), code).await?;
        assert!(!problem.changed_target && !problem.more.contains_key("cap"), "{problem:#?}");
        let status = status.to_string();
        for part in [&status, "rest_cannot_access", "Authorization header", "a plugin", "Only for members."] {
            assert!(problem.detail.contains(part), "{part}: {problem:#?}");
        }
        assert_eq!(app_passwords(&site).await?, "0");
    }
    Ok(())
}

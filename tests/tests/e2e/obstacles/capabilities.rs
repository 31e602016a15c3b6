//! What WordPress denies a user is final, and asked before anything is changed.

use crate::obstacles::*;

/// Denies a capability whatever the user's roles are.
fn denied(cap: &str) -> String {
    format!(
        "add_filter('map_meta_cap', function ($caps, $cap) {{ return $cap === '{cap}' ? ['do_not_allow'] : $caps; }}, 10, 2);"
    )
}

async fn has_migrator(site: &Site) -> Result<bool> {
    let php = "require_once ABSPATH . 'wp-admin/includes/plugin.php'; \
        echo isset(get_plugins()['wpclone-migrator/wpclone-migrator.php']) ? 'there' : 'none';";
    Ok(site.eval_php(php).await?.trim() == "there")
}

#[tokio::test]
async fn a_user_who_may_create_no_application_password_gets_none_by_a_page() -> Result {
    for version in [Version::Bookworm, Version::Sid] {
        for cap in ["create_app_password", "list_app_passwords"] {
            let site = Site::builder(version).mu_plugin("denied", &denied(cap)).start().await?;
            let problem = app_password_fails(&site, &site.admin(), Code::CapMissing).await?;
            assert_eq!(problem.more["cap"], cap);
            assert!(!problem.changed_target);
            assert_eq!(app_passwords(&site).await?, "0");
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_application_password_that_rest_refuses_is_not_created_by_a_page() -> Result {
    for refusal in [
        "new WP_Error('no', 'no', ['status' => 403])",
        "new WP_Error('policy', 'Ask the security team.', ['status' => 400])",
        "new WP_Error('application_passwords_disabled_for_user', 'no', ['status' => 501])",
    ] {
        let php = format!(
            "add_filter('rest_pre_dispatch', function ($r, $s, $q) {{ return $q->get_method() === 'POST' \
                && strpos($q->get_route(), 'application-passwords') ? {refusal} : $r; }}, 10, 3);"
        );
        let site = site().mu_plugin("refused", &php).start().await?;
        let code = if refusal.contains("disabled") { Code::AppPwDisabled } else { Code::RestBlocked };
        let problem = app_password_fails(&site, &site.admin(), code).await?;
        assert!(!problem.changed_target);
        assert_eq!(app_passwords(&site).await?, "0");
    }
    Ok(())
}

#[tokio::test]
async fn a_user_who_may_not_open_the_settings_page_gets_no_migrator() -> Result {
    let by_role =
        "add_filter('user_has_cap', function ($caps) { unset($caps['manage_options']); return $caps; });";
    for php in [denied("manage_options"), by_role.to_owned()] {
        let site = site().mu_plugin("denied", &php).start().await?;
        let (_, problem) = setup_fails(&site, &site.admin(), Code::CapMissing).await?;
        assert_eq!(problem.more["cap"], "manage_options");
        assert!(!problem.changed_target && !has_migrator(&site).await?);
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_capability_is_named() -> Result {
    for cap in ["install_plugins", "activate_plugins"] {
        let php = format!(
            "add_action('init', function () {{ $role = get_role('administrator'); \
                if ($role->has_cap('{cap}')) {{ $role->remove_cap('{cap}'); }} }});"
        );
        let site = site().mu_plugin("role", &php).start().await?;
        let (_, problem) = setup_fails(&site, &site.admin(), Code::CapMissing).await?;
        assert_eq!(problem.more["cap"], cap);
        assert!(!problem.changed_target && !has_migrator(&site).await?);
    }
    Ok(())
}

#[tokio::test]
async fn a_migrator_that_the_user_may_not_activate_is_removed_again() -> Result {
    for version in [Version::Bookworm, Version::Sid] {
        let site = Site::builder(version).mu_plugin("denied", &denied("activate_plugin")).start().await?;
        let (_, problem) = setup_fails(&site, &site.admin(), Code::CapMissing).await?;
        assert_eq!(problem.more["cap"], "activate_plugins");
        assert!(!problem.changed_target && !has_migrator(&site).await?);
    }
    Ok(())
}

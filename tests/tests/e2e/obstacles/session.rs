//! What follows the login: a session is the login, pages of wp-admin are asked for only where a task needs them, and no
//! session stays on the site.

use crate::obstacles::*;

pub(crate) async fn sessions(site: &Site) -> Result<String> {
    let php = "$all = array_map(fn($user) => WP_Session_Tokens::get_instance($user->ID)->get_all(), get_users()); \
        echo count(array_merge(...$all));";
    Ok(site.eval_php(php).await?.trim().to_owned())
}

#[tokio::test]
async fn no_session_stays_on_the_site() -> Result {
    for version in [Version::Bookworm, Version::Sid] {
        let site = Site::builder(version).start().await?;
        setup_succeeds(&site).await?;
        assert_eq!(sessions(&site).await?, "0");
        app_password_succeeds(&site, &site.admin()).await?;
        assert_eq!(sessions(&site).await?, "0");
    }
    // A task that fails, on a site whose pages of wp-admin cannot be read.
    let php =
        "add_action('admin_init', function () { if (!wp_doing_ajax()) { status_header(500); exit; } });";
    let site = site().prefix("/blog").mu_plugin("broken", php).start().await?;
    setup_fails(&site, &site.admin(), Code::SiteFatal).await?;
    assert_eq!(sessions(&site).await?, "0");
    Ok(())
}

#[tokio::test]
async fn wp_admin_that_redirects_to_itself_costs_one_login() -> Result {
    let php = "add_action('admin_init', function () { if (!wp_doing_ajax()) { \
        wp_redirect('http://' . $_SERVER['HTTP_HOST'] . $_SERVER['REQUEST_URI']); exit; } }, 0);";
    for version in [Version::Bookworm, Version::Sid] {
        let site = Site::builder(version).mu_plugin("circle", php).start().await?;
        let (_, problem) = setup_fails(&site, &site.admin(), Code::Redirected).await?;
        assert!(!problem.changed_target);
        assert_eq!(site.logins().await?, 1);
        app_password_succeeds(&site, &site.admin()).await?;
        assert_eq!(sessions(&site).await?, "0");
    }
    Ok(())
}

#[tokio::test]
async fn a_page_that_does_not_come_after_the_login_is_not_waited_for() -> Result {
    let php = "add_action('admin_init', function () { if (!wp_doing_ajax()) { sleep(60); } });";
    let site = site().mu_plugin("slow", php).start().await?;
    app_password_succeeds(&site, &site.admin()).await?;
    assert_eq!(site.logins().await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_session_that_the_site_ends_costs_one_login() -> Result {
    let always = "add_action('admin_init', function () { wp_destroy_current_session(); });";
    let once = "add_action('admin_init', function () { \
        if (strpos($_SERVER['REQUEST_URI'], 'plugin-install') && !get_option('lost')) { \
        update_option('lost', 1); wp_destroy_all_sessions(); wp_redirect(wp_login_url('', true)); exit; } });";
    for php in [always, once] {
        let site = site().mu_plugin("forgetful", php).start().await?;
        let (task, problem) = setup_fails(&site, &site.admin(), Code::SessionLost).await?;
        assert_eq!((task.attempts, site.logins().await?), (1, 1), "{php}");
        assert!(problem.detail.contains("not sent again") && !problem.changed_target, "{problem:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_user_who_is_led_away_from_wp_admin_gets_an_application_password() -> Result {
    // As WooCommerce does it with customers.
    let php = "add_action('admin_init', function () { if (!wp_doing_ajax() && !current_user_can('edit_posts')) { \
        wp_safe_redirect(home_url('/')); exit; } }); add_filter('show_admin_bar', '__return_false');";
    for version in [Version::Bookworm, Version::Sid] {
        let builder =
            Site::builder(version).mu_plugin("shop", php).user("eve", "subscriber", "eves-password");
        let site = builder.start().await?;
        let customer = site.user("eve").expect("a customer");
        app_password_succeeds(&site, &customer).await?;
        let (_, problem) = setup_fails(&site, &customer, Code::CapMissing).await?;
        assert_eq!(problem.more["cap"], "install_plugins");
        assert_eq!(site.logins().await?, 2);
    }
    Ok(())
}

#[tokio::test]
async fn http_basic_authentication_of_wp_admin_alone() -> Result {
    let php = "if (strpos($_SERVER['REQUEST_URI'], '/wp-admin') !== false && empty($_SERVER['PHP_AUTH_USER'])) { \
        header('WWW-Authenticate: Basic realm=\"Restricted\"'); http_response_code(401); echo '<h1>Unauthorized</h1>'; exit; }";
    let site = site().mu_plugin("basic", php).start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::HttpAuthRequired).await?;
    assert!(!problem.changed_target);
    assert_eq!(site.logins().await?, 1);
    app_password_fails(&site, &site.admin(), Code::HttpAuthRequired).await?;
    assert_eq!(sessions(&site).await?, "0");
    Ok(())
}

#[tokio::test]
async fn a_page_that_asks_for_the_password_once_more_gets_no_password() -> Result {
    let php = "add_action('admin_init', function () { global $pagenow; \
            if (in_array($pagenow, ['plugin-install.php', 'update.php'], true)) { \
                wp_safe_redirect(admin_url('admin.php?page=confirm')); exit; } }); \
        add_action('admin_menu', function () { add_menu_page('Confirm', 'Confirm', 'read', 'confirm', function () { \
            echo '<form method=\"post\"><input type=\"password\" name=\"again\"><button>Confirm</button></form>'; }); });";
    for version in [Version::Bookworm, Version::Sid] {
        let site = Site::builder(version).mu_plugin("confirm", php).start().await?;
        let (_, problem) = setup_fails(&site, &site.admin(), Code::AuthInterstitial).await?;
        assert!(!problem.changed_target);
        app_password_succeeds(&site, &site.admin()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_page_of_wp_admin_that_leads_to_a_question_is_for_a_person_to_answer() -> Result {
    let terms = "add_action('admin_init', function () { if (!wp_doing_ajax() && ($_GET['page'] ?? '') !== 'terms') { \
            wp_safe_redirect(admin_url('admin.php?page=terms')); exit; } }); \
        add_action('admin_menu', function () { add_menu_page('Terms', 'Terms', 'read', 'terms', function () { \
            echo '<form method=\"post\"><input type=\"checkbox\" name=\"agree\"><button>Agree</button></form>'; }); });";
    let new_password = "add_action('admin_init', function () { global $pagenow; \
        if (!wp_doing_ajax() && $pagenow !== 'profile.php') { wp_safe_redirect(admin_url('profile.php')); exit; } });";
    let second_factor = "add_action('admin_init', function () { if (!wp_doing_ajax()) { wp_safe_redirect(home_url('/?code')); exit; } }); \
        add_action('template_redirect', function () { if (isset($_GET['code'])) { \
            echo '<form method=\"post\"><input name=\"code\" autocomplete=\"one-time-code\"></form>'; exit; } });";
    for php in [terms, new_password, second_factor] {
        let site = site().mu_plugin("question", php).start().await?;
        let (_, problem) = setup_fails(&site, &site.admin(), Code::AuthInterstitial).await?;
        assert!(!problem.changed_target, "{php}");
        app_password_succeeds(&site, &site.admin()).await?;
        assert_eq!(site.logins().await?, 2, "{php}");
    }
    Ok(())
}

#[tokio::test]
async fn an_error_of_php_in_wp_admin_is_named_with_its_page_and_its_plugin() -> Result {
    let php = "add_action('load-plugin-install.php', function () { ini_set('display_errors', '1'); no_such_function(); });";
    let site = site().mu_plugin("broken", php).start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::SiteFatal).await?;
    for part in ["/wp-admin/plugin-install.php", "wp-content/mu-plugins/broken.php", "no_such_function()"] {
        assert!(problem.detail.contains(part), "{}", problem.detail);
    }
    assert!(!problem.changed_target);
    Ok(())
}

//! The login and its session.

use std::time::Duration;

use wpclone_tests::until;

use crate::obstacles::*;

/// Holds a login until there is a file `answer`, at most for a minute.
const HOLD_LOGINS: &str = "add_filter('authenticate', function ($u) { if ($_SERVER['REQUEST_METHOD'] === 'POST') { \
    touch(WP_CONTENT_DIR . '/held'); \
    for ($i = 0; $i < 1200 && !is_file(WP_CONTENT_DIR . '/answer'); $i++) { usleep(50000); clearstatcache(); } } return $u; }, 1);";

#[tokio::test]
async fn a_wrong_password_is_sent_exactly_once() -> Result {
    let site = site().start().await?;
    let (task, problem) = setup_fails(&site, &unknown_user(), Code::AuthBadCredentials).await?;
    assert_eq!(site.logins().await?, 1);
    assert!(!problem.changed_target && !problem.retryable);
    let names: Vec<_> = task.artifacts.iter().map(|a| a.name.as_str()).collect();
    for name in ["failure.png", "failure.html", "network.log"] {
        assert!(names.contains(&name), "{names:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_login_without_a_response_is_not_repeated() -> Result {
    let php = "add_filter('authenticate', function ($u) { if ($_SERVER['REQUEST_METHOD'] === 'POST') sleep(90); return $u; }, 1);";
    let site = site().mu_plugin("slow-login", php).start().await?;
    // Of each part, also of the login page before: a busy machine must not need longer for that.
    let app = TestApp::builder().env("WPCLONE_DEADLINE_PART", "30").start().await?;
    let client = app.client()?;
    let task = client.wait(client.setup(&site, &unknown_user(), Role::Source).await?.id).await?;
    assert_eq!(task.attempts, 1);
    problem(task, Code::AuthUnanswered);
    assert_eq!(site.logins().await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_login_whose_worker_is_lost_or_stopped_before_the_answer_is_not_repeated() -> Result {
    for is_killed in [true, false] {
        let site = site().mu_plugin("hold", HOLD_LOGINS).start().await?;
        let mut app = TestApp::builder().env("WPCLONE_DRAIN", "1").start().await?;
        let client = app.client()?;
        let id = client.setup(&site, &site.admin(), Role::Source).await?.id;
        let held = async || site.tree().join("wp-content/held").is_file();
        until("the login", Duration::from_secs(180), Some(&app.workers[0].log()), held).await?;
        if is_killed {
            app.workers[0].kill9().await?;
        } else {
            app.workers[0].terminate().await?;
        }
        site.put("wp-content/answer", "")?;
        app.workers[0].restart().await?;
        let task = client.wait(id).await?;
        assert_eq!(task.crashes, u32::from(is_killed), "{task:#?}");
        let problem = problem(task, Code::AuthUnanswered);
        assert!(problem.detail.contains("not sent again") && !problem.changed_target, "{problem:#?}");
        assert_eq!(site.logins().await?, 1, "the password was sent again");
        // A replay is its owner's decision.
        client.post(&format!("/tasks/{id}/replay"), &json!({})).await?;
        let task = client.wait(id).await?;
        assert_eq!((task.state, site.logins().await?), (State::Succeeded, 2), "{task:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_login_form_that_posts_to_another_site_receives_no_password() -> Result {
    let thief = Stub::page("thank you").await?;
    let form = format!(
        "<html><body><form id=loginform method=post action='{}/steal'><input id=user_login name=log>\
         <input type=password name=pwd></form></body></html>",
        thief.url()
    );
    // Plain HTTP is blocked, so that the browser is the first to see the form.
    let answer = move |headers: HeaderMap| async move {
        if headers.contains_key("sec-fetch-mode") {
            Html(form).into_response()
        } else {
            StatusCode::FORBIDDEN.into_response()
        }
    };
    let stub = Stub::start(Router::new().fallback(answer)).await?;
    let problem = stub_setup_fails(&stub.url(), Code::Redirected).await?;
    assert!(problem.detail.contains("nothing was sent"), "{}", problem.detail);
    Ok(())
}

#[tokio::test]
async fn an_unknown_user_is_a_bad_credential_in_japanese_too() -> Result {
    let site = Site::builder(Version::Sid).locale("ja").start().await?;
    let user = User { name: "nobody".into(), ..unknown_user() };
    setup_fails(&site, &user, Code::AuthBadCredentials).await?;
    assert_eq!(site.logins().await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_second_factor_is_required() -> Result {
    // As the Two-Factor plugin does it: the password was right, and the session is destroyed.
    let php = "add_action('wp_login', function () { wp_clear_auth_cookie(); login_header(); \
        echo '<form name=\"validate_2fa_form\" id=\"loginform\" method=\"post\"><input name=\"authcode\"></form>'; \
        login_footer(); exit; });";
    let site = site().mu_plugin("second-factor", php).start().await?;
    setup_fails(&site, &site.admin(), Code::Auth2faRequired).await?;
    Ok(())
}

#[tokio::test]
async fn a_captcha_on_the_login_form_ends_the_task_before_a_login_attempt() -> Result {
    let php = "add_action('login_form', function () { echo '<div class=\"h-captcha\" data-sitekey=\"x\"></div>'; });";
    let site = site().mu_plugin("captcha", php).start().await?;
    setup_fails(&site, &site.admin(), Code::AuthCaptcha).await?;
    assert_eq!(site.logins().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_captcha_of_any_kind_ends_the_task_before_a_login_attempt() -> Result {
    let site = site().start().await?;
    for on_the_form in [
        "<script async src=\"http://127.0.0.1:9/recaptcha/api.js?render=x\"></script>",
        "<input type=\"hidden\" name=\"g-recaptcha-response\">",
        "<input type=\"hidden\" name=\"cf-turnstile-response\">",
        "<input type=\"text\" name=\"aiowps-captcha-answer\">",
        "<img src=\"/captcha.php\">",
        "<input type=\"number\" name=\"jetpack_protect_num\">",
        "<altcha-widget></altcha-widget>",
    ] {
        let php = format!("add_action('login_form', function () {{ echo '{on_the_form}'; }});");
        site.put_mu_plugin("captcha", &php)?;
        setup_fails(&site, &site.admin(), Code::AuthCaptcha).await?;
        assert_eq!(site.logins().await?, 0, "{on_the_form}");
    }
    Ok(())
}

#[tokio::test]
async fn a_login_page_that_sets_no_cookie_gets_no_password() -> Result {
    let printed = "echo ' '; flush();";
    let site = site().ini("output_buffering", "0").mu_plugin("printed", printed).start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::UnexpectedAnswer).await?;
    assert!(problem.detail.contains("no cookie"), "{}", problem.detail);
    assert_eq!(site.logins().await?, 0);
    Ok(())
}

#[tokio::test]
async fn the_scripts_of_the_form_see_its_submission() -> Result {
    let php = r#"
        add_action('login_form', function () { echo '<input type="hidden" name="seen" id="seen">'; });
        add_action('login_footer', function () { echo '<script>document.addEventListener("DOMContentLoaded", function () {
            document.getElementById("loginform").addEventListener("submit", function () {
                document.getElementById("seen").value = "by a script"; }); });</script>'; });
        add_filter('authenticate', function ($user) {
            return $_SERVER['REQUEST_METHOD'] === 'POST' && ($_POST['seen'] ?? '') !== 'by a script' ? new WP_Error('no', 'no') : $user;
        }, 99);"#;
    for version in [Version::Bookworm, Version::Sid] {
        let site = Site::builder(version).mu_plugin("script", php).start().await?;
        setup_succeeds(&site).await?;
        assert_eq!(site.logins().await?, 1);
    }
    Ok(())
}

/// A field for a code that is in every login form, and that nobody sees.
const UNSEEN_CODES: [&str; 2] = [
    r#"<input type="hidden" name="wfls-email-verification" value="">"#,
    r#"<p id="later" style="display:none"><input name="googleotp"></p>"#,
];

#[tokio::test]
async fn a_second_factor_that_a_script_of_the_form_asks_for() -> Result {
    // As Wordfence does it: the script keeps the form, and adds or shows a field in the same page.
    for unseen in UNSEEN_CODES {
        let php = format!(
            r#"add_action('login_form', function () {{ echo '{unseen}'; }});
            add_action('login_footer', function () {{ echo '<script>
            document.getElementById("loginform").addEventListener("submit", function (event) {{ event.preventDefault();
                setTimeout(function () {{ var later = document.getElementById("later");
                    if (later) later.style.display = "block";
                    else document.body.insertAdjacentHTML("beforeend", "<input name=wfls-token>"); }}, 100); }});
            </script>'; }});"#
        );
        let site = site().mu_plugin("second-factor", &php).start().await?;
        setup_fails(&site, &site.admin(), Code::Auth2faRequired).await?;
        assert_eq!(site.logins().await?, 0, "{unseen}");
    }
    Ok(())
}

#[tokio::test]
async fn a_field_for_a_code_that_nobody_sees_asks_for_no_second_factor() -> Result {
    let fields = UNSEEN_CODES.concat();
    let php = format!("add_action('login_form', function () {{ echo '{fields}'; }});");
    let site = site().mu_plugin("second-factor", &php).start().await?;
    setup_fails(&site, &unknown_user(), Code::AuthBadCredentials).await?;
    assert_eq!(site.logins().await?, 1);
    setup_succeeds(&site).await?;
    Ok(())
}

#[tokio::test]
async fn a_web_server_that_admits_few_requests_locks_nobody_out() -> Result {
    let php = "if (strpos($_SERVER['REQUEST_URI'], 'wp-login') && $_SERVER['REQUEST_METHOD'] === 'GET') { \
        $last = (float) @file_get_contents(__DIR__ . '/last'); \
        if (microtime(true) - $last < 1) { header('Retry-After: 1'); http_response_code(429); exit; } \
        file_put_contents(__DIR__ . '/last', microtime(true)); }";
    let site = site().mu_plugin("limit", php).start().await?;
    setup_succeeds(&site).await?;
    assert_eq!(site.logins().await?, 1);
    // The answer to the login.
    let php = "add_filter('authenticate', function ($u) { if ($_SERVER['REQUEST_METHOD'] === 'POST') { http_response_code(503); \
        echo '<html><head><title>503 Service Temporarily Unavailable</title></head><body><h1>503</h1></body></html>'; exit; } \
        return $u; }, 1);";
    let site = crate::obstacles::site().mu_plugin("limit", php).start().await?;
    setup_fails(&site, &site.admin(), Code::AuthUnanswered).await?;
    assert_eq!(site.logins().await?, 1);
    Ok(())
}

#[tokio::test]
async fn an_application_password_is_no_password_for_the_login() -> Result {
    let site = site().start().await?;
    let user = User { password: "abcd EFGH 1234 ijkl MNOP 5678".into(), ..unknown_user() };
    let (_, problem) = setup_fails(&site, &user, Code::AuthBadCredentials).await?;
    assert!(problem.detail.contains("application password"), "{}", problem.detail);
    Ok(())
}

#[tokio::test]
async fn an_unknown_page_after_the_login_is_an_interstitial() -> Result {
    let php = "add_action('wp_login', function () { wp_clear_auth_cookie(); login_header('Terms'); \
        echo '<form id=\"terms\"><input type=\"checkbox\" name=\"agree\"></form>'; login_footer(); exit; });";
    let site = site().mu_plugin("terms", php).start().await?;
    setup_fails(&site, &site.admin(), Code::AuthInterstitial).await?;
    Ok(())
}

#[tokio::test]
async fn a_locked_out_login() -> Result {
    let php = "add_filter('authenticate', function ($u) { if ($_SERVER['REQUEST_METHOD'] === 'POST') { \
        status_header(429); echo 'Too many'; exit; } return $u; }, 1);";
    let site = site().mu_plugin("limit", php).start().await?;
    setup_fails(&site, &site.admin(), Code::AuthLockedOut).await?;
    assert_eq!(site.logins().await?, 1);
    Ok(())
}

#[tokio::test]
async fn http_basic_authentication() -> Result {
    let php = "if (empty($_SERVER['PHP_AUTH_USER'])) { header('WWW-Authenticate: Basic realm=x'); http_response_code(401); exit; }";
    let site = site().mu_plugin("basic", php).start().await?;
    setup_fails(&site, &site.admin(), Code::HttpAuthRequired).await?;
    Ok(())
}

#[tokio::test]
async fn a_pending_database_upgrade() -> Result {
    let site = site().start().await?;
    site.sql("UPDATE wp_options SET option_value = '1000' WHERE option_name = 'db_version'").await?;
    setup_fails(&site, &site.admin(), Code::DbUpgradePending).await?;
    let version = site.sql("SELECT option_value FROM wp_options WHERE option_name = 'db_version'").await?;
    assert_eq!(version.trim(), "1000", "an upgrade is for the site's people to start");
    Ok(())
}

#[tokio::test]
async fn a_web_server_that_admits_one_request_a_second_to_the_login_gets_the_form_later() -> Result {
    let php = "if (strpos($_SERVER['REQUEST_URI'] ?? '', '/wp-login.php') === 0) { \
        $last = (float) @file_get_contents(__DIR__ . '/last'); \
        if (microtime(true) - $last < 1) { http_response_code(503); exit; } \
        file_put_contents(__DIR__ . '/last', microtime(true)); }";
    let site = site().mu_plugin("limit", php).start().await?;
    setup_succeeds(&site).await?;
    assert_eq!(site.logins().await?, 1);
    Ok(())
}

#[tokio::test]
async fn the_button_of_the_form_is_pressed() -> Result {
    // Nothing but the button's own script sends the form.
    let php = r#"add_action('login_footer', function () { echo '<script>
            const button = document.getElementById("wp-submit"), form = document.getElementById("loginform");
            button.type = "button"; form.addEventListener("submit", function (event) { event.preventDefault(); });
            button.addEventListener("click", function () {
                form.insertAdjacentHTML("beforeend", "<input type=hidden name=pressed value=1>");
                HTMLFormElement.prototype.submit.call(form); });</script>'; });
        add_filter('authenticate', function ($user) {
            return $_SERVER['REQUEST_METHOD'] === 'POST' && empty($_POST['pressed']) ? new WP_Error('no', 'no') : $user; }, 99);"#;
    let site = site().mu_plugin("button", php).start().await?;
    setup_succeeds(&site).await?;
    assert_eq!(site.logins().await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_form_without_a_password_is_not_sent() -> Result {
    // The password is asked for in a second step.
    let php = r#"add_action('login_footer', function () { echo '<script>
        document.getElementById("user_pass").closest(".user-pass-wrap").remove();</script>'; });"#;
    let site = site().mu_plugin("steps", php).start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::AuthInterstitial).await?;
    assert!(problem.detail.contains("nothing was sent"), "{}", problem.detail);
    assert_eq!(site.logins().await?, 0);
    Ok(())
}

#[tokio::test]
async fn an_error_box_that_is_about_something_else_is_no_verdict_on_the_password() -> Result {
    let question = r#"add_action('login_form', function () { echo '<p>Our dog is called <input type="text" name="dog"></p>'; });
        add_filter('authenticate', function ($user) {
            return $_SERVER['REQUEST_METHOD'] === 'POST' && empty($_POST['dog']) ? new WP_Error('no', 'no') : $user; }, 99);"#;
    let expired = "add_action('wp_login', function () { wp_destroy_current_session(); wp_clear_auth_cookie(); \
            wp_safe_redirect(add_query_arg('action', 'lostpassword', wp_login_url())); exit; }); \
        add_filter('login_message', function ($m) { return $m . '<p id=\"login_error\">Your password has expired.</p>'; });";
    for php in [question, expired] {
        let site = site().mu_plugin("box", php).start().await?;
        setup_fails(&site, &site.admin(), Code::AuthInterstitial).await?;
        assert_eq!(site.logins().await?, 1, "{php}");
    }
    Ok(())
}

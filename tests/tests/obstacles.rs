//! What can stand in the way on a site, and the code that says so. Each case is a real WordPress that is made so,
//! except where its name says that it is a stub.

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse};
use serde_json::json;
use tokio::sync::OnceCell;
use wpclone_task::{Code, Problem, Role, State, TaskView};
use wpclone_tests::{Builder, Client, Result, Site, Stub, TestApp, User, Version};

/// One product for all cases: a site's trouble must harm neither worker nor neighbours.
async fn client() -> Result<Client> {
    static APP: OnceCell<TestApp> = OnceCell::const_new();
    let start = || async { TestApp::builder().env("WPCLONE_DEADLINE_PART", "20").start().await };
    APP.get_or_try_init(start).await?.client()
}

fn site() -> Builder {
    Site::builder(Version::Trixie)
}

fn nobody() -> User {
    User { name: "admin".into(), role: "administrator".into(), password: "canary-password-of-nobody".into() }
}

fn problem(task: TaskView, code: Code) -> Problem {
    assert_eq!(task.state, State::Failed, "{task:#?}");
    let problem = task.problem.clone().unwrap_or_else(|| panic!("no problem: {task:#?}"));
    assert_eq!(problem.code, code, "{task:#?}");
    assert_eq!(problem.stage, Some(wpclone_task::Stage::Browser));
    assert!(!problem.detail.is_empty() && !problem.user_action.is_empty());
    problem
}

async fn setup_fails(site: &Site, user: &User, code: Code) -> Result<(TaskView, Problem)> {
    let client = client().await?;
    let task = client.wait(client.setup(site, user, Role::Source).await?.id).await?;
    let problem = problem(task.clone(), code);
    if !code.retryable() {
        assert_eq!(task.attempts, 1, "what a site refused is not tried again");
    }
    Ok((task, problem))
}

async fn app_password_fails(site: &Site, user: &User, code: Code) -> Result<Problem> {
    let client = client().await?;
    let task = client.wait(client.app_password(site, user, "x").await?.id).await?;
    Ok(problem(task, code))
}

/// A setup of something that is no site of ours.
async fn stranger_fails(url: &str, code: Code) -> Result<Problem> {
    let client = client().await?;
    let body = json!({"url": url, "username": "admin", "password": "canary-password-of-nobody"});
    let task = client.accepted("/setup", &body).await?;
    Ok(problem(client.wait(task.id).await?, code))
}

#[tokio::test]
async fn a_wrong_password_costs_exactly_one_attempt() -> Result {
    let site = site().start().await?;
    let (task, problem) = setup_fails(&site, &nobody(), Code::AuthBadCredentials).await?;
    assert_eq!(site.logins().await?, 1);
    assert!(!problem.changed_target && !problem.retryable);
    let names: Vec<_> = task.artifacts.iter().map(|a| a.name.as_str()).collect();
    for name in ["failure.png", "failure.html", "network.log"] {
        assert!(names.contains(&name), "{names:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_login_that_is_never_answered_is_not_sent_again() -> Result {
    let php = "add_filter('authenticate', function ($u) { if ($_SERVER['REQUEST_METHOD'] === 'POST') sleep(20); return $u; }, 1);";
    let site = site().mu_plugin("slow-login", php).start().await?;
    let app = TestApp::builder().env("WPCLONE_DEADLINE_PART", "4").start().await?;
    let client = app.client()?;
    let task = client.wait(client.setup(&site, &nobody(), Role::Source).await?.id).await?;
    assert_eq!(task.attempts, 1);
    problem(task, Code::AuthUnanswered);
    assert_eq!(site.logins().await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_login_form_that_leads_to_another_site_gets_no_password() -> Result {
    let thief = Stub::page("thank you").await?;
    let form = format!(
        "<html><body><form id=loginform method=post action='{}/steal'><input id=user_login name=log>\
         <input type=password name=pwd></form></body></html>",
        thief.url()
    );
    // Plain HTTP meets a wall, so that the browser is the first to see the form.
    let answer = move |headers: HeaderMap| async move {
        if headers.contains_key("sec-fetch-mode") {
            Html(form).into_response()
        } else {
            StatusCode::FORBIDDEN.into_response()
        }
    };
    let stub = Stub::start(Router::new().fallback(answer)).await?;
    let problem = stranger_fails(&stub.url(), Code::Redirected).await?;
    assert!(problem.detail.contains("nothing was sent"), "{}", problem.detail);
    Ok(())
}

#[tokio::test]
async fn an_unknown_user_is_a_bad_credential_in_japanese_too() -> Result {
    let site = Site::builder(Version::Sid).locale("ja").start().await?;
    let user = User { name: "nobody".into(), ..nobody() };
    setup_fails(&site, &user, Code::AuthBadCredentials).await?;
    assert_eq!(site.logins().await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_second_factor_is_asked_for() -> Result {
    // As the two-factor plugin does it: the password was right, and the session is taken back.
    let php = "add_action('wp_login', function () { wp_clear_auth_cookie(); login_header(); \
        echo '<form name=\"validate_2fa_form\" id=\"loginform\" method=\"post\"><input name=\"authcode\"></form>'; \
        login_footer(); exit; });";
    let site = site().mu_plugin("second-factor", php).start().await?;
    setup_fails(&site, &site.admin(), Code::Auth2faRequired).await?;
    Ok(())
}

#[tokio::test]
async fn a_captcha_on_the_login_form_costs_no_attempt() -> Result {
    let php = "add_action('login_form', function () { echo '<div class=\"h-captcha\" data-sitekey=\"x\"></div>'; });";
    let site = site().mu_plugin("captcha", php).start().await?;
    setup_fails(&site, &site.admin(), Code::AuthCaptcha).await?;
    assert_eq!(site.logins().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_page_after_the_login_that_nobody_knows_is_for_people() -> Result {
    let php = "add_action('wp_login', function () { wp_clear_auth_cookie(); login_header('Terms'); \
        echo '<form id=\"terms\"><input type=\"checkbox\" name=\"agree\"></form>'; login_footer(); exit; });";
    let site = site().mu_plugin("terms", php).start().await?;
    setup_fails(&site, &site.admin(), Code::AuthInterstitial).await?;
    Ok(())
}

#[tokio::test]
async fn a_login_that_is_locked_says_so() -> Result {
    let php = "add_filter('authenticate', function ($u) { if ($_SERVER['REQUEST_METHOD'] === 'POST') { \
        status_header(429); echo 'Too many'; exit; } return $u; }, 1);";
    let site = site().mu_plugin("limit", php).start().await?;
    setup_fails(&site, &site.admin(), Code::AuthLockedOut).await?;
    assert_eq!(site.logins().await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_web_server_with_a_login_of_its_own() -> Result {
    let php = "if (empty($_SERVER['PHP_AUTH_USER'])) { header('WWW-Authenticate: Basic realm=x'); http_response_code(401); exit; }";
    let site = site().mu_plugin("basic", php).start().await?;
    setup_fails(&site, &site.admin(), Code::HttpAuthRequired).await?;
    Ok(())
}

#[tokio::test]
async fn an_editor_may_not_install_plugins() -> Result {
    let site = site().user("ed", "editor", "editors-password").start().await?;
    let editor = site.user("ed").expect("an editor");
    let (_, problem) = setup_fails(&site, &editor, Code::CapMissing).await?;
    assert_eq!(problem.more["cap"], "install_plugins");
    assert!(!problem.changed_target);
    Ok(())
}

#[tokio::test]
async fn files_that_may_not_be_changed() -> Result {
    let site = site().constant("DISALLOW_FILE_MODS", "true").start().await?;
    setup_fails(&site, &site.admin(), Code::FileModsDisabled).await?;
    Ok(())
}

#[tokio::test]
async fn a_wordpress_that_writes_by_ftp() -> Result {
    let site = site().constant("FS_METHOD", "'ftpext'").start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::FsMethodNotDirect).await?;
    assert!(!problem.changed_target);
    Ok(())
}

#[tokio::test]
async fn a_web_server_that_takes_small_uploads_only() -> Result {
    let site = site().max_body("4k").start().await?;
    setup_fails(&site, &site.admin(), Code::UploadTooLarge).await?;
    Ok(())
}

#[tokio::test]
async fn a_php_that_takes_small_uploads_only() -> Result {
    let site = site().ini("upload_max_filesize", "4K").start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::UploadTooLarge).await?;
    assert_eq!(problem.more["limit"], 4096);
    Ok(())
}

#[tokio::test]
async fn a_php_that_takes_small_forms_only() -> Result {
    let site = site().ini("post_max_size", "8K").start().await?;
    setup_fails(&site, &site.admin(), Code::UploadTooLarge).await?;
    Ok(())
}

#[tokio::test]
async fn a_firewall_that_eats_the_upload() -> Result {
    let eats = "set $what \"$request_method$uri\"; if ($what = \"POST/wp-admin/update.php\") { return 406; }";
    let site = site().nginx(eats).start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::WafBlockedUpload).await?;
    assert!(!problem.changed_target);
    Ok(())
}

#[tokio::test]
async fn a_wordpress_that_is_too_old() -> Result {
    // Nothing as old runs on a current PHP: the real one says that it is.
    let php = "add_action('admin_init', function () { $GLOBALS['wp_version'] = '5.2'; });";
    let site = site().mu_plugin("old", php).start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::ReqUnmet).await?;
    assert!(!problem.changed_target);
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_wordpress_does_not_install() -> Result {
    let php =
        "add_filter('upgrader_source_selection', function () { return new WP_Error('no', 'Not here'); });";
    let site = site().mu_plugin("no-install", php).start().await?;
    setup_fails(&site, &site.admin(), Code::PluginInstallFailed).await?;
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_wordpress_does_not_activate() -> Result {
    let php = "add_action('activate_plugin', function () { wp_die('no plugins here', '', 403); });";
    let site = site().mu_plugin("no-activation", php).start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::PluginActivationFailed).await?;
    assert!(problem.changed_target && !problem.achieved.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_migrator_that_a_cache_answers_for() -> Result {
    let cache = "if ($arg_wpclone_migrator) { return 200 'cached'; } if ($arg_rest_route ~ wpclone) { return 200 'cached'; }";
    let site = site().nginx(cache).start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::MigratorUnreachable).await?;
    assert!(problem.changed_target);
    Ok(())
}

#[tokio::test]
async fn application_passwords_are_off_over_http() -> Result {
    let site = site().environment(None).start().await?;
    let problem = app_password_fails(&site, &site.admin(), Code::AppPwDisabled).await?;
    assert!(!problem.changed_target);
    Ok(())
}

#[tokio::test]
async fn a_rest_api_that_is_closed() -> Result {
    let php = "add_filter('rest_authentication_errors', function () { return new WP_Error('rest_disabled', 'no', ['status' => 401]); });";
    let site = site().mu_plugin("no-rest", php).start().await?;
    app_password_fails(&site, &site.admin(), Code::RestBlocked).await?;
    // The migrator needs no REST.
    let client = client().await?;
    let task = client.wait(client.setup(&site, &site.admin(), Role::Source).await?.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    Ok(())
}

#[tokio::test]
async fn rest_that_makes_no_application_password_gives_way_to_the_page() -> Result {
    let php = "add_filter('rest_pre_dispatch', function ($r, $s, $q) { \
        return $q->get_method() === 'POST' && strpos($q->get_route(), 'application-passwords') ? new WP_Error('no', 'no', ['status' => 403]) : $r; }, 10, 3);";
    for version in [Version::Bookworm, Version::Sid] {
        let site = Site::builder(version).mu_plugin("no-making", php).start().await?;
        let client = client().await?;
        let task = client.wait(client.app_password(&site, &site.admin(), "by page").await?.id).await?;
        assert_eq!(task.state, State::Succeeded, "{task:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_authorization_header_that_does_not_arrive_leaves_no_password_behind() -> Result {
    let php = "unset($_SERVER['PHP_AUTH_USER'], $_SERVER['PHP_AUTH_PW'], $_SERVER['HTTP_AUTHORIZATION']);";
    let site = site().mu_plugin("stripped", php).start().await?;
    let problem = app_password_fails(&site, &site.admin(), Code::AuthHeaderStripped).await?;
    assert!(!problem.changed_target);
    let left =
        site.eval_php("echo count(WP_Application_Passwords::get_user_application_passwords(1));").await?;
    assert_eq!(left.trim(), "0");
    Ok(())
}

#[tokio::test]
async fn a_site_that_redirects_elsewhere() -> Result {
    let site = site().nginx("return 301 https://elsewhere.example$request_uri;").start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::Redirected).await?;
    assert_eq!(problem.more["to"], "https://elsewhere.example");
    Ok(())
}

#[tokio::test]
async fn a_wordpress_that_believes_in_another_address() -> Result {
    let site = site().start().await?;
    site.sql("UPDATE wp_options SET option_value = 'https://elsewhere.example' WHERE option_name IN ('siteurl', 'home')").await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::Redirected).await?;
    assert_eq!(problem.more["to"], "https://elsewhere.example");
    assert_eq!(site.logins().await?, 0, "no password goes to an address that nobody named");
    Ok(())
}

#[tokio::test]
async fn a_hidden_login_page() -> Result {
    let site = site().nginx("location = /wp-login.php { return 404; }").start().await?;
    setup_fails(&site, &site.admin(), Code::LoginUrlNotFound).await?;
    Ok(())
}

#[tokio::test]
async fn a_site_that_is_down() -> Result {
    let mut site = site().start().await?;
    site.stop_web();
    let (task, problem) = setup_fails(&site, &site.admin(), Code::SiteUnreachable).await?;
    assert_eq!(task.attempts, 3, "worth another try, up to the limit");
    assert!(problem.retryable && !problem.changed_target);
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for() -> Result {
    let site = site().tls().start().await?;
    setup_fails(&site, &site.admin(), Code::TlsInvalid).await?;
    Ok(())
}

#[tokio::test]
async fn a_site_that_is_broken() -> Result {
    let site = site()
        .mu_plugin("broken", "add_action('init', function () { no_such_function(); });")
        .start()
        .await?;
    setup_fails(&site, &site.admin(), Code::SiteFatal).await?;
    Ok(())
}

#[tokio::test]
async fn a_database_that_waits_for_its_upgrade() -> Result {
    let site = site().start().await?;
    site.sql("UPDATE wp_options SET option_value = '1000' WHERE option_name = 'db_version'").await?;
    setup_fails(&site, &site.admin(), Code::DbUpgradePending).await?;
    let version = site.sql("SELECT option_value FROM wp_options WHERE option_name = 'db_version'").await?;
    assert_eq!(version.trim(), "1000", "an upgrade is for the site's people to start");
    Ok(())
}

#[tokio::test]
async fn a_session_that_the_site_ends_again_and_again() -> Result {
    let php = "add_action('admin_init', function () { wp_destroy_current_session(); });";
    let site = site().mu_plugin("forgetful", php).start().await?;
    let (task, _) = setup_fails(&site, &site.admin(), Code::SessionLost).await?;
    assert_eq!(task.attempts, 2, "worth one more try");
    Ok(())
}

#[tokio::test]
async fn a_session_that_is_lost_once_is_taken_up_again() -> Result {
    let php = "add_action('admin_init', function () { \
        if (strpos($_SERVER['REQUEST_URI'], 'plugin-install') && !get_option('lost')) { \
        update_option('lost', 1); wp_destroy_all_sessions(); wp_redirect(wp_login_url('', true)); exit; } });";
    let site = site().mu_plugin("lost-once", php).start().await?;
    let client = client().await?;
    let task = client.wait(client.setup(&site, &site.admin(), Role::Source).await?.id).await?;
    assert_eq!(task.state, State::Succeeded, "{task:#?}");
    assert_eq!((task.attempts, site.logins().await?), (0, 2));
    Ok(())
}

#[tokio::test]
async fn a_wall_in_front_of_a_stub_of_a_site() -> Result {
    let wall = "<html><body><form id=\"challenge-form\"></form></body></html>";
    let headers = [("content-type", "text/html"), ("cf-mitigated", "challenge")];
    let stub = Stub::answering(403, &headers, wall).await?;
    stranger_fails(&stub.url(), Code::EdgeChallenge).await?;
    Ok(())
}

#[tokio::test]
async fn strangers_that_are_no_wordpress() -> Result {
    let page = Stub::page("<html><body>Hello</body></html>").await?;
    stranger_fails(&page.url(), Code::NotWordPress).await?;
    let json = Stub::answering(200, &[("content-type", "application/json")], "{}").await?;
    stranger_fails(&json.url(), Code::NotWordPress).await?;
    let garbage: Vec<u8> = (0..10 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let garbage = Stub::answering(200, &[("content-type", "text/html")], garbage).await?;
    stranger_fails(&garbage.url(), Code::NotWordPress).await?;
    let circle = Stub::redirecting("/wp-login.php").await?;
    stranger_fails(&circle.url(), Code::Redirected).await?;
    Ok(())
}

#[tokio::test]
async fn pages_that_are_made_to_be_slow_harm_nobody() -> Result {
    let deep = Stub::page(&format!("<html><body>{}", "<div>".repeat(200_000))).await?;
    stranger_fails(&deep.url(), Code::NotWordPress).await?;
    // What our script asks the page for comes back 30 MB large.
    let large = "<html><body><p id=login_error>x</p><script>String.prototype.slice = () => 'x'.repeat(30 << 20)</script>\
                 <form id=loginform method=post><input name=log><input name=pwd></form></body></html>";
    stranger_fails(&Stub::page(large).await?.url(), Code::BrowserCrashed).await?;
    let endless = "<html><body><form id=loginform method=post><input name=log><input name=pwd></form>\
                   <script>for (;;);</script></body></html>";
    let app = TestApp::builder()
        .env("WPCLONE_DEADLINE_PART", "4")
        .env("WPCLONE_DEADLINE_SOFT", "8")
        .env("WPCLONE_DEADLINE_HARD", "14")
        .start()
        .await?;
    let (client, stub) = (app.client()?, Stub::page(endless).await?);
    let body = json!({"url": stub.url(), "username": "admin", "password": "canary-password-of-nobody"});
    let task = client.wait(client.accepted("/setup", &body).await?.id).await?;
    assert!(task.artifacts.iter().any(|a| a.name == "network.log"), "{task:#?}");
    assert_eq!(task.crashes, 0);
    problem(task, Code::Deadline);
    app.workers[0].clean().await
}

#[tokio::test]
async fn a_stub_that_hangs() -> Result {
    let app = TestApp::builder().env("WPCLONE_DEADLINE_PART", "2").start().await?;
    let (client, stub) = (app.client()?, Stub::hanging().await?);
    let body = json!({"url": stub.url(), "username": "admin", "password": "canary-password-of-nobody"});
    let task = client.wait(client.accepted("/setup", &body).await?.id).await?;
    problem(task, Code::SiteUnreachable);
    Ok(())
}

#[tokio::test]
async fn a_page_that_hangs_half_way_ends_at_the_deadline() -> Result {
    let site = site()
        .mu_plugin("slow", "add_action('load-plugin-install.php', function () { sleep(30); });")
        .start()
        .await?;
    let app = TestApp::builder().env("WPCLONE_DEADLINE_PART", "4").start().await?;
    let client = app.client()?;
    let task = client.wait(client.setup(&site, &site.admin(), Role::Source).await?.id).await?;
    assert_eq!(task.attempts, 3, "{task:#?}");
    problem(task, Code::Deadline);
    Ok(())
}

#[tokio::test]
async fn a_browser_that_does_not_start() -> Result {
    let app = TestApp::builder().workers(0).start().await?;
    let mut app = app;
    let site = site().start().await?;
    // Tells a version and is no browser.
    let fake = tempfile::NamedTempFile::new()?;
    let path = fake.into_temp_path();
    std::fs::write(&path, "#!/bin/sh\n[ \"$1\" = --version ] && echo Fake 156.0 && exit 0\nexit 1\n")?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    app.add_worker(&[("WPCLONE_BROWSER_BINARY", path.to_str().expect("a path"))]).await?;
    let client = app.client()?;
    let task = client.wait(client.setup(&site, &site.admin(), Role::Source).await?.id).await?;
    assert_eq!(task.attempts, 3);
    problem(task, Code::BrowserCrashed);
    Ok(())
}

#[tokio::test]
async fn private_networks_are_no_place_for_sites() -> Result {
    let app = TestApp::builder().private_sites("10.99.0.0/16").start().await?;
    let (client, stub) = (app.client()?, Stub::page("secret of the network").await?);
    for url in
        [stub.url(), stub.url().replace("127.0.0.1", "localhost"), "http://169.254.169.254/latest".into()]
    {
        let body = json!({"url": url, "username": "admin", "password": "canary-password-of-nobody"});
        let task = client.wait(client.accepted("/setup", &body).await?.id).await?;
        for artifact in &task.artifacts {
            let kept = client.get(&artifact.href).await?.text().await?;
            assert!(!kept.contains("secret of the network"), "{}", artifact.name);
        }
        problem(task, Code::SiteNotAllowed);
    }
    Ok(())
}

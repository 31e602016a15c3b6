//! Finding the site: redirects, sites that are down, slow, broken or no WordPress; networks; deadlines.

use std::time::Duration;

use wpclone_task::Stage;
use wpclone_tests::until;

use crate::obstacles::*;

/// How long a worker may take to start and to try its browser.
const START_TIMEOUT: Duration = Duration::from_secs(180);

#[tokio::test]
async fn a_site_that_redirects_to_another_host() -> Result {
    let site = site().nginx("return 301 https://elsewhere.example$request_uri;").start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::Redirected).await?;
    assert_eq!(problem.more["to"], "https://elsewhere.example");
    Ok(())
}

#[tokio::test]
async fn a_wordpress_with_another_configured_address() -> Result {
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

/// A setup with this address must find no login page. Returns the address that is named instead.
async fn no_login_page(site: &Site, url: &str) -> Result<Option<String>> {
    let client = client().await?;
    let User { name, password, .. } = site.admin();
    let body = json!({"url": url, "username": name, "password": password});
    let task = client.wait(client.accepted("/setup", &body).await?.id).await?;
    let problem = problem(task, Code::LoginUrlNotFound);
    assert_eq!(site.logins().await?, 0, "a password was sent");
    let to = problem.more.get("to").map(|to| to.as_str().expect("an address").to_owned());
    if let Some(to) = &to {
        assert!(problem.detail.contains(to), "{problem:#?}");
    }
    Ok(to)
}

/// The front page without what it says of WordPress' own folder.
const NO_LINKS: &str = "add_action('init', function () { ob_start(function ($page) { \
    return str_replace(['/wp-includes/', '/wp-content/'], '/files/', $page); }); });";

/// The index of the REST API is closed.
const NO_REST: &str = "add_filter('rest_authentication_errors', function () { return new WP_Error('closed', '', ['status' => 401]); });";

#[tokio::test]
async fn a_wordpress_in_a_folder_of_its_own_is_named() -> Result {
    let site = site().prefix("/wp").start().await?;
    let home = site.move_front_page_to_root().await?;
    // Links of the front page name the folder.
    site.put_mu_plugin("no-rest", NO_REST)?;
    assert_eq!(no_login_page(&site, &home).await?, Some(site.url()));
    // The index of the REST API names it.
    site.remove_mu_plugin("no-rest")?;
    site.put_mu_plugin("no-links", NO_LINKS)?;
    assert_eq!(no_login_page(&site, &home).await?, Some(site.url()));
    // Nothing names it.
    site.put_mu_plugin("no-rest", NO_REST)?;
    assert_eq!(no_login_page(&site, &home).await?, None);
    // The address that was named is the one to use.
    site.remove_mu_plugin("no-links")?;
    site.remove_mu_plugin("no-rest")?;
    setup_succeeds(&site).await?;
    Ok(())
}

#[tokio::test]
async fn a_folder_without_a_login_page_or_on_another_host_is_not_named() -> Result {
    // 444: nginx closes the connection.
    for status in [404, 403, 444] {
        let closed = format!("location = /wp/wp-login.php {{ return {status}; }}");
        let site = site().prefix("/wp").nginx(&closed).start().await?;
        let home = site.move_front_page_to_root().await?;
        assert_eq!(no_login_page(&site, &home).await?, None, "{status}");
    }
    let site = site().prefix("/wp").start().await?;
    let other = Site::builder(Version::Trixie).prefix("/wp").start().await?;
    let home = other.move_front_page_to_root().await?;
    let elsewhere = site.url();
    other
        .put_mu_plugin("elsewhere", &format!(
            "add_action('init', function () {{ ob_start(function ($page) {{ return str_replace('{}', '{elsewhere}', $page); }}); }});",
            other.url()
        ))?;
    other.put_mu_plugin("no-rest", NO_REST)?;
    assert_eq!(no_login_page(&other, &home).await?, None);
    Ok(())
}

#[tokio::test]
async fn another_wordpress_on_the_same_host_is_not_named() -> Result {
    let blog = site().prefix("/blog").start().await?;
    let url = blog.url();
    let home = url.strip_suffix("/blog").expect("the folder");
    let page = "<html><head><meta name=generator content=\"WordPress 6.8\"></head>\
        <body><img src=\"/blog/wp-content/uploads/a.png\"></body></html>";
    blog.put("../index.php", page)?;
    // The index of the blog's REST API says where its front page is.
    assert_eq!(no_login_page(&blog, home).await?, None);
    // The login page says it.
    blog.put_mu_plugin("no-rest", NO_REST)?;
    assert_eq!(no_login_page(&blog, home).await?, None);
    Ok(())
}

#[tokio::test]
async fn a_login_page_that_leads_to_another_server_is_a_hidden_one_and_no_address_to_log_in_at() -> Result {
    let language = "add_action('template_redirect', function () { \
        if (!isset($_GET['lang'])) { wp_redirect(home_url('/?lang=en')); exit; } });";
    for (to, plugin) in [
        ("http://127.0.0.1/", ""),
        ("https://login.elsewhere.example/sso?site=1", ""),
        // The front page leads to another page of the site.
        ("https://login.elsewhere.example/sso?site=1", language),
    ] {
        let login = format!("location = /wp-login.php {{ return 302 {to}; }}");
        let site = site().nginx(&login).mu_plugin("language", plugin).start().await?;
        let (_, problem) = setup_fails(&site, &site.admin(), Code::LoginUrlNotFound).await?;
        let host = to.split('/').nth(2).unwrap_or_default();
        assert!(problem.detail.contains(host), "{problem:#?}");
        assert!(!problem.more.contains_key("to"), "{problem:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_site_that_has_moved_with_another_login_is_named_by_its_front_page() -> Result {
    let moved = "location = / { return 301 https://new.example/; } \
        location = /wp-login.php { return 302 https://login.elsewhere.example/sso; }";
    let site = site().nginx(moved).start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::Redirected).await?;
    assert_eq!(problem.more["to"], "https://new.example");
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
async fn an_untrusted_certificate() -> Result {
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
async fn a_challenge_page_in_front_of_a_stub() -> Result {
    let wall = "<html><body><form id=\"challenge-form\"></form></body></html>";
    let headers = [("content-type", "text/html"), ("cf-mitigated", "challenge")];
    let stub = Stub::answering(403, &headers, wall).await?;
    stub_setup_fails(&stub.url(), Code::EdgeChallenge).await?;
    Ok(())
}

#[tokio::test]
async fn sites_that_are_no_wordpress() -> Result {
    let page = Stub::page("<html><body>Hello</body></html>").await?;
    stub_setup_fails(&page.url(), Code::NotWordPress).await?;
    let json = Stub::answering(200, &[("content-type", "application/json")], "{}").await?;
    stub_setup_fails(&json.url(), Code::NotWordPress).await?;
    let garbage: Vec<u8> = (0..10 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let garbage = Stub::answering(200, &[("content-type", "text/html")], garbage).await?;
    stub_setup_fails(&garbage.url(), Code::NotWordPress).await?;
    let circle = Stub::redirecting("/wp-login.php").await?;
    stub_setup_fails(&circle.url(), Code::Redirected).await?;
    Ok(())
}

#[tokio::test]
async fn pages_that_are_slow_to_parse_do_not_block_the_worker() -> Result {
    let deep = Stub::page(&format!("<html><body>{}", "<div>".repeat(200_000))).await?;
    stub_setup_fails(&deep.url(), Code::NotWordPress).await?;
    let endless = "<html><body><form id=loginform method=post><input name=log><input name=pwd></form>\
                   <script>for (;;);</script></body></html>";
    let app = TestApp::builder()
        .env("WPCLONE_DEADLINE_PART", "15")
        .env("WPCLONE_DEADLINE_SOFT", "20")
        .env("WPCLONE_DEADLINE_HARD", "30")
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
async fn a_page_whose_scripts_return_too_much() -> Result {
    // The response to our script's request is 9 MB large.
    let large = "<html><body><p id=login_error>x</p><script>String.prototype.slice = () => 'x'.repeat(9 << 20)</script>\
                 <form id=loginform method=post><input name=log><input name=pwd></form></body></html>";
    // A busy machine needs long for so large a string, and a deadline that passes is another problem.
    let app = TestApp::builder().env("WPCLONE_DEADLINE_PART", "120").start().await?;
    let (client, stub) = (app.client()?, Stub::page(large).await?);
    let body = json!({"url": stub.url(), "username": "admin", "password": "canary-password-of-nobody"});
    let task = client.wait(client.accepted("/setup", &body).await?.id).await?;
    problem(task, Code::BrowserCrashed);
    Ok(())
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
async fn a_page_that_stalls_ends_at_the_deadline() -> Result {
    let site = site()
        .mu_plugin("slow", "add_action('load-plugin-install.php', function () { sleep(120); });")
        .start()
        .await?;
    // Of each part, also of the login before, after which a deadline that passes is another problem.
    let app = TestApp::builder().env("WPCLONE_DEADLINE_PART", "20").start().await?;
    let client = app.client()?;
    let task = client.wait(client.setup(&site, &site.admin(), Role::Source).await?.id).await?;
    assert_eq!(task.attempts, 3, "{task:#?}");
    problem(task, Code::Deadline);
    assert_eq!(site.logins().await?, 1, "the password was sent again");
    Ok(())
}

#[tokio::test]
async fn a_browser_that_does_not_start() -> Result {
    let mut app = TestApp::builder().workers(0).start().await?;
    let site = site().start().await?;
    let browser = tempfile::NamedTempFile::new()?.into_temp_path();
    let install = |script: &str| -> Result {
        std::fs::write(&browser, script)?;
        Ok(std::fs::set_permissions(&browser, std::os::unix::fs::PermissionsExt::from_mode(0o755))?)
    };
    // The worker tries the browser at its start, so it works until then.
    let real = ["/usr/lib/chromium/chromium-headless-shell", "/usr/bin/chromium"];
    let real = real.iter().find(|path| std::path::Path::new(path).is_file()).expect("a Chromium");
    install(&format!("#!/bin/sh\nexec {real} \"$@\"\n"))?;
    let binary = ("WPCLONE_BROWSER_BINARY", browser.to_str().expect("a path"));
    // The sandbox is proven by the program of the browser's processes, which is not the one that is named here.
    app.add_worker(&[binary, ("WPCLONE_UNSAFE_NO_BROWSER_SANDBOX", "true")]).await?;
    let (client, log) = (app.client()?, app.workers[0].log());
    let serves = async || {
        let queue = client.queue().await.expect("the queue");
        queue.workers.first().is_some_and(|worker| worker.stages.contains_key(&Stage::Browser))
    };
    until("the browser stage to be served", START_TIMEOUT, Some(&log), serves).await?;

    install("#!/bin/sh\nexit 1\n")?;
    let task = client.wait(client.setup(&site, &site.admin(), Role::Source).await?.id).await?;
    assert_eq!(task.attempts, 3);
    problem(task, Code::BrowserCrashed);
    Ok(())
}

#[tokio::test]
async fn sites_in_private_networks_are_refused() -> Result {
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

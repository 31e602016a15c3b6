//! Clones as web sites.

use std::fs;
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use wpclone_provision::{CloneInfo, Phase, PhpLimits, Provisioner as _, Routing, SourceFacts};
use wpclone_service::sealed_clone::CloneSecrets;

use crate::support::{Lab, client, http, log_in, spec};

async fn rest(http: &reqwest::Client, url: &str) -> Value {
    let answer = http.get(format!("{url}/wp-json/")).send().await.expect("a response");
    assert_eq!(answer.status(), 200, "{url}");
    answer.json().await.expect("JSON")
}

async fn answers(http: &reqwest::Client, clone: &CloneInfo, lab: &Lab) {
    let front = http.get(format!("{}/", clone.url)).send().await.expect("a response");
    assert_eq!(front.status(), 200);
    assert_eq!(front.headers()["x-robots-tag"], "noindex, nofollow");
    let front = front.text().await.expect("a page");
    assert!(front.contains(&format!("{}/wp-includes/", clone.url)), "links of its own: {front:.2000}");
    assert!(!front.contains("template.invalid") && front.contains("noindex"));
    let index = rest(http, &clone.url).await;
    assert_eq!((&index["url"], &index["home"]), (&clone.url.as_str().into(), &clone.url.as_str().into()));
    let access = lab.local.access(&clone.name).await.expect("access");
    assert!(access.username.starts_with("wpclone-"));
    let page = log_in(http, &access).await;
    assert_eq!(page.status(), 200);
    assert!(page.text().await.expect("a page").contains("id=\"wpadminbar\""));
    // The migrator responds and accepts imports.
    let key = access.migrator_key.expose_secret().parse().expect("a key");
    let site = clone.url.parse().expect("a URL");
    let status = wpclone_migrator::Client::new(http.clone(), site, key).status().await.expect("a status");
    assert!(status.import_enabled, "{status:?}");
    assert_eq!(status.site_url, clone.url);
}

pub(crate) async fn two_clones_created_at_once_respond_at_their_own_paths() {
    let lab = Lab::start().await;
    let specs = [spec("one"), spec("two")];
    let begun = SystemTime::now();
    let (one, two) = tokio::join!(lab.local.create(&specs[0]), lab.local.create(&specs[1]));
    let (one, two) = (one.expect("one"), two.expect("two"));
    eprintln!("two clones at once: {:?}", begun.elapsed());
    assert_eq!(one.url, format!("http://{}/{}", lab.listen, one.name));
    assert_eq!((one.phase, two.phase), (Phase::Ready, Phase::Ready));
    for clone in [&one, &two] {
        answers(&http(), clone, &lab).await;
    }
    let (a, b) =
        (lab.local.access(&one.name).await.expect("a"), lab.local.access(&two.name).await.expect("b"));
    assert_ne!(a.password.expose_secret(), b.password.expose_secret());
    assert_ne!(a.migrator_key.expose_secret(), b.migrator_key.expose_secret());
    // Salts and the key of login links differ, too: a cookie of one is not valid for the other.
    let config = |c: &CloneInfo| fs::read_to_string(lab.tree(&c.name).with_file_name("wp-config.php"));
    let salts = |text: &str| -> Vec<String> {
        text.lines().filter(|l| l.contains("_KEY") || l.contains("_SALT")).map(Into::into).collect()
    };
    let (first, second) = (salts(&config(&one).expect("a file")), salts(&config(&two).expect("a file")));
    assert!(first.len() == 9 && first.iter().all(|line| !second.contains(line)));
    // The address without the slash redirects to the one with it.
    let bare = http().get(&one.url).send().await.expect("a response");
    assert_eq!(
        (bare.status().as_u16(), &bare.headers()["location"]),
        (308, &format!("{}/", one.url).parse().expect(""))
    );
    lab.end().await;
}

pub(crate) async fn with_host_routing_the_path_form_redirects_to_the_canonical_address() {
    let lab = Lab::with(Routing::Host, |_| {}).await;
    let (clone, _) = lab.clone("one").await;
    let port = lab.listen.port();
    assert_eq!(clone.url, format!("http://{}.localhost:{port}", clone.name));
    let http = client()
        .resolve(&format!("{}.localhost", clone.name), lab.listen)
        .resolve("localhost", lab.listen)
        .build()
        .expect("a client");
    answers(&http, &clone, &lab).await;
    let path = format!("http://localhost:{port}/{}/wp-admin/a%20b.php?x=1&y=%2F", clone.name);
    let moved = http.get(path).send().await.expect("a response");
    assert_eq!(moved.status(), 308);
    assert_eq!(moved.headers()["location"], format!("{}/wp-admin/a%20b.php?x=1&y=%2F", clone.url));
    let nobody = http.get(format!("http://localhost:{port}/")).send().await.expect("a response");
    assert_eq!(nobody.status(), 404);
    lab.end().await;
}

pub(crate) async fn behind_tls_a_clone_uses_https_addresses() {
    let lab = Lab::with(Routing::Path, |options| {
        let (listen, base) = (options.addresses.listen(), Some("https://clones.example/at/"));
        options.addresses =
            wpclone_provision::Addresses::new(listen, base, Routing::Path).expect("addresses");
    })
    .await;
    let (clone, access) = lab.clone("one").await;
    let base = format!("/at/{}", clone.name);
    assert_eq!(clone.url, format!("https://clones.example{base}"));
    let send = async |method: &str, host: &str, path: &str, body: &str| {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        let kind = "Content-Type: application/x-www-form-urlencoded";
        lab.raw(format!("{head}{kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await
    };
    // Whatever Host the proxy in front of us sends: no redirect loop.
    for host in ["clones.example", "127.0.0.1:8090"] {
        let front = send("GET", host, &format!("{base}/"), "").await;
        assert!(front.starts_with("HTTP/1.1 200 "), "{front:.300}");
        assert!(front.contains(&format!("https://clones.example{base}/wp-includes/")), "{front:.3000}");
    }
    let form = format!("log={}&pwd={}", access.username, access.password.expose_secret());
    let login = send("POST", "clones.example", &format!("{base}/wp-login.php"), &form).await;
    assert!(
        login.starts_with("HTTP/1.1 302 ") && login.contains("location: https://clones.example/at/"),
        "{login:.900}"
    );
    assert!(login.lines().any(|l| l.contains("wordpress_sec_") && l.contains("secure")), "{login:.900}");
    let other = send("GET", &format!("{}.clones.example", clone.name), "/wp-admin/?a=b", "").await;
    assert!(other.starts_with("HTTP/1.1 308 "), "{other:.300}");
    assert!(other.contains(&format!("location: {}/wp-admin/?a=b", clone.url)), "{other:.300}");
    assert!(
        send("GET", "clones.example", &format!("/{}/", clone.name), "").await.starts_with("HTTP/1.1 404 ")
    );
    lab.end().await;
}

pub(crate) async fn a_clone_gets_its_sources_table_prefix_and_limits() {
    let lab = Lab::start().await;
    let (clone, before) = lab.clone("one").await;
    let facts = SourceFacts {
        table_prefix: Some("shop_7_".into()),
        php: Some("5.3.0".into()),
        limits: PhpLimits {
            memory_limit: Some(300 << 20),
            max_input_vars: Some(7_000),
            ..Default::default()
        },
        charset: Some("latin1".into()),
        // MariaDB does not have it.
        collation: Some("utf8mb4_0900_ai_ci".into()),
        uploads: Some("files".into()),
        constants: [
            ("EXAMPLE_LEVEL".to_owned(), 7.into()),
            ("WP_HOME".to_owned(), "http://a.example".into()),
        ]
        .into(),
    };
    for _ in 0..2 {
        let adapted = lab.local.match_source(&clone.name, &facts).await.expect("adapted");
        assert_eq!(adapted.table_prefix, "shop_7_");
        answers(&http(), &adapted, &lab).await;
    }
    let seen = lab
        .eval(&clone, true, "echo $table_prefix, ' ', ini_get('memory_limit'), ' ', ini_get('max_input_vars'), ' ', implode(',', array_unique(array_map(fn($t) => substr($t, 0, 7), $wpdb->get_col('SHOW TABLES')))), ' ', implode(',', wp_get_current_user()->roles), count_users()['avail_roles']['administrator'];")
        .await;
    assert_eq!(seen, format!("shop_7_ {} 7000 shop_7_ 1", 300 << 20));
    let seen = lab
        .eval(&clone, true, "echo json_encode([DB_CHARSET, DB_COLLATE, $wpdb->get_var('SELECT @@character_set_client'), EXAMPLE_LEVEL, substr(wp_upload_dir(null, false)['baseurl'], strlen(home_url())), home_url() === WP_HOME && WP_HOME !== 'http://a.example']);")
        .await;
    assert_eq!(seen, r#"["latin1","","latin1",7,"\/files",true]"#);
    let unknown = SourceFacts {
        charset: Some("klingon".into()),
        uploads: Some("../x".into()),
        constants: Default::default(),
        ..facts.clone()
    };
    lab.local.match_source(&clone.name, &unknown).await.expect("matched");
    let seen = lab
        .eval(
            &clone,
            true,
            "echo DB_CHARSET, ' ', var_export(defined('UPLOADS') || defined('EXAMPLE_LEVEL'), true);",
        )
        .await;
    assert_eq!(seen, "utf8mb4 false");
    lab.local.match_source(&clone.name, &facts).await.expect("matched again");
    let after = lab.local.access(&clone.name).await.expect("access");
    assert_eq!(before.password.expose_secret(), after.password.expose_secret());
    let wrong = SourceFacts { table_prefix: Some("a'; --".into()), ..facts };
    assert!(lab.local.match_source(&clone.name, &wrong).await.is_err());
    lab.end().await;
}

pub(crate) async fn a_login_link_works_once() {
    let lab = Lab::start().await;
    let (clone, access) = lab.clone("one").await;
    let secrets = CloneSecrets { password: access.password.clone(), login_key: access.login_key.clone() };
    let link = |minutes| {
        let until = Timestamp::now() + SignedDuration::from_mins(minutes);
        secrets.login_link(&clone.name, &access.url, until).expect("a link")
    };
    let (late, link) = (link(-1), link(5));
    let browser = http();
    let first = browser.get(link.expose_secret()).send().await.expect("a response");
    assert_eq!(
        (first.status().as_u16(), &first.headers()["location"]),
        (302, &format!("{}/wp-admin/", access.url).parse().expect(""))
    );
    let admin = browser.get(format!("{}/wp-admin/profile.php", access.url)).send().await.expect("a response");
    assert_eq!(admin.status(), 200);
    let again = http().get(link.expose_secret()).send().await.expect("a response");
    assert_eq!((again.status().as_u16(), again.headers().get("set-cookie")), (403, None));
    assert_eq!(http().get(late.expose_secret()).send().await.expect("a response").status(), 403);
    lab.end().await;
}

pub(crate) async fn files_support_ranges_and_uploads_are_streamed() {
    let lab = Lab::start().await;
    let (clone, _) = lab.clone("one").await;
    let http = http();
    lab.put(&clone.name, "wp-content/uploads/a b.txt", "0123456789");
    let url = format!("{}/wp-content/uploads/a%20b.txt", clone.url);
    let whole = http.get(&url).send().await.expect("a response");
    assert_eq!(whole.headers()["content-type"], "text/plain");
    let etag = whole.headers()["etag"].clone();
    assert_eq!(whole.text().await.expect("a body"), "0123456789");
    let part = http.get(&url).header("range", "bytes=2-4").send().await.expect("a response");
    assert_eq!(
        (part.status().as_u16(), &part.headers()["content-range"]),
        (206, &"bytes 2-4/10".parse().expect(""))
    );
    assert_eq!(part.text().await.expect("a body"), "234");
    let same = http.get(&url).header("if-none-match", etag).send().await.expect("a response");
    assert_eq!(same.status(), 304);
    let head = http.head(&url).send().await.expect("a response");
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().expect("")), (200, "10"));
    let css =
        http.get(format!("{}/wp-includes/css/dashicons.css", clone.url)).send().await.expect("a response");
    assert_eq!((css.status().as_u16(), css.headers()["content-type"].to_str().expect("")), (200, "text/css"));

    // The largest body that is accepted, and one byte more.
    lab.put(&clone.name, "size.php", "<?php $n = 0; $in = fopen('php://input', 'r'); while (!feof($in)) $n += strlen(fread($in, 1 << 20)); echo $n, ' ', memory_get_peak_usage() >> 20;");
    let (url, most) = (format!("{}/size.php", clone.url), 128usize << 20);
    let taken = http.post(&url).body(vec![b'x'; most]).send().await.expect("a response");
    let output = taken.text().await.expect("a body");
    assert!(output.starts_with(&format!("{most} ")), "{output}");
    let refused = lab
        .raw(
            format!(
                "POST /{}/size.php HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                clone.name,
                most + 1
            )
            .as_bytes(),
        )
        .await;
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
    let chunked = lab
        .raw(format!("POST /{}/size.php HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", clone.name).as_bytes())
        .await;
    assert!(chunked.contains("\r\n\r\n") && chunked.contains("5 "), "{chunked}");
    // A response that PHP aborts does not look complete.
    lab.put(
        &clone.name,
        "die.php",
        "<?php echo str_repeat('x', 1 << 20); flush(); posix_kill(posix_getpid(), 9);",
    );
    let broken = http.get(format!("{}/die.php", clone.url)).send().await.expect("a head");
    assert!(broken.bytes().await.is_err(), "a broken body is an error");
    lab.end().await;
}

pub(crate) async fn access_is_restored_after_an_import_that_replaces_all_users() {
    let lab = Lab::start().await;
    let (clone, _) = lab.clone("one").await;
    lab.eval(&clone, true, "$wpdb->query(\"DELETE FROM $wpdb->users\"); $wpdb->query(\"DELETE FROM $wpdb->usermeta\"); $wpdb->query(\"DELETE FROM $wpdb->options WHERE option_name = 'active_plugins'\"); $wpdb->query(\"DROP TABLE {$wpdb->prefix}wpclone_migrator\"); $wpdb->insert($wpdb->users, ['user_login' => 'boss', 'user_pass' => 'x', 'user_email' => 'boss@site.invalid']);").await;
    let removed = lab.tree(&clone.name).join("wp-content/plugins/wpclone-migrator");
    fs::remove_dir_all(removed).expect("the plugin goes");
    let access = lab.local.ensure_access(&clone.name).await.expect("access");
    answers(&http(), &clone, &lab).await;
    let users = lab
        .eval(
            &clone,
            true,
            "echo implode(',', $wpdb->get_col(\"SELECT user_login FROM $wpdb->users ORDER BY ID\"));",
        )
        .await;
    assert_eq!(users, format!("boss,{}", access.username));
    lab.end().await;
}

//! Requests for what the proxy must not serve.

use crate::support::{Lab, http};

/// Status and body of a raw response.
fn read(answer: &str) -> (u16, &str) {
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default();
    (status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body))
}

pub(crate) async fn hostile_requests_reach_nothing() {
    let lab = Lab::start().await;
    let (clone, _) = lab.clone("one").await;
    for (file, content) in [
        (".env", "SECRET"),
        (".git/config", "SECRET"),
        ("wp-config.php~", "<?php SECRET"),
        ("wp-config.php.bak", "<?php SECRET"),
        (".wp-config.php.swp", "SECRET"),
        ("wp-content/uploads/x.php.jpg", "<?php echo 'RAN', 'IT';"),
        ("wp-content/uploads/x.jpg", "<?php echo 'RAN', 'IT';"),
        ("wp-content/uploads/x.phtml", "<?php echo 'RAN', 'IT'; /* SECRET */"),
        ("wp-content/uploads/x.PHP", "<?php echo 'RAN', 'IT'; /* SECRET */"),
        ("wp-content/uploads/x.php5", "<?php echo 'RAN', 'IT'; /* SECRET */"),
        ("wp-content/backups/.htaccess", "Order allow,deny\nDeny from all\n"),
        ("wp-content/backups/db.sql", "SECRET"),
        ("wp-content/backups/x.php", "<?php echo 'RAN', 'IT'; /* SECRET */"),
        (
            "show.php",
            "<?php header('Content-Type: application/json'); header('Connection: x-hop'); header('X-Hop: 1'); header('Set-Cookie: wpclone_session=forged', false); echo json_encode([$_SERVER, $_COOKIE]);",
        ),
    ] {
        lab.put(&clone.name, file, content);
    }
    let get = async |target: &str| {
        lab.raw(
            format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", lab.listen).as_bytes(),
        )
        .await
    };
    let base = format!("/{}", clone.name);
    for (path, statuses) in [
        ("/.env", &[404][..]),
        ("/.git/config", &[404]),
        ("/.htaccess", &[404]),
        ("/wp-config.php~", &[404]),
        ("/wp-config.php.bak", &[404]),
        ("/.wp-config.php.swp", &[404]),
        ("/wp-config.php", &[404]),
        ("/../wp-config.php", &[400]),
        ("/%2e%2e/wp-config.php", &[400]),
        ("/..%2fwp-config.php", &[400]),
        ("/wp-content/..%5c..%5cwp-config.php", &[400]),
        ("/wp-content/uploads/..;/x", &[404]),
        ("/wp-content/%2e%2e/%2e%2e/%2e%2e/secrets.json", &[400]),
        ("/wp-login.php%00.jpg", &[400]),
        ("/wp-content/uploads/x.phtml", &[404]),
        ("/wp-content/uploads/x.PHP", &[404]),
        ("/wp-content/uploads/x.php5", &[404]),
        ("/wp-content/backups/db.sql", &[403]),
        ("/wp-content/backups/x.php", &[403]),
        ("/wp-content/backups/", &[403]),
        ("/wp-content/uploads/", &[403]),
        ("/tasks.php", &[404]),
        ("/wp-content/uploads/x.jpg/y.php", &[404]),
        ("/clone.json", &[404]),
    ] {
        let answer = get(&format!("{base}{path}")).await;
        let (status, body) = read(&answer);
        assert!(statuses.contains(&status), "{path}: {answer:.500}");
        assert!(
            !body.contains("SECRET") && !body.contains("RANIT") && !body.contains("root:"),
            "{path}: {answer}"
        );
    }
    // Uploads that contain PHP are sent as pictures.
    for path in ["/wp-content/uploads/x.php.jpg", "/wp-content/uploads/x.jpg"] {
        let answer = get(&format!("{base}{path}")).await;
        assert!(answer.contains("content-type: image/jpeg") && answer.contains("nosniff"), "{answer}");
        assert!(!answer.contains("RANIT"));
    }
    let answer = get(&format!("{base}/index.php/wp-json/")).await;
    assert_eq!(read(&answer).0, 200, "path info is WordPress' own: {answer:.300}");
    // Targets that are not valid.
    for target in ["", "*", "x", "/\u{7f}", "//", "http://", "/clone-20261123-163105-zzzzzz/"] {
        let (status, _) = (read(&get(target).await).0, ());
        assert!((400..500).contains(&status), "{target:?} {status}");
    }
    let long = "x".repeat(100_000);
    let big = lab
        .raw(
            format!("GET {base}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Big: {long}\r\n\r\n")
                .as_bytes(),
        )
        .await;
    assert_eq!(read(&big).0, 431, "{big:.100}");
    // Large headers and targets reach PHP complete, though they need more than one record.
    let large: String = (0..5).map(|n| format!("X-Large-{n}: {}\r\n", "y".repeat(9_000))).collect();
    let path = format!("{base}/show.php?{}", "z".repeat(30_000));
    let large = lab
        .raw(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{large}\r\n").as_bytes())
        .await;
    assert_eq!((read(&large).0, large.matches(&"y".repeat(9_000)).count()), (200, 5), "{large:.300}");
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    let many = lab
        .raw(format!("GET {base}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{many}\r\n").as_bytes())
        .await;
    assert_eq!(read(&many).0, 431, "{many:.100}");
    for method in ["TRACE", "CONNECT", "PROPFIND"] {
        let answer = lab
            .raw(format!("{method} {base}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
            .await;
        assert!([400, 404, 405].contains(&read(&answer).0), "{method}: {answer:.100}");
    }

    // The parameters that PHP gets.
    let answer = http()
        .get(format!("{}/show.php/a%20b?x=1", clone.url))
        .header("cookie", "a=1; wpclone_session=SECRET; b=2")
        .header("host", "evil.example")
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-for", "8.8.8.8")
        .header("proxy", "http://evil.example")
        .header("authorization", "Basic eDp5")
        .send()
        .await
        .expect("a response");
    assert!(answer.headers().get("x-hop").is_none() && answer.headers().get("set-cookie").is_none());
    let text = answer.text().await.expect("a body");
    assert!(!text.contains("SECRET") && !text.contains("evil") && !text.contains("8.8.8.8"), "{text}");
    let output: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let server = |name: &str| output[0][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(output[1], serde_json::json!({ "a": "1", "b": "2" }));
    assert_eq!(server("HTTP_HOST"), lab.listen.to_string());
    assert_eq!(server("REQUEST_URI"), format!("{base}/show.php/a%20b?x=1"));
    assert_eq!(server("SCRIPT_NAME"), format!("{base}/show.php"));
    assert_eq!(server("PHP_SELF"), format!("{base}/show.php/a b"));
    assert_eq!(server("PATH_INFO"), "/a b");
    assert_eq!(server("SCRIPT_FILENAME"), format!("{}{base}/show.php", server("DOCUMENT_ROOT")));
    assert_eq!(server("REMOTE_ADDR"), "127.0.0.1");
    assert_eq!(server("PHP_AUTH_USER"), "x");
    assert_eq!(server("HTTPS"), "");
    lab.end().await;
}

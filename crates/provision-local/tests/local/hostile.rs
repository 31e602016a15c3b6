//! Requests for what the proxy must not serve.

use std::fs;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use wpclone_provision::{Provisioner as _, Routing};

use crate::support::{LIMIT, Lab, http, log_in};

/// A response takes no longer while others attack; the machine may be busy.
const PROMPT: Duration = Duration::from_secs(60);
/// The same where a body that does not arrive is given up after half a minute.
const BEFORE_LATE_BODIES: Duration = Duration::from_secs(25);

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
            "<?php header('Content-Type: application/json'); header('Connection: x-hop'); header('X-Hop: 1'); header('Set-Cookie: wpclone_session=forged', false); header('Service-Worker-Allowed: /'); header('Clear-Site-Data: \"cookies\"'); header('Set-Cookie: planted=1; path=/; domain=localhost', false); echo json_encode([$_SERVER, $_COOKIE]);",
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
    let host = format!("Host: {}\r\nConnection: close\r\n", lab.listen);
    let big = lab.raw(format!("GET {base}/ HTTP/1.1\r\n{host}X-Big: {long}\r\n\r\n").as_bytes()).await;
    assert_eq!(read(&big).0, 431, "{big:.100}");
    // Large headers and targets reach PHP complete, though they need more than one record.
    let large: String = (0..5).map(|n| format!("X-Large-{n}: {}\r\n", "y".repeat(9_000))).collect();
    let path = format!("{base}/show.php?{}", "z".repeat(30_000));
    let large = lab.raw(format!("GET {path} HTTP/1.1\r\n{host}{large}\r\n").as_bytes()).await;
    assert_eq!((read(&large).0, large.matches(&"y".repeat(9_000)).count()), (200, 5), "{large:.300}");
    // A clone whose visitor got large cookies from others' scripts stays usable: the first cookies are its own.
    let cookies: String = (0..25).map(|n| format!("; c{n}={}", "v".repeat(4_000))).collect();
    let crowded = http().get(format!("{}/show.php", clone.url)).header("cookie", format!("own=1{cookies}"));
    let crowded = crowded.send().await.expect("a response");
    let status = crowded.status().as_u16();
    let output: serde_json::Value = crowded.json().await.expect("JSON");
    let cookies = output[1].as_object().expect("cookies");
    assert_eq!((status, cookies.len(), &cookies["own"]), (200, 9, &serde_json::json!("1")));
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    let many = lab.raw(format!("GET {base}/ HTTP/1.1\r\n{host}{many}\r\n").as_bytes()).await;
    assert_eq!(read(&many).0, 431, "{many:.100}");
    for method in ["TRACE", "CONNECT", "PROPFIND"] {
        let answer = lab.raw(format!("{method} {base}/ HTTP/1.1\r\n{host}\r\n").as_bytes()).await;
        assert!([400, 404, 405].contains(&read(&answer).0), "{method}: {answer:.100}");
    }

    // The parameters that PHP gets.
    let answer = http()
        .get(format!("{}/show.php/a%20b?x=1", clone.url))
        .header("cookie", "a=1; wpclone_session=SECRET; b=2")
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-for", "8.8.8.8")
        .header("proxy", "http://evil.example")
        .header("authorization", "Basic eDp5")
        .send()
        .await
        .expect("a response");
    for name in ["x-hop", "service-worker-allowed", "clear-site-data"] {
        assert!(answer.headers().get(name).is_none(), "{name}");
    }
    let cookies: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, [&*format!("planted=1; Path={base}/")]);
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

pub(crate) async fn requests_for_other_hosts_and_for_no_definite_host_are_refused() {
    let lab = Lab::with(Routing::Host, |_| {}).await;
    let (clone, _) = lab.clone("one").await;
    lab.put(&clone.name, "mark.txt", "MARK");
    let port = lab.listen.port();
    let name = clone.name.as_str();
    let upper = name.to_uppercase();
    let own = format!("Host: {name}.localhost:{port}\r\n");
    let absolute = format!("http://{name}.localhost:{port}/mark.txt");
    for (target, headers, expected) in [
        ("/mark.txt", own.clone(), 200),
        ("/mark.txt", format!("Host: {upper}.LocalHost\r\n"), 200),
        ("/mark.txt", format!("Host: {name}.localhost:1\r\n"), 200),
        (&absolute, own.clone(), 200),
        // A page of such a name that resolves to this machine would be of the same origin as the clone.
        ("/mark.txt", format!("Host: {name}.evil.example\r\n"), 421),
        ("/mark.txt", format!("Host: {name}.localhost.evil.example\r\n"), 421),
        ("/mark.txt", format!("Host: {name}.localhost.\r\n"), 421),
        ("/mark.txt", format!("Host: x.{name}.localhost\r\n"), 421),
        ("/mark.txt", "Host: evil.example\r\n".into(), 421),
        (&format!("/{name}/mark.txt"), "Host: evil.example\r\n".into(), 421),
        ("http://evil.example/mark.txt", "Host: evil.example\r\n".into(), 421),
        ("/mark.txt", "Host: localhost\r\n".into(), 404),
        ("/mark.txt", String::new(), 400),
        ("/mark.txt", format!("{own}{own}"), 400),
        ("/mark.txt", format!("Host: evil.example\r\n{own}"), 400),
        ("/mark.txt", format!("{own}Host: evil.example\r\n"), 400),
        ("/mark.txt", format!("Host: evil.example@{name}.localhost\r\n"), 400),
        ("/mark.txt", format!("Host: {name}.localhost:evil\r\n"), 400),
        ("/mark.txt", format!("Host: {name}.localhost/\r\n"), 400),
        ("/mark.txt", format!("Host: {name}.localhost, evil.example\r\n"), 400),
        (&absolute, "Host: evil.example\r\n".into(), 400),
        (&format!("http://evil@{name}.localhost:{port}/mark.txt"), own.clone(), 400),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        let answer = lab.raw(request.as_bytes()).await;
        let (status, body) = read(&answer);
        assert_eq!(status, expected, "{target} {headers}: {answer:.300}");
        assert_eq!(body.contains("MARK"), expected == 200, "{target} {headers}");
    }
    lab.end().await;
}

pub(crate) async fn requests_by_path_are_for_the_clones_own_host() {
    let lab = Lab::start().await;
    let (clone, _) = lab.clone("one").await;
    lab.put(&clone.name, "mark.txt", "MARK");
    for (host, expected) in [
        (lab.listen.to_string(), 200),
        ("127.0.0.1".into(), 200),
        (format!("localhost:{}", lab.listen.port()), 200),
        ("evil.example".into(), 421),
        (format!("127.0.0.1.evil.example:{}", lab.listen.port()), 421),
        ("10.0.0.1".into(), 421),
    ] {
        let request =
            format!("GET /{}/mark.txt HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", clone.name);
        let answer = lab.raw(request.as_bytes()).await;
        assert_eq!(read(&answer).0, expected, "{host}: {answer:.300}");
    }
    // What a deleted clone has stored in browsers is removed, for people who open its address.
    lab.local.delete(&clone.name).await.expect("deleted");
    let gone = async |metadata: &str| {
        let request = format!(
            "GET /{}/sw.js HTTP/1.1\r\nHost: {}\r\n{metadata}Connection: close\r\n\r\n",
            clone.name, lab.listen
        );
        lab.raw(request.as_bytes()).await
    };
    for (metadata, cleared) in [
        ("", true),
        ("Sec-Fetch-Dest: document\r\n", true),
        ("Sec-Fetch-Dest: serviceworker\r\n", true),
        ("Sec-Fetch-Dest: image\r\n", false),
    ] {
        let answer = gone(metadata).await;
        assert_eq!(read(&answer).0, 410, "{answer}");
        let header = answer.contains("clear-site-data: \"cache\", \"storage\"");
        assert_eq!(header, cleared, "{metadata}: {answer}");
    }
    let unknown = format!(
        "GET /clone-20261123-163105-zzzzzz/ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        lab.listen
    );
    let unknown = lab.raw(unknown.as_bytes()).await;
    assert!(read(&unknown).0 == 404 && unknown.contains("clear-site-data: "), "{unknown}");
    lab.end().await;
}

/// A connection to the proxy from this address of the loopback network.
async fn connect_from(lab: &Lab, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{from}:0").parse().expect("an address")).expect("the address");
    tokio::time::timeout(LIMIT, socket.connect(lab.listen)).await.expect("in time").expect("a connection")
}

pub(crate) async fn idle_connections_stop_no_work() {
    let lab = Lab::start().await;
    let (one, _) = lab.clone("one").await;
    let mut idle = Vec::new();
    for n in 0..1_500_u32 {
        // A third from one address, the others each from its own.
        let from =
            if n % 3 == 0 { "127.0.0.2".to_owned() } else { format!("127.1.{}.{}", n / 250, n % 250 + 1) };
        let mut stream = connect_from(&lab, &from).await;
        if n % 2 == 0 {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nX-").await;
        }
        idle.push(stream);
    }
    let begun = Instant::now();
    let page = http().get(format!("{}/", one.url)).send().await.expect("a response");
    assert!(
        page.status().is_success() && begun.elapsed() < PROMPT,
        "{} {:?}",
        page.status(),
        begun.elapsed()
    );
    // A clone is set up through the proxy too.
    let (two, access) = lab.clone("two").await;
    assert!(log_in(&http(), &access).await.status().is_success(), "{}", two.url);
    drop(idle);
    lab.end().await;
}

pub(crate) async fn slow_bodies_hold_none_of_a_clones_php_processes() {
    let lab = Lab::start().await;
    let (clone, _) = lab.clone("one").await;
    lab.put(&clone.name, "length.php", "<?php echo 'GOT ', strlen(file_get_contents('php://input'));");
    let target = format!("/{}/length.php", clone.name);
    let head = format!("POST {target} HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain\r\n", lab.listen);
    let mut slow = Vec::new();
    for n in 0..90 {
        let mut stream = connect_from(&lab, &format!("127.0.0.{}", 2 + n % 3)).await;
        let rest = match n % 3 {
            0 => "Content-Length: 1000\r\n\r\nbegun".to_owned(),
            1 => "Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n".to_owned(),
            _ => format!("Content-Length: 4000000\r\n\r\n{}", "x".repeat(100_000)),
        };
        stream.write_all(format!("{head}{rest}").as_bytes()).await.expect("sent");
        slow.push(stream);
    }
    // PHP of the same clone responds, with a small body too.
    let begun = Instant::now();
    for _ in 0..20 {
        let answer =
            http().post(format!("{}/length.php", clone.url)).body("abc").send().await.expect("a response");
        let (status, text) = (answer.status(), answer.text().await.expect("a body"));
        assert!(status.is_success() && text == "GOT 3", "{status}: {text}");
    }
    assert!(begun.elapsed() < BEFORE_LATE_BODIES, "{:?}", begun.elapsed());
    // A client that goes on is served.
    let mut begun = connect_from(&lab, "127.0.0.2").await;
    begun.write_all(format!("{head}Content-Length: 1000\r\n\r\nbegun").as_bytes()).await.expect("sent");
    begun.write_all("y".repeat(995).as_bytes()).await.expect("sent");
    let mut answer = vec![0; 12];
    tokio::time::timeout(LIMIT, begun.read_exact(&mut answer)).await.expect("in time").expect("a response");
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 200");
    // Silent ones are told that they are late, and their places are free again.
    let mut late = slow.swap_remove(0);
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(LIMIT, late.read_to_end(&mut answer)).await.expect("its end");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408") || answer.starts_with("HTTP/1.1 503"), "{answer}");
    drop(slow);
    let whole = "z".repeat(3_000_000);
    let answer =
        http().post(format!("{}/length.php", clone.url)).body(whole).send().await.expect("a response");
    assert_eq!(answer.text().await.expect("a body"), "GOT 3000000");
    lab.end().await;
}

pub(crate) async fn silent_uploads_to_one_clone_leave_space_to_those_of_another() {
    const MOST: usize = 128 << 20;
    let lab = Lab::start().await;
    let ((one, _), (two, _)) = (lab.clone("one").await, lab.clone("two").await);
    lab.put(&two.name, "length.php", "<?php echo 'GOT ', strlen(file_get_contents('php://input'));");
    let head = format!(
        "POST /{}/index.php HTTP/1.1\r\nHost: {}\r\nContent-Length: {MOST}\r\n\r\n",
        one.name, lab.listen
    );
    // All but the last byte, as often as all space holds it.
    let body = vec![b'x'; MOST - 1];
    let uploads = (0..4).map(|_| async {
        let mut stream = connect_from(&lab, "127.0.0.2").await;
        let sent = async {
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await
        };
        // One for which there is no space is refused.
        let _ = tokio::time::timeout(LIMIT, sent).await.expect("sent or refused");
        stream
    });
    let attack = futures_util::future::join_all(uploads).await;
    for _ in 0..3 {
        let whole = "z".repeat(3_000_000);
        let answer =
            http().post(format!("{}/length.php", two.url)).body(whole).send().await.expect("a response");
        let (status, text) = (answer.status(), answer.text().await.expect("a body"));
        assert!(status.is_success() && text == "GOT 3000000", "{status}: {text}");
    }
    drop(attack);
    lab.end().await;
}

pub(crate) async fn a_clone_with_very_many_access_rules_delays_no_other() {
    const FOLDERS: usize = 60;
    let lab = Lab::start().await;
    let ((one, _), (two, _)) = (lab.clone("one").await, lab.clone("two").await);
    lab.put(&one.name, "a/.htaccess", &"<Files x>\nallow from all\n</Files>\n".repeat(1_900));
    let rules = lab.tree(&one.name).join("a/.htaccess");
    let mut folder = lab.tree(&one.name).join("a");
    for _ in 1..FOLDERS {
        folder.push("a");
        fs::create_dir(&folder).expect("a folder");
        fs::hard_link(&rules, folder.join(".htaccess")).expect("a link");
    }
    let target = format!("/{}{}/x.txt", one.name, "/a".repeat(FOLDERS));
    let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", lab.listen);
    let mut attackers = Vec::new();
    for n in 0..100 {
        let mut stream = connect_from(&lab, &format!("127.0.0.{}", 2 + n % 6)).await;
        stream.write_all(request.as_bytes()).await.expect("sent");
        attackers.push(stream);
    }
    let begun = Instant::now();
    for _ in 0..5 {
        let page = http().get(format!("{}/", two.url)).send().await.expect("a response");
        assert_eq!(page.status(), 200);
    }
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    for mut attacker in attackers {
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(LIMIT, attacker.read_to_end(&mut answer)).await.expect("its end");
        assert_eq!(read(&String::from_utf8_lossy(&answer)).0, 403);
    }
    lab.end().await;
}

//! `wpclone clone` and `wpclone clones`.

use insta::assert_snapshot;
use serde_json::{Value, json};
use wpclone_task::{Code, Problem};

use crate::program::{program, read_until, run, run_with_stdin, wait_for_output, wpclone};
use crate::stub::{ID, Reply, StreamEnd, Stub, queued, task};

const NAME: &str = "clone-20261123-163105-abcdef";
const CLONE: &[&str] = &["clone", "https://example.com/blog", "--source-user", "admin"];

fn cloned(request: Value, result: Value) -> Value {
    task(json!({"kind": "clone", "stage": "provisioning", "request": request, "result": result}))
}

fn request() -> Value {
    json!({
        "kind": "clone", "source": {"url": "https://example.com/blog", "username": "admin"}, "ttl_minutes": 60,
        "isolation": "shared", "remove_migrator": true,
    })
}

fn done() -> Value {
    let clone = json!({
        "name": NAME, "url": format!("http://127.0.0.1:8090/{NAME}"), "username": "wpclone-abcd",
        "password": "pw-of-it", "expires_at": "2026-11-23T11:01:13Z", "effective_isolation": {"own_user": true},
    });
    let fidelity = json!({
        "tables": 14, "rows": 30211, "files": 812, "unreplaced_addresses": {"root-relative": 3}, "omitted": {},
        "warnings": ["A table was read twice."],
    });
    let source = json!({"url": "https://example.com/blog", "plugin_status": "installed", "facts": {"prefix": "wp_", "php": "8.2.7"}});
    let result = json!({
        "clone": clone, "fidelity": fidelity, "source": source, "source_api_key": null, "target_api_key": null,
    });
    cloned(request(), result)
}

fn clone(n: u32) -> Value {
    let name = format!("clone-20261123-16310{n}-abcdef");
    json!({
        "name": name, "url": format!("http://127.0.0.1:8090/{name}"), "state": "published",
        "source": "https://example.com", "task": ID, "created_at": "2020-11-23T10:00:00Z",
        "expires_at": "2020-11-23T11:00:00Z", "isolation": "shared", "effective_isolation": {"own_user": true},
        "username": "wpclone-abcd", "password": "pw-of-it",
        "links": {"self": format!("/clones/{name}"), "login": format!("/clones/{name}/login"), "task": format!("/tasks/{ID}")},
    })
}

#[tokio::test]
async fn a_finished_clone_prints_its_login_expiry_and_fidelity() {
    let stub = Stub::ending(done()).await;
    let output = wpclone(&stub.url, &[CLONE, &["--ttl", "90", "--isolation", "dedicated"]].concat()).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_snapshot!(output.stdout);
    assert_eq!(
        stub.requests_to("POST /clone")[0].body,
        json!({
            "source": {"url": "https://example.com/blog", "username": "admin", "password": "canary-password"},
            "ttl_minutes": 90, "isolation": "dedicated", "remove_migrator": true,
        })
    );
    let by_name =
        ["clone", "--source", "https://example.com", "--username", "admin", "--json", "--keep-migrator"];
    let output = wpclone(&stub.url, &[&by_name[..], &["--unprefixed-tables"]].concat()).await;
    assert_eq!(serde_json::from_str::<Value>(&output.stdout).unwrap(), done(), "{output:?}");
    let body = &stub.requests_to("POST /clone")[1].body;
    assert_eq!(
        (&body["remove_migrator"], &body["source"]["url"]),
        (&json!(false), &json!("https://example.com"))
    );
    assert_eq!(body["copy_unprefixed_tables"], true);
    assert_eq!(body.get("ttl_minutes"), None, "defaults are left to the API");
}

#[tokio::test]
async fn a_target_has_its_own_login_and_never_gets_the_sources_password() {
    let target = json!({"url": "https://new.example", "username": "boss"});
    let mut request = request();
    request["target"] = target.clone();
    let stub =
        Stub::ending(cloned(request, json!({"clone": null, "target": target, "target_api_key": "k"}))).await;
    let to = [CLONE, &["--target", "https://new.example", "--target-user", "boss"]].concat();
    let mut command = program(&stub.url, &to);
    command.env("WPCLONE_SITE_PASSWORD", "canary-1").env("WPCLONE_TARGET_PASSWORD", "canary-2");
    let output = run(command).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("target.url       https://new.example\n"), "{}", output.stdout);
    let sent = &stub.requests_to("POST /clone")[0].body;
    assert_eq!(
        (&sent["source"]["password"], &sent["target"]["password"]),
        (&json!("canary-1"), &json!("canary-2"))
    );

    for (args, why) in [
        (vec![], "WPCLONE_TARGET_PASSWORD"),
        (vec!["--source-password-file", "-", "--target-password-file", "-"], "only one password"),
    ] {
        let output = wpclone(&stub.url, &[&to[..], &args].concat()).await;
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");
        assert!(output.stderr.contains(why) && !output.stderr.contains("canary"), "{}", output.stderr);
    }
    assert_eq!(stub.requests_to("POST /clone").len(), 1, "no other request was sent");
}

#[tokio::test]
async fn conflicting_arguments_are_rejected_before_a_request_is_sent() {
    let target = &["--target", "https://b.example", "--target-user", "b"][..];
    for args in [
        &["clone", "--source-user", "admin"][..],
        &["clone", "https://a.example"],
        &[CLONE, &["--source", "https://b.example"]].concat(),
        &[CLONE, &["--ttl", "4"]].concat(),
        &[CLONE, target, &["--ttl", "60"]].concat(),
        &[CLONE, &["--target", "https://b.example"]].concat(),
        &[CLONE, &["--isolation", "none"]].concat(),
        &["clone", "https://me:canary@a.example", "--source-user", "admin"],
        &["clones", "show", "../tasks"],
        &["clones", "extend", NAME],
        &["clones", "--limit", "5", "show", NAME],
    ] {
        let output = wpclone("http://127.0.0.1:1", args).await;
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{args:?} {output:?}");
        assert!(!output.stderr.contains("canary"), "{}", output.stderr);
    }
}

#[tokio::test]
async fn clone_lists_follow_the_cursor_up_to_the_limit() {
    let stub = Stub::start(|request| match request.earlier {
        0 => Reply::Json(200, json!({"clones": [clone(3), clone(2)], "next": clone(2)["name"]})),
        _ => Reply::Json(200, json!({"clones": [clone(1)], "next": clone(1)["name"]})),
    })
    .await;
    let output = wpclone(&stub.url, &["clones", "--limit", "3"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_snapshot!(output.stdout);
    assert!(output.stderr.contains("--cursor clone-20261123-163101-abcdef"), "{}", output.stderr);
    let queries: Vec<_> = stub.requests().into_iter().map(|a| a.query).collect();
    assert_eq!(queries, ["limit=3", "limit=1&cursor=clone-20261123-163102-abcdef"]);

    let page = json!({"clones": [clone(1)]});
    let kept = page.clone();
    let stub = Stub::start(move |_| Reply::Json(200, page.clone())).await;
    let output = wpclone(&stub.url, &["clones", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&output.stdout).unwrap(), kept);
    let none = Stub::start(|_| Reply::Json(200, json!({"clones": []}))).await;
    let output = wpclone(&none.url, &["clones"]).await;
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (0, "", "no clones\n"));
}

/// A clone in a cluster, as an operator sees it.
fn in_cluster(n: u32) -> Value {
    let mut clone = clone(n);
    clone["location"] = json!({
        "kind": "cluster", "namespace": "clones", "instance": clone["name"],
        "conditions": [{"type": "Ready", "status": "False", "reason": "Pending", "message": "no room\u{1b}"}],
        "pod": {"name": "clone-a-1", "state": "ImagePullBackOff", "restarts": 2},
    });
    clone
}

fn on_machine(n: u32) -> Value {
    let mut clone = clone(n);
    clone["location"] = json!({"kind": "machine", "machine": "host-1", "worker": "host-1-77-a"});
    clone
}

#[tokio::test]
async fn an_operator_sees_where_clones_run() {
    let stub = Stub::start(|request| match request.route.as_str() {
        "GET /clones" => Reply::Json(200, json!({"clones": [in_cluster(1), on_machine(2)]})),
        route if route.ends_with("1-abcdef") => Reply::Json(200, in_cluster(1)),
        _ => Reply::Json(200, on_machine(2)),
    })
    .await;
    let mut shown = wpclone(&stub.url, &["clones"]).await.stdout;
    for name in ["clone-20261123-163101-abcdef", "clone-20261123-163102-abcdef"] {
        shown += &format!("\n{}", wpclone(&stub.url, &["clones", "show", name]).await.stdout);
    }
    assert_snapshot!(shown);
}

#[tokio::test]
async fn watching_clones_prints_the_list_again_when_it_changes_and_survives_an_api_that_restarts() {
    let stub = Stub::start(|request| match (request.route.as_str(), request.earlier) {
        // A stream that ends with each of its messages.
        ("GET /events", _) => Reply::Events(vec![json!({"tasks": [], "all": true})], StreamEnd::Closes),
        ("GET /clones", 0..=2) => Reply::Json(200, json!({"clones": [clone(1)]})),
        ("GET /clones", 3..=7) => Reply::Text(503, "text/plain", "restarting".into()),
        _ => Reply::Json(200, json!({"clones": [clone(2), clone(1)], "next": clone(1)["name"]})),
    })
    .await;
    let mut child = program(&stub.url, &["clones", "--watch", "--limit", "2"]).spawn().unwrap();
    let mut seen = String::new();
    read_until(&mut child, &mut seen, "163102").await;
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = wait_for_output(child).await;
    assert_eq!(output.code, 130, "{output:?}");
    seen += &output.stdout;
    assert_eq!(seen.matches("NAME").count(), 2, "once for each list that differs: {seen}");
    assert!(!seen.contains('\u{1b}'), "{seen:?}");
    assert!(output.stderr.contains("--cursor clone-20261123-163101-abcdef"), "{}", output.stderr);
    assert!(!stub.requests_to("GET /events").is_empty());
}

#[tokio::test]
async fn watching_ends_where_the_api_refuses() {
    let stub = Stub::start(|_| Reply::Problem(Problem::new(Code::Unauthenticated, "No token."))).await;
    let output = wpclone(&stub.url, &["clones", "--watch", "--json"]).await;
    assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");
}

#[tokio::test]
async fn showing_a_clone_prints_its_login() {
    let stub = Stub::start(|_| Reply::Json(200, clone(1))).await;
    let output = wpclone(&stub.url, &["clones", "show", NAME]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_snapshot!(output.stdout);
    assert_eq!(stub.requests()[0].route, format!("GET /clones/{NAME}"));
    let output = wpclone(&stub.url, &["clones", "show", NAME, "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&output.stdout).unwrap(), clone(1));

    let mut failing = clone(1);
    failing["problem"] = json!({"kind": "not_starting", "detail": "php-fpm ended"});
    let stub = Stub::start(move |_| Reply::Json(200, failing.clone())).await;
    let output = wpclone(&stub.url, &["clones", "show", NAME]).await;
    let line = output.stdout.lines().find(|line| line.starts_with("problem")).unwrap();
    assert!(line.ends_with("not starting: php-fpm ended"), "{line}");

    let gone = Stub::start(|_| Reply::Problem(Problem::new(Code::CloneGone, "It has expired."))).await;
    let output = wpclone(&gone.url, &["clones", "show", NAME]).await;
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("CLONE_GONE"), "{}", output.stderr);
}

#[tokio::test]
async fn extending_and_deleting_a_clone_follow_their_tasks() {
    let about = json!({"name": NAME, "created_by": ID});
    let extended = task(json!({"kind": "extend-clone",
        "request": {"kind": "extend-clone", "clone": about, "ttl_minutes": 240},
        "result": {"clone": {"name": NAME, "expires_at": "2026-11-23T14:00:00Z"}}}));
    let stub = Stub::ending(extended).await;
    let output = wpclone(&stub.url, &["clones", "extend", NAME, "--ttl", "240"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains("clone.expires_at  2026-11-23 14:00:00 UTC\n"), "{}", output.stdout);
    let sent = &stub.requests_to(&format!("PATCH /clones/{NAME}"))[0];
    assert_eq!(sent.body, json!({"ttl_minutes": 240}));
    assert!(sent.headers["idempotency-key"].len() > 16);

    let deleted = task(json!({"kind": "delete-clone", "request": {"kind": "delete-clone", "clone": about},
        "result": {"clone": {"name": NAME, "expires_at": null}}}));
    let stub = Stub::ending(deleted).await;
    let output = wpclone(&stub.url, &["clones", "delete", NAME]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains(NAME) && !output.stdout.contains("no longer kept"), "{}", output.stdout);
    assert_eq!(stub.requests_to(&format!("DELETE /clones/{NAME}"))[0].body, Value::Null);
}

#[tokio::test]
async fn a_login_link_is_printed_alone() {
    let link =
        json!({"url": "http://127.0.0.1:8090/c/?wpclone_login=1.2.3", "expires_at": "2026-11-23T10:05:00Z"});
    let kept = link.clone();
    let stub = Stub::start(move |_| Reply::Json(200, link.clone())).await;
    let output = wpclone(&stub.url, &["clones", "login", NAME]).await;
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (0, "http://127.0.0.1:8090/c/?wpclone_login=1.2.3\n"),
        "{output:?}"
    );
    assert_eq!(stub.requests()[0].route, format!("POST /clones/{NAME}/login"));
    let output = wpclone(&stub.url, &["clones", "login", NAME, "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&output.stdout).unwrap(), kept);
}

#[tokio::test]
async fn replaying_a_clone_sends_the_password_of_its_source() {
    let failed = cloned(request(), Value::Null);
    let stub = Stub::start(move |request| match request.route.as_str() {
        route if route.ends_with("/replay") => Reply::Json(202, queued()),
        _ => Reply::Json(200, failed.clone()),
    })
    .await;
    let output =
        run_with_stdin(&stub.url, &["replay", ID, "--no-wait", "--password-file", "-"], "new\n").await;
    assert_eq!(output.code, 0, "{output:?}");
    let sent = &stub.requests_to(&format!("POST /tasks/{ID}/replay"))[0].body;
    assert_eq!(*sent, json!({"source": {"password": "new"}}));
}

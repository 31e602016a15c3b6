//! Creating, reading, extending and deleting clones.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use wpclone_clones::CloneEntry;
use wpclone_service::sealed_task::open_request;
use wpclone_task::{
    CloneLocation, ClonePhase, CloneProblem, CloneProblemKind, CloneRef, ClusterCondition, ClusterLocation,
    ClusterPod, Code, ExposeSecret as _, MachineLocation, Problem, Stage, StoredRequest,
};

use crate::support::{Api, body, problem, token};

const A: &str = "clone-20261123-163105-abcdef";
const B: &str = "clone-20261123-163106-abcdef";

fn patch(api: &Api, name: &str, body: &Value) -> RequestBuilder {
    api.request(Method::PATCH, &format!("/clones/{name}")).json(body)
}

fn delete(api: &Api, name: &str) -> RequestBuilder {
    api.request(Method::DELETE, &format!("/clones/{name}"))
}

async fn accepted(request: RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED, "{:?}", answer.text().await);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let task: Value = answer.json().await.unwrap();
    assert_eq!(task["links"]["self"], location);
    task
}

#[tokio::test]
async fn a_clone_request_waits_while_no_worker_creates_clones() {
    let api = Api::start().await;
    let request = json!({"source": body("https://www.Example.com/wp-admin/"), "ttl_minutes": 90});
    let task = accepted(api.post("/clone").json(&request)).await;
    assert_eq!((&task["state"], &task["stage"]), (&json!("queued"), &json!("provisioning")));
    assert_eq!(
        task["request"],
        json!({
            "kind": "clone", "source": {"url": "https://www.example.com", "username": "admin"}, "ttl_minutes": 90,
            "isolation": "shared", "remove_migrator": true,
        })
    );
    let steps = task["steps"].as_array().unwrap();
    assert_eq!((&steps[0]["name"], &steps.last().unwrap()["name"]), (&json!("provision"), &json!("publish")));
    let claim = api.claim().await;
    let secrets = open_request(&api.app.sealer, claim.lease.task, &claim.sealed_secrets.unwrap()).unwrap();
    assert_eq!(secrets[0].1.expose_secret(), "correct horse");
    let waiting = &api.json("/queue").await["stages"]["provisioning"];
    assert_eq!((&waiting["ready"], &waiting["running"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn every_fault_of_a_clone_request_is_reported_at_once() {
    let api = Api::start().await;
    let target = json!({"url": "https://b.example", "username": "b"});
    let sent = json!({"source": {"url": "x", "username": "a", "password": "b"}, "target": target, "ttl_minutes": 5, "x": 1});
    let problem = problem(api.post("/clone").json(&sent).send().await.unwrap(), 422, "INVALID_REQUEST").await;
    let pointers: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/source/url", "/ttl_minutes", "/target/password", "/x"]);
}

#[tokio::test]
async fn only_the_owner_reads_a_clones_password() {
    let api = Api::with_tokens(&[("alice", "user"), ("bob", "user"), ("root", "operator")]).await;
    let entry = api.clone_entry(A, "alice");
    api.put(&entry).await;
    let get = |path: String, name: &str| api.get(&path).bearer_auth(token(name)).send();
    let read = |name: &'static str| async move {
        get(format!("/clones/{A}"), name).await.unwrap().json::<Value>().await.unwrap()
    };
    let own = read("alice").await;
    assert_eq!(
        own,
        json!({
            "name": A, "url": format!("http://127.0.0.1:8090/{A}"), "state": "published",
            "source": "https://shop.example", "task": entry.task, "created_at": entry.created_at,
            "expires_at": entry.expires_at, "isolation": "shared", "effective_isolation": {"own_user": true},
            "username": "wpclone-abcd", "password": "pw-of-it",
            "links": {"self": format!("/clones/{A}"), "login": format!("/clones/{A}/login"), "task": format!("/tasks/{}", entry.task)},
        })
    );
    let seen = read("root").await;
    assert_eq!((&seen["owner"], &seen["password"]), (&json!("alice"), &Value::Null));
    assert_eq!(seen["links"].get("login"), None);
    problem(get(format!("/clones/{A}"), "bob").await.unwrap(), 404, "CLONE_NOT_FOUND").await;
    let list = |name: &'static str| async move {
        get("/clones".into(), name).await.unwrap().json::<Value>().await.unwrap()["clones"].clone()
    };
    assert_eq!(list("alice").await[0]["password"], Value::Null, "lists hold no secrets");
    assert_eq!(list("bob").await, json!([]));
    assert_eq!(list("root").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_clone_whose_secrets_cannot_be_decrypted_is_shown_without_them() {
    let api = Api::start().await;
    api.put(&CloneEntry { sealed: api.clone_entry(B, "x").sealed, ..api.clone_entry(A, "x") }).await;
    let clone = api.json(&format!("/clones/{A}")).await;
    assert_eq!((&clone["password"], &clone["username"]), (&Value::Null, &json!("wpclone-abcd")));
    let login = api.post(&format!("/clones/{A}/login")).send().await.unwrap();
    problem(login, 500, "INTERNAL").await;
}

#[tokio::test]
async fn a_clone_that_does_not_work_is_shown_with_the_reason() {
    let api = Api::start().await;
    let problem = CloneProblem::new(CloneProblemKind::NotStarting, "php-fpm <ended>");
    api.put(&CloneEntry { problem: Some(problem), ..api.clone_entry(A, "local") }).await;
    api.put(&api.clone_entry(B, "local")).await;
    let shown = json!({"kind": "not_starting", "detail": "php-fpm <ended>"});
    assert_eq!(api.json(&format!("/clones/{A}")).await["problem"], shown);
    let list = api.json("/clones").await;
    let of =
        |name: &str| list["clones"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap().clone();
    assert_eq!((&of(A)["problem"], of(B).get("problem")), (&shown, None));
    let page = api.get("/dashboard/clones").send().await.unwrap().text().await.unwrap();
    assert!(page.contains("php-fpm &#60;ended&#62;"), "{page}");
}

#[tokio::test]
async fn only_operators_see_where_a_clone_runs() {
    let api = Api::with_tokens(&[("alice", "user"), ("root", "operator")]).await;
    let ready = ClusterCondition::new("Ready", "False", "Pending", "no <room>");
    let pod = ClusterPod::new("clone-a-1", "ImagePullBackOff", 2);
    let in_cluster = CloneLocation::Cluster(ClusterLocation::new("clones", A, [ready], Some(pod)));
    api.put(&CloneEntry { location: Some(in_cluster), ..api.clone_entry(A, "alice") }).await;
    let machine = MachineLocation { machine: "host-1".into(), worker: "host-1-77-a".into() };
    let local = CloneLocation::Machine(machine);
    api.put(&CloneEntry { location: Some(local), ..api.clone_entry(B, "alice") }).await;
    let read = async |name: &str, who: &str| -> Value {
        let answer = api.get(&format!("/clones/{name}")).bearer_auth(token(who)).send().await.unwrap();
        answer.json().await.unwrap()
    };
    assert_eq!(
        read(A, "root").await["location"],
        json!({
            "kind": "cluster", "namespace": "clones", "instance": A,
            "conditions": [{"type": "Ready", "status": "False", "reason": "Pending", "message": "no <room>"}],
            "pod": {"name": "clone-a-1", "state": "ImagePullBackOff", "restarts": 2},
        })
    );
    let machine = json!({"kind": "machine", "machine": "host-1", "worker": "host-1-77-a"});
    assert_eq!(read(B, "root").await["location"], machine);
    let list: Value =
        api.get("/clones").bearer_auth(token("root")).send().await.unwrap().json().await.unwrap();
    assert!(list["clones"].as_array().unwrap().iter().all(|clone| clone["location"].is_object()), "{list}");
    for name in [A, B] {
        assert_eq!(read(name, "alice").await.get("location"), None);
    }
    let page = api.get("/dashboard/clones").bearer_auth(token("root")).send().await.unwrap();
    let page = page.text().await.unwrap();
    for row in [
        &format!("<dt>Runs in</dt><dd>clones/{A}</dd>"),
        "<dt>Pod</dt><dd>clone-a-1: ImagePullBackOff, 2 restarts</dd>",
        "<dt>Condition</dt><dd>Ready False (Pending): no &#60;room&#62;</dd>",
        "<dt>Worker</dt><dd>host-1-77-a</dd>",
    ] {
        assert!(page.contains(row), "{row} is missing: {page}");
    }
}

#[tokio::test]
async fn clones_are_listed_page_by_page_newest_first() {
    let api = Api::start().await;
    for n in 0..5 {
        api.put(&api.clone_entry(&format!("clone-20261123-16310{n}-abcdef"), "local")).await;
    }
    let (mut path, mut seen) = ("/clones?limit=2".to_owned(), Vec::new());
    loop {
        let answer = api.get(&path).send().await.unwrap();
        let link = answer.headers().get("link").map(|l| l.to_str().unwrap().to_owned());
        let list: Value = answer.json().await.unwrap();
        seen.extend(
            list["clones"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap().to_owned()),
        );
        let Some(next) = list.get("next") else {
            assert_eq!(link, None);
            break;
        };
        path = format!("/clones?limit=2&cursor={}", next.as_str().unwrap());
        assert_eq!(link, Some(format!("<{path}>; rel=\"next\"")));
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    for query in ["cursor=x", "limit=0", "q=a"] {
        let answer = api.get(&format!("/clones?{query}")).send().await.unwrap();
        problem(answer, 400, "BAD_PARAMETER").await;
    }
    assert_eq!(api.get("/clones?cursor=").send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_deleted_clone_is_gone_for_its_owner_and_unknown_to_others() {
    let api = Api::with_tokens(&[("alice", "user"), ("bob", "user"), ("root", "operator")]).await;
    api.put(&api.clone_entry(A, "alice")).await;
    api.app.clones.remove(&A.parse().unwrap()).await.unwrap();
    let each = |name: &'static str| {
        let login = api.post(&format!("/clones/{A}/login"));
        let asked = [
            api.get(&format!("/clones/{A}")),
            patch(&api, A, &json!({"ttl_minutes": 5})),
            delete(&api, A),
            login,
        ];
        asked.map(|request| request.bearer_auth(token(name)))
    };
    for name in ["alice", "root"] {
        for request in each(name) {
            problem(request.send().await.unwrap(), 410, "CLONE_GONE").await;
        }
    }
    for request in each("bob") {
        problem(request.send().await.unwrap(), 404, "CLONE_NOT_FOUND").await;
    }
    for name in [B, "nonsense", "..%2f..", "CLONE-20261123-163105-abcdef"] {
        let answer = api.get(&format!("/clones/{name}")).bearer_auth(token("root")).send().await.unwrap();
        problem(answer, 404, "CLONE_NOT_FOUND").await;
    }
    assert_eq!(api.app.queue.stats().await.unwrap().stages[&Stage::Provisioning].ready, 0);
}

#[tokio::test]
async fn extending_a_clone_is_a_task() {
    let api = Api::start().await;
    let entry = api.clone_entry(A, "local");
    api.put(&entry).await;
    let sent = json!({"ttl_minutes": 240, "callback_url": "https://hooks.example/x"});
    let task = accepted(patch(&api, A, &sent).header("Idempotency-Key", "once")).await;
    assert_eq!((&task["kind"], &task["stage"]), (&json!("extend-clone"), &json!("provisioning")));
    let again = accepted(patch(&api, A, &sent).header("Idempotency-Key", "once")).await;
    assert_eq!(again["id"], task["id"]);
    let other = patch(&api, A, &json!({"ttl_minutes": 5})).header("Idempotency-Key", "once");
    problem(other.send().await.unwrap(), 422, "IDEMPOTENCY_MISMATCH").await;
    let claim = api.claim_of(Stage::Provisioning).await;
    let clone = CloneRef { name: entry.name, created_by: entry.task };
    let StoredRequest::ExtendClone { clone: asked, ttl_minutes } = claim.request else { panic!("{claim:?}") };
    assert_eq!((asked, ttl_minutes.minutes()), (clone, 240));

    for (sent, pointer) in [
        (json!({}), "/ttl_minutes"),
        (json!({"ttl_minutes": 4}), "/ttl_minutes"),
        (json!({"ttl_minutes": 5, "name": B}), "/name"),
    ] {
        let answer = patch(&api, A, &sent).send().await.unwrap();
        assert_eq!(problem(answer, 422, "INVALID_REQUEST").await["errors"][0]["pointer"], pointer);
    }
}

#[tokio::test]
async fn deleting_a_clone_is_a_task() {
    let api = Api::with_tokens(&[("alice", "user"), ("root", "operator")]).await;
    let entry = api.clone_entry(A, "alice");
    api.put(&entry).await;
    let task = accepted(delete(&api, A).bearer_auth(token("root")).header("Idempotency-Key", "k")).await;
    assert_eq!(task["request"]["clone"], json!({"name": A, "created_by": entry.task}));
    let again = accepted(delete(&api, A).bearer_auth(token("root")).header("Idempotency-Key", "k")).await;
    assert_eq!(again["id"], task["id"]);
    // While it is being deleted, it can be deleted again, but not extended.
    api.put(&CloneEntry { phase: ClonePhase::Deleting, ..entry }).await;
    accepted(delete(&api, A).bearer_auth(token("alice"))).await;
    let extend = patch(&api, A, &json!({"ttl_minutes": 60})).bearer_auth(token("alice"));
    problem(extend.send().await.unwrap(), 410, "CLONE_GONE").await;
    let login = api.post(&format!("/clones/{A}/login")).bearer_auth(token("alice"));
    problem(login.send().await.unwrap(), 410, "CLONE_GONE").await;
}

#[tokio::test]
async fn deleting_a_clone_that_is_being_created_cancels_its_task() {
    let api = Api::start().await;
    for (name, phase) in [(A, ClonePhase::Creating), (B, ClonePhase::Ready)] {
        let id = api.ask_for_clone("https://a.example", None).await;
        let entry =
            CloneEntry { task: id, phase, expires_at: None, sealed: None, ..api.clone_entry(name, "local") };
        api.put(&entry).await;
        let extend = patch(&api, name, &json!({"ttl_minutes": 60})).send().await.unwrap();
        problem(extend, 409, "CLONE_NOT_READY").await;
        let login = api.post(&format!("/clones/{name}/login")).send().await.unwrap();
        problem(login, 409, "CLONE_NOT_READY").await;
        let task = accepted(delete(&api, name)).await;
        assert_eq!((&task["id"], &task["state"]), (&json!(id), &json!("cancelled")));
        // A clone left behind by a task that has ended is deleted like any other.
        let task = accepted(delete(&api, name)).await;
        assert_eq!(task["kind"], "delete-clone");
    }
    let running = api.ask_for_clone("https://b.example", None).await;
    let claim = api.claim().await;
    assert_eq!(claim.lease.task, running);
    api.put(&CloneEntry { task: running, phase: ClonePhase::Creating, ..api.clone_entry(A, "local") }).await;
    let task = accepted(delete(&api, A).header("Prefer", "wait=0")).await;
    assert_eq!((&task["id"], &task["state"]), (&json!(running), &json!("running")));
    assert!(api.app.queue.heartbeat(&claim.lease, None).await.unwrap().cancel_requested);
}

#[tokio::test]
async fn a_login_link_is_for_the_owner_and_lasts_five_minutes() {
    let api = Api::with_tokens(&[("alice", "user"), ("root", "operator")]).await;
    api.put(&api.clone_entry(A, "alice")).await;
    let path = format!("/clones/{A}/login");
    let before = jiff::Timestamp::now();
    let answer = api.post(&path).bearer_auth(token("alice")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let link: Value = answer.json().await.unwrap();
    let login = link["url"].as_str().unwrap();
    let login = login.strip_prefix(&format!("http://127.0.0.1:8090/{A}/?wpclone_login=")).unwrap();
    let parts: Vec<&str> = login.split('.').collect();
    assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [10, 32, 64]);
    let expires: jiff::Timestamp = link["expires_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(parts[0], expires.as_second().to_string());
    assert!((295..=300 + 20).contains(&(expires.as_second() - before.as_second())));
    problem(api.post(&path).bearer_auth(token("root")).send().await.unwrap(), 403, "FORBIDDEN").await;
    problem(api.post(&path).send().await.unwrap(), 401, "UNAUTHENTICATED").await;
    // The worker has published the clone without its secrets.
    api.put(&CloneEntry { sealed: None, ..api.clone_entry(A, "alice") }).await;
    let answer = api.post(&path).bearer_auth(token("alice")).send().await.unwrap();
    problem(answer, 409, "CLONE_NOT_READY").await;
}

#[tokio::test]
async fn a_failed_clone_is_replayed_with_the_passwords_of_its_sites() {
    let api = Api::start().await;
    let id = api.ask_for_clone("https://a.example", None).await;
    let refused = Problem::new(Code::AuthBadCredentials, "The site shows its login form again.");
    // Only the login was attempted; provisioning has not begun.
    let claim = api.claim().await;
    api.app.queue.fail(&claim.lease, &refused).await.unwrap();
    let cleaned = api.app.queue.claim("worker-1", &[Stage::Provisioning]).await.unwrap();
    if let Some(claim) = cleaned {
        let none = wpclone_queue::StoredOutput { result: serde_json::Map::new(), sealed: None };
        api.app.queue.complete(&claim.lease, &none).await.unwrap();
        let release = api.claim_of(Stage::Transfer).await;
        api.app.queue.complete(&release.lease, &none).await.unwrap();
    }
    assert_eq!(api.json(&format!("/tasks/{id}")).await["state"], "failed");
    let replay = |body: Value| api.post(&format!("/tasks/{id}/replay")).json(&body).send();
    problem(replay(json!({"password": "new"})).await.unwrap(), 422, "INVALID_REQUEST").await;
    let page = api.get(&format!("/dashboard/tasks/{id}")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("name=\"source.password\"") && page.contains("admin on https://a.example"));
    let form = [("source.password", "new")];
    let again = api.post(&format!("/dashboard/tasks/{id}")).form(&form).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::SEE_OTHER);
    let claim = api.claim().await;
    let secrets = open_request(&api.app.sealer, claim.lease.task, &claim.sealed_secrets.unwrap()).unwrap();
    assert_eq!(secrets[0].1.expose_secret(), "new");
}

#[tokio::test]
async fn without_redis_reading_a_clone_is_503() {
    let mut api = Api::start().await;
    api.redis.kill();
    for request in [api.get("/clones"), api.get(&format!("/clones/{A}")), delete(&api, A)] {
        problem(request.send().await.unwrap(), 503, "QUEUE_UNAVAILABLE").await;
    }
}

//! The API against its OpenAPI document: schemathesis generates valid and invalid requests and checks the responses against
//! the document. `WPCLONE_EXAMPLES` sets the number of requests per operation.

#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

#[expect(dead_code, reason = "shared with the other tests of the api")]
#[path = "../api/support.rs"]
mod support;

use std::env;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use wpclone_api::state::Limits;
use wpclone_clones::CloneEntry;
use wpclone_task::{ClonePhase, Code, Problem};
use wpclone_test_redis::Process;

use support::{Api, Setup, token};

/// The timeout of a run; it usually takes far less.
const RUN: Duration = Duration::from_secs(600);

fn schemathesis() -> PathBuf {
    let set = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = set("WPCLONE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|p| p.join("wpclone")))
        .or_else(|| set("HOME").map(|p| p.join(".cache/wpclone")));
    let program = cache.unwrap_or_default().join("tools/schemathesis/bin/schemathesis");
    assert!(program.is_file(), "{} is missing: ./dev install brings it", program.display());
    program
}

/// A task of this caller in each state, and one of another owner, all with artifacts.
async fn tasks(api: &Api, name: &str) -> Vec<String> {
    let succeeded = api.ask("https://succeeded.example", Some(name)).await;
    api.complete(&api.claim().await.lease, "abcd efgh").await;
    let failed = api.ask("https://failed.example", Some(name)).await;
    let problem = Problem::new(Code::AuthBadCredentials, "The site shows its login form again.");
    api.app.queue.fail(&api.claim().await.lease, &problem).await.unwrap();
    let running = api.ask("https://running.example", Some(name)).await;
    api.progress(&api.claim().await.lease, 40, "Logging in.").await;
    let cancelled = api.ask("https://cancelled.example", Some(name)).await;
    api.app.queue.cancel(cancelled.parse().unwrap()).await.unwrap();
    let queued = api.ask("https://queued.example", Some(name)).await;
    let anothers = api.ask("https://another.example", Some("bob")).await;
    let tasks = vec![succeeded, failed, running, cancelled, queued, anothers];
    let kept: [(&str, &str, &[u8]); 4] = [
        ("after.png", "image/png", b"picture"),
        ("page.html", "text/html", b"<p>"),
        ("console.json", "application/json", b"[]"),
        ("network.txt", "text/plain", b"GET /"),
    ];
    for id in &tasks {
        for (name, kind, bytes) in kept {
            api.app.artifacts.put(id.parse().unwrap(), "local", name, kind, bytes).await.unwrap();
        }
    }
    tasks
}

/// The clones in the configuration's dictionary: a published one of this caller, one that is being created, a deleted one,
/// and one of another owner.
async fn clones(api: &Api, name: &str) {
    let clone =
        |second: u32, owner: &str| api.clone_entry(&format!("clone-20261123-16310{second}-abcdef"), owner);
    api.put(&clone(5, name)).await;
    api.put(&CloneEntry { phase: ClonePhase::Creating, expires_at: None, ..clone(6, name) }).await;
    let gone = clone(7, name);
    api.put(&gone).await;
    api.app.clones.remove(&gone.name).await.unwrap();
    api.put(&clone(8, "bob")).await;
}

async fn keeps_its_word(name: &str) {
    // Streams and waits end soon, so that they can be requested like any other operation.
    let (wait, stream) = (Duration::from_millis(50), Duration::from_millis(50));
    let limits = Limits { max_wait: wait, stream_lifetime: stream, ..Limits::default() };
    let tokens = Some(&[("alice", "user"), ("bob", "user"), ("root", "operator")][..]);
    let api = Api::with(Setup { limits, tokens, ..Setup::default() }).await;
    clones(&api, name).await;
    let folder = tempfile::TempDir::new().unwrap();
    let log = folder.path().join("log");
    std::fs::write(folder.path().join("schemathesis.toml"), include_str!("schemathesis.toml")).unwrap();
    let dictionary: String = tasks(&api, name).await.iter().map(|id| format!("\"{id}\"\n")).collect();
    std::fs::write(folder.path().join("tasks.dict"), dictionary).unwrap();
    // The same requests each time, unless the number is set.
    let amount = match env::var("WPCLONE_EXAMPLES") {
        Ok(examples) => vec![format!("--max-examples={examples}")],
        Err(_) => vec!["--max-examples=15".to_owned(), "--seed=1".to_owned()],
    };
    let mut run = Process::start(schemathesis(), |command| {
        command
            .args(["--config-file", "schemathesis.toml"])
            .args(["run", "--no-color"])
            .args(amount)
            .arg(format!("--header=Authorization: Bearer {}", token(name)))
            .arg(format!("{}/openapi.json", api.address))
            // schemathesis stores its findings in the working directory.
            .current_dir(folder.path())
            .stdout(File::create(&log).unwrap())
            .stderr(File::options().append(true).open(&log).unwrap());
    });
    let ended = async {
        loop {
            if let Some(status) = run.0.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let status = tokio::time::timeout(RUN, ended).await.expect("schemathesis ends");
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(status.success(), "{said}");
    println!("{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_an_operator() {
    keeps_its_word("root").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_a_user() {
    keeps_its_word("alice").await;
}

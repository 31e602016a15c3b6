//! A name server of the attacker's that answers nothing: what looks up its names waits as long as the resolver does.

use tokio::task::{JoinSet, spawn_blocking};

use super::*;

const NAME: &str = "net::egress_policy::tests::silent_names::\
    names_that_no_server_answers_take_no_thread_from_others";
/// Together they look up more names at once than the runtime has threads for what blocks.
const TASKS: usize = 30;
const NAMES_OF_TASK: usize = 40;

#[tokio::test]
async fn names_that_no_server_answers_take_no_thread_from_others() {
    if !is_in_namespace() {
        return run_in_namespace(NAME);
    }
    let _silent = UdpSocket::bind("127.0.0.1:53").unwrap();
    let mut lookups = JoinSet::new();
    for task in 0..TASKS {
        let policy = EgressPolicy::default();
        for name in 0..NAMES_OF_TASK {
            let policy = policy.clone();
            lookups.spawn(async move {
                let name = format!("n{name}.t{task}.example");
                assert!(policy.all_addresses(&name, 80).await.is_empty());
                policy.addresses(&name, 80).await
            });
        }
    }
    tokio::task::yield_now().await;
    // Another part of the worker.
    tokio::select! {
        biased;
        done = spawn_blocking(|| ()) => done.unwrap(),
        Some(ended) = lookups.join_next() => panic!("it had to wait: {ended:?}"),
    }
    while let Some(ended) = lookups.join_next().await {
        assert!(ended.unwrap().is_err());
    }
}

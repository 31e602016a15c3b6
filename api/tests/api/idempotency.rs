//! Repeated requests create one task, and accepted tasks survive the death of an API or of Redis.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use wpclone_queue::{Queue, QueueOptions, TaskFilter, TaskLookup};
use wpclone_service::seal::Sealer;
use wpclone_task::{Stage, TaskId};
use wpclone_test_redis::Redis;

use crate::process::Program;
use crate::support::{Api, PATIENCE, body, eventually};

/// Two API processes that share a Redis and the seal keys.
async fn two(redis: &Redis, key: &str) -> (Program, Program) {
    let env = [("WPCLONE_SEAL_KEYS", key)];
    (Program::start(redis, &env).await, Program::start(redis, &env).await)
}

fn client() -> Client {
    Client::builder().timeout(PATIENCE).build().unwrap()
}

async fn post(client: &Client, api: &str, site: &str, key: &str) -> reqwest::Result<(StatusCode, Value)> {
    let request = client.post(format!("{api}/setup")).header("Idempotency-Key", key).json(&body(site));
    let answer = request.send().await?;
    Ok((answer.status(), answer.json().await?))
}

#[tokio::test]
async fn a_hundred_requests_to_two_apis_of_which_one_dies_create_one_task() {
    let redis = Redis::start().await;
    let key = Sealer::new_key("shared").unwrap();
    let (mut first, second) = two(&redis, &key).await;
    let client = client();
    let apis = [first.address.clone(), second.address.clone()];
    // Without a response, the other API is tried, as a client behind a load balancer would.
    let ask = async |n: usize| {
        let asked = post(&client, &apis[n % 2], "https://a.example", "once").await;
        match asked {
            Ok(answered) => answered,
            Err(_) => post(&client, &apis[1], "https://a.example", "once").await.unwrap(),
        }
    };
    let queue = Queue::new(&redis.url(), QueueOptions::default()).unwrap();
    let accepted = async || queue.list(&TaskFilter::default(), None, 1).await.unwrap().tasks.len() == 1;
    let dies = async {
        eventually("one was accepted", accepted).await;
        drop(first.process.0.kill());
    };
    let (answers, ()) = tokio::join!(join_all((0..100).map(ask)), dies);
    let mut ids = BTreeSet::new();
    for (status, task) in answers {
        assert_eq!(status, StatusCode::ACCEPTED, "{task}");
        ids.insert(task["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 1, "every answer names the same task");

    let restarted = Program::start(&redis, &[("WPCLONE_SEAL_KEYS", &key)]).await;
    for api in [&restarted.address, &second.address] {
        let (status, task) = post(&client, api, "https://a.example", "once").await.unwrap();
        assert_eq!((status, task["id"].as_str()), (StatusCode::ACCEPTED, ids.first().map(String::as_str)));
        let (status, refused) = post(&client, api, "https://b.example", "once").await.unwrap();
        assert_eq!((status.as_u16(), &refused["code"]), (422, &"IDEMPOTENCY_MISMATCH".into()));
    }
    let all = queue.list(&TaskFilter::default(), None, 100).await.unwrap();
    assert_eq!(all.tasks.len(), 1);
}

/// Sends requests until one is accepted after `back` is set. Returns the accepted tasks and the number of refusals.
async fn caller(client: &Client, api: &str, n: u32, back: &AtomicBool) -> (Vec<TaskId>, u32) {
    let (mut accepted, mut refused) = (Vec::new(), 0);
    for round in 0.. {
        let late = back.load(Ordering::SeqCst);
        let site = body(&format!("https://site-{n}-{round}.example"));
        let answer = client.post(format!("{api}/setup")).json(&site).send().await.unwrap();
        assert!(answer.headers().contains_key("retry-after"), "accepted or not, it says when to come back");
        match answer.status() {
            StatusCode::ACCEPTED => {
                let task: Value = answer.json().await.unwrap();
                accepted.push(task["id"].as_str().unwrap().parse().unwrap());
                if late {
                    break;
                }
            }
            StatusCode::SERVICE_UNAVAILABLE => refused += 1,
            other => panic!("{other}"),
        }
    }
    (accepted, refused)
}

#[tokio::test]
async fn accepted_tasks_survive_a_redis_killed_under_load() {
    let mut api = Api::start().await;
    let (client, address, back) = (client(), api.address.clone(), AtomicBool::new(false));
    let callers = join_all((0..8).map(|n| caller(&client, &address, n, &back)));
    let queue = api.app.queue.clone();
    let dies = async {
        for _ in 0..3 {
            let ready = async || queue.stats().await.is_ok_and(|s| s.stages[&Stage::Browser].ready > 20);
            eventually("some were accepted", ready).await;
            api.redis.kill();
            eventually("Redis is missed", async || queue.ping().await.is_err()).await;
            api.redis.restart().await;
        }
        back.store(true, Ordering::SeqCst);
    };
    let (called, ()) = tokio::join!(callers, dies);
    assert!(called.iter().any(|(_, refused)| *refused > 0), "it was away long enough to be noticed");
    for id in called.into_iter().flat_map(|(accepted, _)| accepted) {
        assert!(matches!(api.app.queue.get(id).await.unwrap(), TaskLookup::Found(_)), "{id} is lost");
    }
}

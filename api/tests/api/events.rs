//! Server-sent events.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::Value;
use wpclone_api::state::Limits;

use crate::support::{Api, PATIENCE, Setup, problem, token};

/// A client of an event stream.
pub(crate) struct Stream {
    answer: Response,
    text: String,
}

impl Stream {
    pub(crate) async fn open(api: &Api, path: &str, last: Option<&str>) -> Self {
        let mut request = api.get(path);
        if let Some(id) = last {
            request = request.header("Last-Event-ID", id);
        }
        Self::of(request.send().await.unwrap())
    }

    fn of(answer: Response) -> Self {
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, text: String::new() }
    }

    /// The next block of lines; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.answer.chunk()).await;
            match chunk.expect("the stream goes on or ends").unwrap() {
                Some(bytes) => self.text.push_str(std::str::from_utf8(&bytes).unwrap()),
                None => return None,
            }
        }
    }

    /// The next event: its id and its data.
    pub(crate) async fn event(&mut self) -> Option<(String, Value)> {
        loop {
            let block = self.block().await?;
            let field =
                |name: &str| block.lines().find_map(|l| l.strip_prefix(name).map(|v| v.trim().to_owned()));
            if let Some(data) = field("data:") {
                return Some((field("id:").unwrap_or_default(), serde_json::from_str(&data).unwrap()));
            }
        }
    }

    pub(crate) async fn rest(&mut self) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        while let Some(event) = self.event().await {
            all.push(event);
        }
        all
    }
}

#[tokio::test]
async fn a_stream_has_every_event_of_a_task() {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let mut stream = Stream::open(&api, &format!("/tasks/{id}/events"), None).await;
    assert_eq!(stream.event().await.unwrap().1["state"], "queued");
    let claim = api.claim().await;
    api.progress(&claim.lease, 30, "Logging in.").await;
    api.complete(&claim.lease, "canary").await;
    let rest = stream.rest().await;
    assert!(rest.iter().any(|(_, e)| e["progress"]["message"] == "Logging in."), "{rest:?}");
    assert_eq!(rest.last().unwrap().1["state"], "succeeded");
    assert!(!format!("{rest:?}").contains("canary"));
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_event_id() {
    let api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let path = format!("/tasks/{id}/events");
    let claim = api.claim().await;
    for percent in [10, 20, 30] {
        api.progress(&claim.lease, percent, "On it.").await;
    }
    let mut cut = Stream::open(&api, &path, None).await;
    let first = cut.event().await.unwrap();
    let second = cut.event().await.unwrap();
    drop(cut);
    api.complete(&claim.lease, "x").await;
    let all = Stream::open(&api, &path, None).await.rest().await;
    assert_eq!((&all[0], &all[1]), (&first, &second));
    let resumed = Stream::open(&api, &path, Some(&second.0)).await.rest().await;
    assert_eq!(resumed, all[2..]);

    let nothing = api.get(&path).header("Last-Event-ID", &all.last().unwrap().0).send().await.unwrap();
    assert_eq!(nothing.status(), StatusCode::NO_CONTENT);
    let wrong = api.get(&path).header("Last-Event-ID", "nonsense").send().await.unwrap();
    problem(wrong, 400, "BAD_PARAMETER").await;
}

#[tokio::test]
async fn an_idle_stream_sends_keep_alives_and_ends_with_the_program() {
    let limits = Limits { keep_alive_interval: Duration::from_millis(50), ..Limits::default() };
    let api = Api::with(Setup { limits, ..Setup::default() }).await;
    let id = api.ask("https://a.example", None).await;
    let mut stream = Stream::open(&api, &format!("/tasks/{id}/events"), None).await;
    stream.event().await.unwrap();
    assert_eq!(stream.block().await.unwrap(), ": keep-alive");
    api.app.shutdown.cancel();
    assert_eq!(stream.rest().await, []);
}

#[tokio::test]
async fn a_stream_ends_at_its_maximum_age_so_that_its_token_is_checked_again() {
    let limits = Limits { stream_lifetime: Duration::from_secs(3), ..Limits::default() };
    let api = Api::with(Setup { limits, ..Setup::default() }).await;
    let id = api.ask("https://a.example", None).await;
    let mut stream = Stream::open(&api, &format!("/tasks/{id}/events"), None).await;
    assert_eq!(stream.rest().await.len(), 1);
}

#[tokio::test]
async fn a_stream_survives_an_outage_of_redis() {
    let mut api = Api::start().await;
    let id = api.ask("https://a.example", None).await;
    let mut stream = Stream::open(&api, &format!("/tasks/{id}/events"), None).await;
    stream.event().await.unwrap();
    api.redis.kill();
    problem(api.get("/tasks").send().await.unwrap(), 503, "QUEUE_UNAVAILABLE").await;
    api.redis.restart().await;
    crate::support::eventually("the queue is back", || async { api.app.queue.ping().await.is_ok() }).await;
    let claim = api.claim().await;
    api.complete(&claim.lease, "x").await;
    assert_eq!(stream.rest().await.last().unwrap().1["state"], "succeeded");
}

#[tokio::test]
async fn the_stream_of_all_tasks_reports_the_callers_tasks_only() {
    let api = Api::with_tokens(&[("alice", "user"), ("bob", "user")]).await;
    let open = |name: &str| api.get("/events").bearer_auth(token(name)).send();
    let mut alice = Stream::of(open("alice").await.unwrap());
    let mut bob = Stream::of(open("bob").await.unwrap());
    assert_eq!(alice.event().await.unwrap().1["all"], true, "look at everything once");
    assert_eq!(bob.event().await.unwrap().1["all"], true);
    let first = api.ask("https://a.example", Some("alice")).await;
    let second = api.ask("https://b.example", Some("bob")).await;
    assert_eq!(heard(&mut alice).await, first);
    assert_eq!(heard(&mut bob).await, second, "bob does not hear of alice's");
}

async fn heard(stream: &mut Stream) -> String {
    loop {
        let (_, change) = stream.event().await.unwrap();
        if let Some(id) = change["tasks"].as_array().unwrap().first() {
            return id.as_str().unwrap().to_owned();
        }
    }
}

//! Overview: is it keeping up, and what is under way?

use std::sync::Arc;

use askama::Template;
use axum::extract::State as AppState;
use axum::response::{IntoResponse as _, Response};
use wpclone_task::{QueueView, Stage, StageDepth, State};

use crate::dashboard::format::{Spark, rough};
use crate::dashboard::layout::Frame;
use crate::dashboard::tasks::{Row, rows};
use crate::dashboard::{Viewer, html};
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::state::{App, SharedApp};
use crate::tasks::read::{ListQuery, list_page as list};

/// Longer waits than this, in seconds, are said in the sentence on top.
const SLOW: u64 = 30;
/// How many tasks each list of the overview has.
const SHOWN: u32 = 10;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    /// Only an operator sees the whole system.
    queue: Option<Keeping>,
    running: Vec<Row>,
    recent: Vec<Row>,
    curl: String,
}

/// Whether the queue is keeping up.
struct Keeping {
    well: bool,
    sentence: String,
    stages: Vec<StageCard>,
}

struct StageCard {
    stage: Stage,
    depth: StageDepth,
    waiting: u64,
    oldest: String,
    slots: u32,
    busy: u32,
    workers: usize,
    /// Whether workers are started for it. Callbacks are served by every worker, beside its slots.
    chosen: bool,
    spark: Spark,
}

pub(crate) async fn page(
    AppState(app): AppState<SharedApp>,
    Viewer(caller): Viewer,
) -> Result<Response, Response> {
    overview(&app, &caller).await.map_err(ApiError::into_response)
}

async fn overview(app: &Arc<App>, caller: &crate::http::auth::Caller) -> Result<Response, ApiError> {
    let queue = match caller.is_operator() {
        true => Some(keeping(app, &app.queue.stats().await?)),
        false => None,
    };
    let mut wanted = ListQuery::parse(Query::new(None), caller)?;
    wanted.limit = SHOWN;
    let recent = list(app, caller, &wanted).await?;
    wanted.filter.state = Some(State::Running);
    let running = list(app, caller, &wanted).await?;
    html(&Overview {
        frame: Frame::new("Overview", "/", caller),
        queue,
        running: rows(&running.tasks),
        recent: rows(&recent.tasks),
        curl: curl(app, caller.single_user),
    })
}

/// A line to copy for who has no task yet.
pub(crate) fn curl(app: &App, single_user: bool) -> String {
    let token = if single_user { "" } else { "-H \"Authorization: Bearer $WPCLONE_TOKEN\" " };
    format!(
        "curl {token}--json '{{\"url\": \"https://example.com\", \"username\": \"admin\", \"password\": \"…\"}}' {}/setup",
        app.public_url.origin()
    )
}

fn keeping(app: &App, queue: &QueueView) -> Keeping {
    let cards = queue.stages.iter().map(|(stage, depth)| {
        let serving = queue.workers.iter().filter(|w| w.lost.is_none() && w.stages.contains(stage));
        StageCard {
            stage: *stage,
            depth: *depth,
            waiting: depth.ready + depth.waiting_for_site + depth.delayed,
            oldest: rough(depth.oldest_seconds),
            slots: serving.clone().map(|w| w.slots).sum(),
            busy: serving.clone().map(|w| w.busy).sum(),
            workers: serving.count(),
            chosen: Stage::OF_TASKS.contains(stage),
            spark: Spark(app.queue_history.samples(*stage)),
        }
    });
    // A stage that nobody serves and that has no work is no news.
    let news = |c: &StageCard| c.chosen && c.workers > 0 || c.waiting + c.depth.running > 0;
    let stages: Vec<StageCard> = cards.filter(news).collect();
    let slow: Vec<String> = stages.iter().filter_map(slowness).collect();
    let sentence = match (slow.is_empty(), queue.workers.iter().any(|w| w.lost.is_none())) {
        (false, _) => slow.join(" "),
        (true, true) => "All keeping up.".into(),
        (true, false) => "No worker is running.".into(),
    };
    Keeping { well: sentence.starts_with("All"), sentence, stages }
}

/// What is wrong with a stage, as a sentence.
fn slowness(card: &StageCard) -> Option<String> {
    let name = capital(card.stage.as_str());
    let (ready, wait) = (card.depth.ready, &card.oldest);
    let tasks = if ready == 1 { "1 task".to_owned() } else { format!("{ready} tasks") };
    if !card.chosen {
        let messages = if ready == 1 { "1 message".to_owned() } else { format!("{ready} messages") };
        return (card.depth.oldest_seconds > SLOW)
            .then(|| format!("{messages} to callback addresses: {wait}."));
    }
    if card.workers == 0 {
        let waiting = if card.waiting == 1 {
            "1 task waits".to_owned()
        } else {
            format!("{} tasks wait", card.waiting)
        };
        return Some(format!("No worker serves {} work: {waiting}.", card.stage));
    }
    (card.depth.oldest_seconds > SLOW)
        .then(|| format!("{name} work waits {wait}: {tasks} for {} slots.", card.slots))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

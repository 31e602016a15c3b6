//! The overview: whether the queue keeps up, and the newest tasks.

use std::sync::Arc;

use askama::Template;
use axum::extract::State as AppState;
use axum::response::{IntoResponse as _, Response};
use wpclone_task::{QueueView, Stage, StageDepth, State};

use crate::dashboard::format::{Sparkline, approximate_duration};
use crate::dashboard::layout::PageLayout;
use crate::dashboard::tasks::{TaskRow, rows};
use crate::dashboard::waits::{WaitRow, wait_rows};
use crate::dashboard::{DashboardUser, curl_command, html};
use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::http::query::Query;
use crate::operations::queue::stats;
use crate::state::{App, SharedApp};
use crate::tasks::read::{ListQuery, list_page as list};
use crate::tasks::waits;

/// A stage whose oldest step waits longer than this, in seconds, is named in the summary.
const LONG_WAIT: u64 = 30;
/// The number of tasks in each list.
const LIST_LENGTH: u32 = 10;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    page: PageLayout,
    /// Only for operators.
    queue: Option<QueueSummary>,
    running: Vec<TaskRow>,
    recent: Vec<TaskRow>,
    curl: String,
}

/// Whether the queue keeps up.
struct QueueSummary {
    healthy: bool,
    sentence: String,
    stages: Vec<StageCard>,
    waits: Vec<WaitRow>,
}

struct StageCard {
    stage: Stage,
    depth: StageDepth,
    waiting: u64,
    oldest: String,
    free_slots: u64,
    /// Whether workers have slots for it. Every worker delivers webhooks, without a slot.
    has_slots: bool,
    spark: Sparkline,
}

pub(crate) async fn page(
    AppState(app): AppState<SharedApp>,
    DashboardUser(caller): DashboardUser,
) -> Result<Response, Response> {
    overview(&app, &caller).await.map_err(ApiError::into_response)
}

async fn overview(app: &Arc<App>, caller: &Caller) -> Result<Response, ApiError> {
    let queue = match caller.is_operator() {
        true => Some(queue_summary(app, caller, &stats(app).await?).await?),
        false => None,
    };
    let mut wanted = ListQuery::parse(Query::new(None), caller)?;
    wanted.limit = LIST_LENGTH;
    let recent = list(app, caller, &wanted).await?;
    wanted.filter.state = Some(State::Running);
    let running = list(app, caller, &wanted).await?;
    html(&Overview {
        page: PageLayout::new("Overview", "/", caller),
        queue,
        running: rows(&running.tasks),
        recent: rows(&recent.tasks),
        curl: curl_command::setup(app, caller),
    })
}

async fn queue_summary(app: &App, caller: &Caller, queue: &QueueView) -> Result<QueueSummary, ApiError> {
    let waits = waits::first(app, caller, queue).await?;
    let cards = queue.stages.iter().map(|(stage, depth)| StageCard {
        stage: *stage,
        depth: *depth,
        waiting: depth.ready + depth.waiting_for_site + depth.delayed,
        oldest: approximate_duration(depth.oldest_seconds),
        free_slots: depth.slots.saturating_sub(depth.busy),
        has_slots: Stage::OF_TASKS.contains(stage),
        spark: Sparkline(app.queue_history.samples(*stage)),
    });
    // A stage without workers and without work is left out.
    let relevant = |c: &StageCard| c.has_slots && c.depth.workers > 0 || c.waiting + c.depth.running > 0;
    let stages: Vec<StageCard> = cards.filter(relevant).collect();
    let warnings: Vec<String> = stages.iter().filter_map(stage_warning).collect();
    let sentence = match (warnings.is_empty(), queue.workers.iter().any(|w| w.lost.is_none())) {
        (false, _) => warnings.join(" "),
        (true, true) => "All keeping up.".into(),
        (true, false) => "No worker is running. Start one with wpclone-worker.".into(),
    };
    Ok(QueueSummary { healthy: sentence.starts_with("All"), sentence, stages, waits: wait_rows(&waits) })
}

/// A sentence about a stage that does not keep up.
fn stage_warning(card: &StageCard) -> Option<String> {
    let name = capitalized(card.stage.as_str());
    let (ready, wait) = (card.depth.ready, &card.oldest);
    let tasks = if ready == 1 { "1 task".to_owned() } else { format!("{ready} tasks") };
    if !card.has_slots {
        let messages = if ready == 1 { "1 message".to_owned() } else { format!("{ready} messages") };
        return (card.depth.oldest_seconds > LONG_WAIT)
            .then(|| format!("{messages} to callback addresses waiting for {wait}."));
    }
    if card.depth.workers == 0 {
        let waiting = if card.waiting == 1 {
            "1 task waits".to_owned()
        } else {
            format!("{} tasks wait", card.waiting)
        };
        return Some(format!("No worker serves {} work: {waiting}.", card.stage));
    }
    (card.depth.oldest_seconds > LONG_WAIT)
        .then(|| format!("{name} work has waited {wait}: {tasks} for {} slots.", card.depth.slots))
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

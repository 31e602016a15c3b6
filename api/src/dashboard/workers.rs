//! The workers page: what each worker serves and runs.

use askama::Template;
use axum::extract::State as AppState;
use axum::response::{IntoResponse as _, Response};
use futures_util::future::join_all;
use wpclone_queue::TaskLookup;
use wpclone_task::{Code, Stage, StageSlots, TaskId, WorkerView};

use crate::dashboard::format::{RelativeTime, format_bytes, kind_label};
use crate::dashboard::layout::PageLayout;
use crate::dashboard::tasks::site;
use crate::dashboard::{DashboardUser, html};
use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::state::{App, SharedApp};

/// The most tasks listed for one worker.
const MAX_TASKS: usize = 20;

#[derive(Template)]
#[template(path = "workers.html")]
struct Workers {
    page: PageLayout,
    workers: Vec<WorkerCard>,
}

struct WorkerCard {
    id: String,
    stages: Vec<(Stage, StageSlots)>,
    memory: String,
    seen: RelativeTime,
    started: RelativeTime,
    lost: Option<String>,
    /// The stages that it cannot serve now, and why.
    unavailable: Vec<(Stage, String)>,
    tasks: Vec<RunningTask>,
}

struct RunningTask {
    id: TaskId,
    title: String,
    since: Option<RelativeTime>,
}

pub(crate) async fn page(
    AppState(app): AppState<SharedApp>,
    DashboardUser(caller): DashboardUser,
) -> Result<Response, Response> {
    workers(&app, &caller).await.map_err(ApiError::into_response)
}

async fn workers(app: &App, caller: &Caller) -> Result<Response, ApiError> {
    if !caller.is_operator() {
        return Err(ApiError::new(Code::Forbidden, "This page needs a token of the scope operator."));
    }
    let queue = app.queue.stats().await?;
    let workers = join_all(queue.workers.into_iter().map(|worker| card(app, worker))).await;
    html(&Workers { page: PageLayout::new("Workers", "/dashboard/workers", caller), workers })
}

async fn card(app: &App, worker: WorkerView) -> WorkerCard {
    let tasks = worker.tasks.iter().take(MAX_TASKS).map(|id| running_task(app, *id));
    WorkerCard {
        tasks: join_all(tasks).await,
        stages: worker.stages.into_iter().collect(),
        memory: format_bytes(worker.browser_memory_bytes),
        seen: RelativeTime(worker.seen_at),
        started: RelativeTime(worker.started_at),
        lost: worker.lost,
        unavailable: worker.unavailable.into_iter().collect(),
        id: worker.id,
    }
}

async fn running_task(app: &App, id: TaskId) -> RunningTask {
    match app.queue.get(id).await {
        Ok(TaskLookup::Found(task)) => RunningTask {
            id,
            title: format!("{} · {}", kind_label(task.kind), site(&task.request)),
            since: task.started_at.map(RelativeTime),
        },
        _ => RunningTask { id, title: id.to_string(), since: None },
    }
}

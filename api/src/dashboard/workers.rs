//! Workers: which does what?

use askama::Template;
use axum::extract::State as AppState;
use axum::response::{IntoResponse as _, Response};
use futures_util::future::join_all;
use wpclone_queue::TaskLookup;
use wpclone_task::{Code, TaskId, WorkerView};

use crate::dashboard::format::{When, kind, size};
use crate::dashboard::layout::Frame;
use crate::dashboard::tasks::site;
use crate::dashboard::{Viewer, html};
use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::state::{App, SharedApp};

/// How many tasks of one worker are named.
const NAMED: usize = 20;

#[derive(Template)]
#[template(path = "workers.html")]
struct Workers {
    frame: Frame,
    workers: Vec<Card>,
}

struct Card {
    id: String,
    stages: String,
    slots: u32,
    busy: u32,
    memory: String,
    seen: When,
    started: When,
    lost: Option<String>,
    tasks: Vec<Doing>,
}

struct Doing {
    id: TaskId,
    what: String,
    since: Option<When>,
}

pub(crate) async fn page(
    AppState(app): AppState<SharedApp>,
    Viewer(caller): Viewer,
) -> Result<Response, Response> {
    workers(&app, &caller).await.map_err(ApiError::into_response)
}

async fn workers(app: &App, caller: &Caller) -> Result<Response, ApiError> {
    if !caller.is_operator() {
        return Err(ApiError::new(Code::Forbidden, "This needs the scope operator."));
    }
    let queue = app.queue.stats().await?;
    let workers = join_all(queue.workers.into_iter().map(|worker| card(app, worker))).await;
    html(&Workers { frame: Frame::new("Workers", "/dashboard/workers", caller), workers })
}

async fn card(app: &App, worker: WorkerView) -> Card {
    let tasks = worker.tasks.iter().take(NAMED).map(|id| doing(app, *id));
    Card {
        tasks: join_all(tasks).await,
        stages: worker.stages.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", "),
        slots: worker.slots,
        busy: worker.busy,
        memory: size(worker.browser_memory_bytes),
        seen: When(worker.seen_at),
        started: When(worker.started_at),
        lost: worker.lost,
        id: worker.id,
    }
}

async fn doing(app: &App, id: TaskId) -> Doing {
    match app.queue.get(id).await {
        Ok(TaskLookup::Found(task)) => Doing {
            id,
            what: format!("{} · {}", kind(task.kind), site(&task.request)),
            since: task.started_at.map(When),
        },
        _ => Doing { id, what: id.to_string(), since: None },
    }
}

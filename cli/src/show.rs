//! Tasks, problems and queues as a person reads them.

use jiff::Timestamp;
use serde_json::{Map, Value};
use wpclone_task::{CloneView, Problem, QueueView, ReadableField, SealedRequest, TaskView, readable};

use crate::client::{Api, Task};
use crate::text::{bytes, clean, columns, moment, span};

/// What stands for null: a secret that is not shown any more.
const GONE: &str = "(no longer kept)";

/// What a finished task achieved.
pub(crate) fn result(task: &Task) -> String {
    let mut rows = vec![row("task", task.view.id)];
    rows.push(row(about(&task.view), task.view.request.about()));
    rows.extend(result_fields(&task.view));
    columns(&rows)
}

/// All there is to say of a task, but for its problem.
pub(crate) fn details(api: &Api, task: &Task) -> String {
    let Task { view, raw } = task;
    let mut rows = vec![row("task", view.id), row("kind", view.kind), row("state", view.state)];
    let request = raw.get("request").and_then(Value::as_object);
    let (mut site, others): (Vec<_>, Vec<_>) = fields(request).into_iter().partition(|r| r[0] == "url");
    rows.append(&mut site);
    rows.extend(others.into_iter().filter(|r| r[0] != "kind"));
    let progress = &view.progress;
    rows.push(row("progress", format!("{}% {}", progress.percent, progress.message)));
    if view.attempts + view.crashes > 0 {
        let lost = format!("{} attempts failed, {} workers lost", view.attempts, view.crashes);
        rows.push(row("trouble", lost));
    }
    if view.replays > 0 {
        rows.push(row("replays", view.replays));
    }
    rows.extend(view.callback.map(|call| {
        let why = call.code.map(|code| format!(" ({code})")).unwrap_or_default();
        row("callback", format!("{}{why}", call.state))
    }));
    rows.push(row("created", moment(view.created_at)));
    let times =
        [("waited", Some(view.created_at), view.started_at), ("worked", view.started_at, view.finished_at)];
    for (name, from, to) in times {
        rows.extend(from.zip(to).map(|(from, to)| row(name, span(between(from, to)))));
    }
    rows.extend(view.steps.iter().map(|s| row("step", format!("{} ({}): {}", s.name, s.stage, s.state))));
    rows.extend(result_fields(view));
    rows.extend(artifacts(api, view));
    columns(&rows)
}

/// A problem with what to do about it, and where the task that it ended is found.
pub(crate) fn problem(api: &Api, problem: &Problem, task: Option<&TaskView>) -> String {
    let mut text = format!("{} ({})\n", clean(&problem.title), problem.code);
    let mut rows = Vec::new();
    if problem.detail != problem.title {
        rows.push(row("what", &problem.detail));
    }
    rows.extend(problem.errors.iter().map(|fault| {
        let place = if fault.pointer.is_empty() { "the body" } else { &fault.pointer };
        row("fault", format!("{place} {}", fault.detail))
    }));
    rows.push(row("to do", &problem.user_action));
    if problem.stage.is_some() {
        let changed = if problem.changed_target { "something was changed" } else { "nothing was changed" };
        rows.push(row("site", changed));
        rows.extend(problem.achieved.iter().map(|done| row("achieved", done)));
        let again = if problem.retryable { "may help" } else { "will not help by itself" };
        rows.push(row("again", format!("the same request {again}")));
    }
    rows.extend(fields(Some(&problem.more)));
    // A problem tells of a clone without its password.
    let password =
        |view: &TaskView| Some(view.result.as_ref()?.get("clone")?.get("password")?.as_str()?.to_owned());
    if problem.more.contains_key("clone") {
        rows.extend(task.and_then(password).map(|password| row("clone.password", password)));
    }
    rows.extend(problem.instance.as_ref().map(|id| row("request", id)));
    rows.extend(task.map(|view| artifacts(api, view)).unwrap_or_default());
    rows.extend(task.map(|view| row("task", view.id)));
    rows.push(row("more", api.address(&problem.type_)));
    for line in columns(&rows).lines() {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

/// A list of tasks.
pub(crate) fn list(views: &[TaskView]) -> String {
    let head = ["ID", "KIND", "STATE", "DONE", "CREATED", "SITE", "PROBLEM"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(views.iter().map(|view| {
        vec![
            view.id.to_string(),
            view.kind.to_string(),
            view.state.to_string(),
            format!("{}%", view.progress.percent),
            moment(view.created_at),
            view.request.about().to_owned(),
            view.problem.as_ref().map(|p| p.code.to_string()).unwrap_or_default(),
        ]
    }));
    columns(&rows)
}

/// How much work waits, and who does it.
pub(crate) fn queue(queue: &QueueView, now: Timestamp) -> String {
    let head = ["STAGE", "READY", "RUNNING", "DELAYED", "WAITING FOR SITE", "OLDEST"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(queue.stages.iter().map(|(stage, depth)| {
        let oldest = span(i64::try_from(depth.oldest_seconds).unwrap_or(i64::MAX));
        let counts =
            [depth.ready, depth.running, depth.delayed, depth.waiting_for_site].map(|n| n.to_string());
        [vec![stage.to_string()], counts.to_vec(), vec![oldest]].concat()
    }));
    let mut text = columns(&rows);
    if queue.workers.is_empty() {
        text.push_str("\nno workers: nothing is being done\n");
        return text;
    }
    let head = ["WORKER", "STAGES", "BUSY", "SEEN", "TASKS"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(queue.workers.iter().map(|worker| {
        let seen = format!("{} ago", span(between(worker.seen_at, now)));
        let stages: Vec<&str> = worker.stages.iter().map(|s| s.as_str()).collect();
        let tasks: Vec<String> = worker.tasks.iter().map(ToString::to_string).collect();
        vec![
            worker.id.clone(),
            stages.join(","),
            format!("{} of {}", worker.busy, worker.slots),
            worker.lost.clone().map_or(seen, |lost| format!("lost: {lost}")),
            tasks.join(" "),
        ]
    }));
    text.push('\n');
    text.push_str(&columns(&rows));
    text
}

fn row(name: &str, value: impl ToString) -> Vec<String> {
    vec![name.to_owned(), value.to_string()]
}

fn fields(object: Option<&Map<String, Value>>) -> Vec<Vec<String>> {
    let fields = object.into_iter().flat_map(readable);
    fields.map(|ReadableField { path, text }| row(&path, text.unwrap_or_else(|| GONE.to_owned()))).collect()
}

/// The fields of a result, without those that are null because there is nothing to tell.
fn result_fields(view: &TaskView) -> Vec<Vec<String>> {
    let none: &[&str] = match &view.request {
        SealedRequest::Clone { remove_migrator, target, .. } => match (remove_migrator, target) {
            (true, None) => &["source_api_key", "target_api_key", "clone.expires_at"],
            (false, None) => &["target_api_key", "clone.expires_at"],
            (true, Some(_)) => &["source_api_key", "target_api_key", "clone"],
            (false, Some(_)) => &["clone"],
        },
        _ => &["clone.expires_at"],
    };
    let mut rows = fields(view.result.as_ref());
    rows.retain(|row| !(row[1] == GONE && none.contains(&row[0].as_str())));
    rows
}

/// The word for what a task is about.
fn about(view: &TaskView) -> &'static str {
    match view.request {
        SealedRequest::Clone { .. } => "source",
        SealedRequest::ExtendClone { .. } | SealedRequest::DeleteClone { .. } => "clone",
        _ => "site",
    }
}

/// Clones, one a line.
pub(crate) fn clones(clones: &[CloneView], now: Timestamp) -> String {
    let head = ["NAME", "STATE", "TIME LEFT", "SOURCE", "ADDRESS"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(clones.iter().map(|clone| {
        vec![
            clone.name.to_string(),
            clone.state.to_string(),
            clone.expires_at.map(|at| left(now, at)).unwrap_or_default(),
            clone.source.to_string(),
            clone.url.to_string(),
        ]
    }));
    columns(&rows)
}

/// All there is to say of a clone.
pub(crate) fn clone(clone: &CloneView, now: Timestamp) -> String {
    let mut rows = vec![
        row("clone", &clone.name),
        row("url", &clone.url),
        row("username", &clone.username),
        row("password", clone.password.as_deref().unwrap_or("(not shown to you)")),
        row("state", clone.state),
        row("source", &clone.source),
    ];
    rows.extend(clone.expires_at.map(|at| row("expires", format!("{} ({})", moment(at), left(now, at)))));
    rows.push(row("created", moment(clone.created_at)));
    rows.push(row("isolation", clone.isolation));
    rows.extend(fields(Some(&clone.separation)));
    rows.extend(clone.owner.as_ref().map(|owner| row("owner", owner)));
    rows.push(row("task", clone.task));
    columns(&rows)
}

fn artifacts(api: &Api, view: &TaskView) -> Vec<Vec<String>> {
    let kept = view.artifacts.iter();
    kept.map(|a| row("kept", format!("{} ({})", api.address(&a.href), bytes(a.bytes)))).collect()
}

/// How long it is until a moment.
fn left(now: Timestamp, at: Timestamp) -> String {
    match between(now, at) {
        ..=0 => "over".to_owned(),
        seconds => format!("{} left", span(seconds)),
    }
}

fn between(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second() - from.as_second()
}

#[cfg(test)]
mod tests {
    use wpclone_task::{Stage, StageDepth, TaskId, WorkerView};

    use super::*;

    #[test]
    fn what_is_left_ends() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        for (at, text) in [("2026-11-23T10:59:03Z", "59 min 3 s left"), ("2026-11-23T10:00:00Z", "over")] {
            assert_eq!(left(now, at.parse().unwrap()), text);
        }
    }

    #[test]
    fn workers_are_shown_with_what_they_do_and_lost_ones_stay() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let task: TaskId = "019ac0de-0000-7000-8000-000000000001".parse().unwrap();
        let worker = |id: &str, busy, tasks: Vec<TaskId>, lost: Option<&str>| WorkerView {
            id: id.into(),
            stages: vec![Stage::Browser, Stage::Transfer],
            slots: 2,
            busy,
            seen_at: "2026-11-23T09:59:57Z".parse().unwrap(),
            started_at: now,
            tasks,
            browser_memory_bytes: 0,
            lost: lost.map(Into::into),
        };
        let view = QueueView {
            stages: [(Stage::Browser, StageDepth::default())].into(),
            workers: vec![worker("w-1", 1, vec![task], None), worker("w-2\u{1b}", 0, vec![], Some("silent"))],
        };
        insta::assert_snapshot!(queue(&view, now));
    }
}

//! Tasks, clones, problems and the queue as tables for people.

use jiff::Timestamp;
use serde_json::{Map, Value};
use wpclone_task::{
    CloneLocation, CloneProblemKind, CloneView, Problem, QueueView, ReadableField, Stage, StageSlots,
    StoredRequest, TaskView, WaitView, readable,
};

use crate::client::{Api, Task};
use crate::text::{format_bytes, format_duration, format_time, sanitize, table};

/// Shown for null: a secret that is no longer kept.
const NOT_KEPT: &str = "(no longer kept)";

/// The result of a finished task.
pub(crate) fn result(task: &Task) -> String {
    let mut rows = vec![row("task", task.view.id)];
    rows.push(row(subject_label(&task.view), task.view.request.subject()));
    rows.extend(result_fields(&task.view));
    table(&rows)
}

/// All fields of a task except for its problem.
pub(crate) fn task(api: &Api, task: &Task) -> String {
    let Task { view, raw } = task;
    let mut rows = vec![row("task", view.id), row("kind", view.kind), row("state", view.state)];
    let request = raw.get("request").and_then(Value::as_object);
    let (mut site, others): (Vec<_>, Vec<_>) = fields(request).into_iter().partition(|r| r[0] == "url");
    rows.append(&mut site);
    rows.extend(others.into_iter().filter(|r| r[0] != "kind"));
    let progress = &view.progress;
    rows.push(row("progress", format!("{}% {}", progress.percent, progress.message)));
    if view.attempts + view.crashes > 0 {
        let failures = format!("{} attempts failed, {} workers lost", view.attempts, view.crashes);
        rows.push(row("failures", failures));
    }
    if view.replays > 0 {
        rows.push(row("replays", view.replays));
    }
    rows.extend(view.callback.map(|callback| {
        let code = callback.code.map(|code| format!(" ({code})")).unwrap_or_default();
        row("callback", format!("{}{code}", callback.state))
    }));
    rows.push(row("created", format_time(view.created_at)));
    let times = [
        ("queued for", Some(view.created_at), view.started_at),
        ("ran for", view.started_at, view.finished_at),
    ];
    for (name, from, to) in times {
        rows.extend(from.zip(to).map(|(from, to)| row(name, format_duration(seconds_between(from, to)))));
    }
    rows.extend(view.steps.iter().map(|s| row("step", format!("{} ({}): {}", s.name, s.stage, s.state))));
    rows.extend(view.waits.iter().map(|wait| row("waits", format!("{}: {}", wait.step, wait_text(wait)))));
    rows.extend(result_fields(view));
    rows.extend(artifacts(api, view));
    table(&rows)
}

/// Why a step waits.
fn wait_text(wait: &WaitView) -> String {
    let ahead = wait.ahead.map(|task| format!(" The other task: {task}")).unwrap_or_default();
    let until = wait.until.map(|at| format!(" Next attempt: {}", format_time(at))).unwrap_or_default();
    format!("{}{ahead}{until}", wait.detail)
}

/// A problem with the recommended action, and the task that failed with it.
pub(crate) fn problem(api: &Api, problem: &Problem, task: Option<&TaskView>) -> String {
    let mut text = format!("{} ({})\n", sanitize(&problem.title), problem.code);
    let mut rows = Vec::new();
    if problem.detail != problem.title.as_str() {
        rows.push(row("detail", problem.detail.as_str()));
    }
    rows.extend(problem.errors.iter().map(|fault| {
        let field = if fault.pointer.is_empty() { "the body" } else { &fault.pointer };
        row("error", format!("{field} {}", fault.detail))
    }));
    rows.push(row("action", &problem.user_action));
    if problem.stage.is_some() {
        rows.push(row("site changed", if problem.changed_target { "yes" } else { "no" }));
        rows.extend(problem.achieved.iter().map(|done| row("achieved", done.as_str())));
        let outcome = if problem.retryable { "may succeed later" } else { "will fail again" };
        rows.push(row("retry", format!("the same request {outcome}")));
    }
    rows.extend(fields(Some(&problem.more)));
    // A problem describes a clone without its password; the task's result has it.
    let password =
        |view: &TaskView| Some(view.result.as_ref()?.get("clone")?.get("password")?.as_str()?.to_owned());
    if problem.more.contains_key("clone") {
        rows.extend(task.and_then(password).map(|password| row("clone.password", password)));
    }
    rows.extend(problem.instance.as_ref().map(|id| row("request", id)));
    rows.extend(task.map(|view| artifacts(api, view)).unwrap_or_default());
    rows.extend(task.map(|view| row("task", view.id)));
    rows.push(row("help", api.address(&problem.type_)));
    for line in table(&rows).lines() {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

/// Tasks, one per line.
pub(crate) fn tasks(views: &[TaskView]) -> String {
    let head = ["ID", "KIND", "STATE", "DONE", "CREATED", "SITE", "PROBLEM"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(views.iter().map(|view| {
        vec![
            view.id.to_string(),
            view.kind.to_string(),
            view.state.to_string(),
            format!("{}%", view.progress.percent),
            format_time(view.created_at),
            view.request.subject().to_owned(),
            view.problem.as_ref().map(|p| p.code.to_string()).unwrap_or_default(),
        ]
    }));
    table(&rows)
}

/// The queue's depth per stage, and the workers.
pub(crate) fn queue(queue: &QueueView, now: Timestamp) -> String {
    let head =
        ["STAGE", "READY", "RUNNING", "DELAYED", "WAITING FOR SITE", "OLDEST", "BUSY SLOTS", "WORKERS"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(queue.stages.iter().map(|(stage, depth)| {
        let oldest = format_duration(i64::try_from(depth.oldest_seconds).unwrap_or(i64::MAX));
        let counts =
            [depth.ready, depth.running, depth.delayed, depth.waiting_for_site].map(|n| n.to_string());
        let [slots, workers] = if Stage::OF_TASKS.contains(stage) {
            let wanted = depth.workers_wanted.map(|wanted| format!(" of {wanted} wanted"));
            let workers = format!("{}{}", depth.workers, wanted.unwrap_or_default());
            [busy_of(depth.busy, depth.slots), workers]
        } else {
            // Webhooks are delivered beside the slots.
            ["-".to_owned(), "-".to_owned()]
        };
        [vec![stage.to_string()], counts.to_vec(), vec![oldest, slots, workers]].concat()
    }));
    let mut text = table(&rows);
    if queue.unreadable_tasks > 0 {
        text.push_str(&format!(
            "\n{} tasks were written by another version and wait for its workers\n",
            queue.unreadable_tasks
        ));
    }
    if !queue.waits.is_empty() {
        let head = ["WAITING TASK", "STEP", "STAGE", "WHY"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(queue.waits.iter().map(|wait| {
            vec![wait.task.to_string(), wait.step.clone(), wait.stage.to_string(), wait_text(wait)]
        }));
        text.push('\n');
        text.push_str(&table(&rows));
    }
    if !queue.site_cleanups.is_empty() {
        let head = ["LEFT ON", "STATE", "SINCE", "TASK", "WHAT"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(queue.site_cleanups.iter().map(|cleanup| {
            let since = format!("{} ago", format_duration(seconds_between(cleanup.since, now)));
            let (state, task) = (cleanup.state.to_string(), cleanup.task.to_string());
            vec![cleanup.site.clone(), state, since, task, cleanup.left.clone()]
        }));
        text.push('\n');
        text.push_str(&table(&rows));
    }
    if queue.workers.is_empty() {
        text.push_str("\nno workers are running\n");
        return text;
    }
    let head = ["WORKER", "BUSY SLOTS", "SEEN", "TASKS"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(queue.workers.iter().map(|worker| {
        let seen = format!("{} ago", format_duration(seconds_between(worker.seen_at, now)));
        let slots = |(stage, of_stage): (&Stage, &StageSlots)| {
            format!("{stage} {}", busy_of(of_stage.busy.into(), of_stage.slots.into()))
        };
        let stages: Vec<String> = worker.stages.iter().map(slots).collect();
        let tasks: Vec<String> = worker.tasks.iter().map(ToString::to_string).collect();
        vec![
            worker.id.clone(),
            stages.join(", "),
            worker.lost.clone().map_or(seen, |lost| format!("lost: {lost}")),
            tasks.join(" "),
        ]
    }));
    text.push('\n');
    text.push_str(&table(&rows));
    for worker in queue.workers.iter().filter(|worker| worker.lost.is_none()) {
        for (stage, why) in &worker.unavailable {
            text.push_str(&sanitize(&format!("{} does no {stage} work: {why}", worker.id)));
            text.push('\n');
        }
    }
    text
}

fn busy_of(busy: u64, slots: u64) -> String {
    format!("{busy} of {slots}")
}

fn row(name: &str, value: impl ToString) -> Vec<String> {
    vec![name.to_owned(), value.to_string()]
}

fn fields(object: Option<&Map<String, Value>>) -> Vec<Vec<String>> {
    let fields = object.into_iter().flat_map(readable);
    fields.map(|field| row(&field.path, field_text(&field))).collect()
}

/// The value of a field: times to the second, sizes with a unit.
fn field_text(field: &ReadableField) -> String {
    let Some(text) = &field.text else { return NOT_KEPT.to_owned() };
    let formatted = match field.path.rsplit(['.', '_']).next() {
        Some("at") => text.parse().ok().map(format_time),
        Some("bytes") => text.parse().ok().map(format_bytes),
        Some("seconds") => text.parse().ok().map(format_duration),
        _ => None,
    };
    formatted.unwrap_or_else(|| text.clone())
}

/// The fields of a result, without those that are null because they do not apply to the request.
fn result_fields(view: &TaskView) -> Vec<Vec<String>> {
    let not_applicable: &[&str] = match &view.request {
        StoredRequest::Clone { remove_migrator, target, .. } => match (remove_migrator, target) {
            (true, None) => &["source_api_key", "target_api_key", "clone.expires_at"],
            (false, None) => &["target_api_key", "clone.expires_at"],
            (true, Some(_)) => &["source_api_key", "target_api_key", "clone"],
            (false, Some(_)) => &["clone"],
        },
        _ => &["clone.expires_at"],
    };
    let mut rows = fields(view.result.as_ref());
    rows.retain(|row| !(row[1] == NOT_KEPT && not_applicable.contains(&row[0].as_str())));
    rows
}

/// The label of the site or clone that a task works on.
fn subject_label(view: &TaskView) -> &'static str {
    match view.request {
        StoredRequest::Clone { .. } => "source",
        StoredRequest::ExtendClone { .. } | StoredRequest::DeleteClone { .. } => "clone",
        _ => "site",
    }
}

/// Clones, one per line.
pub(crate) fn clones(clones: &[CloneView], now: Timestamp) -> String {
    let head = ["NAME", "STATE", "TIME LEFT", "SOURCE", "ADDRESS"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    // Only operators see it.
    let has_location = clones.iter().any(|clone| clone.location.is_some());
    rows[0].extend(has_location.then(|| "RUNS IN".to_owned()));
    rows.extend(clones.iter().map(|clone| {
        let mut row = vec![
            clone.name.to_string(),
            clone
                .problem
                .as_ref()
                .map_or(clone.state.to_string(), |it| format!("{}, {}", clone.state, in_words(it.kind))),
            clone.expires_at.map(|at| time_left(now, at)).unwrap_or_default(),
            clone.source.to_string(),
            clone.url.to_string(),
        ];
        row.extend(clone.location.as_ref().map(place_and_pod));
        row
    }));
    table(&rows)
}

/// Where a clone runs, such as `clones/clone-a (Running)`.
fn place_and_pod(location: &CloneLocation) -> String {
    let pod = location.pod().map(|pod| format!(" ({})", pod.summary()));
    format!("{}{}", location.place(), pod.unwrap_or_default())
}

/// What is wrong with a clone, such as `not starting`.
fn in_words(kind: CloneProblemKind) -> String {
    kind.as_str().replace('_', " ")
}

/// All fields of a clone.
pub(crate) fn clone(clone: &CloneView, now: Timestamp) -> String {
    let mut rows = vec![
        row("clone", &clone.name),
        row("url", &clone.url),
        row("username", &clone.username),
        row("password", clone.password.as_deref().unwrap_or("(not shown to you)")),
        row("state", clone.state),
    ];
    rows.extend(
        clone.problem.as_ref().map(|it| row("problem", format!("{}: {}", in_words(it.kind), it.detail))),
    );
    rows.push(row("source", &clone.source));
    rows.extend(
        clone.expires_at.map(|at| row("expires", format!("{} ({})", format_time(at), time_left(now, at)))),
    );
    rows.push(row("created", format_time(clone.created_at)));
    rows.push(row("isolation", clone.isolation));
    rows.extend(fields(Some(&clone.effective_isolation)));
    rows.extend(clone.owner.as_ref().map(|owner| row("owner", owner)));
    let location = clone.location.iter().flat_map(CloneLocation::rows);
    rows.extend(location.map(|(label, value)| row(label, value)));
    rows.push(row("task", clone.task));
    table(&rows)
}

fn artifacts(api: &Api, view: &TaskView) -> Vec<Vec<String>> {
    let artifacts = view.artifacts.iter();
    artifacts
        .map(|a| row("artifact", format!("{} ({})", api.address(&a.href), format_bytes(a.bytes))))
        .collect()
}

/// The time left until `at`.
fn time_left(now: Timestamp, at: Timestamp) -> String {
    match seconds_between(now, at) {
        ..=0 => "expired".to_owned(),
        seconds => format!("{} left", format_duration(seconds)),
    }
}

fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second() - from.as_second()
}

#[cfg(test)]
mod tests {
    use wpclone_task::{StageDepth, TaskId, WaitReason, WorkerView};

    use super::*;

    #[test]
    fn the_time_left_ends_with_expired() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        for (at, text) in [("2026-11-23T10:59:03Z", "59 min 3 s left"), ("2026-11-23T10:00:00Z", "expired")] {
            assert_eq!(time_left(now, at.parse().unwrap()), text);
        }
    }

    #[test]
    fn the_worker_table_lists_tasks_and_marks_lost_workers() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let task: TaskId = "019ac0de-0000-7000-8000-000000000001".parse().unwrap();
        let worker = |id: &str, busy, tasks: Vec<TaskId>, lost: Option<&str>| WorkerView {
            id: id.into(),
            stages: [
                (Stage::Browser, StageSlots { slots: 2, busy }),
                (Stage::Transfer, StageSlots { slots: 4, busy: 0 }),
            ]
            .into(),
            seen_at: "2026-11-23T09:59:57Z".parse().unwrap(),
            started_at: now,
            tasks,
            browser_memory_bytes: 0,
            unavailable: lost.map_or_else(
                || [(Stage::Provisioning, "the provisioner is starting".to_owned())].into(),
                |_| Default::default(),
            ),
            lost: lost.map(Into::into),
        };
        let wait = WaitView {
            task,
            step: "setup".into(),
            stage: Stage::Browser,
            reason: WaitReason::Site,
            detail: "Another task on a.example comes first.".into(),
            site: Some("a.example".into()),
            ahead: Some(task),
            until: None,
        };
        let view = QueueView {
            stages: [
                (
                    Stage::Browser,
                    StageDepth {
                        slots: 2,
                        busy: 1,
                        workers: 1,
                        workers_wanted: Some(3),
                        ..StageDepth::default()
                    },
                ),
                (Stage::Webhook, StageDepth::default()),
            ]
            .into(),
            unreadable_tasks: 0,
            site_cleanups: vec![],
            waits: vec![wait],
            workers: vec![worker("w-1", 1, vec![task], None), worker("w-2\u{1b}", 0, vec![], Some("silent"))],
        };
        insta::assert_snapshot!(queue(&view, now));
    }
}

//! Task records as they are stored. record.lua reads the same records.

use std::collections::HashMap;
use std::str::FromStr;

use jiff::Timestamp;
use redis::{Value, from_redis_value};
use serde::de::DeserializeOwned;
use serde_json::Map;
use wpclone_task::{CallbackView, Plan, Problem, Progress, Stage, State, StepPlan, StepView, merge_output};

use crate::site_cleanup::left_on_sites;
use crate::{NewTask, QueueError, SiteLock, TaskRecord};

/// A step of a stored plan.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StoredStep {
    pub(crate) stage: Stage,
    pub(crate) name: String,
    /// Whether it is a cleanup step: done only when the task ends before its last phase is complete.
    pub(crate) is_cleanup: bool,
}

/// The version of task records, their first word. Increase it with a change of the lines that older programs of the same
/// layout must not touch.
const RECORD_VERSION: &str = "1";

/// The lines of a record after the first, which has the record's version, when the task was accepted (ms), its priority, and
/// `shared` when there are other owners ([`NewTask::shares_slots`]).
const LINES: usize = 8;

/// A task's record without its first line, as `enqueue.lua` takes it, and two of its lines: the plan and the sites.
pub(crate) fn body(
    task: &NewTask,
    plan: &Plan,
    sites: &[SiteLock],
) -> Result<(String, String, String), QueueError> {
    let request = serde_json::to_string(&task.request).map_err(|_| unreadable("request"))?;
    let plan = plan_text(plan);
    let sites = sites.iter().map(lock_text).collect::<Vec<_>>().join(" ");
    let lines: [&str; LINES] = [
        task.request.kind().as_str(),
        &task.owner,
        &plan,
        &sites,
        task.traceparent.as_deref().unwrap_or_default(),
        task.sealed_callback.as_deref().unwrap_or_default(),
        &request,
        &task.sealed_secrets,
    ];
    if plan.is_empty() || lines.iter().any(|line| line.contains('\n')) {
        return Err(QueueError::Unexpected(
            "a task must have steps, and no part of it may contain a line break".into(),
        ));
    }
    Ok((lines.join("\n"), plan, sites))
}

/// A lock as it is stored: the site, after the key by which it is shared (`read_sites` in record.lua).
fn lock_text(lock: &SiteLock) -> String {
    match &lock.share_key {
        Some(key) => format!("~{key}~{}", lock.site),
        None => lock.site.to_string(),
    }
}

/// A task's record.
pub(crate) struct Body<'a> {
    pub(crate) created: Timestamp,
    pub(crate) shares_slots: bool,
    pub(crate) kind: &'a str,
    pub(crate) owner: &'a str,
    pub(crate) plan: Vec<StoredStep>,
    pub(crate) trace: &'a str,
    pub(crate) request: &'a str,
    pub(crate) secrets: &'a str,
}

impl<'a> Body<'a> {
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        let mut lines = text.split('\n');
        let header: Vec<&str> = lines.next()?.split(' ').collect();
        let (created, shares_slots) = match header[..] {
            [RECORD_VERSION, created, _priority] => (created, false),
            [RECORD_VERSION, created, _priority, "shared"] => (created, true),
            _ => return None,
        };
        let lines: [&str; LINES] = lines.collect::<Vec<_>>().try_into().ok()?;
        let [kind, owner, plan, _sites, trace, _callback, request, secrets] = lines;
        let (created, plan) = (millis(created).ok()?, read_plan(plan)?);
        Some(Self { created, shares_slots, kind, owner, plan, trace, request, secrets })
    }
}

/// The plan as it is stored: phase, stage and name of each step, without empty phases. `?` after the phase marks an optional
/// step, `!` a cleanup step. A share of the progress other than 1 comes first, followed by a colon.
fn plan_text(plan: &Plan) -> String {
    let phases = plan.phases.iter().filter(|steps| !steps.is_empty());
    let last = phases.clone().count();
    let clean_up = plan.clean_up.iter().map(|step| (last, "!", step));
    let steps = phases.enumerate().flat_map(|(phase, steps)| {
        steps.iter().map(move |step| (phase, if step.optional { "?" } else { "" }, step))
    });
    let text = |(phase, mark, step): (usize, &str, &StepPlan)| {
        let share = if step.share == 1 { String::new() } else { format!("{}:", step.share) };
        format!("{share}{phase}{mark} {} {}", step.stage, step.name)
    };
    steps.chain(clean_up).map(text).collect::<Vec<_>>().join(",")
}

fn read_plan(text: &str) -> Option<Vec<StoredStep>> {
    let step = |text: &str| {
        let mut words = text.splitn(3, ' ');
        let (phase, stage, name) = (words.next()?, words.next()?, words.next()?);
        let (stage, name) = (stage.parse().ok()?, name.to_owned());
        Some(StoredStep { stage, name, is_cleanup: phase.ends_with('!') })
    };
    text.split(',').map(step).collect()
}

/// The hash of what has changed since the task was accepted. An empty value means none.
pub(crate) struct Fields(pub(crate) HashMap<String, String>);

/// A task as functions return it (`snapshot` in record.lua).
pub(crate) struct TaskSnapshot {
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) live: Fields,
    /// The results of its steps, and its problem.
    pub(crate) output: Fields,
    /// The sealed results, by step.
    pub(crate) sealed: HashMap<u32, String>,
    pub(crate) secrets_kept: bool,
}

impl TaskSnapshot {
    pub(crate) fn read(snapshot: Value) -> Result<Self, QueueError> {
        let (id, body, live, output, sealed, kept): (_, _, _, _, _, String) =
            from_redis_value(snapshot).map_err(|_| unreadable("record"))?;
        let (live, output) = (Fields(live), Fields(output));
        Ok(Self { id, body, live, output, sealed, secrets_kept: kept == "1" })
    }

    /// The task's problem. `changed_target` is that of all attempts, not of the last.
    fn problem(&self) -> Result<Option<Problem>, QueueError> {
        let mut problem: Option<Problem> = self.output.json("problem")?;
        if let (Some(problem), Some(changed)) = (&mut problem, self.live.text("target_changed")) {
            problem.changed_target = changed == "1";
        }
        Ok(problem.map(|problem| problem.with_left(left_on_sites(&self.output))))
    }

    /// The task. Results of later steps are merged over those of earlier ones.
    pub(crate) fn task(mut self) -> Result<TaskRecord, QueueError> {
        let body = Body::read(&self.body).ok_or_else(|| unreadable("record"))?;
        let (live, state) = (&self.live, self.live.read("state")?.unwrap_or(State::Queued));
        let mut result: Option<Map<_, _>> = None;
        for i in 0..body.plan.len() {
            if let Some(output) = self.output.json::<Map<_, _>>(&format!("{i}.result"))? {
                merge_output(result.get_or_insert_default(), output);
            } else if live.text(&format!("{i}.state")) == Some(State::Succeeded.as_str()) {
                result.get_or_insert_default();
            }
        }
        let named = |(i, step): (u32, &StoredStep)| Some((step.name.clone(), self.sealed.remove(&i)?));
        let sealed_results = (0..).zip(&body.plan).filter_map(named).collect();
        let plan = body.plan.into_iter().enumerate();
        let steps: Vec<StepView> =
            plan.filter_map(|(i, step)| live.step(i, step).transpose()).collect::<Result<_, _>>()?;
        let started_at = steps.iter().filter_map(|step| step.started_at).min();
        let finished_at = match state {
            State::Succeeded => steps.iter().filter_map(|step| step.finished_at).max(),
            _ => live.time("finished")?,
        };
        let problem = if state == State::Failed { self.problem()? } else { None };
        let problem = problem.map(|problem| problem.with_clone_of(result.as_ref()));
        Ok(TaskRecord {
            id: self.id.parse().map_err(|_| unreadable("id"))?,
            kind: body.kind.parse().map_err(|_| unreadable("kind"))?,
            owner: body.owner.to_owned(),
            state,
            cancel_requested: live.text("cancel") == Some("1"),
            progress: Progress {
                percent: live.read("percent")?.unwrap_or(0),
                message: live.text("message").unwrap_or_default().to_owned(),
            },
            request: serde_json::from_str(body.request).map_err(|_| unreadable("request"))?,
            steps,
            created_at: body.created,
            started_at,
            finished_at,
            result,
            sealed_results,
            problem,
            secrets_kept: self.secrets_kept,
            replays: live.read("replays")?.unwrap_or(0),
            callback: live
                .read("callback")?
                .map(|state| CallbackView { state, code: live.read("callback_code").ok().flatten() }),
            revision: live.read("revision")?.unwrap_or(0) + live.read("events")?.unwrap_or(0),
        })
    }
}

impl Fields {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn read<T: FromStr>(&self, name: &str) -> Result<Option<T>, QueueError> {
        self.text(name).map(|text| text.parse().map_err(|_| unreadable(name))).transpose()
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, QueueError> {
        self.text(name).map(millis).transpose()
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, QueueError> {
        self.text(name).map(|text| serde_json::from_str(text).map_err(|_| unreadable(name))).transpose()
    }

    /// A step; `None` for a cleanup step that was not needed.
    fn step(&self, i: usize, step: StoredStep) -> Result<Option<StepView>, QueueError> {
        let started_at = self.time(&format!("{i}.started"))?;
        if step.is_cleanup && self.text(&format!("{i}.ready")).is_none() {
            return Ok(None);
        }
        Ok(Some(StepView {
            name: step.name,
            stage: step.stage,
            // Only a final state is stored. A step that has started is running, or between two attempts.
            state: match (self.read(&format!("{i}.state"))?, started_at) {
                (Some(end), _) => end,
                (None, Some(_)) => State::Running,
                (None, None) => State::Queued,
            },
            attempts: self.read(&format!("{i}.attempts"))?.unwrap_or(0),
            crashes: self.read(&format!("{i}.crashes"))?.unwrap_or(0),
            started_at,
            finished_at: self.time(&format!("{i}.finished"))?,
        }))
    }
}

/// A time from milliseconds.
pub(crate) fn millis(text: &str) -> Result<Timestamp, QueueError> {
    let ms = text.parse().map_err(|_| unreadable("time"))?;
    Timestamp::from_millisecond(ms).map_err(|_| unreadable("time"))
}

pub(crate) fn unreadable(what: &str) -> QueueError {
    QueueError::Unexpected(format!("a task's {what} cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_plan_has_no_empty_phase() {
        let setup = StepPlan { name: "setup".into(), stage: Stage::Browser, optional: false, share: 1 };
        let plan = Plan { phases: vec![vec![], vec![setup]], clean_up: vec![] };
        assert_eq!(plan_text(&plan), "0 browser setup");
    }

    #[test]
    fn a_stored_plan_marks_optional_and_cleanup_steps_and_shares() {
        let step = |name: &str, optional, share| StepPlan {
            name: name.into(),
            stage: Stage::Transfer,
            optional,
            share,
        };
        let plan = Plan {
            phases: vec![vec![step("move", false, 10)], vec![step("look", true, 2)]],
            clean_up: vec![step("undo", false, 1)],
        };
        let text = plan_text(&plan);
        assert_eq!(text, "10:0 transfer move,2:1? transfer look,2! transfer undo");
        let steps = read_plan(&text).unwrap();
        let read: Vec<_> = steps.iter().map(|s| (s.stage, s.name.as_str(), s.is_cleanup)).collect();
        let expected = [("move", false), ("look", false), ("undo", true)];
        assert_eq!(read, expected.map(|(name, is_cleanup)| (Stage::Transfer, name, is_cleanup)));
    }

    #[test]
    fn a_record_says_whether_there_are_other_owners() {
        let shares_slots = |header: &str| {
            let record = format!("{header}\nsetup\nalice\n0 browser setup\na.example\n\n\n{{}}\n");
            Body::read(&record).map(|body| body.shares_slots)
        };
        assert_eq!(shares_slots("1 5 1"), Some(false));
        assert_eq!(shares_slots("1 5 1 shared"), Some(true));
        assert_eq!(shares_slots("1 5 1 other"), None);
    }

    #[test]
    fn an_incomplete_record_is_not_read() {
        let whole = "1 5 1\nsetup\nalice\n0 browser setup\na.example\n\n\n{}\n";
        assert_eq!(Body::read(whole).unwrap().request, "{}");
        for end in 0..whole.len() - 1 {
            assert!(Body::read(&whole[..end]).is_none(), "{end}");
        }
    }
}

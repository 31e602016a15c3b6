//! Tasks as Redis holds them.

use std::collections::HashMap;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Map;
use wpclone_task::{Plan, Problem, Progress, Stage, State, StepView, TaskId};

use crate::{QueueError, TaskRecord};

/// A step of a plan as it is stored: its phase, its stage, its name.
pub(crate) type StoredStep = (usize, Stage, String);

/// The plan as it is stored: phases flattened, empty ones left out.
pub(crate) fn stored_plan(plan: &Plan) -> Vec<StoredStep> {
    let phases = plan.iter().filter(|steps| !steps.is_empty()).enumerate();
    phases.flat_map(|(phase, steps)| steps.iter().map(move |s| (phase, s.stage, s.name.clone()))).collect()
}

/// A task's hash.
pub(crate) struct Fields(pub(crate) HashMap<String, String>);

impl Fields {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
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

    fn step(&self, i: usize, (_, stage, name): StoredStep) -> Result<StepView, QueueError> {
        Ok(StepView {
            name,
            stage,
            state: self.read(&format!("{i}.state"))?.unwrap_or(State::Queued),
            attempts: self.read(&format!("{i}.attempts"))?.unwrap_or(0),
            crashes: self.read(&format!("{i}.crashes"))?.unwrap_or(0),
            started_at: self.time(&format!("{i}.started"))?,
            finished_at: self.time(&format!("{i}.finished"))?,
        })
    }

    /// What the task ended with. Whether its target was altered is a matter of all attempts, not of the last.
    fn problem(&self) -> Result<Option<Problem>, QueueError> {
        let mut problem: Option<Problem> = self.json("problem")?;
        if let (Some(problem), Some(changed)) = (&mut problem, self.text("changed")) {
            problem.changed_target = changed == "1";
        }
        Ok(problem)
    }

    /// The task. Results of later steps cover those of earlier ones.
    pub(crate) fn task(self, id: TaskId, sealed_result: Option<String>) -> Result<TaskRecord, QueueError> {
        let need = |name| unreadable(name);
        let plan: Vec<StoredStep> = self.json("plan")?.ok_or_else(|| need("plan"))?;
        let state: State = self.read("state")?.ok_or_else(|| need("state"))?;
        let mut result: Option<Map<_, _>> = None;
        for i in 0..plan.len() {
            if let Some(output) = self.json::<Map<_, _>>(&format!("{i}.result"))? {
                result.get_or_insert_default().extend(output);
            }
        }
        Ok(TaskRecord {
            id,
            kind: self.read("kind")?.ok_or_else(|| need("kind"))?,
            owner: self.text("owner").unwrap_or_default().to_owned(),
            state,
            cancel_requested: self.text("cancel") == Some("1"),
            progress: Progress {
                percent: self.read("percent")?.unwrap_or(0),
                message: self.text("message").unwrap_or_default().to_owned(),
            },
            request: self.json("request")?.ok_or_else(|| need("request"))?,
            steps: plan.into_iter().enumerate().map(|(i, s)| self.step(i, s)).collect::<Result<_, _>>()?,
            created_at: self.time("created")?.ok_or_else(|| need("created"))?,
            started_at: self.time("started")?,
            finished_at: self.time("finished")?,
            result,
            sealed_result,
            problem: self.problem()?,
            version: self.read("version")?.unwrap_or(0),
        })
    }
}

/// A moment from Redis' milliseconds.
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
        let mut plan = wpclone_task::Kind::Setup.plan();
        plan.insert(0, vec![]);
        assert_eq!(stored_plan(&plan).iter().map(|s| s.0).collect::<Vec<_>>(), [0]);
    }
}

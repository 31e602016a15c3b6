//! The steps that this worker executes at the moment. A task can have two of them at once.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use wpclone_task::{Stage, TaskId};

/// The running steps. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct RunningSteps(Arc<Mutex<Steps>>);

#[derive(Default)]
struct Steps {
    /// The number of the next step.
    next: u64,
    by_number: HashMap<u64, RunningStep>,
}

struct RunningStep {
    task: TaskId,
    stage: Stage,
    /// Its browser, while there is one.
    browser: watch::Receiver<Option<RunningBrowser>>,
}

/// Where a browser runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunningBrowser {
    /// Below this process of the worker's machine.
    Local { supervisor: u32 },
    /// In another container.
    Remote,
}

/// A step that is counted as running until this is dropped.
pub(crate) struct RunningStepGuard {
    steps: RunningSteps,
    number: u64,
}

impl RunningSteps {
    /// Adds a step.
    pub(crate) fn insert(
        &self,
        task: TaskId,
        stage: Stage,
        browser: watch::Receiver<Option<RunningBrowser>>,
    ) -> RunningStepGuard {
        let mut steps = self.0.lock();
        let number = steps.next;
        steps.next += 1;
        steps.by_number.insert(number, RunningStep { task, stage, browser });
        RunningStepGuard { steps: self.clone(), number }
    }

    /// How many steps of a stage run.
    pub(crate) fn busy(&self, stage: Stage) -> u32 {
        let busy = self.0.lock().by_number.values().filter(|step| step.stage == stage).count();
        u32::try_from(busy).unwrap_or(u32::MAX)
    }

    /// The tasks whose steps run, each once.
    pub(crate) fn tasks(&self) -> Vec<TaskId> {
        let tasks: BTreeSet<TaskId> = self.0.lock().by_number.values().map(|step| step.task).collect();
        tasks.into_iter().collect()
    }

    /// All browsers.
    pub(crate) fn browsers(&self) -> Vec<RunningBrowser> {
        self.0.lock().by_number.values().filter_map(|step| *step.browser.borrow()).collect()
    }
}

impl Drop for RunningStepGuard {
    fn drop(&mut self) {
        self.steps.0.lock().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_of_one_task_are_counted_in_their_stages_and_their_task_once() {
        let (steps, task) = (RunningSteps::default(), TaskId::new());
        let (browser, pid) = watch::channel(None);
        let prepare = steps.insert(task, Stage::Browser, pid);
        let (_pid, none) = watch::channel(None);
        let provision = steps.insert(task, Stage::Provisioning, none);
        assert_eq!(
            [Stage::Browser, Stage::Provisioning, Stage::Transfer].map(|stage| steps.busy(stage)),
            [1, 1, 0]
        );
        assert_eq!((steps.tasks(), steps.browsers()), (vec![task], vec![]));

        // The end of one leaves the other and its browser.
        let running = RunningBrowser::Local { supervisor: 7 };
        browser.send_replace(Some(running));
        drop(provision);
        assert_eq!((steps.busy(Stage::Browser), steps.busy(Stage::Provisioning)), (1, 0));
        assert_eq!((steps.tasks(), steps.browsers()), (vec![task], vec![running]));
        drop(prepare);
        assert_eq!((steps.busy(Stage::Browser), steps.tasks(), steps.browsers()), (0, vec![], vec![]));
    }
}

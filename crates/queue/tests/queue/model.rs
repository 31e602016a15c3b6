//! The queue as it should be: what `life` holds the real one against.

use wpclone_queue::{Claim, Completed, Failed};
use wpclone_task::{State, TaskId};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Place {
    Idle,
    Ready { front: bool },
    Delayed { due: bool },
    Leased { token: u64, over: bool },
    Ended(State),
}

#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) phase: usize,
    pub(crate) place: Place,
    pub(crate) begun: bool,
    pub(crate) attempts: u32,
    pub(crate) crashes: u32,
    pub(crate) percent: u8,
    pub(crate) best: u8,
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) sites: Vec<&'static str>,
    pub(crate) steps: Vec<Step>,
    pub(crate) phase: usize,
    /// Holds the locks on its sites.
    pub(crate) started: bool,
    pub(crate) ending: Option<State>,
    pub(crate) state: State,
    /// Its end has been compared with the real one.
    pub(crate) compared: bool,
}

/// The queue as it should be. Tasks stand in the order of their age.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) tasks: Vec<Task>,
}

impl Task {
    pub(crate) fn step_of(&mut self, claim: &Claim) -> &mut Step {
        &mut self.steps[claim.lease.step as usize]
    }

    pub(crate) fn begin_phase(&mut self) {
        for step in self.steps.iter_mut().filter(|s| s.phase == self.phase) {
            step.place = Place::Ready { front: false };
        }
    }

    pub(crate) fn finish(&mut self, state: State) {
        self.state = state;
        for step in &mut self.steps {
            if !matches!(step.place, Place::Ended(_)) {
                step.place = Place::Ended(State::Cancelled);
            }
        }
    }

    /// True when it has ended.
    pub(crate) fn conclude(&mut self) -> bool {
        if self.steps.iter().any(|s| matches!(s.place, Place::Leased { .. })) {
            return false;
        }
        self.finish(self.ending.unwrap());
        true
    }

    pub(crate) fn stop(&mut self, ending: State) -> bool {
        self.ending.get_or_insert(ending);
        for step in &mut self.steps {
            if matches!(step.place, Place::Ready { .. } | Place::Delayed { .. }) {
                step.place = Place::Idle;
            }
        }
        self.conclude()
    }

    pub(crate) fn completed(&mut self, claim: &Claim) -> Completed {
        self.step_of(claim).place = Place::Ended(State::Succeeded);
        let done = |s: &Step| s.place == Place::Ended(State::Succeeded);
        if self.steps.iter().all(done) {
            self.finish(State::Succeeded);
            return Completed::Finished;
        }
        if self.ending.is_some() {
            return if self.conclude() { Completed::Finished } else { Completed::Advanced };
        }
        if self.steps.iter().filter(|s| s.phase == self.phase).all(done) {
            self.phase += 1;
            self.begin_phase();
        }
        Completed::Advanced
    }

    /// `None` when it is tried again.
    pub(crate) fn failed(&mut self, claim: &Claim, again: bool) -> Option<Failed> {
        let ending = self.ending;
        let step = self.step_of(claim);
        step.attempts += 1;
        if let Some(ending) = ending {
            step.place = Place::Ended(ending);
            self.conclude();
            return Some(if ending == State::Cancelled { Failed::Cancelled } else { Failed::Dead });
        }
        if again && step.attempts < 3 {
            step.place = Place::Delayed { due: false };
            return None;
        }
        step.place = Place::Ended(State::Failed);
        self.stop(State::Failed);
        Some(Failed::Dead)
    }

    pub(crate) fn crashed(&mut self, i: usize) {
        let ending = self.ending;
        let step = &mut self.steps[i];
        step.crashes += 1;
        match (ending, step.crashes) {
            (Some(_), _) => {
                step.place = Place::Ended(State::Cancelled);
                self.conclude();
            }
            (None, 3..) => {
                step.place = Place::Ended(State::Failed);
                self.stop(State::Failed);
            }
            _ => step.place = Place::Ready { front: false },
        }
    }
}

impl Model {
    /// Starts every waiter whose turn it is: first on all of its sites, and all of them free.
    pub(crate) fn settle(&mut self) {
        for n in 0..self.tasks.len() {
            let waits = |t: &Task| !t.started && !t.state.is_final();
            let blocks =
                |t: &Task| !t.state.is_final() && t.sites.iter().any(|s| self.tasks[n].sites.contains(s));
            let turn = waits(&self.tasks[n])
                && !self.tasks.iter().enumerate().any(|(m, t)| m != n && blocks(t) && (t.started || m < n));
            if turn {
                self.tasks[n].started = true;
                self.tasks[n].begin_phase();
            }
        }
    }

    pub(crate) fn sweep(&mut self) {
        for task in &mut self.tasks {
            for step in &mut task.steps {
                if step.place == (Place::Delayed { due: true }) {
                    step.place = Place::Ready { front: false };
                }
            }
        }
        for task in &mut self.tasks {
            for i in 0..task.steps.len() {
                if matches!(task.steps[i].place, Place::Leased { over: true, .. }) {
                    task.crashed(i);
                }
            }
        }
    }

    /// The step that the next claim gets: given back first, then by age.
    pub(crate) fn next(&self) -> Option<(usize, usize)> {
        let places = self
            .tasks
            .iter()
            .enumerate()
            .flat_map(|(n, t)| t.steps.iter().enumerate().map(move |(i, s)| (n, i, s)));
        places
            .filter_map(|(n, i, s)| {
                matches!(s.place, Place::Ready { .. }).then_some((
                    s.place != Place::Ready { front: true },
                    n,
                    i,
                ))
            })
            .min()
            .map(|(_, n, i)| (n, i))
    }

    pub(crate) fn task_of(&mut self, claim: &Claim) -> &mut Task {
        self.tasks.iter_mut().find(|t| t.id == claim.lease.task).unwrap()
    }

    /// Whether a write by this lease is to be accepted.
    pub(crate) fn alive(&mut self, claim: &Claim) -> bool {
        let token = claim.lease.token;
        self.task_of(claim).step_of(claim).place == Place::Leased { token, over: false }
    }
}

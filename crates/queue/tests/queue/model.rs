//! A model of the queue, which `state_machine` compares with the real one.

use std::collections::{BTreeMap, BTreeSet};

use wpclone_queue::{Claim, CompleteOutcome, FailOutcome, SiteLeave};
use wpclone_task::{State, TaskId};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Place {
    Idle,
    Ready {
        front: bool,
    },
    /// Time left (ms); due at 0.
    Delayed {
        left: i64,
    },
    /// Time left (ms); expired at 0. Its loss is a crash once the claim is confirmed.
    Leased {
        token: u64,
        left: i64,
        confirmed: bool,
    },
    Ended(State),
}

/// What a step is in its plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Role {
    Needed,
    Optional,
    CleansUp,
}

#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) phase: usize,
    pub(crate) role: Role,
    pub(crate) place: Place,
    pub(crate) begun: bool,
    pub(crate) attempts: u32,
    pub(crate) crashes: u32,
    pub(crate) percent: u8,
    pub(crate) best: u8,
    /// Whether it has kept a session for its next attempt.
    pub(crate) session: bool,
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) owner: &'static str,
    pub(crate) sites: Vec<&'static str>,
    /// The key by which it shares its only site.
    pub(crate) share_key: Option<&'static str>,
    /// It does not read its site any more.
    pub(crate) left: bool,
    pub(crate) steps: Vec<Step>,
    pub(crate) phase: usize,
    /// The model's `clock_offset` when it was accepted or replayed (ms).
    pub(crate) born: i64,
    /// How long its secrets are kept yet (ms), once it has failed.
    pub(crate) secrets: Option<i64>,
    pub(crate) replays: u32,
    /// Holds the locks on its sites.
    pub(crate) started: bool,
    pub(crate) ending: Option<State>,
    /// An optional step has failed.
    pub(crate) optional_failed: bool,
    /// Time left for its cleanup (ms), once that has started.
    pub(crate) cleaning: Option<i64>,
    pub(crate) state: State,
    /// Its final state has been compared with the real one.
    pub(crate) compared: bool,
}

/// The model. Tasks with the same clock offset are in the order of their age.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) tasks: Vec<Task>,
    /// The sum of all changes to the clock (ms).
    pub(crate) clock_offset: i64,
    /// The sites that tasks share.
    pub(crate) shares: BTreeMap<&'static str, Share>,
    waiting: BTreeMap<&'static str, WaitingOwner>,
}

/// A site that tasks share.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) key: &'static str,
    /// Whether more tasks may join.
    pub(crate) is_open: bool,
    /// Those that read it after the last operation.
    readers: Vec<TaskId>,
    /// Readers that cannot use what is stored, and their steps that wait.
    waiting: BTreeMap<TaskId, usize>,
    pub(crate) limit: usize,
    /// The model's `clock_offset` when it was shared (ms).
    pub(crate) since: i64,
}

/// An owner that has had a ready step since its last turn.
#[derive(Default)]
struct WaitingOwner {
    /// Its ready steps after the last operation.
    ready: BTreeSet<(TaskId, usize)>,
    /// The owners that have had a turn meanwhile.
    served: BTreeSet<&'static str>,
}

/// The owners of tasks.
pub(crate) const OWNERS: [&str; 3] = ["alice", "bob", "carol"];

/// The duration of a lease, and the longest possible one (ms).
pub(crate) const LEASE: i64 = 30_000;
const LONGEST_LEASE: i64 = 2 * LEASE;
/// The site's Retry-After (ms).
const RETRY_AFTER: i64 = 300_000;
const LONGEST_DELAY: i64 = 6 * 3600 * 1000;
const LONGEST_CLEAN_UP: i64 = 600_000;
const SHARE_LIFETIME: i64 = 600_000;
const KEEP_SECRETS: i64 = 24 * 3600 * 1000;

impl Task {
    pub(crate) fn step_of(&mut self, claim: &Claim) -> &mut Step {
        &mut self.steps[claim.lease.step as usize]
    }

    /// Makes the phase's unfinished steps ready; returns whether there was one.
    pub(crate) fn begin_phase(&mut self) -> bool {
        let done = Place::Ended(State::Succeeded);
        let mut any = false;
        for step in self.steps.iter_mut().filter(|s| s.phase == self.phase && s.place != done) {
            step.place = Place::Ready { front: false };
            any = true;
        }
        any
    }

    pub(crate) fn finish(&mut self, state: State) {
        self.state = state;
        self.cleaning = None;
        self.secrets = (state == State::Failed).then_some(KEEP_SECRETS);
        for step in &mut self.steps {
            step.session = false; // a clean-up ends it
            let unneeded = step.role == Role::CleansUp && step.place == Place::Idle;
            if !unneeded && !matches!(step.place, Place::Ended(_)) {
                step.place = Place::Ended(State::Cancelled);
            }
        }
    }

    /// Starts the cleanup, or ends the task when nothing is left to do; returns whether it has ended.
    pub(crate) fn finish_if_done(&mut self) -> bool {
        if self.steps.iter().any(|s| matches!(s.place, Place::Leased { .. })) {
            return false;
        }
        let clean_up = self.steps.iter().find(|s| s.role == Role::CleansUp).map(|s| s.phase);
        if self.cleaning.is_none()
            && self.state == State::Running
            && let Some(phase) = clean_up
        {
            self.phase = phase;
            self.cleaning = Some(LONGEST_CLEAN_UP);
            self.begin_phase();
        }
        let open = |s: &Step| s.role == Role::CleansUp && !matches!(s.place, Place::Ended(_));
        if self.cleaning.is_some() && self.steps.iter().any(open) {
            return false;
        }
        self.finish(self.ending.unwrap());
        true
    }

    pub(crate) fn stop(&mut self, ending: State) -> bool {
        self.ending.get_or_insert(ending);
        for step in self.steps.iter_mut().filter(|s| s.role != Role::CleansUp) {
            if matches!(step.place, Place::Ready { .. } | Place::Delayed { .. }) {
                step.place = Place::Idle;
            }
        }
        self.finish_if_done()
    }

    /// Whether a step must stop because its task is ending.
    pub(crate) fn must_stop(&self, i: usize) -> bool {
        self.ending.is_some() && self.steps[i].role != Role::CleansUp
    }

    pub(crate) fn completed(&mut self, claim: &Claim) -> CompleteOutcome {
        self.step_of(claim).place = Place::Ended(State::Succeeded);
        self.advance()
    }

    /// Starts the next phase, or ends the task, after a step that does not make it fail.
    fn advance(&mut self) -> CompleteOutcome {
        let done = |s: &Step| match s.role {
            Role::Needed => s.place == Place::Ended(State::Succeeded),
            Role::Optional => matches!(s.place, Place::Ended(State::Succeeded | State::Failed)),
            Role::CleansUp => true,
        };
        if self.cleaning.is_none() && self.steps.iter().all(done) {
            self.finish(if self.optional_failed { State::Failed } else { State::Succeeded });
            return CompleteOutcome::Finished;
        }
        if self.ending.is_some() {
            return if self.finish_if_done() { CompleteOutcome::Finished } else { CompleteOutcome::Advanced };
        }
        while self.steps.iter().filter(|s| s.phase == self.phase).all(done) {
            self.phase += 1;
            if self.begin_phase() {
                break;
            }
        }
        CompleteOutcome::Advanced
    }

    /// A step has failed for good.
    fn fail_for_good(&mut self, i: usize) {
        self.steps[i].place = Place::Ended(State::Failed);
        match self.steps[i].role {
            Role::Needed => drop(self.stop(State::Failed)),
            Role::Optional => {
                self.optional_failed = true;
                self.advance();
            }
            Role::CleansUp => drop(self.finish_if_done()),
        }
    }

    /// `None` when the step is retried.
    pub(crate) fn failed(&mut self, claim: &Claim, again: bool) -> Option<FailOutcome> {
        let i = claim.lease.step as usize;
        let ending = self.ending.filter(|_| self.must_stop(i));
        let step = self.step_of(claim);
        step.attempts += 1;
        if let Some(ending) = ending {
            step.place = Place::Ended(ending);
            self.finish_if_done();
            return Some(if ending == State::Cancelled {
                FailOutcome::Cancelled
            } else {
                FailOutcome::DeadLettered
            });
        }
        if again && step.attempts < 3 {
            step.place = Place::Delayed { left: RETRY_AFTER };
            return None;
        }
        self.fail_for_good(i);
        Some(FailOutcome::DeadLettered)
    }

    pub(crate) fn expired(&mut self, i: usize) {
        let must_stop = self.must_stop(i);
        let step = &mut self.steps[i];
        let is_crash = matches!(step.place, Place::Leased { confirmed: true, .. });
        step.crashes += u32::from(is_crash);
        match (must_stop, is_crash, step.crashes) {
            (true, _, _) => {
                step.place = Place::Ended(State::Cancelled);
                self.finish_if_done();
            }
            (false, true, 3..) => self.fail_for_good(i),
            _ => step.place = Place::Ready { front: false },
        }
    }
}

impl Task {
    /// Queues a failed task again; the caller sets its age.
    pub(crate) fn replay(&mut self) {
        self.replays += 1;
        (self.started, self.ending, self.state, self.compared) = (false, None, State::Queued, false);
        (self.optional_failed, self.left) = (false, false);
        let cleaned = self.steps.iter().any(|s| s.role == Role::CleansUp && s.place != Place::Idle);
        let undone = |s: &&mut Step| cleaned || s.place != Place::Ended(State::Succeeded);
        let mut first = usize::MAX;
        for step in self.steps.iter_mut().filter(undone) {
            if step.role != Role::CleansUp {
                first = first.min(step.phase);
            }
            *step = Step::new(step.phase, step.role);
        }
        self.phase = first;
    }
}

impl Step {
    pub(crate) fn new(phase: usize, role: Role) -> Self {
        Self {
            phase,
            role,
            place: Place::Idle,
            begun: false,
            attempts: 0,
            crashes: 0,
            percent: 0,
            best: 0,
            session: false,
        }
    }
}

impl Model {
    /// The tasks that have the lock of a site. Nothing is left on a site, so a task that cleans up needs none.
    pub(crate) fn holders(&self, site: &str) -> Vec<&Task> {
        let holds = |t: &&Task| {
            let is_open = t.started && !t.state.is_final() && t.cleaning.is_none() && !t.left;
            is_open && t.sites.contains(&site)
        };
        self.tasks.iter().filter(holds).collect()
    }

    /// Whether a task can have the lock of a site now.
    fn is_available(&self, task: &Task, site: &str) -> bool {
        let holders = self.holders(site).len();
        match self.shares.get(site) {
            Some(share) => {
                let age = self.clock_offset - share.since;
                let may_join = task.share_key == Some(share.key) && (0..SHARE_LIFETIME).contains(&age);
                share.is_open && may_join && holders < share.limit
            }
            None => holders == 0,
        }
    }

    /// Starts every waiting task that is first in line at all its sites, when it can have all of them. Those that may join the
    /// readers of a site do so before the site is free.
    pub(crate) fn start_ready_tasks(&mut self) {
        self.close_shares_of_failed_readers();
        self.start_available_tasks();
        let unread: Vec<_> = self.shares.keys().copied().filter(|s| self.holders(s).is_empty()).collect();
        if !unread.is_empty() {
            self.shares.retain(|site, _| !unread.contains(site));
            self.start_available_tasks();
        }
        let readers = |site: &&'static str| self.holders(site).iter().map(|t| t.id).collect();
        let all: Vec<Vec<TaskId>> = self.shares.keys().map(readers).collect();
        for (share, readers) in self.shares.values_mut().zip(all) {
            share.readers = readers;
        }
    }

    fn close_shares_of_failed_readers(&mut self) {
        for share in self.shares.values_mut() {
            let has_failed = |t: &&Task| match t.state {
                State::Running if t.cleaning.is_some() => t.ending == Some(State::Failed),
                state => state == State::Failed,
            };
            let mut gone = self.tasks.iter().filter(|t| share.readers.contains(&t.id) && !t.left);
            share.is_open &= !gone.any(|t| has_failed(&t));
        }
    }

    pub(crate) fn start_available_tasks(&mut self) {
        let mut order: Vec<usize> = (0..self.tasks.len()).collect();
        order.sort_by_key(|n| (self.tasks[*n].born, *n));
        let waits = |t: &Task| !t.started && !t.state.is_final();
        for (at, n) in order.iter().copied().enumerate() {
            let task = &self.tasks[n];
            let is_behind = order[..at].iter().any(|m| {
                let other = &self.tasks[*m];
                waits(other) && other.sites.iter().any(|s| task.sites.contains(s))
            });
            let is_available = task.sites.iter().all(|site| self.is_available(task, site));
            if waits(task) && !is_behind && is_available {
                self.tasks[n].started = true;
                self.tasks[n].begin_phase();
            }
        }
    }

    /// Whether a task reads its site beside others.
    pub(crate) fn reads(&self, id: TaskId) -> bool {
        self.shares.keys().any(|site| self.holders(site).iter().any(|t| t.id == id))
    }

    /// A task that has a site alone shares it.
    pub(crate) fn share(&mut self, claim: &Claim, limit: usize) {
        let since = self.clock_offset;
        let task = self.task_of(claim);
        let (id, Some(key), Some(site)) = (task.id, task.share_key, task.sites.first().copied()) else {
            return;
        };
        let is_holder = self.holders(site).iter().any(|t| t.id == id);
        if is_holder && !self.shares.contains_key(site) {
            let (readers, waiting) = (vec![id], BTreeMap::new());
            self.shares.insert(site, Share { key, is_open: true, readers, waiting, limit, since });
        }
    }

    /// A reader waits until it has the site alone.
    fn wait_until_alone(&mut self, claim: &Claim, site: &'static str) -> SiteLeave {
        let (id, step) = (claim.lease.task, claim.lease.step as usize);
        let share = self.shares.get_mut(site).unwrap();
        share.is_open = false;
        share.waiting.insert(id, step);
        let (share, holders) = (&self.shares[site], self.holders(site));
        let waits = |t: &&Task| {
            let step = share.waiting.get(&t.id).map(|i| &t.steps[*i]);
            t.ending.is_none() && step.is_some_and(|step| step.place != Place::Ended(State::Succeeded))
        };
        let is_oldest = holders.iter().all(|t| t.id >= id);
        if holders.iter().all(waits) && !is_oldest { SiteLeave::Stuck } else { SiteLeave::Others }
    }

    /// A task stops reading its site, or does so only if nobody else reads it.
    pub(crate) fn leave(&mut self, claim: &Claim, site: &'static str, only_as_last: bool) -> SiteLeave {
        let id = claim.lease.task;
        let holders = self.holders(site);
        if !holders.iter().any(|t| t.id == id) {
            return SiteLeave::Left;
        }
        if only_as_last && holders.len() > 1 {
            return self.wait_until_alone(claim, site);
        }
        if !only_as_last && self.shares.contains_key(site) {
            self.task_of(claim).left = true;
            self.start_available_tasks();
            if !self.holders(site).is_empty() {
                return SiteLeave::Left;
            }
            self.task_of(claim).left = false;
        }
        self.shares.remove(site);
        SiteLeave::Last
    }

    /// Moves the clock forward or back (ms).
    pub(crate) fn advance_clock(&mut self, by: i64) {
        self.clock_offset += by;
        for task in &mut self.tasks {
            task.secrets = task.secrets.map(|left| if left > 0 { left - by } else { left });
            task.cleaning = task.cleaning.map(|left| left.saturating_sub(by));
            for step in &mut task.steps {
                if let Place::Delayed { left } | Place::Leased { left, .. } = &mut step.place {
                    *left = left.saturating_sub(by);
                }
            }
        }
    }

    /// `leases` are tasks and steps in the order in which their leases end.
    pub(crate) fn sweep(&mut self, leases: &[(TaskId, usize)]) {
        for step in self.tasks.iter_mut().flat_map(|t| &mut t.steps) {
            match &mut step.place {
                Place::Delayed { left } if *left <= 0 => step.place = Place::Ready { front: false },
                Place::Delayed { left } => *left = (*left).min(LONGEST_DELAY),
                Place::Leased { left, .. } => *left = (*left).min(LONGEST_LEASE),
                _ => {}
            }
        }
        for (id, i) in leases {
            let task = self.tasks.iter_mut().find(|t| t.id == *id).unwrap();
            if matches!(task.steps[*i].place, Place::Leased { left: ..=0, .. }) {
                task.expired(*i);
                self.start_ready_tasks();
            }
        }
        for task in &mut self.tasks {
            match &mut task.cleaning {
                Some(..=0) => task.finish(task.ending.unwrap()),
                Some(left) => *left = (*left).min(LONGEST_CLEAN_UP),
                None => {}
            }
        }
    }

    /// The ready steps of an owner in the order in which it gets them: released ones first, then by age.
    fn ready_steps(&self, owner: &str) -> Vec<(usize, usize)> {
        let tasks = self.tasks.iter().enumerate().filter(|(_, t)| t.owner == owner);
        let steps = tasks.flat_map(|(n, t)| t.steps.iter().enumerate().map(move |(i, s)| (n, i, s)));
        let ready = steps.filter_map(|(n, i, s)| match s.place {
            Place::Ready { front } => Some((!front, self.tasks[n].born, n, i)),
            _ => None,
        });
        let mut ready: Vec<_> = ready.collect();
        ready.sort();
        ready.into_iter().map(|(_, _, n, i)| (n, i)).collect()
    }

    /// Notes which owners wait for their turn; called after each operation. An owner that had no ready step for a moment
    /// begins to wait anew.
    pub(crate) fn note_waiting_owners(&mut self) {
        for owner in OWNERS {
            let steps = self.ready_steps(owner).into_iter();
            let ready: BTreeSet<_> = steps.map(|(n, i)| (self.tasks[n].id, i)).collect();
            let waiting = self.waiting.entry(owner).or_default();
            if waiting.ready.is_disjoint(&ready) {
                waiting.served.clear();
            }
            waiting.ready = ready;
        }
    }

    /// Checks a claim that passes over an owner: it gets the first step of some other owner, and nobody has a second turn
    /// while another owner waits.
    pub(crate) fn check_claim(&mut self, claimed: Option<(usize, usize)>, passed_over: Option<&str>) {
        self.note_waiting_owners();
        let others = OWNERS.into_iter().filter(|owner| passed_over != Some(owner));
        let waiting: Vec<_> = others.filter(|owner| !self.ready_steps(owner).is_empty()).collect();
        let Some((n, _)) = claimed else {
            assert!(waiting.is_empty(), "a step of {waiting:?} is ready");
            return;
        };
        let owner = self.tasks[n].owner;
        assert!(waiting.contains(&owner), "{owner} is passed over");
        assert_eq!(claimed, self.ready_steps(owner).first().copied(), "the first of {owner}");
        for (other, state) in &mut self.waiting {
            if *other != owner {
                let is_second = !state.served.insert(owner);
                assert!(!(is_second && waiting.contains(other)), "it is {other}'s turn, not {owner}'s");
            }
        }
        self.waiting.entry(owner).or_default().served.clear();
    }

    pub(crate) fn task_of(&mut self, claim: &Claim) -> &mut Task {
        self.tasks.iter_mut().find(|t| t.id == claim.lease.task).unwrap()
    }

    /// Whether a write under this lease must be accepted.
    pub(crate) fn alive(&mut self, claim: &Claim) -> bool {
        let token = claim.lease.token;
        let place = self.task_of(claim).step_of(claim).place;
        matches!(place, Place::Leased { token: held, left: 1.., .. } if held == token)
    }
}

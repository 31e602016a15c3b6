//! Properties that must hold for an event log, whatever faults occurred. They depend on the order of the events and on
//! the final state of the queue, not on time.

use std::collections::{HashMap, HashSet};

use wpclone_queue::{Queue, TaskFilter, TaskLookup};
use wpclone_task::{State, TaskId};

use crate::worker_pool::{Entry, HeldStep};

/// Asserts all properties.
pub(crate) async fn hold(queue: &Queue, log: &[Entry]) {
    every_acknowledged_task_is_there_and_done(queue, log).await;
    nothing_is_left(queue).await;
    each_step_is_completed_once_and_by_its_last_claim(queue, log).await;
    tokens_rise(log);
    one_task_a_site(log);
}

pub(crate) fn accepted(log: &[Entry]) -> Vec<TaskId> {
    let accepted = |entry: &Entry| if let Entry::Accepted(id) = entry { Some(*id) } else { None };
    log.iter().filter_map(accepted).collect()
}

async fn every_acknowledged_task_is_there_and_done(queue: &Queue, log: &[Entry]) {
    for id in accepted(log) {
        match queue.get(id).await.unwrap() {
            TaskLookup::Found(task) => assert_eq!(task.state, State::Succeeded, "{task:#?}"),
            lost => panic!("task {id} was acknowledged and is {lost:?}"),
        }
    }
}

async fn nothing_is_left(queue: &Queue) {
    for state in [State::Queued, State::Running] {
        let filter = TaskFilter { state: Some(state), ..TaskFilter::default() };
        let left = queue.list(&filter, None, 100).await.unwrap().tasks;
        assert!(left.is_empty(), "{left:#?}");
    }
}

async fn each_step_is_completed_once_and_by_its_last_claim(queue: &Queue, log: &[Entry]) {
    let mut claims: HashMap<(TaskId, u32), Vec<u64>> = HashMap::new();
    let mut done: HashMap<(TaskId, u32), u64> = HashMap::new();
    for entry in log {
        match entry {
            Entry::Claimed(h) => claims.entry((h.task, h.step)).or_default().push(h.token),
            Entry::Done(h) => {
                let before = done.insert((h.task, h.step), h.token);
                assert_eq!(before, None, "completed twice: {h:?}");
            }
            _ => {}
        }
    }
    for ((task, step), tokens) in claims {
        let TaskLookup::Found(record) = queue.get(task).await.unwrap() else { panic!("no task {task}") };
        let result = record.result.unwrap();
        let by: u64 = result[&format!("step{step}")].as_str().unwrap().parse().unwrap();
        // A completion whose answer was lost is in the record alone.
        let recorded = done.get(&(task, step));
        assert!(
            recorded.is_none_or(|token| *token == by),
            "{task} {step}: {recorded:?} was recorded, {by} counts"
        );
        // So is a claim; then its token is higher.
        assert!(tokens.iter().all(|t| *t <= by), "{task} {step}: {by} counts, of {tokens:?}");
    }
}

/// A claim that was requested after another was recorded has a higher token.
fn tokens_rise(log: &[Entry]) {
    let (mut highest, mut seen) = (0, HashSet::new());
    let mut asked: HashMap<&str, u64> = HashMap::new();
    for entry in log {
        match entry {
            Entry::Asks(who) => {
                asked.insert(who, highest);
            }
            Entry::Claimed(h) => {
                assert!(h.token > asked[h.who.as_str()], "an old token: {h:?}");
                assert!(seen.insert(h.token), "a token twice: {h:?}");
                highest = highest.max(h.token);
            }
            _ => {}
        }
    }
}

/// Once a task has been claimed, no write is accepted for a task that had its site before, and no step of that task is
/// claimed.
fn one_task_a_site(log: &[Entry]) {
    // The tasks of each site, by when one was first claimed.
    let mut turns: HashMap<&str, Vec<(TaskId, usize)>> = HashMap::new();
    let mut asked: HashMap<&str, usize> = HashMap::new();
    let mut announced: HashMap<&str, usize> = HashMap::new();
    for (line, entry) in log.iter().enumerate() {
        match entry {
            Entry::Asks(who) => drop(asked.insert(who, line)),
            Entry::Writes(h) => drop(announced.insert(&h.who, line)),
            Entry::Claimed(h) => {
                for site in &h.sites {
                    let turns = turns.entry(site).or_default();
                    if !turns.iter().any(|(task, _)| *task == h.task) {
                        turns.push((h.task, line));
                    }
                }
                its_turn(&turns, h, asked[h.who.as_str()]);
            }
            Entry::Wrote(h) | Entry::Done(h) => its_turn(&turns, h, announced[h.who.as_str()]),
            _ => {}
        }
    }
}

/// A call that was announced on line `asked` and accepted came before the turn of any later task.
fn its_turn(turns: &HashMap<&str, Vec<(TaskId, usize)>>, held: &HeldStep, asked: usize) {
    for site in &held.sites {
        let later = turns[site.as_str()].iter().skip_while(|(task, _)| *task != held.task).nth(1);
        let late = later.filter(|(_, begun)| *begun < asked);
        assert!(late.is_none(), "on {site} the turn was that of {late:?}, yet it was granted to {held:?}");
    }
}

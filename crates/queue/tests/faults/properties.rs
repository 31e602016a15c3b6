//! What must hold of a book, whatever happened while it was written. Nothing here depends on time: only on what was
//! noted before what, and on what the queue tells in the end.

use std::collections::{HashMap, HashSet};

use wpclone_queue::{Queue, TaskFilter, TaskLookup};
use wpclone_task::{State, TaskId};

use crate::worker_pool::{Entry, HeldStep};

/// All of them.
pub(crate) async fn hold(queue: &Queue, book: &[Entry]) {
    every_acknowledged_task_is_there_and_done(queue, book).await;
    nothing_is_left(queue).await;
    each_step_is_completed_once_and_by_its_last_claim(queue, book).await;
    tokens_rise(book);
    one_task_a_site(book);
}

pub(crate) fn accepted(book: &[Entry]) -> Vec<TaskId> {
    let accepted = |entry: &Entry| if let Entry::Accepted(id) = entry { Some(*id) } else { None };
    book.iter().filter_map(accepted).collect()
}

async fn every_acknowledged_task_is_there_and_done(queue: &Queue, book: &[Entry]) {
    for id in accepted(book) {
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

async fn each_step_is_completed_once_and_by_its_last_claim(queue: &Queue, book: &[Entry]) {
    let mut claims: HashMap<(TaskId, u32), Vec<u64>> = HashMap::new();
    let mut done: HashMap<(TaskId, u32), u64> = HashMap::new();
    for entry in book {
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
        let told = done.get(&(task, step));
        assert!(told.is_none_or(|told| *told == by), "{task} {step}: {told:?} was told, {by} counts");
        // So is a claim; then its token is higher.
        assert!(tokens.iter().all(|t| *t <= by), "{task} {step}: {by} counts, of {tokens:?}");
    }
}

/// A claim that was asked for after another was told has a higher token.
fn tokens_rise(book: &[Entry]) {
    let (mut highest, mut seen) = (0, HashSet::new());
    let mut asked: HashMap<&str, u64> = HashMap::new();
    for entry in book {
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

/// As soon as a task has been given out, no write is taken any more for another that had its site before, and no step
/// of that one is given out.
fn one_task_a_site(book: &[Entry]) {
    // The tasks of each site, by when one was first given out.
    let mut turns: HashMap<&str, Vec<(TaskId, usize)>> = HashMap::new();
    let mut asked: HashMap<&str, usize> = HashMap::new();
    let mut announced: HashMap<&str, usize> = HashMap::new();
    for (line, entry) in book.iter().enumerate() {
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

/// What was asked for on this line and granted came before the turn of any later task.
fn its_turn(turns: &HashMap<&str, Vec<(TaskId, usize)>>, held: &HeldStep, asked: usize) {
    for site in &held.sites {
        let later = turns[site.as_str()].iter().skip_while(|(task, _)| *task != held.task).nth(1);
        let late = later.filter(|(_, begun)| *begun < asked);
        assert!(late.is_none(), "on {site} the turn was that of {late:?}, yet it was granted to {held:?}");
    }
}

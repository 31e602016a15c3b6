//! Measurements of both sides, in turn.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::program::Program;
use crate::protocol::{BYTES, Order};
use crate::report::{Better, Table, median, number, quantile};
use crate::server::{Calls, Server};
use crate::{Bench, Side};

/// Interval between paced tasks (ms).
const EVERY: u64 = 20;
/// How many of the first paced tasks do not count.
const FIRST: usize = 25;

/// The cost of many calls.
struct Phase {
    /// Calls per second.
    rate: f64,
    /// CPU time per call in µs: of Redis, and of the caller.
    redis: f64,
    caller: f64,
    /// Redis commands per call.
    commands: BTreeMap<String, Calls>,
}

/// The costs of adding, and of claim to completion.
type Turn = [Phase; 2];

/// The measurements of one side, per round.
#[derive(Default)]
struct Rounds(Vec<Turn>);

impl Rounds {
    fn each(&self, phase: usize, pick: impl Fn(&Phase) -> f64) -> Vec<f64> {
        self.0.iter().map(|turn| pick(&turn[phase])).collect()
    }
}

impl Bench<'_> {
    /// Measures both sides in turn; the side that starts alternates. The first round warms caches and compilers, and does not
    /// count.
    async fn by_turns<T>(
        &mut self,
        mut turn: impl AsyncFnMut(&Server, &mut Side) -> Result<T>,
    ) -> Result<Both<T>> {
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        for round in 0..=self.scale.rounds {
            for ours_turn in [round % 2 == 0, round % 2 != 0] {
                let (side, turns) = match (&mut self.peer, ours_turn) {
                    (_, true) => (&mut self.ours, &mut ours),
                    (Some(peer), false) => (peer, &mut peers),
                    (None, false) => continue,
                };
                self.server.flush().await?;
                let took = turn(&self.server, side).await?;
                if round > 0 {
                    turns.push(took);
                }
            }
        }
        Ok(Both { ours, peer: self.peer.is_some().then_some(peers) })
    }

    /// Adds, claims and completes tasks at full speed.
    pub(crate) async fn rates(&mut self) -> Result<Vec<Table>> {
        let count = self.scale.turn;
        let both = self
            .by_turns(async |server, side| {
                let add = Order::Add { count, bytes: BYTES, sites: None };
                let add = phase(server, &mut side.producer, add, count).await?;
                let work = phase(server, &mut side.worker, Order::Work { count }, count).await?;
                Ok([add, work])
            })
            .await?;
        let (ours, peer) = (Rounds(both.ours), both.peer.map(Rounds));
        let mut table = Table::of_both(self.scale.rounds);
        for (name, better, index, pick) in ROWS {
            table.both(name, &ours.each(index, pick), peer.as_ref().map(|p| p.each(index, pick)), better);
        }
        Ok(vec![table, commands(&ours, peer.as_ref())])
    }

    /// Latency from just before a task is added to its claim by an idle worker.
    pub(crate) async fn latency(&mut self) -> Result<Table> {
        let count = self.scale.seconds * 1000 / EVERY;
        let both = self
            .by_turns(async |_, side| {
                side.worker.ask(Order::Hear { count }).await?;
                side.producer.ask(Order::Pace { count, every: EVERY, bytes: BYTES }).await?;
                let under_way = side.worker.answer().await?.ms;
                Ok(under_way.into_iter().skip(FIRST).collect::<Vec<_>>())
            })
            .await?;
        let mut table = Table::of_both(self.scale.rounds);
        for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
            let name = format!("added to claimed at {} tasks/s, {name}, ms", 1000 / EVERY);
            let each = |turns: &[Vec<f64>]| turns.iter().map(|ms| quantile(ms, part)).collect::<Vec<_>>();
            table.both(&name, &each(&both.ours), both.peer.as_deref().map(each), Better::Less);
        }
        Ok(table)
    }

    /// Redis' memory for a waiting task. It hardly varies, so it is measured once.
    pub(crate) async fn memory(&mut self) -> Result<Table> {
        let peer = match &mut self.peer {
            Some(peer) => Some(vec![waiting(&self.server, peer, self.scale.waiting, None).await?]),
            None => None,
        };
        let mut table = Table::of_both(self.scale.rounds);
        for (sites, name) in
            [(None, "each on its site"), (Some(1000), "on 1,000 sites"), (Some(1), "on one site")]
        {
            let ours = waiting(&self.server, &mut self.ours, self.scale.waiting, sites).await?;
            let name = format!("bytes of a waiting task, {name}");
            table.both(&name, &[ours], peer.clone(), Better::Less);
        }
        Ok(table)
    }
}

struct Both<T> {
    ours: Vec<T>,
    peer: Option<Vec<T>>,
}

type Row = (&'static str, Better, usize, fn(&Phase) -> f64);

const ROWS: [Row; 6] = [
    ("added, 50 in flight, tasks/s", Better::More, 0, |phase| phase.rate),
    ("claimed to done, 50 at once, tasks/s", Better::More, 1, |phase| phase.rate),
    ("Redis' CPU: added, µs", Better::Less, 0, |phase| phase.redis),
    ("Redis' CPU: claimed to done, µs", Better::Less, 1, |phase| phase.redis),
    ("caller's CPU: added, µs", Better::Less, 0, |phase| phase.caller),
    ("caller's CPU: claimed to done, µs", Better::Less, 1, |phase| phase.caller),
];

/// Measures an order that is executed `count` times.
async fn phase(server: &Server, program: &mut Program, order: Order, count: u64) -> Result<Phase> {
    let each = per(count);
    server.count_anew().await;
    let (redis, caller) = (server.cpu().await?, program.cpu()?);
    let seconds = program.ask(order).await?.seconds;
    let (redis, caller) = (server.cpu().await? - redis, program.cpu()? - caller);
    let commands = server.commands().await?;
    Ok(Phase {
        rate: 1.0 / each(seconds),
        redis: each(redis) * 1e6,
        caller: each(caller) * 1e6,
        commands: commands
            .into_iter()
            .map(|(name, calls)| (name, Calls { count: each(calls.count), micros: each(calls.micros) }))
            .collect(),
    })
}

async fn waiting(server: &Server, side: &mut Side, count: u64, sites: Option<u64>) -> Result<f64> {
    server.flush().await?;
    let before = server.memory().await?;
    side.producer.ask(Order::Add { count, bytes: BYTES, sites }).await?;
    Ok(per(count)(server.memory().await? - before))
}

/// Divides by a count.
pub(crate) fn per(count: u64) -> impl Fn(f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far from 2^53")]
    let count = count as f64;
    move |all| all / count
}

/// The commands that call scripts and functions.
const SCRIPTS: [&str; 4] = ["eval", "evalsha", "fcall", "fcall_ro"];

/// The Redis commands per task, and the time of scripts and functions.
fn commands(ours: &Rounds, peer: Option<&Rounds>) -> Table {
    let head = ["", "wpclone: add", "claim to done", "BullMQ: add", "claim to done"];
    let mut table = Table::new("Redis' commands of a task, those inside of scripts among them", &head);
    let phases: Vec<(&Rounds, usize)> =
        [Some(ours), peer].into_iter().flatten().flat_map(|rounds| [(rounds, 0), (rounds, 1)]).collect();
    let medians = |of: &dyn Fn(&Phase) -> f64| -> Vec<f64> {
        phases.iter().map(|(rounds, phase)| median(&rounds.each(*phase, of))).collect()
    };
    let mut row = |name: &str, values: Vec<f64>| {
        // What is done once a second or once a turn is not of a task.
        let of_task = |value: &f64| *value >= 0.01;
        if values.iter().any(of_task) {
            let cells = values.into_iter().map(|v| if of_task(&v) { number(v) } else { String::new() });
            table.row(std::iter::once(name.to_owned()).chain(cells).collect());
        }
    };
    let all = phases.iter().flat_map(|(rounds, phase)| rounds.0.iter().map(|turn| &turn[*phase]));
    let names: BTreeSet<&String> = all.flat_map(|phase| phase.commands.keys()).collect();
    for name in names {
        row(name, medians(&|phase| phase.commands.get(name).map_or(0.0, |calls| calls.count)));
    }
    let micros = |scripts: bool| {
        medians(&|phase| {
            let of = phase.commands.iter().filter(|(name, _)| SCRIPTS.contains(&name.as_str()) == scripts);
            of.map(|(_, calls)| calls.micros).sum()
        })
    };
    row("µs in scripts", micros(true));
    row("µs of these in commands", micros(false));
    table
}

//! This queue alone: at growing depths, and on few sites.

use anyhow::Result;

use crate::Bench;
use crate::compare::per;
use crate::protocol::{BYTES, Order};
use crate::report::{Table, number, quantile, spread, thousands};

/// Tasks of a burst.
const BURST: u64 = 500;
/// How often the depths are read.
const LOOKS: u64 = 200;

impl Bench<'_> {
    /// Bursts of tasks are added to the waiting ones, and as many claimed and completed, at each depth.
    pub(crate) async fn depth(&mut self) -> Result<Table> {
        let bursts = self.scale.bursts;
        let title = format!(
            "wpclone at growing depths: medians of {bursts} bursts of {BURST} added and {BURST} claimed (least to most)"
        );
        let head = ["waiting", "added, tasks/s", "claimed to done, tasks/s", "depths read, p50 ms", "p99 ms"];
        let mut table = Table::new(&title, &head);
        let add = |count| Order::Add { count, bytes: BYTES, sites: None };
        let rate = |seconds: f64| 1.0 / per(BURST)(seconds);
        for depth in self.scale.depths {
            self.server.flush().await?;
            self.ours.producer.ask(add(depth)).await?;
            let (mut added, mut done) = (Vec::new(), Vec::new());
            for _ in 0..bursts {
                added.push(rate(self.ours.producer.ask(add(BURST)).await?.seconds));
                done.push(rate(self.ours.worker.ask(Order::Work { count: BURST }).await?.seconds));
            }
            let looks = self.ours.producer.ask(Order::Stats { count: LOOKS }).await?.ms;
            table.row(vec![
                thousands(&depth.to_string()),
                spread(&added),
                spread(&done),
                number(quantile(&looks, 0.5)),
                number(quantile(&looks, 0.99)),
            ]);
        }
        Ok(table)
    }

    /// On few sites most tasks wait for their site; on one site they are done in sequence.
    pub(crate) async fn sites(&mut self) -> Result<Table> {
        let (count, rounds) = (self.scale.on_sites, self.scale.rounds);
        let title = format!(
            "wpclone with {} waiting tasks on few sites: medians of {rounds} rounds (least to most)",
            thousands(&count.to_string())
        );
        let mut table = Table::new(&title, &["sites", "added, tasks/s", "claimed to done, tasks/s"]);
        for sites in [1, 10, 1000] {
            let (mut added, mut done) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                self.server.flush().await?;
                let add = Order::Add { count, bytes: BYTES, sites: Some(sites) };
                added.push(1.0 / per(count)(self.ours.producer.ask(add).await?.seconds));
                done.push(1.0 / per(count)(self.ours.worker.ask(Order::Work { count }).await?.seconds));
            }
            table.row(vec![thousands(&sites.to_string()), spread(&added), spread(&done)]);
        }
        Ok(table)
    }
}

//! A cluster of three servers.

use std::time::Duration;

use crate::redis::PATIENCE;
use crate::{Options, Redis};

const SLOTS: u16 = 16_384;
const NODES: u16 = 3;

/// Three servers, each with a third of the slots and without a replica: gone when dropped.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts one, and waits until each of its nodes knows all of it.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// Starts one whose nodes are of one's own description.
    pub async fn start_with(mut options: Options) -> Self {
        options.cluster = true;
        let mut nodes = Vec::new();
        for n in 0..NODES {
            let node = Redis::start_with(options.clone()).await;
            let (first, last) = (n * SLOTS / NODES, (n + 1) * SLOTS / NODES - 1);
            node.command::<()>(&format!("CLUSTER ADDSLOTSRANGE {first} {last}")).await;
            nodes.push(node);
        }
        for node in &nodes[1..] {
            nodes[0].command::<()>(&format!("CLUSTER MEET {}", node.meeting())).await;
        }
        let cluster = Self { nodes };
        cluster.whole().await;
        cluster
    }

    /// Its nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// Which of its nodes has this key.
    pub async fn owner(&self, key: &str) -> usize {
        let slot: u16 = self.nodes[0].command(&format!("CLUSTER KEYSLOT {key}")).await;
        let ends = |n: u16| (n + 1) * SLOTS / NODES;
        (0..NODES).position(|n| slot < ends(n)).unwrap()
    }

    /// Kills a node with SIGKILL.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// Starts a node again on what it had written, and waits until each node knows all of the cluster.
    pub async fn restart(&mut self, node: usize) {
        self.nodes[node].restart().await;
        self.whole().await;
    }

    async fn whole(&self) {
        let whole = async {
            for node in &self.nodes {
                while !knows_all(node).await {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        tokio::time::timeout(PATIENCE, whole).await.expect("the nodes find each other");
    }
}

/// Whether a node knows all of its cluster, and has its links to all of it.
async fn knows_all(node: &Redis) -> bool {
    let info: String = node.command("CLUSTER INFO").await;
    let says = |line: String| info.lines().any(|l| l == line);
    let knows = says("cluster_state:ok".into())
        && says(format!("cluster_known_nodes:{NODES}"))
        && says(format!("cluster_slots_ok:{SLOTS}"));
    // What is published goes over a link of its own to each other node, and is lost where that is still to be made.
    knows && !node.command::<String>("CLUSTER NODES").await.contains("disconnected")
}

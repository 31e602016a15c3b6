//! A cluster of three servers.

use std::time::Duration;

use crate::redis::PATIENCE;
use crate::{Options, Redis};

const SLOTS: u16 = 16_384;
const NODES: u16 = 3;

/// Three servers, each with a third of the slots and without a replica. Removed on drop.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts a cluster, and waits until every node knows all of it.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// [`Cluster::start`] with options for the nodes.
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
            nodes[0].command::<()>(&format!("CLUSTER MEET {}", node.cluster_address())).await;
        }
        let cluster = Self { nodes };
        cluster.wait_until_connected().await;
        cluster
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The index of the node that has this key.
    pub async fn owner(&self, key: &str) -> usize {
        let slot: u16 = self.nodes[0].command(&format!("CLUSTER KEYSLOT {key}")).await;
        let ends = |n: u16| (n + 1) * SLOTS / NODES;
        (0..NODES).position(|n| slot < ends(n)).unwrap()
    }

    /// Kills a node with SIGKILL.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// Restarts a node with its data, and waits until every node knows the whole cluster.
    pub async fn restart(&mut self, node: usize) {
        self.nodes[node].restart().await;
        self.wait_until_connected().await;
    }

    async fn wait_until_connected(&self) {
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

/// Whether a node knows the whole cluster, and is connected to every other node.
async fn knows_all(node: &Redis) -> bool {
    let info: String = node.command("CLUSTER INFO").await;
    let says = |line: String| info.lines().any(|l| l == line);
    let knows = says("cluster_state:ok".into())
        && says(format!("cluster_known_nodes:{NODES}"))
        && says(format!("cluster_slots_ok:{SLOTS}"));
    // Published messages go over a link to each other node, and are lost before that is made.
    knows && !node.command::<String>("CLUSTER NODES").await.contains("disconnected")
}

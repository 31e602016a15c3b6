//! A WordPress outside the cluster.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use wpclone_cluster_tests::Cluster;
use wpclone_tests::{Site, Version};

/// This machine's address of the link to the cluster's node, as pods reach it; `None` in clusters that have no such link.
pub(crate) async fn address_for_pods(cluster: &Cluster) -> Result<Option<IpAddr>> {
    let nodes = cluster.kubectl_json(&["get", "nodes"]).await?;
    let addresses = nodes["items"][0]["status"]["addresses"].as_array().cloned().unwrap_or_default();
    let node = addresses.iter().find(|address| address["type"] == "InternalIP");
    let node = node.and_then(|address| address["address"].as_str()).context("the node's address")?;
    let IpAddr::V4(node) = node.parse()? else { return Ok(None) };
    // The link's two ends are neighbours.
    let [a, b, c, d] = node.octets();
    Ok((a == 198 && b == 18 && c == 200).then(|| IpAddr::from([a, b, c, d - 1])))
}

/// A site of this machine at that address, with that amount of content.
pub(crate) async fn source(address: IpAddr, content: u32) -> Result<Site> {
    Ok(Site::builder(Version::Bookworm).address(address).content(content).start().await?)
}

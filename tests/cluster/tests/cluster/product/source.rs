//! A WordPress outside the cluster.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;
use wpclone_cluster_tests::Cluster;
use wpclone_tests::{Site, Version};

/// A site of this machine, which pods reach at the machine's address of the link to the cluster's node.
pub(crate) struct Source {
    pub(crate) site: Site,
    _forwarding: AbortOnDropHandle<()>,
}

/// This machine's address, as pods reach it; `None` in clusters that have no such link.
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

impl Source {
    /// A site with that amount of content.
    pub(crate) async fn start(address: IpAddr, content: u32) -> Result<Self> {
        let site = Site::builder(Version::Bookworm).host(&address.to_string()).content(content);
        let site = site.start().await?;
        let port = reqwest::Url::parse(&site.url())?.port().context("the site's port")?;
        let listener = TcpListener::bind((address, port)).await?;
        let forwarding = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let site = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await;
                    if let Ok(mut site) = site {
                        let _ = copy_bidirectional(&mut client, &mut site).await;
                    }
                });
            }
        });
        Ok(Self { site, _forwarding: AbortOnDropHandle::new(forwarding) })
    }

    /// Its address and an administrator's login.
    pub(crate) fn login(&self) -> Value {
        self.site.login(&self.site.admin())
    }
}

//! What the test cluster offers: pods, services, kro, KEDA and metrics of real programs, and an end without remains.

mod addons;
mod lifecycle;
mod manifests;
mod product;
mod provisioner;

use std::path::Path;

use wpclone_cluster_tests::{Cluster, Namespace};

/// A namespace with a web server in it; its image is made here of Debian's busybox.
async fn namespace_with_web_server(cluster: &Cluster, prefix: &str) -> anyhow::Result<Namespace> {
    cluster.import_programs("localhost/busybox:test", &[Path::new("/bin/busybox")]).await?;
    let namespace = cluster.namespace(prefix).await?;
    namespace.apply(include_str!("manifests/web.yaml")).await?;
    namespace.wait_for_condition("deployment/web", "Available").await?;
    Ok(namespace)
}

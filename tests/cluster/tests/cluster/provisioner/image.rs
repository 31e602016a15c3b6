//! The image of the tests' clones.

use std::path::Path;

use tokio::sync::OnceCell;
use wpclone_cluster_tests::Cluster;

const NAME: &str = "localhost/clone-stand-in:test";
const PROGRAM: &str = include_str!("stand-in.sh");

/// An image that takes the commands and mounts of clones' images, and serves no WordPress: what is tested here are the
/// objects around it. Loaded into the cluster when first asked for.
pub(crate) async fn clone_image() -> &'static str {
    static LOADED: OnceCell<()> = OnceCell::const_new();
    LOADED
        .get_or_init(async || {
            let folder = tempfile::tempdir().unwrap();
            let program = folder.path().join("clone");
            std::fs::write(&program, PROGRAM).unwrap();
            let cluster = Cluster::shared().await.unwrap();
            cluster.import_programs(NAME, &[&program, Path::new("/bin/busybox")]).await.unwrap();
        })
        .await;
    NAME
}

//! wpclone-router: leads requests to the clones of a cluster, each by the name of its Service.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;
use wpclone_clone_proxy::{ClusterClones, ProxyOptions, look_up, serve_cluster};
use wpclone_http_server::raise_open_files_limit;
use wpclone_provision::{Addresses, Routing};

/// Leads requests to the clones of a cluster.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Where to listen
    #[arg(long, env = "WPCLONE_ROUTER_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Base of the clones' URLs, as the workers have it
    #[arg(long, env = "WPCLONE_CLONES_URL", value_name = "URL")]
    clones_url: String,
    /// How clones are distinguished below it, as the workers have it: path or host
    #[arg(long, env = "WPCLONE_CLONE_ROUTING", value_name = "ROUTING", default_value = "path")]
    routing: Routing,
    /// The domain of the clones' Services
    #[arg(
        long,
        env = "WPCLONE_CLONES_DOMAIN",
        value_name = "DOMAIN",
        default_value = "wpclone-clones.svc.cluster.local"
    )]
    domain: String,
    /// Connections that one address may have, of 1024 in all: a load balancer in front is one address
    #[arg(
        long,
        env = "WPCLONE_CONNECTIONS_PER_PEER",
        value_name = "N",
        default_value = "1024",
        value_parser = RangedU64ValueParser::<usize>::new().range(8..=65_536)
    )]
    connections_per_peer: usize,
}

fn main() -> ExitCode {
    let filter =
        EnvFilter::builder().with_default_directive(tracing_subscriber::filter::LevelFilter::INFO.into());
    tracing_subscriber::fmt().with_env_filter(filter.from_env_lossy()).with_writer(std::io::stderr).init();
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wpclone-router: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    raise_open_files_limit();
    let addresses = Addresses::new(args.listen, Some(&args.clones_url), args.routing);
    let addresses = addresses.context("WPCLONE_CLONES_URL")?;
    let domain = args.domain.trim_matches('.').to_owned();
    // The final dot keeps the name service from trying the domains of this pod first.
    let clones = ClusterClones::new(addresses, move |name| look_up(&format!("{name}.{domain}."), 80));
    let options = ProxyOptions { connections_per_peer: args.connections_per_peer };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("the runtime cannot be started")?.block_on(async {
        let shutdown = wpclone_service::shutdown::on_signal()?;
        let listener = TcpListener::bind(args.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", args.listen))?;
        tracing::info!(listen = %args.listen, "serving");
        serve_cluster(listener, Arc::new(clones), options, shutdown).await;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(set: &[&str]) -> Option<usize> {
        let args = ["wpclone-router", "--clones-url", "https://c.example"];
        let args = Args::try_parse_from(args.iter().chain(set)).ok()?;
        Some(args.connections_per_peer)
    }

    #[test]
    fn a_number_of_connections_with_which_nothing_is_served_is_refused() {
        assert_eq!(connections(&["--connections-per-peer", "8"]), Some(8));
        for refused in ["0", "7", "65537", "many"] {
            assert_eq!(connections(&["--connections-per-peer", refused]), None, "{refused}");
        }
    }
}

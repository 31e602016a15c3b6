//! `lab site`: a WordPress at an address of this machine, until Ctrl-C.

use std::net::IpAddr;

use tokio::signal::unix::{SignalKind, signal};
use wpclone_tests::{Lab, Result, Site, Version};

use crate::up::{PASSWORD, WORDPRESS, port};

pub(crate) fn site(address: IpAddr) -> Result {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let site = Site::builder(Version::Trixie).address(address).port(port(WORDPRESS)?);
        let site = site.content(20).admin_password(PASSWORD).start().await?;
        println!("WordPress {} is at {}", site.wordpress(), site.url());
        println!("user {}   password {PASSWORD}", site.admin().name);
        tokio::select! {
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    });
    Lab::shared().end();
    ended
}

//! The address of the clone.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use url::Url;
use wpclone_provision::clone_image::PORT;
use wpclone_provision::{Addresses, CloneName};

/// The address of the clone, and what follows from it.
#[derive(Debug, Clone)]
pub(crate) struct CloneAddress {
    pub(crate) url: Url,
    pub(crate) name: CloneName,
    pub(crate) addresses: Addresses,
}

impl FromStr for CloneAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        // Any address of the container is its own.
        let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
        let (addresses, name) = Addresses::of_clone(listen, &url)
            .ok_or_else(|| "neither its host nor its path ends in the name of a clone".to_owned())?;
        Ok(Self { url, name, addresses })
    }
}

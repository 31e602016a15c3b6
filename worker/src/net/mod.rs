//! The way out: gates that know which networks are allowed, for the browser and for our own requests.

mod answer;
mod ask;
mod gate;
mod http;
mod networks;
mod page;

pub(crate) use answer::{Answer, CHALLENGE};
pub(crate) use ask::{Ask, Body};
pub(crate) use gate::{Gate, Outcome, OwnClones, Visit, Ways, as_visited};
pub(crate) use http::{Http, certificate_fault, client, direct_client};
pub(crate) use networks::AllowedNetworks;
pub(crate) use page::Page;

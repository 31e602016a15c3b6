//! The way out to sites: one gate that knows which networks are allowed, for the browser and for our own requests.

mod answer;
mod ask;
mod gate;
mod http;

pub(crate) use answer::{Answer, Page};
pub(crate) use ask::{Ask, Body};
pub(crate) use gate::Gate;
pub(crate) use http::Http;

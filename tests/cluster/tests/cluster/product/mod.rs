//! The product as it is shipped: the overlay `local` with the images that `./dev images` builds.

mod clone;
mod installation;
mod many;
mod source;
mod workers;

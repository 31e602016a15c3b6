#![doc = include_str!("../README.md")]

mod descent;
mod dir;
mod files;
mod measure;
mod remove;

pub use dir::{Dir, Owner};
pub use files::NewFile;
pub use measure::Usage;
pub use remove::remove_tree;

#![doc = include_str!("../README.md")]

mod client;
#[cfg(test)]
#[path = "../build/pack.rs"]
mod pack;
mod plugin;
mod signing;

pub use client::{Client, ClientError, Status};
pub use plugin::{PLUGIN, SETTINGS_PAGE, VERSION, ZIP, ZIP_STORED, page};
pub use signing::{Key, KeyError, Request};

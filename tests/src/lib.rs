#![doc = include_str!("../README.md")]

mod app;
mod base;
mod client;
mod clones_state;
mod command;
mod database;
mod error;
mod lab;
mod mariadb;
mod odd_tables;
mod processes;
mod program;
mod redis;
mod service;
mod sink;
mod site;
mod stub;
mod user;

pub use app::{TestApp, TestAppBuilder, Token};
pub use base::{built, free_port, is_free, until};
pub use client::Client;
pub use database::Database;
pub use error::{LabError, Result};
pub use lab::Lab;
pub use processes::{children, kill9, load, processes_with};
pub use program::{Leftovers, Program};
pub use redis::{Fsync, Redis};
pub use sink::Sink;
pub use site::{Builder, Hit, Site, User, Version};
pub use stub::Stub;

#![doc = include_str!("../README.md")]

mod app;
mod client;
mod clones_state;
mod command;
mod database;
mod edge_case_tables;
mod error;
mod held_login_page;
mod lab;
mod mariadb;
mod processes;
mod program;
mod redis;
mod request_recorder;
mod service;
mod site;
mod stub;
mod user;
mod util;
mod web_driver;

pub use app::{TestApp, TestAppBuilder, Token};
pub use client::Client;
pub use database::Database;
pub use error::{LabError, Result};
pub use held_login_page::HeldLoginPage;
pub use lab::Lab;
pub use processes::{children, kill9, load, processes_with};
pub use program::{Leftovers, Program};
pub use redis::{Fsync, Redis};
pub use request_recorder::RequestRecorder;
pub use site::{Builder, Hit, Site, User, Version};
pub use stub::Stub;
pub use util::{built, cache, free_port, is_free, until};
pub use web_driver::WebDriver;

#![doc = include_str!("../README.md")]

mod fpm_pool;
mod migrator_files;
mod wordpress;

pub use fpm_pool::FpmPool;
pub use migrator_files::unpack_migrator;
pub use wordpress::{CloneWordPress, TaskResult, WordPressError};

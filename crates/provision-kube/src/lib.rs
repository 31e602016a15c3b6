#![doc = include_str!("../README.md")]

mod api_error;
mod assessment;
mod await_ready;
mod change;
mod clone_database;
mod clone_images;
mod clone_secret;
mod cluster;
mod create;
mod definition;
mod delete;
mod kube_provisioner;
mod observation;
mod options;
mod progress;
mod random;
mod setup_input;
mod sweep;
mod wordpress_clone;

pub use clone_images::{CloneImage, CloneImages};
pub use kube_provisioner::KubeProvisioner;
pub use options::{Clock, CloneResources, DatabaseOptions, IngressOptions, KubeOptions, WaitLimits};
pub use wordpress_clone::{
    KIND, VERSION, WordPressCloneIngress, WordPressCloneResources, WordPressCloneSpec, WordPressCloneStatus,
    WordPressCloneStorage,
};

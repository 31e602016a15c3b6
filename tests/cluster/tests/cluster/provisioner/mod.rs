//! The provisioner of clones in a cluster, with kro, the node and a MariaDB server.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

mod failures;
mod image;
mod lab;
mod life;
mod mariadb;
mod races;

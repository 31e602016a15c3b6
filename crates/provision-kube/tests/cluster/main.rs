//! The provisioner with a real cluster (API server, kro, nodes) and a real MariaDB.
//!
//! They need what no machine has by itself, so plain `cargo test` leaves them out; with `--ignored` a need that is not met
//! fails, by name:
//! - `WPCLONE_TEST_KUBECONFIG`: the access file of a cluster with kro;
//! - `WPCLONE_TEST_CLONE_IMAGE`: an image for clones that its nodes have;
//! - MariaDB's server and client.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

mod failures;
mod lab;
mod life;
mod mariadb;

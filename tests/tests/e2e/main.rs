//! End-to-end tests: requests enter a real API and come out on a real WordPress, or end with a clear problem.
//!
//! All of them are one program, so that they share one MariaDB and one template per WordPress release, and so that many
//! run at once: most of a test's time is waiting.

mod browser_confinement;
mod clone;
mod migrator;
mod missing_browser;
mod obstacles;
mod random;
mod recording_source;
mod redis_client;
mod remote_browser;
mod rewrite;
mod secrets;
mod service_faults;
mod setup_and_app_passwords;
mod site_cleanup;
mod target;
mod test_environment;
mod webhooks;

//! Requests of ours to a local clone's WordPress.

use std::io;
use std::path::Path;

use serde_json::Value;
use wpclone_beneath::Owner;
use wpclone_clone_php::{CloneWordPress, TaskResult, WordPressError};

use crate::blocking::run_blocking;
use crate::clone_paths::{ClonePaths, PHP_LOG};
use crate::logs::untrusted_log_tail;
use crate::users::{Ids, uid_of};

/// Runs a task of `tasks.php`. `input` holds the task's name and what it needs.
pub(crate) async fn run_task(
    paths: &ClonePaths,
    user: Option<Ids>,
    clone_runtime: &Path,
    url: &str,
    input: Value,
) -> io::Result<TaskResult> {
    let done = wordpress(paths, user, clone_runtime, url).run_task(input).await;
    explain(done, paths, user).await
}

/// Checks that WordPress responds with its REST index: its plugins and its database work.
pub(crate) async fn check_rest_index(
    paths: &ClonePaths,
    user: Option<Ids>,
    clone_runtime: &Path,
    url: &str,
) -> io::Result<()> {
    let done = wordpress(paths, user, clone_runtime, url).check_rest_index().await;
    explain(done, paths, user).await
}

fn wordpress(paths: &ClonePaths, user: Option<Ids>, clone_runtime: &Path, url: &str) -> CloneWordPress {
    CloneWordPress {
        socket: paths.php_socket(user),
        url: url.to_owned(),
        tree: paths.tree(),
        clone_runtime: clone_runtime.to_owned(),
    }
}

/// Adds PHP's last message to the error of a response that is not valid: it tells the site's owner what fails.
async fn explain<T>(done: Result<T, WordPressError>, paths: &ClonePaths, user: Option<Ids>) -> io::Result<T> {
    match done {
        Ok(done) => Ok(done),
        Err(error @ WordPressError::NoValidResponse(_)) => {
            let (folder, owner) = (paths.log(), Owner::Uid(uid_of(user)));
            let tail = run_blocking(move || untrusted_log_tail(&folder, PHP_LOG, owner)).await;
            let tail = tail.unwrap_or_else(|error| format!("(it cannot be read: {error})"));
            Err(io::Error::other(format!("{error}; PHP's log ends with: {tail}")))
        }
        Err(WordPressError::NoResponse(error)) => Err(error),
        Err(error) => Err(io::Error::other(error)),
    }
}

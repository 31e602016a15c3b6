//! The end of a clone on its sites: the import is made final or rolled back, and migrators that this task installed are
//! removed. One that was there before the task stays.

use std::time::Duration;

use tokio::time::timeout;
use wpclone_task::{Code, MigratorRemoval, MigratorRemoved, PluginStatus, Problem, Role};
use wpclone_transfer::{commit, rollback};

use super::migrators::{Migrator, Migrators};
use super::{StepResult, problem};

/// The deadline of removing a migrator.
const DEADLINE: Duration = Duration::from_secs(60);

/// Ends a clone that succeeded. It does not fail: the copy is there.
pub(super) async fn finish(migrators: &Migrators<'_>) -> MigratorRemoved {
    let incomplete = |error: Box<Problem>| {
        tracing::warn!(detail = %error.detail, "the migrator is left on a site, where it closes by itself");
        MigratorRemoval::Incomplete
    };
    let mut removed = MigratorRemoved::default();
    if let Some(target) = migrators.target() {
        removed.target = Some(if target.is_removed_at_end {
            // It deletes what the target had before.
            remove(migrators, &target).await.unwrap_or_else(incomplete)
        } else {
            let committed = commit(&target.client, &migrators.job.import_id()).await;
            committed.map_or_else(|error| incomplete(problem(&error)), |()| MigratorRemoval::Kept)
        });
    }
    removed.source = match migrators.source() {
        Some(source) => Some(remove_from_source(migrators, &source).await.unwrap_or_else(incomplete)),
        None => migrators.request.remove_migrator.then_some(MigratorRemoval::Incomplete),
    };
    clear(migrators, &removed).await;
    removed
}

/// What is not complete stays registered: the queue cleans it up without the task.
async fn clear(migrators: &Migrators<'_>, removed: &MigratorRemoved) {
    for (role, removal) in [(Role::Source, removed.source), (Role::Target, removed.target)] {
        if matches!(removal, Some(MigratorRemoval::Removed | MigratorRemoval::Kept)) {
            migrators.job.left_on_sites.clear(role).await;
        }
    }
}

/// Ends a clone that failed or was cancelled. A target has afterwards what it had before.
pub(super) async fn roll_back(migrators: &Migrators<'_>) -> StepResult<MigratorRemoved> {
    let mut removed = migrators.job.prior.migrator_removed().unwrap_or_default();
    if let Some(target) = migrators.target() {
        removed.target = Some(roll_back_target(migrators, &target).await?);
        clear(migrators, &removed).await;
    }
    // Once it is removed, nobody answers there.
    if removed.source != Some(MigratorRemoval::Removed)
        && let Some(source) = migrators.source()
    {
        removed.source = Some(remove_from_source(migrators, &source).await?);
    }
    clear(migrators, &removed).await;
    Ok(removed)
}

async fn roll_back_target(migrators: &Migrators<'_>, target: &Migrator) -> StepResult<MigratorRemoval> {
    rollback(&target.client, &migrators.job.import_id()).await.map_err(|error| problem(&error))?;
    let removal = match target.plugin_status {
        Some(PluginStatus::Installed) => remove(migrators, target).await?,
        _ => MigratorRemoval::Kept,
    };
    let is_restored =
        removal == MigratorRemoval::Removed || target.plugin_status == Some(PluginStatus::Unchanged);
    if is_restored {
        migrators.job.updates.send_modify(|update| update.changed = Some(false));
    }
    Ok(removal)
}

/// Leaves the source, and removes the migrator there if no other clone reads it. One that is to be kept stays.
async fn remove_from_source(migrators: &Migrators<'_>, source: &Migrator) -> StepResult<MigratorRemoval> {
    if !source.is_removed_at_end {
        return Ok(MigratorRemoval::Kept);
    }
    if migrators.job.shared_source.leave().await? {
        remove(migrators, source).await
    } else {
        Ok(MigratorRemoval::InUse)
    }
}

async fn remove(migrators: &Migrators<'_>, migrator: &Migrator) -> StepResult<MigratorRemoval> {
    // Of a source this task has no import: another task may have one there.
    let import = (migrator.role == Role::Target).then(|| migrators.job.import_id());
    let removed = timeout(DEADLINE, migrator.client.remove(import.as_deref())).await;
    let late = |_| Box::new(Problem::new(Code::Deadline, "The site did not remove the migrator in time."));
    let removed = removed.map_err(late)?.map_err(|error| {
        let detail = format!("The site did not remove the migrator: {error}.");
        Box::new(Problem::new(Code::MigratorUnreachable, detail))
    })?;
    if removed.is_complete() {
        migrators.job.migrator_install_marker(migrator.role).set_removed().await;
        return Ok(MigratorRemoval::Removed);
    }
    tracing::warn!(left = ?removed.remaining, answers = removed.still_responds, "parts of the migrator are left on the site");
    Ok(MigratorRemoval::Incomplete)
}

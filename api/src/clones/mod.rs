//! Clones: listing, extending, deleting, and logging in to them. Provisioning workers publish them in Redis.

pub mod delete;
pub mod extend;
pub mod login;
pub mod read;
pub mod view;

use wpclone_clones::{CloneEntry, CloneLookup};
use wpclone_task::{CloneName, CloneRef, Code};

use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::state::App;

/// The clone of this name that the caller may see.
///
/// # Errors
/// There is none or it is another owner's (both are 404), it is gone, or Redis does not respond.
pub async fn find(app: &App, caller: &Caller, name: &str) -> Result<CloneEntry, ApiError> {
    let unknown = || ApiError::new(Code::CloneNotFound, "You have no clone with this name.");
    let name: CloneName = name.parse().map_err(|_| unknown())?;
    match app.clones.get(&name).await? {
        CloneLookup::Found(entry) if can_see(caller, &entry) => Ok(*entry),
        CloneLookup::Gone(past) if can_see(caller, &past.entry) => {
            Err(gone("It has expired or was deleted."))
        }
        CloneLookup::Found(_) | CloneLookup::Gone(_) | CloneLookup::NotFound => Err(unknown()),
        CloneLookup::Unreadable => {
            Err(ApiError::internal("the clone's entry cannot be read by this version"))
        }
    }
}

/// The clone as the tasks that change it name it.
fn clone_ref(entry: CloneEntry) -> CloneRef {
    CloneRef { name: entry.name, created_by: entry.task }
}

fn can_see(caller: &Caller, entry: &CloneEntry) -> bool {
    caller.is_operator() || caller.is_owner(&entry.owner)
}

fn gone(detail: &str) -> ApiError {
    ApiError::new(Code::CloneGone, detail)
}

/// Checks that a clone is neither being created nor being deleted.
fn require_published(entry: &CloneEntry) -> Result<(), ApiError> {
    use wpclone_task::ClonePhase::{Creating, Deleting, Published, Ready, Unreadable};
    match entry.phase {
        Published => Ok(()),
        Creating | Ready => {
            Err(ApiError::new(Code::CloneNotReady, format!("The task {} is still creating it.", entry.task)))
        }
        Unreadable => {
            let detail =
                "The clone's record cannot be read. The clone is kept until an operator has repaired it.";
            Err(ApiError::new(Code::CloneNotReady, detail))
        }
        Deleting => Err(gone("It is being deleted.")),
    }
}

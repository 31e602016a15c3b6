//! Clones: what provisioning workers tell of them, and asking for their change.

pub mod change;
pub mod login;
pub mod read;
pub mod view;

use wpclone_clones::{CloneEntry, CloneLookup};
use wpclone_task::{CloneName, Code};

use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::state::App;

/// The clone of this name that the caller may see.
///
/// # Errors
/// There is none, it is somebody else's (which looks the same), it is gone, or Redis does not answer.
pub async fn find(app: &App, caller: &Caller, name: &str) -> Result<CloneEntry, ApiError> {
    let unknown = || ApiError::new(Code::CloneNotFound, "No clone of yours has this name.");
    let name: CloneName = name.parse().map_err(|_| unknown())?;
    match app.clones.get(&name).await? {
        CloneLookup::Found(entry) if sees(caller, &entry) => Ok(*entry),
        CloneLookup::Gone(past) if sees(caller, &past.entry) => Err(gone("It has expired or was deleted.")),
        CloneLookup::Found(_) | CloneLookup::Gone(_) | CloneLookup::NotFound => Err(unknown()),
    }
}

fn sees(caller: &Caller, entry: &CloneEntry) -> bool {
    caller.is_operator() || caller.is(&entry.owner)
}

fn gone(detail: &str) -> ApiError {
    ApiError::new(Code::CloneGone, detail)
}

/// That a clone is neither still being made nor being taken away.
fn is_published(entry: &CloneEntry) -> Result<(), ApiError> {
    use wpclone_task::ClonePhase::{Creating, Deleting, Published, Ready, Unreadable};
    match entry.phase {
        Published => Ok(()),
        Creating | Ready => {
            Err(ApiError::new(Code::CloneNotReady, format!("The task {} still makes it.", entry.task)))
        }
        Unreadable => {
            let detail = "What is stored of it cannot be read; it is kept until its operator has looked.";
            Err(ApiError::new(Code::CloneNotReady, detail))
        }
        Deleting => Err(gone("It is being deleted.")),
    }
}

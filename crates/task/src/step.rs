//! The steps that tasks consist of.

use crate::Stage;
use crate::kind::named;

named! {
    /// A step of a task. The queue carries its name and knows nothing of its meaning. A step's stage is
    /// [`Step::stage`], the steps of each kind of task are [`StoredRequest::plan`](crate::StoredRequest::plan).
    Step {
        /// Of setup: installs the migrator on a site and reads its key.
        Setup = "setup",
        /// Of create-app-password: creates an application password.
        CreateAppPassword = "create-app-password",
        /// Of a clone: creates an empty WordPress.
        Provision = "provision",
        /// Of a clone: installs the migrator on the source and opens it.
        Prepare = "prepare",
        /// The same on a target of the caller's.
        PrepareTarget = "prepare-target",
        /// Of a clone: gives the new WordPress the source's table prefix, PHP and PHP limits.
        MatchSource = "match-source",
        /// Of a clone: copies the content and verifies it.
        Transfer = "transfer",
        /// Of a clone: adds an administrator for its owner.
        GrantAccess = "grant-access",
        /// Of a clone: opens the copy in a browser and logs in to it.
        Verify = "verify",
        /// Of a clone: makes the import on a target final, and removes the migrator where this task installed it.
        RemoveMigrator = "remove-migrator",
        /// Of a clone to a target that keeps the migrator: makes the import final.
        Commit = "commit",
        /// Of a clone: hands the clone out; it expires from now on.
        Publish = "publish",
        /// Clean-up of a clone: deletes the clone.
        Discard = "discard",
        /// Clean-up of a clone: gives a target its content back, and removes the migrator where this task installed it.
        Rollback = "rollback",
        /// Of extend-clone: sets another expiry.
        Extend = "extend",
        /// Of delete-clone: deletes the clone.
        Delete = "delete",
    }
}

impl Step {
    /// The stage whose workers execute it.
    #[must_use]
    pub const fn stage(self) -> Stage {
        match self {
            Self::Setup | Self::CreateAppPassword | Self::Prepare | Self::PrepareTarget | Self::Verify => {
                Stage::Browser
            }
            Self::Transfer | Self::RemoveMigrator | Self::Commit | Self::Rollback => Stage::Transfer,
            Self::Provision
            | Self::MatchSource
            | Self::GrantAccess
            | Self::Publish
            | Self::Discard
            | Self::Extend
            | Self::Delete => Stage::Provisioning,
        }
    }
}

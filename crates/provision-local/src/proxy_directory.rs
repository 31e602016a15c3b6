//! The clones as the proxy sees them.

use url::Url;
use wpclone_beneath::Owner;
use wpclone_clone_proxy::{Backend, BackendState, CloneDirectory, NoBackend};
use wpclone_provision::{Addresses, CloneName, Phase, ProvisionError};

use crate::engine::LocalEngine;
use crate::users::uid_of;

impl CloneDirectory for LocalEngine {
    fn addresses(&self) -> &Addresses {
        &self.host.addresses
    }

    fn backend(&self, name: &CloneName) -> Result<Backend, NoBackend> {
        let entry = self.require(name).map_err(|error| match error {
            ProvisionError::Gone(_) => NoBackend::Gone,
            ProvisionError::Unreadable { .. } => NoBackend::Unreadable,
            _ => NoBackend::Unknown,
        })?;
        let record = entry.record();
        let state = match record.info.phase {
            Phase::Deleting => BackendState::Deleting,
            _ if entry.stopping_problem().is_some() => BackendState::Stopped,
            Phase::Ready | Phase::Published if entry.is_serving() => BackendState::Serving,
            _ => BackendState::Starting,
        };
        let user = self.host.users.of_slot(record.slot);
        Ok(Backend {
            url: Url::parse(&record.info.url).map_err(|_| NoBackend::Unreadable)?,
            name: record.info.name,
            routing: record.routing,
            state,
            www: entry.paths.www(),
            tree: entry.paths.tree(),
            socket: entry.paths.php_socket(user),
            owner: Owner::Uid(uid_of(user)),
            permits: entry.permits.clone(),
        })
    }
}

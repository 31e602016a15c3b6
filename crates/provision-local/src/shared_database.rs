//! The database server that clones with shared isolation use.

use std::future::pending;
use std::io;

use parking_lot::Mutex;

use crate::database_admin::DatabaseAdmin;
use crate::database_server::{DatabaseServer, DatabaseServers};

/// The shared server, which is restarted when it dies.
pub(crate) struct SharedDatabase {
    servers: DatabaseServers,
    admin: Mutex<DatabaseAdmin>,
    server: tokio::sync::Mutex<Option<DatabaseServer>>,
}

impl SharedDatabase {
    /// Starts it.
    pub(crate) async fn start(servers: DatabaseServers) -> io::Result<Self> {
        let server = servers.start_shared(pending()).await?;
        Ok(Self { servers, admin: Mutex::new(server.admin()), server: tokio::sync::Mutex::new(Some(server)) })
    }

    /// Its administrator; another one after each restart.
    pub(crate) fn admin(&self) -> DatabaseAdmin {
        self.admin.lock().clone()
    }

    /// Restarts it if it has died; returns whether it had. A start is given up when `give_up` ends.
    pub(crate) async fn ensure_running(&self, give_up: impl Future<Output = ()>) -> io::Result<bool> {
        let mut server = self.server.lock().await;
        if server.as_mut().is_some_and(DatabaseServer::is_running) {
            return Ok(false);
        }
        if let Some(dead) = server.as_mut() {
            tracing::warn!("the shared database server has died and is restarted");
            dead.stop().await;
            *server = None;
        }
        let new = self.servers.start_shared(give_up).await?;
        *self.admin.lock() = new.admin();
        *server = Some(new);
        Ok(true)
    }

    /// Ends it.
    pub(crate) async fn stop(&self) {
        let mut server = self.server.lock().await;
        if let Some(running) = server.as_mut() {
            running.stop().await;
            *server = None;
        }
    }
}

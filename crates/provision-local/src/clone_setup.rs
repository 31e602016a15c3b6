//! The steps that creating and changing a clone consist of.

use std::io;
use std::sync::Arc;

use secrecy::ExposeSecret as _;
use serde_json::json;
use wpclone_provision::{CloneInfo, Isolation, ProvisionError, SourceConfig};

use crate::blocking::run_blocking;
use crate::database_admin::DatabaseAdmin;
use crate::database_relay::DatabaseRelay;
use crate::database_server::{DatabaseServer, DatabaseServers};
use crate::error::failed;
use crate::host::Host;
use crate::launcher::Daemon;
use crate::local_clone::{CloneProcesses, LocalClone};
use crate::php_fpm;
use crate::secrets::Secrets;
use crate::shared_database::SharedDatabase;
use crate::stored::ReadError;
use crate::template::{TEMPLATE_USER, Template};
use crate::wordpress;
use crate::wp_config::{self, LocalWpConfig};

/// How long the migrator accepts imports, at least.
const MIGRATOR_OPEN: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// Sets up and starts what a clone consists of. The caller holds the clone's `processes`.
pub(crate) struct CloneSetup {
    pub(crate) host: Arc<Host>,
    pub(crate) servers: DatabaseServers,
    pub(crate) shared: Arc<SharedDatabase>,
}

impl CloneSetup {
    /// The clone's secrets.
    pub(crate) async fn secrets(&self, entry: &LocalClone) -> Result<Secrets, ProvisionError> {
        let unreadable =
            |error: ReadError| ProvisionError::Unreadable { name: entry.name(), reason: error.to_string() };
        let paths = entry.paths.clone();
        let read = run_blocking(move || Ok(Secrets::read(&paths))).await;
        read.map_err(failed("the clone's secrets cannot be read"))?.map_err(unreadable)
    }

    /// Starts the database server of a dedicated clone.
    pub(crate) async fn start_database(
        &self,
        entry: &LocalClone,
    ) -> Result<Option<DatabaseServer>, ProvisionError> {
        match entry.info().isolation {
            Isolation::Shared => Ok(None),
            Isolation::Dedicated => {
                let started = self.servers.start_dedicated(&entry.name(), entry.slot()).await;
                started.map(Some).map_err(failed("the database server cannot be started"))
            }
        }
    }

    /// Creates the database of a fresh WordPress; an existing one is dropped.
    pub(crate) async fn create_database(
        &self,
        entry: &LocalClone,
        processes: &CloneProcesses,
        template: &Template,
        secrets: &Secrets,
    ) -> Result<(), ProvisionError> {
        let info = entry.info();
        let operation = "the database cannot be created";
        let admin = self.database_admin(&info, processes, operation)?;
        let name = info.name.as_str();
        let loaded = async {
            admin.create(name, &secrets.database_password).await?;
            admin.run(name, &template.sql_for(&info.url, &info.table_prefix)).await
        };
        loaded.await.map(drop).map_err(failed(operation))
    }

    /// The administration of the server that a clone's database is on.
    fn database_admin(
        &self,
        info: &CloneInfo,
        processes: &CloneProcesses,
        operation: &'static str,
    ) -> Result<DatabaseAdmin, ProvisionError> {
        let admin = match info.isolation {
            Isolation::Shared => Some(self.shared.admin()),
            Isolation::Dedicated => processes.database.as_ref().map(DatabaseServer::admin),
        };
        admin.ok_or_else(|| ProvisionError::internal(operation, "its server does not run"))
    }

    /// Writes wp-config.php.
    pub(crate) async fn write_config(
        &self,
        entry: &LocalClone,
        processes: &CloneProcesses,
        secrets: &Secrets,
    ) -> Result<(), ProvisionError> {
        let (info, operation) = (entry.info(), "wp-config.php cannot be written");
        let admin = self.database_admin(&info, processes, operation)?;
        let config = LocalWpConfig {
            url: &info.url,
            table_prefix: &info.table_prefix,
            source: &SourceConfig::new(&info.facts, admin.client()).await.map_err(failed(operation))?,
            username: &info.username,
            database: info.name.as_str(),
            secrets,
            clone_runtime: &self.host.state_dir.clone_runtime(),
        };
        let user = self.host.users.of_slot(entry.slot());
        let written = wp_config::write(&entry.paths, &config, user, &self.host.lock).await;
        written.map_err(failed(operation))
    }

    /// Whether all programs of the clone run.
    pub(crate) fn is_running(&self, entry: &LocalClone, processes: &mut CloneProcesses) -> bool {
        let has_database = match entry.info().isolation {
            Isolation::Shared => true,
            Isolation::Dedicated => processes.database.as_mut().is_some_and(DatabaseServer::is_running),
        };
        has_database && processes.fpm.as_mut().is_some_and(Daemon::is_running)
    }

    /// Starts the clone's programs that do not run.
    pub(crate) async fn ensure_running(
        &self,
        entry: &LocalClone,
        processes: &mut CloneProcesses,
    ) -> Result<(), ProvisionError> {
        if let Some(problem) = entry.stopping_problem() {
            return Err(ProvisionError::Stopped { name: entry.name(), problem });
        }
        let record = entry.record();
        if record.info.isolation == Isolation::Dedicated
            && !processes.database.as_mut().is_some_and(DatabaseServer::is_running)
        {
            processes.stop_database().await;
            processes.database = self.start_database(entry).await?;
            entry.note_supervisors(processes);
        }
        if processes.fpm.as_mut().is_some_and(Daemon::is_running) {
            return Ok(());
        }
        entry.set_serving(false);
        processes.stop_fpm().await;
        self.connect_database(entry, processes)
            .await
            .map_err(failed("the clone cannot reach its database"))?;
        let (_, program) = self.host.binaries.fpm_for(Some(&record.info.php));
        let (user, runtime) = (self.host.users.of_slot(record.slot), self.host.state_dir.clone_runtime());
        let facts = &record.info.facts;
        let started = php_fpm::start(&entry.paths, &runtime, program, user, facts, &self.host.launcher).await;
        processes.fpm = Some(started.map_err(failed("php-fpm cannot be started"))?);
        entry.note_supervisors(processes);
        Ok(())
    }

    /// Listens on the clone's socket for its database, if nobody does.
    async fn connect_database(&self, entry: &LocalClone, processes: &mut CloneProcesses) -> io::Result<()> {
        if processes.relay.is_none() {
            let (paths, user) = (&entry.paths, self.host.users.of_slot(entry.slot()));
            let own = processes.database.as_ref().map(DatabaseServer::admin);
            let server = own.unwrap_or_else(|| self.shared.admin()).socket().to_owned();
            let relay = DatabaseRelay::start(paths, user, server, self.servers.connections_per_clone);
            processes.relay = Some(relay.await?);
        }
        Ok(())
    }

    /// Has WordPress create the administrator and open the migrator.
    pub(crate) async fn grant_access(
        &self,
        entry: &LocalClone,
        secrets: &Secrets,
    ) -> Result<(), ProvisionError> {
        let info = entry.info();
        // A task may wait for its other steps before the first request, which extends the time.
        let until = (self.host.now() + MIGRATOR_OPEN).max(info.deadline);
        let input = json!({
            "task": "access",
            "template": TEMPLATE_USER,
            "username": info.username,
            "password": secrets.password.expose_secret(),
            "key": secrets.migrator_key.expose_secret(),
            "open_until": until.as_second(),
        });
        let (user, runtime) = (self.host.users.of_slot(entry.slot()), self.host.state_dir.clone_runtime());
        let granted = wordpress::run_task(&entry.paths, user, &runtime, &info.url, input).await;
        granted.map(drop).map_err(failed("the administrator cannot be created"))
    }

    /// Checks that the clone's WordPress responds.
    pub(crate) async fn check(&self, entry: &LocalClone) -> Result<(), ProvisionError> {
        let (user, runtime) = (self.host.users.of_slot(entry.slot()), self.host.state_dir.clone_runtime());
        let checked: io::Result<()> =
            wordpress::check_rest_index(&entry.paths, user, &runtime, &entry.info().url).await;
        checked.map_err(failed("the new clone does not respond"))
    }
}

//! Services that all tests of a process share.

use std::path::PathBuf;

use tokio::sync::OnceCell;

use crate::mariadb::MariaDb;
use crate::site::Template;
use crate::{Result, Version};

static LAB: Lab =
    Lab { mariadb: OnceCell::const_new(), templates: [const { OnceCell::const_new() }; Version::COUNT] };

/// The shared services, each started at its first use. They end with the process.
#[derive(Debug)]
pub struct Lab {
    mariadb: OnceCell<MariaDb>,
    templates: [OnceCell<Template>; Version::COUNT],
}

impl Lab {
    /// The lab of this process.
    #[must_use]
    pub fn shared() -> &'static Self {
        &LAB
    }

    pub(crate) async fn mariadb(&self) -> Result<&MariaDb> {
        self.mariadb.get_or_try_init(MariaDb::start).await
    }

    pub(crate) async fn template(&self, version: Version) -> Result<&Template> {
        self.templates[version as usize].get_or_try_init(|| Template::make(version)).await
    }

    /// Stops everything, and blocks until it has ended. For programs only: tests need no call, because
    /// the supervisors notice the end of the process. The lab cannot be used afterwards.
    pub fn end(&self) {
        if let Some(mariadb) = self.mariadb.get() {
            mariadb.end();
        }
        crate::util::end();
    }

    /// The database schemas that sites have at this moment.
    ///
    /// # Errors
    /// MariaDB does not answer.
    pub async fn schemas(&self) -> Result<Vec<String>> {
        self.mariadb().await?.schemas().await
    }

    /// The socket of the MariaDB, whose root is whoever runs the lab.
    ///
    /// # Errors
    /// It did not start.
    pub async fn mariadb_socket(&self) -> Result<PathBuf> {
        Ok(self.mariadb().await?.socket().to_owned())
    }

    /// The folder below which everything of this process lies.
    ///
    /// # Errors
    /// It could not be made.
    pub async fn folder(&self) -> Result<PathBuf> {
        Ok(crate::util::base_folder().await?.to_owned())
    }
}

//! The template that clones are created from at the moment.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use wpclone_provision::ProvisionError;

use crate::database_admin::DatabaseAdmin;
use crate::host::Host;
use crate::template::Template;
use crate::template_builder::{TemplateBuilder, stage_files};

/// The current template, or why there is none.
pub(crate) struct TemplateStore {
    host: Arc<Host>,
    wordpress_dir: PathBuf,
    current: Mutex<Result<Template, String>>,
}

impl TemplateStore {
    pub(crate) fn new(host: Arc<Host>, wordpress_dir: PathBuf) -> Self {
        let current = Mutex::new(Err("the WordPress to start from is being prepared".into()));
        Self { host, wordpress_dir, current }
    }

    /// The template.
    pub(crate) fn current(&self) -> Result<Template, ProvisionError> {
        self.status().map_err(ProvisionError::Unavailable)
    }

    /// The template, or why there is none.
    pub(crate) fn status(&self) -> Result<Template, String> {
        self.current.lock().clone()
    }

    /// Stages the files while the database server is still being started.
    pub(crate) async fn stage(&self) {
        // An error is reported by the preparation itself.
        let _ = stage_files(&self.wordpress_dir, &self.host).await;
    }

    /// Builds the template, unless it exists.
    pub(crate) async fn prepare(&self, database: DatabaseAdmin) {
        let builder = TemplateBuilder { host: &self.host, database };
        let prepared = builder.get_or_build(&self.wordpress_dir).await;
        let folder = self.wordpress_dir.display();
        *self.current.lock() =
            prepared.map_err(|error| format!("the WordPress in {folder} cannot be prepared: {error}"));
    }

    /// Makes one more prewarmed copy, if there are too few.
    pub(crate) async fn prewarm(&self) -> io::Result<()> {
        let Ok(template) = self.status() else { return Ok(()) };
        let reserve = self.host.disk.free_for_new();
        self.host.lock.run_blocking(move || template.prewarm(reserve)).await
    }
}

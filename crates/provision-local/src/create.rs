//! Creates clones.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use wpclone_provision::{
    CloneInfo, CloneProblemKind, CloneSpec, EffectiveIsolation, Isolation, Phase, ProvisionError,
    SourceFacts, table_prefix,
};

use crate::blocking::run_blocking;
use crate::clone_paths::{ClonePaths, create_clone_dirs};
use crate::clone_setup::CloneSetup;
use crate::destroy::Destroyer;
use crate::error::{failed, task_failed};
use crate::files::sync_dir;
use crate::local_clone::{CloneProcesses, LocalClone};
use crate::local_clones::LocalClones;
use crate::random::random_hex;
use crate::record::CloneRecord;
use crate::secrets::Secrets;
use crate::slots::SlotAllocator;
use crate::stored::ReadError;
use crate::template::Template;
use crate::template_store::TemplateStore;

/// How long creating a clone may take. It takes a second or two.
const TIMEOUT: Duration = Duration::from_secs(180);

/// How often a creation begins anew when another call has failed at the same time.
const ATTEMPTS: usize = 3;

/// Creates clones.
pub(crate) struct Creator {
    pub(crate) setup: Arc<CloneSetup>,
    pub(crate) clones: Arc<LocalClones>,
    pub(crate) templates: Arc<TemplateStore>,
    pub(crate) destroyer: Arc<Destroyer>,
    pub(crate) slots: SlotAllocator,
}

impl Creator {
    /// Creates a clone, or returns the existing one. When the caller stops waiting, it is still finished, or removed.
    pub(crate) async fn create(self: &Arc<Self>, spec: &CloneSpec) -> Result<CloneInfo, ProvisionError> {
        let (tombstones, name) = (self.clones.tombstones.clone(), spec.name.clone());
        let deleted = run_blocking(move || tombstones.contains(&name)).await;
        if deleted.map_err(failed("it cannot be determined whether the clone was deleted"))? {
            return Err(ProvisionError::Gone(spec.name.clone()));
        }
        for _ in 0..ATTEMPTS {
            let template = self.templates.current()?;
            let entry = self.get_or_insert(spec, &template).await?;
            if entry.info().task != spec.task {
                return Err(ProvisionError::NameTaken(spec.name.clone()));
            }
            let record = self.record(spec, &template, entry.slot())?;
            let creator = Arc::clone(self);
            let created =
                tokio::spawn(async move { creator.create_or_remove(&entry, record, &template).await });
            if let Some(created) = created.await.map_err(task_failed)? {
                return created;
            }
        }
        Err(ProvisionError::internal("the clone cannot be created", "other attempts failed"))
    }

    /// The clone of this name, or a new one with a system user that no other clone has.
    async fn get_or_insert(
        &self,
        spec: &CloneSpec,
        template: &Template,
    ) -> Result<Arc<LocalClone>, ProvisionError> {
        let _allocation = self.clones.allocation.lock().await;
        if let Some(entry) = self.clones.get(&spec.name) {
            return Ok(entry);
        }
        let in_use = self.clones.check_new(spec)?;
        let slot = self.slots.allocate(in_use).await.map_err(failed("no system user can be chosen"))?;
        let none_left = || ProvisionError::Unavailable("all system users of clones are in use".into());
        let record = self.record(spec, template, slot.ok_or_else(none_left)?)?;
        let paths = self.setup.host.state_dir.clone_paths(&spec.name);
        Ok(self.clones.insert(LocalClone::new(paths, record)))
    }

    /// `None` when this is not the clone of its name any more.
    async fn create_or_remove(
        &self,
        entry: &Arc<LocalClone>,
        record: CloneRecord,
        template: &Template,
    ) -> Option<Result<CloneInfo, ProvisionError>> {
        let (mut processes, name) = (entry.processes.lock().await, entry.name());
        if entry.phase() != Phase::Creating {
            return Some(entry.usable());
        }
        // While this one waited, another call may have failed, or what an interrupted one left was removed.
        if !self.clones.is_current(entry) {
            return None;
        }
        // What an earlier attempt left is removed by this one, and its record is replaced.
        entry.begin_creation(record);
        let too_slow = |_| ProvisionError::Timeout("creating the clone".into());
        let created = timeout(TIMEOUT, self.build(entry, &mut processes, template)).await;
        let created = created.map_err(too_slow).flatten();
        if created.is_err() {
            match self.destroyer.remove_unfinished(entry, &mut processes).await {
                Ok(()) => self.clones.remove(&name),
                // It stays listed: the next attempt, its deletion or the upkeep removes the rest.
                Err(error) => {
                    entry.set_unfinished(true);
                    entry.note_failure(CloneProblemKind::NotRemovable, &error.to_string());
                    tracing::warn!(clone = %name, %error, "a clone that could not be created is not removed completely");
                }
            }
        }
        Some(created)
    }

    fn record(
        &self,
        spec: &CloneSpec,
        template: &Template,
        slot: u32,
    ) -> Result<CloneRecord, ProvisionError> {
        let random = random_hex::<4>().map_err(failed("there are no random numbers"))?;
        let host = &self.setup.host;
        let (facts, addresses) = (SourceFacts::default(), &host.addresses);
        let info = CloneInfo {
            url: addresses.url(&spec.name),
            name: spec.name.clone(),
            task: spec.task,
            owner: spec.owner.clone(),
            source: spec.source.clone(),
            username: format!("wpclone-{random}"),
            phase: Phase::Creating,
            problem: None,
            created_at: host.now(),
            deadline: spec.deadline,
            expires_at: None,
            isolation: spec.isolation,
            effective_isolation: EffectiveIsolation {
                own_user: host.users.of_slot(slot).is_some(),
                own_network: host.launcher.sandbox.is_some(),
                own_database_server: spec.isolation == Isolation::Dedicated,
            },
            table_prefix: table_prefix(&facts).unwrap_or_default(),
            wordpress: template.wordpress.clone(),
            php: host.binaries.fpm_for(None).0.clone(),
            facts,
            location: None,
        };
        Ok(CloneRecord::new(info, addresses.routing(), slot))
    }

    async fn build(
        &self,
        entry: &Arc<LocalClone>,
        processes: &mut CloneProcesses,
        template: &Template,
    ) -> Result<CloneInfo, ProvisionError> {
        let begun = Instant::now();
        let (setup, host) = (&self.setup, &self.setup.host);
        host.check_free_space(template.size).await?;
        // Whatever exists of a clone exists after its record, so that the next process knows what it is.
        let (paths, record) = (entry.paths.clone(), entry.record());
        let recorded = host.lock.run_blocking(move || create_record(&paths, &record)).await;
        recorded.map_err(failed("the clone's folder cannot be created"))?;
        let (user, paths, from) = (host.users.of_slot(entry.slot()), entry.paths.clone(), template.clone());
        let files = host.lock.run_blocking(move || {
            let secrets = Secrets::generate()?;
            create_clone_dirs(&paths, user)?;
            secrets.write(&paths)?;
            from.copy_files(&paths.tree(), user)?;
            Ok(secrets)
        });
        let (secrets, database) = tokio::join!(files, setup.start_database(entry));
        processes.database = database?;
        let secrets = secrets.map_err(failed("WordPress cannot be copied"))?;
        let copied = begun.elapsed();
        setup.create_database(entry, processes, template, &secrets).await?;
        setup.write_config(entry, processes, &secrets).await?;
        let loaded = begun.elapsed();
        setup.ensure_running(entry, processes).await?;
        setup.grant_access(entry, &secrets).await?;
        setup.check(entry).await?;
        let ready = |record: &mut CloneRecord| {
            record.info.phase = Phase::Ready;
            Ok(true)
        };
        let info = entry.change(&host.lock, ready).await?;
        entry.set_serving(true);
        let ms = |time: Duration| time.as_millis() as u64;
        tracing::info!(
            clone = %info.name, copied_ms = ms(copied), loaded_ms = ms(loaded), ready_ms = ms(begun.elapsed()),
            "a clone is ready"
        );
        Ok(info)
    }
}

/// Creates a clone's folder with its record. A folder that exists is used again only when an attempt of the same task left
/// it.
fn create_record(paths: &ClonePaths, record: &CloneRecord) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(&paths.folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => remove_attempt(paths, record)?,
        created => created?,
    }
    record.write(paths)?;
    paths.folder.parent().map_or(Ok(()), sync_dir)
}

/// Removes what another attempt left, or fails without removing anything.
fn remove_attempt(paths: &ClonePaths, record: &CloneRecord) -> io::Result<()> {
    let is_attempt = match CloneRecord::read(paths, &record.info.name) {
        Ok(found) => found.info.phase == Phase::Creating && found.info.task == record.info.task,
        Err(ReadError::Missing(_)) => paths.is_without_content()?,
        Err(error) => return Err(io::Error::other(error)),
    };
    if is_attempt { paths.remove_content() } else { Err(io::ErrorKind::AlreadyExists.into()) }
}

//! Making a clone, and changing what it is made of.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout};

use super::config::{USUAL_PREFIX, WpConfig, is_table_prefix, wp_config};
use super::dirs::{RESERVE, remove_dir, room};
use super::entry::Programs;
use super::record::{Record, Secrets, is_gone};
use super::template::{Template, USER};
use super::{Entry, Owner, lock, php};
use crate::{Access, CloneInfo, CloneSpec, Isolation, Phase, ProvisionError, Separation, SourceFacts};

/// How long making a clone may take. It takes a second or two.
const LIMIT: Duration = Duration::from_secs(180);
/// How long the migrator is open, at least.
const OPEN: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

impl Owner {
    /// Makes a clone, or finds it made. Whoever asked may stop waiting: it is made to the end, or to nothing.
    pub(super) async fn provision(self: &Arc<Self>, spec: &CloneSpec) -> Result<CloneInfo, ProvisionError> {
        if is_gone(&self.dirs, &spec.name, self.now()) {
            return Err(ProvisionError::Gone(spec.name.clone()));
        }
        check_facts(&spec.facts)?;
        let template = lock(&self.template).clone().map_err(ProvisionError::Unavailable)?;
        let entry = self.entry_or(&spec.name, |slot| self.record(spec, &template, slot))?;
        if entry.info().task != spec.task {
            return Err(ProvisionError::Taken(spec.name.clone()));
        }
        let (owner, room) = (Arc::clone(self), spec.room);
        let made = tokio::spawn(async move {
            let mut programs = entry.programs.lock().await;
            match entry.phase() {
                Phase::Ready | Phase::Published => return Ok(entry.info()),
                Phase::Deleting => return Err(ProvisionError::Gone(entry.info().name)),
                Phase::Making => {}
            }
            // Another request may have made it and failed while we waited: then the place is not ours any more.
            let name = entry.info().name;
            if !owner.entry(&name).is_some_and(|current| Arc::ptr_eq(&current, &entry)) {
                return Err(ProvisionError::Failed(format!("the clone {name} could not be made")));
            }
            let late = |_| ProvisionError::Late("making the clone".into());
            let made = timeout(LIMIT, owner.make(&entry, &mut programs, &template, room)).await;
            let made = made.map_err(late).flatten();
            // One of which something is left is still known: the next attempt, or whoever discards it, takes it away.
            if made.is_err() && owner.unmake(&entry, &mut programs).await {
                owner.forget(&name);
            }
            made
        });
        made.await.map_err(|e| ProvisionError::Failed(e.to_string()))?
    }

    fn record(&self, spec: &CloneSpec, template: &Template, slot: u32) -> Record {
        let separation = Separation {
            own_user: self.users.of_slot(slot).is_some(),
            own_network: self.launcher.unshare.is_some(),
            own_database_server: spec.isolation == Isolation::Dedicated,
        };
        let info = CloneInfo {
            url: self.addresses().url(&spec.name),
            name: spec.name.clone(),
            task: spec.task.clone(),
            owner: spec.owner.clone(),
            phase: Phase::Making,
            created_at: self.now(),
            deadline: spec.deadline,
            expires_at: None,
            isolation: spec.isolation,
            separation,
            table_prefix: prefix(&spec.facts),
            wordpress: template.wordpress.clone(),
            php: self.programs.fpm_for(spec.facts.php.as_deref()).0.clone(),
            facts: spec.facts.clone(),
        };
        Record { info, routing: self.addresses().routing(), slot }
    }

    async fn make(
        &self,
        entry: &Arc<Entry>,
        programs: &mut Programs,
        template: &Template,
        room: u64,
    ) -> Result<CloneInfo, ProvisionError> {
        let begun = Instant::now();
        let (seat, record) = (entry.seat.clone(), entry.record());
        self.check_room(template.size + room)?;
        let user = self.users.of_slot(record.slot);
        let (dirs, copy, from) = (self.dirs.clone(), seat.clone(), template.clone());
        let secrets = Secrets::new().map_err(ProvisionError::failed("no random bytes"))?;
        let stored = record.clone();
        let folders = async {
            let secrets = self.held.blocking(move || {
                // What an attempt before could not take away.
                remove_dir(&copy.folder)?;
                php::make_seat(&copy, user)?;
                // From now on a next owner knows that there is something half made.
                stored.write(&dirs)?;
                secrets.write(&copy)?;
                from.copy_to(&copy.tree(), user)?;
                Ok(secrets)
            });
            secrets.await.map_err(ProvisionError::failed("WordPress cannot be copied"))
        };
        let server = async {
            match record.info.isolation {
                Isolation::Shared => Ok(None),
                Isolation::Dedicated => self.servers.start(record.info.name.as_str()).await.map(Some),
            }
            .map_err(ProvisionError::failed("the database server does not start"))
        };
        let (secrets, server) = tokio::join!(folders, server);
        programs.server = server?;
        let secrets = secrets?;
        let copied = begun.elapsed();
        self.new_database(entry, programs, template, &secrets).await?;
        self.configure(entry, programs, &secrets)?;
        let loaded = begun.elapsed();
        self.run(entry, programs).await.map_err(ProvisionError::failed("php-fpm does not start"))?;
        self.access(entry, &secrets).await?;
        php::answers(&seat, &record.info.url)
            .await
            .map_err(ProvisionError::failed("the new clone does not answer"))?;
        let info = entry
            .change(&self.dirs, |record| {
                record.info.phase = Phase::Ready;
                Ok::<_, io::Error>(true)
            })
            .map_err(ProvisionError::failed("the clone's record cannot be written"))?;
        entry.set_up(true);
        let ms = |time: Duration| time.as_millis() as u64;
        tracing::info!(
            clone = %info.name, copied_ms = ms(copied), loaded_ms = ms(loaded), ready_ms = ms(begun.elapsed()),
            "a clone is ready"
        );
        Ok(info)
    }

    /// A new WordPress' database in the place of whatever is there.
    async fn new_database(
        &self,
        entry: &Entry,
        programs: &Programs,
        template: &Template,
        secrets: &Secrets,
    ) -> Result<(), ProvisionError> {
        let info = entry.info();
        let missing = || ProvisionError::Failed("the clone's database server does not run".into());
        let sql = self.database(info.isolation, programs.server.as_ref()).ok_or_else(missing)?;
        let name = info.name.as_str();
        let loaded = async {
            sql.create(name, &secrets.database_password).await?;
            sql.run(name, &template.sql_for(&info.url, &info.table_prefix)).await
        };
        loaded.await.map(drop).map_err(ProvisionError::failed("the database cannot be made"))
    }

    fn configure(&self, entry: &Entry, programs: &Programs, secrets: &Secrets) -> Result<(), ProvisionError> {
        let (seat, info) = (&entry.seat, entry.info());
        let shared = self.sql().socket;
        let config = WpConfig {
            url: &info.url,
            table_prefix: &info.table_prefix,
            database: info.name.as_str(),
            database_socket: programs.server.as_ref().map_or(&shared, |server| server.socket()),
            secrets,
            harness: &self.dirs.harness(),
        };
        wp_config(seat, &config)
            .and_then(|text| php::write_wp_config(seat, &text, self.users.of_slot(entry.slot())))
            .map_err(ProvisionError::failed("wp-config.php cannot be written"))
    }

    /// Starts a clone's programs, as far as they do not run.
    pub(super) async fn run(&self, entry: &Entry, programs: &mut Programs) -> io::Result<()> {
        let record = entry.record();
        if record.info.isolation == Isolation::Dedicated
            && !programs.server.as_mut().is_some_and(super::mariadb::MariaDb::runs)
        {
            if let Some(dead) = programs.server.take() {
                dead.stop().await;
            }
            programs.server = Some(self.servers.start(record.info.name.as_str()).await?);
        }
        if programs.fpm.as_mut().is_some_and(super::launch::Service::runs) {
            return Ok(());
        }
        entry.set_up(false);
        if let Some(dead) = programs.fpm.take() {
            dead.stop().await;
        }
        let (_, program) = self.programs.fpm_for(Some(&record.info.php));
        let user = self.users.of_slot(record.slot);
        let facts = &record.info.facts;
        programs.fpm = Some(php::start(&self.dirs, &entry.seat, program, user, facts, &self.launcher).await?);
        Ok(())
    }

    /// See [`crate::Provisioner::adapt`].
    pub(super) async fn adapt(
        self: &Arc<Self>,
        entry: Arc<Entry>,
        facts: SourceFacts,
    ) -> Result<CloneInfo, ProvisionError> {
        check_facts(&facts)?;
        let owner = Arc::clone(self);
        let adapted = tokio::spawn(async move {
            let mut programs = entry.programs.lock().await;
            let before = usable(&entry)?;
            let template = lock(&owner.template).clone().map_err(ProvisionError::Unavailable)?;
            let other_database = prefix(&facts) != before.table_prefix;
            if facts == before.facts && !other_database {
                return Ok(before);
            }
            if before.phase == Phase::Published {
                return Err(ProvisionError::Failed("a published clone stays what it is".into()));
            }
            entry.set_up(false);
            let php = owner.programs.fpm_for(facts.php.as_deref()).0.clone();
            entry
                .change(&owner.dirs, |record| {
                    record.info.table_prefix = prefix(&facts);
                    (record.info.facts, record.info.php) = (facts, php);
                    Ok::<_, io::Error>(true)
                })
                .map_err(ProvisionError::failed("the clone's record cannot be written"))?;
            if let Some(fpm) = programs.fpm.take() {
                fpm.stop().await;
            }
            let secrets =
                Secrets::read(&entry.seat).map_err(ProvisionError::failed("the clone's secrets are lost"))?;
            if other_database {
                owner.new_database(&entry, &programs, &template, &secrets).await?;
                owner.configure(&entry, &programs, &secrets)?;
            }
            owner
                .run(&entry, &mut programs)
                .await
                .map_err(ProvisionError::failed("php-fpm does not start"))?;
            owner.access(&entry, &secrets).await?;
            entry.set_up(true);
            Ok(entry.info())
        });
        adapted.await.map_err(|e| ProvisionError::Failed(e.to_string()))?
    }

    /// See [`crate::Provisioner::ensure_access`].
    pub(super) async fn ensure_access(self: &Arc<Self>, entry: Arc<Entry>) -> Result<Access, ProvisionError> {
        let owner = Arc::clone(self);
        let ensured = tokio::spawn(async move {
            let _programs = entry.programs.lock().await;
            let info = usable(&entry)?;
            let secrets =
                Secrets::read(&entry.seat).map_err(ProvisionError::failed("the clone's secrets are lost"))?;
            owner.access(&entry, &secrets).await?;
            Ok(secrets.access(info.url))
        });
        ensured.await.map_err(|e| ProvisionError::Failed(e.to_string()))?
    }

    /// Has WordPress make the administrator and open the migrator.
    async fn access(&self, entry: &Entry, secrets: &Secrets) -> Result<(), ProvisionError> {
        use secrecy::ExposeSecret as _;
        let info = entry.info();
        // A task may wait for its other steps before the first request keeps it open by itself.
        let until = (self.now() + OPEN).max(info.deadline);
        let wish = json!({
            "task": "access",
            "template": USER,
            "username": secrets.username,
            "password": secrets.password.expose_secret(),
            "key": secrets.migrator_key.expose_secret(),
            "opened_until": until.as_second(),
        });
        let done = php::task(&self.dirs, &entry.seat, &info.url, wish).await;
        done.map(drop).map_err(ProvisionError::failed("the administrator cannot be made"))
    }

    fn check_room(&self, need: u64) -> Result<(), ProvisionError> {
        let have =
            room(self.dirs.root()).map_err(ProvisionError::failed("the disk's room cannot be known"))?;
        let need = need.saturating_add(RESERVE);
        if have < need { Err(ProvisionError::NoSpace { need, have }) } else { Ok(()) }
    }
}

/// What a clone is, if it can be worked with.
pub(super) fn usable(entry: &Entry) -> Result<CloneInfo, ProvisionError> {
    let info = entry.info();
    match info.phase {
        Phase::Ready | Phase::Published => Ok(info),
        Phase::Deleting => Err(ProvisionError::Gone(info.name)),
        Phase::Making => Err(ProvisionError::Failed(format!("the clone {} is not made yet", info.name))),
    }
}

fn prefix(facts: &SourceFacts) -> String {
    facts.table_prefix.clone().unwrap_or_else(|| USUAL_PREFIX.to_owned())
}

fn check_facts(facts: &SourceFacts) -> Result<(), ProvisionError> {
    match &facts.table_prefix {
        Some(prefix) if !is_table_prefix(prefix) => {
            Err(ProvisionError::Failed("the source's table prefix is none".into()))
        }
        _ => Ok(()),
    }
}

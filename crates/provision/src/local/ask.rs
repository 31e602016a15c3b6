//! What a local provisioner answers.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use super::Local;
use super::make::usable;
use super::record::Secrets;
use crate::{
    Access, CloneInfo, CloneName, CloneSpec, Health, Phase, ProvisionError, Provisioner, SourceFacts, Swept,
    Unfinished,
};

impl From<io::Error> for ProvisionError {
    fn from(error: io::Error) -> Self {
        Self::failed("the clone's record cannot be written")(error)
    }
}

#[async_trait]
impl Provisioner for Local {
    fn watch_health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    async fn provision(&self, spec: &CloneSpec) -> Result<CloneInfo, ProvisionError> {
        self.owner()?.provision(spec).await
    }

    async fn adapt(&self, name: &CloneName, facts: &SourceFacts) -> Result<CloneInfo, ProvisionError> {
        let owner = self.owner()?;
        let entry = owner.wanted(name)?;
        owner.adapt(entry, facts.clone()).await
    }

    async fn get(&self, name: &CloneName) -> Result<CloneInfo, ProvisionError> {
        Ok(self.owner()?.wanted(name)?.info())
    }

    async fn list(&self) -> Result<Vec<CloneInfo>, ProvisionError> {
        Ok(self.owner()?.entries().iter().map(|entry| entry.info()).collect())
    }

    async fn check(&self, name: &CloneName) -> Result<(), ProvisionError> {
        let entry = self.owner()?.wanted(name)?;
        let info = usable(&entry)?;
        let answers = super::php::answers(&entry.seat, &info.url).await;
        answers.map_err(ProvisionError::failed(format!("the clone {name} does not answer")))
    }

    async fn access(&self, name: &CloneName) -> Result<Access, ProvisionError> {
        let entry = self.owner()?.wanted(name)?;
        let info = usable(&entry)?;
        let secrets =
            Secrets::read(&entry.seat).map_err(ProvisionError::failed("the clone's secrets are lost"))?;
        Ok(secrets.access(info.url))
    }

    async fn ensure_access(&self, name: &CloneName) -> Result<Access, ProvisionError> {
        let owner = self.owner()?;
        let entry = owner.wanted(name)?;
        owner.ensure_access(entry).await
    }

    async fn publish(&self, name: &CloneName, expires_at: Timestamp) -> Result<CloneInfo, ProvisionError> {
        let owner = self.owner()?;
        let entry = owner.wanted(name)?;
        entry.change(&owner.dirs, |record| match record.info.phase {
            Phase::Published => Ok(false),
            Phase::Ready => {
                record.info.phase = Phase::Published;
                record.info.expires_at = Some(expires_at);
                Ok(true)
            }
            Phase::Making => Err(ProvisionError::Failed(format!("the clone {name} is not made yet"))),
            Phase::Deleting => Err(ProvisionError::Gone(name.clone())),
        })
    }

    async fn extend(&self, name: &CloneName, expires_at: Timestamp) -> Result<CloneInfo, ProvisionError> {
        let owner = self.owner()?;
        let entry = owner.wanted(name)?;
        entry.change(&owner.dirs, |record| match record.info.phase {
            Phase::Published => {
                record.info.expires_at = Some(expires_at);
                Ok(true)
            }
            Phase::Ready | Phase::Making => {
                Err(ProvisionError::Failed(format!("the clone {name} is not published yet")))
            }
            Phase::Deleting => Err(ProvisionError::Gone(name.clone())),
        })
    }

    async fn delete(&self, name: &CloneName) -> Result<(), ProvisionError> {
        let owner = self.owner()?;
        match owner.entry(name) {
            Some(entry) => owner.delete(entry).await,
            None => Ok(()),
        }
    }

    async fn sweep(&self, unfinished: Unfinished<'_>) -> Result<Swept, ProvisionError> {
        let owner: Arc<_> = self.owner()?;
        owner.sweep(unfinished).await
    }
}

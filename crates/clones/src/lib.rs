#![doc = include_str!("../README.md")]

mod entry;

use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use redis::{ErrorKind, FromRedisValue, RedisError, Script, ScriptInvocation};
use wpclone_redis::{OtherLayout, Redis, layout_lua};
use wpclone_task::CloneName;

pub use entry::{CloneEntry, CloneLookup, ClonePage, DeletedClone};

/// The most bytes of a clone's entry, its seal included.
const MAX_ENTRY: usize = 16 << 10;
/// The most clones, of all provisioners together.
const MAX_CLONES: u32 = 10_000;
/// How many deleted clones are remembered.
const MAX_DELETED: u32 = 10_000;
/// The most clones of a page.
const MAX_PAGE: u32 = 100;
/// How many deleted clones are examined for those of one owner.
const MAX_EXAMINED: u32 = 500;
/// How many clones are written by one call.
const BATCH: usize = 50;
/// The most bytes of a provisioner's id.
const MAX_ID: usize = 128;
/// How long Redis may take to answer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Hash tag of the registry's keys.
const TAG: &str = "{wpclone-clones}";

macro_rules! script {
    ($name:ident, $flags:literal, $file:literal) => {
        static $name: LazyLock<Script> = LazyLock::new(|| {
            let may_write = !$flags.contains("no-writes");
            let (layout, shared, body) = (layout_lua(), include_str!("lua/prelude.lua"), include_str!($file));
            Script::new(&format!("#!lua{}\nlocal MAY_WRITE = {may_write}\n{layout}{shared}{body}", $flags))
        });
    };
}
// Without `allow-oom`: a full Redis refuses the call before anything is changed.
script!(NOW, "", "lua/now.lua");
script!(PUT, "", "lua/put.lua");
script!(KEEP, "", "lua/keep.lua");
// Deleting also works in a full Redis.
script!(END_PUBLICATION, " flags=allow-oom", "lua/end_publication.lua");
script!(REMOVE, " flags=allow-oom", "lua/remove.lua");
script!(GET, " flags=no-writes", "lua/get.lua");
script!(LIST, " flags=no-writes", "lua/list.lua");
script!(LIST_DELETED, " flags=no-writes", "lua/list_deleted.lua");

/// The registry. Cheap to clone.
#[derive(Clone)]
pub struct CloneRegistry {
    redis: Redis,
}

/// A time of the registry's clock. A publication takes it before the provisioner is asked for its clones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryTime(String);

/// Why a call of the registry failed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The entry is larger than 16 KiB.
    #[error("the entry of a clone is too large")]
    TooLarge,
    /// There are 10,000 clones already.
    #[error("the registry is full")]
    Full,
    /// The provisioner's id is empty or too long.
    #[error("invalid provisioner id")]
    InvalidProvisionerId,
    /// Redis holds data of another layout; nothing was changed.
    #[error(transparent)]
    OtherLayout(OtherLayout),
    /// Redis failed.
    #[error("the registry of clones cannot be reached")]
    Store(#[source] RedisError),
}

impl From<RedisError> for RegistryError {
    fn from(error: RedisError) -> Self {
        OtherLayout::from_error(&error).map_or(Self::Store(error), Self::OtherLayout)
    }
}

impl CloneRegistry {
    /// The registry in this Redis. Connects when first used.
    ///
    /// # Errors
    /// The URL is invalid.
    pub fn new(redis_url: &str) -> Result<Self, RegistryError> {
        Ok(Self { redis: Redis::new(redis_url, RESPONSE_TIMEOUT)? })
    }

    /// Stores the current state of a clone of this provisioner; an older entry is replaced.
    ///
    /// # Errors
    /// The entry is too large, the registry is full, the id is invalid, or Redis failed.
    pub async fn put(&self, provisioner: &str, entry: &CloneEntry) -> Result<(), RegistryError> {
        self.put_all(provisioner, "", &[entry]).await
    }

    /// The registry's time. Take it before asking the provisioner for the clones to publish.
    ///
    /// # Errors
    /// Redis failed.
    pub async fn now(&self) -> Result<RegistryTime, RegistryError> {
        Ok(RegistryTime(self.write(&begin(&NOW)).await?))
    }

    /// Publishes all clones of a provisioner; its other clones are gone. Clones stored or deleted after `time` keep their newer
    /// state. What is stored of the clones in `kept` stays as it is: they exist, but the provisioner cannot describe them. The
    /// same is done with an entry that is too large.
    ///
    /// # Errors
    /// The registry is full, the id is invalid, or Redis failed; the next publication writes the rest.
    pub async fn publish(
        &self,
        provisioner: &str,
        time: &RegistryTime,
        entries: &[CloneEntry],
        kept: &[CloneName],
    ) -> Result<(), RegistryError> {
        let (fitting, too_large): (Vec<&CloneEntry>, Vec<&CloneEntry>) =
            entries.iter().partition(|entry| to_json(entry).is_ok());
        for entry in &too_large {
            tracing::warn!(clone = %entry.name, "the entry of a clone is too large; the registry keeps its older one");
        }
        for some in fitting.chunks(BATCH) {
            self.put_all(provisioner, &time.0, some).await?;
        }
        let kept: Vec<&CloneName> = too_large.iter().map(|entry| &entry.name).chain(kept).collect();
        for some in kept.chunks(BATCH) {
            let mut call = begin(&KEEP);
            call.arg(check_id(provisioner)?);
            for name in some {
                call.arg(name.as_str());
            }
            self.write::<String>(&call).await?;
        }
        let mut call = begin(&END_PUBLICATION);
        call.arg(check_id(provisioner)?).arg(&time.0).arg(MAX_DELETED);
        while self.write::<u64>(&call).await? > 0 {}
        Ok(())
    }

    /// Removes a deleted clone. Returns whether it was known.
    ///
    /// # Errors
    /// Redis failed.
    pub async fn remove(&self, name: &CloneName) -> Result<bool, RegistryError> {
        let mut call = begin(&REMOVE);
        call.arg(name.as_str()).arg(MAX_DELETED);
        self.write(&call).await
    }

    /// Looks up a clone.
    ///
    /// # Errors
    /// Redis failed.
    pub async fn get(&self, name: &CloneName) -> Result<CloneLookup, RegistryError> {
        let mut call = begin(&GET);
        call.arg(name.as_str());
        let answer: Vec<String> = self.read(&call).await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["known", json, sealed] => Ok(entry(json, sealed)
                .map_or(CloneLookup::Unreadable, |entry| CloneLookup::Found(Box::new(entry)))),
            ["gone", json, at] => Ok(deleted(json, at)
                .map_or(CloneLookup::Unreadable, |deleted| CloneLookup::Gone(Box::new(deleted)))),
            _ => Ok(CloneLookup::NotFound),
        }
    }

    /// A page of at most `limit` (capped at 100) clones after `cursor`, newest first; with `owner` only the owner's.
    ///
    /// # Errors
    /// Redis failed.
    pub async fn list(
        &self,
        owner: Option<&str>,
        cursor: Option<&CloneName>,
        limit: u32,
    ) -> Result<ClonePage, RegistryError> {
        let mut call = begin(&LIST);
        call.arg(owner_filter(owner)).arg(cursor.map_or("", CloneName::as_str)).arg(limit.clamp(1, MAX_PAGE));
        let answer: Vec<String> = self.read(&call).await?;
        let (next, rest) = answer.split_first().ok_or_else(unreadable)?;
        let clones: Vec<_> = rest.chunks_exact(2).filter_map(|parts| entry(&parts[0], &parts[1])).collect();
        let unreadable = rest.len() / 2 - clones.len();
        if unreadable > 0 {
            tracing::warn!(unreadable, "clones of another version are left out of a list");
        }
        Ok(ClonePage { clones, unreadable, next: next.parse().ok() })
    }

    /// Clones deleted within the last day, the last first, at most `limit` (capped at 100). With `owner`, only those among the
    /// last 500 of all owners are found.
    ///
    /// # Errors
    /// Redis failed.
    pub async fn list_deleted(
        &self,
        owner: Option<&str>,
        limit: u32,
    ) -> Result<Vec<DeletedClone>, RegistryError> {
        let mut call = begin(&LIST_DELETED);
        call.arg(owner_filter(owner)).arg(limit.clamp(1, MAX_PAGE)).arg(MAX_EXAMINED);
        let answer: Vec<String> = self.read(&call).await?;
        Ok(answer.chunks_exact(2).filter_map(|parts| deleted(&parts[0], &parts[1])).collect())
    }

    async fn put_all(
        &self,
        provisioner: &str,
        time: &str,
        entries: &[&CloneEntry],
    ) -> Result<(), RegistryError> {
        let mut call = begin(&PUT);
        call.arg(check_id(provisioner)?).arg(time).arg(MAX_CLONES);
        for entry in entries {
            let sealed = entry.sealed.as_deref().unwrap_or_default();
            call.arg(entry.name.as_str()).arg(&entry.owner).arg(to_json(entry)?).arg(sealed);
        }
        match self.write::<String>(&call).await?.as_str() {
            "ok" => Ok(()),
            _ => Err(RegistryError::Full),
        }
    }

    /// Every script may be executed twice.
    async fn write<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, RegistryError> {
        Ok(self
            .redis
            .retry_on_disconnect(|mut redis| async move { call.invoke_async(&mut redis).await })
            .await?)
    }

    async fn read<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, RegistryError> {
        self.write(call).await
    }
}

fn begin(script: &'static Script) -> ScriptInvocation<'static> {
    let mut call = script.prepare_invoke();
    call.key(TAG);
    call
}

fn check_id(provisioner: &str) -> Result<&str, RegistryError> {
    if (1..=MAX_ID).contains(&provisioner.len()) {
        Ok(provisioner)
    } else {
        Err(RegistryError::InvalidProvisionerId)
    }
}

/// The filter of the scripts. The owner with an empty name is an owner too, and must not see all clones.
fn owner_filter(owner: Option<&str>) -> String {
    owner.map_or(String::new(), |owner| format!("={owner}"))
}

/// The entry as it is stored, without its seal.
///
/// # Errors
/// It is too large with its seal.
fn to_json(entry: &CloneEntry) -> Result<String, RegistryError> {
    let json = serde_json::to_string(&in_milliseconds(entry)).map_err(|_| RegistryError::TooLarge)?;
    let sealed = entry.sealed.as_deref().unwrap_or_default();
    if json.len() + sealed.len() > MAX_ENTRY { Err(RegistryError::TooLarge) } else { Ok(json) }
}

/// The entry with its times cut to milliseconds, as they are stored.
fn in_milliseconds(entry: &CloneEntry) -> CloneEntry {
    let cut = |time: Timestamp| Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time);
    CloneEntry {
        created_at: cut(entry.created_at),
        deadline: cut(entry.deadline),
        expires_at: entry.expires_at.map(cut),
        ..entry.clone()
    }
}

fn entry(json: &str, sealed: &str) -> Option<CloneEntry> {
    let entry: CloneEntry = serde_json::from_str(json).ok()?;
    Some(CloneEntry { sealed: (!sealed.is_empty()).then(|| sealed.to_owned()), ..entry })
}

fn deleted(json: &str, at: &str) -> Option<DeletedClone> {
    Some(DeletedClone {
        entry: entry(json, "")?,
        deleted_at: Timestamp::from_microsecond(at.parse().ok()?).ok()?,
    })
}

fn unreadable() -> RedisError {
    RedisError::from((ErrorKind::Parse, "a response of the registry cannot be read"))
}

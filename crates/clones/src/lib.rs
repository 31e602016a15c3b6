#![doc = include_str!("../README.md")]

mod entry;

use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use redis::{ErrorKind, FromRedisValue, RedisError, Script, ScriptInvocation};
use wpclone_redis::Redis;
use wpclone_task::CloneName;

pub use entry::{CloneEntry, CloneLookup, ClonePage, DeletedClone};

/// The most bytes of a clone's entry, its seal included.
const ENTRY: usize = 16 << 10;
/// How many clones are kept, of all provisioners together.
const CLONES: u32 = 10_000;
/// How many that went are remembered.
const GONE: u32 = 10_000;
/// The most clones of a page.
const PAGE: u32 = 100;
/// How many gone ones are looked at for those of one owner.
const LOOK: u32 = 500;
/// How many clones are written by one call.
const BATCH: usize = 50;
/// The most characters of a provisioner's id.
const ID: usize = 128;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Hash tag of the registry's keys.
const TAG: &str = "{wpclone-clones}";

macro_rules! script {
    ($name:ident, $flags:literal, $file:literal) => {
        static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!("#!lua", $flags, "\n", include_str!("lua/prelude.lua"), include_str!($file)))
        });
    };
}
// Without `allow-oom`: a full Redis refuses before anything is changed.
script!(MOMENT, "", "lua/moment.lua");
script!(PUT, "", "lua/put.lua");
// What takes away is done in a full Redis too.
script!(RETIRE, " flags=allow-oom", "lua/retire.lua");
script!(GONE_NOW, " flags=allow-oom", "lua/gone.lua");
script!(GET, " flags=no-writes", "lua/get.lua");
script!(LIST, " flags=no-writes", "lua/list.lua");
script!(PAST, " flags=no-writes", "lua/past.lua");

/// The registry. Cheap to clone.
#[derive(Clone)]
pub struct CloneRegistry {
    redis: Redis,
}

/// A moment of the registry's own clock, before which a provisioner has not been asked for its clones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryTime(String);

/// Why something was not kept or not read.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// More bytes than an entry may have.
    #[error("the entry of a clone is too large to keep")]
    TooLarge,
    /// More clones than the registry keeps, in all.
    #[error("the registry holds as many clones as it may")]
    Full,
    /// Not an id for a provisioner: empty, or too long.
    #[error("not an id for a provisioner")]
    InvalidProvisionerId,
    /// Redis failed.
    #[error("the registry of clones cannot be reached")]
    Store(#[from] RedisError),
}

impl CloneRegistry {
    /// The registry in this Redis. Connects when first used.
    ///
    /// # Errors
    /// A URL that is none.
    pub fn new(redis_url: &str) -> Result<Self, RegistryError> {
        Ok(Self { redis: Redis::new(redis_url, ANSWER)? })
    }

    /// Puts a clone of this provisioner as it is now; what was known of it is replaced whole.
    ///
    /// # Errors
    /// Too large, no room for one more, a bad id, or Redis.
    pub async fn put(&self, provisioner: &str, entry: &CloneEntry) -> Result<(), RegistryError> {
        self.put_all(provisioner, "", std::slice::from_ref(entry)).await
    }

    /// The moment of a publication; ask for it before the provisioner is asked for its clones.
    ///
    /// # Errors
    /// Redis.
    pub async fn now(&self) -> Result<RegistryTime, RegistryError> {
        Ok(RegistryTime(self.write(&begin(&MOMENT)).await?))
    }

    /// Publishes all clones of a provisioner: those that it had before and that are not among them are gone. What was
    /// put, or went, after the moment stands as it is.
    ///
    /// # Errors
    /// One is too large, there is no room for all, a bad id, or Redis: what was not written the next publication writes.
    pub async fn publish(
        &self,
        provisioner: &str,
        moment: &RegistryTime,
        entries: &[CloneEntry],
    ) -> Result<(), RegistryError> {
        for some in entries.chunks(BATCH) {
            self.put_all(provisioner, &moment.0, some).await?;
        }
        let mut call = begin(&RETIRE);
        call.arg(known_as(provisioner)?).arg(&moment.0).arg(GONE);
        while self.write::<u64>(&call).await? > 0 {}
        Ok(())
    }

    /// A clone is gone; whether it was known.
    ///
    /// # Errors
    /// Redis.
    pub async fn remove(&self, name: &CloneName) -> Result<bool, RegistryError> {
        let mut call = begin(&GONE_NOW);
        call.arg(name.as_str()).arg(GONE);
        Ok(self.write(&call).await?)
    }

    /// A clone.
    ///
    /// # Errors
    /// Redis, or an entry that is not ours to read.
    pub async fn get(&self, name: &CloneName) -> Result<CloneLookup, RegistryError> {
        let mut call = begin(&GET);
        call.arg(name.as_str());
        let answer: Vec<String> = self.read(&call).await?;
        match answer.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["known", json, sealed] => {
                Ok(CloneLookup::Found(Box::new(entry(json, sealed).ok_or_else(unreadable)?)))
            }
            ["gone", json, at] => Ok(CloneLookup::Gone(Box::new(past(json, at).ok_or_else(unreadable)?))),
            _ => Ok(CloneLookup::NotFound),
        }
    }

    /// A page of at most `limit` (capped at 100) clones, newest first, that begins after `cursor`. `owner`: only this
    /// one's.
    ///
    /// # Errors
    /// Redis.
    pub async fn list(
        &self,
        owner: Option<&str>,
        cursor: Option<&CloneName>,
        limit: u32,
    ) -> Result<ClonePage, RegistryError> {
        let mut call = begin(&LIST);
        call.arg(only(owner)).arg(cursor.map_or("", CloneName::as_str)).arg(limit.clamp(1, PAGE));
        let answer: Vec<String> = self.read(&call).await?;
        let (next, rest) = answer.split_first().ok_or_else(unreadable)?;
        // What another version wrote is left out: the rest is worth showing.
        let clones = rest.chunks_exact(2).filter_map(|parts| entry(&parts[0], &parts[1])).collect();
        Ok(ClonePage { clones, next: next.parse().ok() })
    }

    /// CloneRegistry that went within the last day, the last first, at most `limit` (capped at 100). Of one owner's, only
    /// those among the last 500 of all are found.
    ///
    /// # Errors
    /// Redis.
    pub async fn list_deleted(
        &self,
        owner: Option<&str>,
        limit: u32,
    ) -> Result<Vec<DeletedClone>, RegistryError> {
        let mut call = begin(&PAST);
        call.arg(only(owner)).arg(limit.clamp(1, PAGE)).arg(LOOK);
        let answer: Vec<String> = self.read(&call).await?;
        Ok(answer.chunks_exact(2).filter_map(|parts| past(&parts[0], &parts[1])).collect())
    }

    async fn put_all(
        &self,
        provisioner: &str,
        moment: &str,
        entries: &[CloneEntry],
    ) -> Result<(), RegistryError> {
        let mut call = begin(&PUT);
        call.arg(known_as(provisioner)?).arg(moment).arg(CLONES);
        for entry in entries {
            let json = serde_json::to_string(entry).map_err(|_| RegistryError::TooLarge)?;
            let sealed = entry.sealed.as_deref().unwrap_or_default();
            if json.len() + sealed.len() > ENTRY {
                return Err(RegistryError::TooLarge);
            }
            call.arg(entry.name.as_str()).arg(&entry.owner).arg(json).arg(sealed);
        }
        match self.write::<String>(&call).await?.as_str() {
            "ok" => Ok(()),
            _ => Err(RegistryError::Full),
        }
    }

    /// All that is written may be written twice.
    async fn write<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, RedisError> {
        self.redis.retry_on_disconnect(|mut redis| async move { call.invoke_async(&mut redis).await }).await
    }

    async fn read<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, RedisError> {
        self.write(call).await
    }
}

fn begin(script: &'static Script) -> ScriptInvocation<'static> {
    let mut call = script.prepare_invoke();
    call.key(TAG);
    call
}

fn known_as(provisioner: &str) -> Result<&str, RegistryError> {
    if (1..=ID).contains(&provisioner.len()) {
        Ok(provisioner)
    } else {
        Err(RegistryError::InvalidProvisionerId)
    }
}

/// An owner without a name is one all the same, and does not see everybody's.
fn only(owner: Option<&str>) -> String {
    owner.map_or(String::new(), |owner| format!("={owner}"))
}

fn entry(json: &str, sealed: &str) -> Option<CloneEntry> {
    let entry: CloneEntry = serde_json::from_str(json).ok()?;
    Some(CloneEntry { sealed: (!sealed.is_empty()).then(|| sealed.to_owned()), ..entry })
}

fn past(json: &str, at: &str) -> Option<DeletedClone> {
    Some(DeletedClone {
        entry: entry(json, "")?,
        deleted_at: Timestamp::from_microsecond(at.parse().ok()?).ok()?,
    })
}

fn unreadable() -> RedisError {
    RedisError::from((ErrorKind::Parse, "a clone's entry cannot be read"))
}

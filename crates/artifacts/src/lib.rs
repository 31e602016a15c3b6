#![doc = include_str!("../README.md")]

mod pack;

use std::sync::LazyLock;
use std::time::Duration;

use redis::{ErrorKind, FromRedisValue, RedisError, Script, ScriptInvocation};
use wpclone_redis::{OtherLayout, Redis, layout_lua};
use wpclone_task::TaskId;

/// The name of the screenshot of a clone's front page.
pub const FRONT_PAGE_SCREENSHOT: &str = "clone-front-page.png";

/// The most compressed bytes of one artifact.
const MAX_PACKED: usize = 2 << 20;
/// The most bytes of one artifact before compression: a reader holds them in memory.
const MAX_UNPACKED: usize = 8 << 20;
/// The most compressed bytes of one task.
const MAX_OF_TASK: u64 = 8 << 20;
/// The most artifacts of one task.
const MAX_NAMES: u32 = 200;
/// The least bytes that an artifact counts for, so that the number of small ones is bounded.
const MIN_COUNTED: u64 = 1 << 10;
/// How long Redis may take to answer: screenshots are large.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an artifact is kept.
const RETENTION: Duration = Duration::from_secs(24 * 3600);
/// How many deleted artifacts are remembered as gone.
const MAX_GONE: u32 = 20_000;
/// Hash tag of the store's keys.
const TAG: &str = "{wpclone-artifacts}";

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
script!(PUT, "", "lua/put.lua");
script!(LIST, " flags=no-writes", "lua/list.lua");
script!(GET, " flags=no-writes", "lua/get.lua");

/// Artifacts in Redis, on a connection of their own, so that no heartbeat waits behind a screenshot.
#[derive(Clone)]
pub struct Artifacts {
    redis: Redis,
    total_bytes: u64,
}

/// An artifact without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactMeta {
    /// File name, unique in its task: `[a-z0-9.-]`, at most 64 characters, no dot in front.
    pub name: String,
    /// Media type.
    pub kind: String,
    /// Size in bytes, not compressed.
    pub bytes: u64,
}

/// What is stored under a task and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactLookup {
    /// The artifact.
    Found(ArtifactMeta, Vec<u8>),
    /// The artifact existed; it has expired or was evicted.
    Gone,
    /// No artifact of this name is known.
    NotFound,
}

/// Why an artifact was not stored or read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// Larger than an artifact, or all of a task's, may be.
    #[error("the artifact is too large")]
    TooLarge,
    /// The name is invalid.
    #[error("invalid artifact name")]
    BadName,
    /// Redis failed.
    #[error("the artifact store cannot be reached")]
    Store(#[source] RedisError),
    /// Redis holds data of another layout; nothing was changed.
    #[error(transparent)]
    OtherLayout(OtherLayout),
}

impl From<RedisError> for ArtifactError {
    fn from(error: RedisError) -> Self {
        OtherLayout::from_error(&error).map_or(Self::Store(error), Self::OtherLayout)
    }
}

impl Artifacts {
    /// A store of at most `total_bytes` in all. Connects when first used.
    ///
    /// # Errors
    /// The URL is invalid.
    pub fn new(redis_url: &str, total_bytes: u64) -> Result<Self, ArtifactError> {
        Ok(Self { redis: Redis::new(redis_url, RESPONSE_TIMEOUT)?, total_bytes })
    }

    /// Stores an artifact of a task, and of the task's owner, for a day, or until space is needed: then the owner that has most
    /// loses its oldest. One of the same name is replaced.
    ///
    /// # Errors
    /// The artifact is too large (2 MiB compressed, 8 MiB and 200 names of a task), the name is invalid, or Redis failed.
    pub async fn put(
        &self,
        task: TaskId,
        owner: &str,
        name: &str,
        kind: &str,
        bytes: &[u8],
    ) -> Result<(), ArtifactError> {
        if !is_name(name) {
            return Err(ArtifactError::BadName);
        }
        if bytes.len() > MAX_UNPACKED {
            return Err(ArtifactError::TooLarge);
        }
        let (owned, size) = (bytes.to_vec(), bytes.len());
        // Compression takes up to a second, so it must not block a runtime thread.
        let packed = tokio::task::spawn_blocking(move || pack::pack(&owned, MAX_PACKED)).await.ok().flatten();
        let packed = packed.ok_or(ArtifactError::TooLarge)?;
        let mut call = begin(&PUT, task);
        call.arg(name)
            .arg(media_type(kind))
            .arg(size)
            .arg(packed)
            .arg(MAX_OF_TASK)
            .arg(MAX_NAMES)
            .arg(self.total_bytes);
        call.arg(MIN_COUNTED)
            .arg(u64::try_from(RETENTION.as_millis()).unwrap_or(u64::MAX))
            .arg(MAX_GONE)
            .arg(owner);
        match self.run::<String>(&call).await?.as_str() {
            "ok" => Ok(()),
            _ => Err(ArtifactError::TooLarge),
        }
    }

    /// The artifacts of a task, in the order of writing.
    ///
    /// # Errors
    /// Redis failed.
    pub async fn list(&self, task: TaskId) -> Result<Vec<ArtifactMeta>, ArtifactError> {
        Ok(self.list_all(&[task]).await?.pop().unwrap_or_default())
    }

    /// The artifacts of each of these tasks, in one call: [`Artifacts::list`] for a page of tasks.
    ///
    /// # Errors
    /// Redis failed.
    pub async fn list_all(&self, tasks: &[TaskId]) -> Result<Vec<Vec<ArtifactMeta>>, ArtifactError> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = LIST.prepare_invoke();
        call.key(TAG);
        for task in tasks {
            call.arg(task.to_string());
        }
        let kept: Vec<Vec<(String, String, u64, u64)>> = self.read(&call).await?;
        let in_order = |mut kept: Vec<(String, String, u64, u64)>| {
            kept.sort_by_key(|(_, _, _, seq)| *seq);
            kept.into_iter().map(|(name, kind, bytes, _)| ArtifactMeta { name, kind, bytes }).collect()
        };
        Ok(kept.into_iter().map(in_order).collect())
    }

    /// Looks up an artifact.
    ///
    /// # Errors
    /// Redis failed.
    pub async fn get(&self, task: TaskId, name: &str) -> Result<ArtifactLookup, ArtifactError> {
        if !is_name(name) {
            return Ok(ArtifactLookup::NotFound);
        }
        let mut call = begin(&GET, task);
        call.arg(name);
        let answer: Vec<Vec<u8>> = self.read(&call).await?;
        let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
        match answer.as_slice() {
            [_, kind, bytes, packed] => {
                let bytes = text(bytes).parse().map_err(|_| unreadable())?;
                let meta = ArtifactMeta { name: name.to_owned(), kind: text(kind), bytes };
                Ok(ArtifactLookup::Found(meta, pack::unpack(packed, bytes).ok_or_else(unreadable)?))
            }
            [code] if code == b"gone" => Ok(ArtifactLookup::Gone),
            _ => Ok(ArtifactLookup::NotFound),
        }
    }

    async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, RedisError> {
        call.invoke_async(&mut self.redis.connection().await?).await
    }

    /// [`Artifacts::run`] for a call that only reads, repeated once when the connection broke.
    async fn read<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, RedisError> {
        self.redis.retry_on_disconnect(|mut redis| async move { call.invoke_async(&mut redis).await }).await
    }
}

fn begin(script: &'static Script, task: TaskId) -> ScriptInvocation<'static> {
    let mut call = script.prepare_invoke();
    call.key(TAG).arg(task.to_string());
    call
}

/// `[a-z0-9.-]`, at most 64 characters, first a letter or digit.
fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 64
        && name.bytes().next().is_some_and(allowed)
        && name.bytes().all(|b| allowed(b) || matches!(b, b'.' | b'-'))
}

/// The media type if it is valid in a header, else that of any bytes.
fn media_type(kind: &str) -> &str {
    let fits =
        !kind.is_empty() && kind.len() <= 100 && kind.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if fits { kind } else { "application/octet-stream" }
}

fn unreadable() -> RedisError {
    RedisError::from((ErrorKind::Parse, "an artifact cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_media_types_cannot_be_paths_or_headers() {
        for (name, good) in [
            ("page.html", true),
            ("1-after-login.png", true),
            (&*"a".repeat(64), true),
            (&*"a".repeat(65), false),
            ("", false),
            ("..", false),
            (".htaccess", false),
            ("a/b", false),
            ("A", false),
            ("a\n", false),
        ] {
            assert_eq!(is_name(name), good, "{name:?}");
        }
        assert_eq!(media_type("text/html; charset=utf-8"), "text/html; charset=utf-8");
        assert_eq!(media_type("a\r\nSet-Cookie: b"), "application/octet-stream");
    }
}

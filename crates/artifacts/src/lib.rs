#![doc = include_str!("../README.md")]

mod pack;

use std::sync::LazyLock;
use std::time::Duration;

use redis::{ErrorKind, FromRedisValue, RedisError, Script, ScriptInvocation};
use wpclone_redis::Redis;
use wpclone_task::TaskId;

/// The name of the picture of a copy's front page.
pub const FRONT_PAGE_SCREENSHOT: &str = "clone-front-page.png";

/// The most packed bytes of one artifact.
const EACH: usize = 2 << 20;
/// The most bytes of one artifact before it is packed: what a reader has to hold.
const UNPACKED: usize = 8 << 20;
/// The most packed bytes of one task.
const TASK: u64 = 8 << 20;
/// The most artifacts of one task.
const NAMES: u32 = 200;
/// The least that an artifact counts for, so that many small ones have an end too.
const LEAST: u64 = 1 << 10;
/// How long an answer may take: pictures are large.
const ANSWER: Duration = Duration::from_secs(10);
/// How long an artifact is kept.
const KEEP: Duration = Duration::from_secs(24 * 3600);
/// How many dropped artifacts are remembered as gone.
const REMEMBERED: u32 = 20_000;
/// Hash tag of the store's keys.
const TAG: &str = "{wpclone-artifacts}";

macro_rules! script {
    ($name:ident, $flags:literal, $file:literal) => {
        static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!("#!lua", $flags, "\n", include_str!("lua/prelude.lua"), include_str!($file)))
        });
    };
}
// Without `allow-oom`: a full Redis refuses a picture before anything is changed.
script!(PUT, "", "lua/put.lua");
script!(LIST, " flags=no-writes", "lua/list.lua");
script!(GET, " flags=no-writes", "lua/get.lua");

/// A store of artifacts in Redis, on a connection of its own, so that no heartbeat waits behind a picture.
#[derive(Clone)]
pub struct Artifacts {
    redis: Redis,
    total_bytes: u64,
}

/// An artifact without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactMeta {
    /// File name, unique in its task: `[a-z0-9.-]`, at most 64 characters, no dot in front.
    pub name: String,
    /// Media type.
    pub kind: String,
    /// Size in bytes, not compressed.
    pub bytes: u64,
}

/// What was found under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactLookup {
    /// The artifact.
    Found(ArtifactMeta, Vec<u8>),
    /// It was there, and has been dropped or has expired.
    Gone,
    /// Never heard of it.
    NotFound,
}

/// Why an artifact was not kept or not read.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// Larger than an artifact, or all of a task's, may be.
    #[error("the artifact is too large to keep")]
    TooLarge,
    /// Not a name for an artifact.
    #[error("not a name for an artifact")]
    BadName,
    /// Redis failed.
    #[error("the artifact store cannot be reached")]
    Store(#[from] RedisError),
}

impl Artifacts {
    /// A store that keeps at most `total_bytes` in all. Connects when first used.
    ///
    /// # Errors
    /// A URL that is none.
    pub fn new(redis_url: &str, total_bytes: u64) -> Result<Self, ArtifactError> {
        Ok(Self { redis: Redis::new(redis_url, ANSWER)?, total_bytes })
    }

    /// Keeps an artifact for a day, or until room is needed; one of the same name is replaced.
    ///
    /// # Errors
    /// Too large (2 MiB packed each, 8 MiB a task, 200 names), a bad name, or Redis.
    pub async fn put(&self, task: TaskId, name: &str, kind: &str, bytes: &[u8]) -> Result<(), ArtifactError> {
        if !is_name(name) {
            return Err(ArtifactError::BadName);
        }
        if bytes.len() > UNPACKED {
            return Err(ArtifactError::TooLarge);
        }
        let (owned, size) = (bytes.to_vec(), bytes.len());
        // Packing takes up to a second: not on a thread that others wait for.
        let packed = tokio::task::spawn_blocking(move || pack::pack(&owned, EACH)).await.ok().flatten();
        let packed = packed.ok_or(ArtifactError::TooLarge)?;
        let mut call = begin(&PUT, task);
        call.arg(name).arg(media_type(kind)).arg(size).arg(packed).arg(TASK).arg(NAMES).arg(self.total_bytes);
        call.arg(LEAST).arg(u64::try_from(KEEP.as_millis()).unwrap_or(u64::MAX)).arg(REMEMBERED);
        match self.run::<String>(&call).await?.as_str() {
            "ok" => Ok(()),
            _ => Err(ArtifactError::TooLarge),
        }
    }

    /// All that is kept of a task, in the order it was written.
    ///
    /// # Errors
    /// Redis.
    pub async fn list(&self, task: TaskId) -> Result<Vec<ArtifactMeta>, ArtifactError> {
        let mut kept: Vec<(String, String, u64, u64)> = self.look(&begin(&LIST, task)).await?;
        kept.sort_by_key(|(_, _, _, seq)| *seq);
        Ok(kept.into_iter().map(|(name, kind, bytes, _)| ArtifactMeta { name, kind, bytes }).collect())
    }

    /// One artifact.
    ///
    /// # Errors
    /// Redis.
    pub async fn get(&self, task: TaskId, name: &str) -> Result<ArtifactLookup, ArtifactError> {
        if !is_name(name) {
            return Ok(ArtifactLookup::NotFound);
        }
        let mut call = begin(&GET, task);
        call.arg(name);
        let answer: Vec<Vec<u8>> = self.look(&call).await?;
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

    /// The same for a call that only reads.
    async fn look<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, RedisError> {
        self.redis.retry_on_disconnect(|mut redis| async move { call.invoke_async(&mut redis).await }).await
    }
}

fn begin(script: &'static Script, task: TaskId) -> ScriptInvocation<'static> {
    let mut call = script.prepare_invoke();
    call.key(TAG).arg(task.to_string());
    call
}

/// `[a-z0-9.-]`, at most 64 characters, beginning with neither dot nor hyphen.
fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 64
        && name.bytes().next().is_some_and(allowed)
        && name.bytes().all(|b| allowed(b) || matches!(b, b'.' | b'-'))
}

/// The media type when it can be one: it becomes a header.
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
    fn a_name_is_no_path_and_no_header() {
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

//! Sessions of the dashboard: a random id in a cookie, its hash in Redis.

use std::collections::HashMap;
use std::time::Duration;

use redis::{FromRedisValue, Pipeline};
use sha2::{Digest as _, Sha256};
use wpclone_redis::Redis;
use zeroize::Zeroizing;

use crate::tokens::Entry;

/// The cookie's name.
pub const COOKIE: &str = "wpclone_session";
/// How long a session lasts.
pub const LASTS: Duration = Duration::from_secs(12 * 3600);
/// How many sessions a token has at most; the oldest ends for a new one.
const EACH: isize = 20;
/// How long Redis may take for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Redis failed.
    #[error("sessions cannot be reached: {0}")]
    Store(#[from] redis::RedisError),
    /// The system gives no random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

/// The sessions. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    redis: Redis,
    prefix: String,
}

/// Whose session it is; to be looked up in the tokens file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The token's name.
    pub name: String,
    /// The token's mark.
    pub mark: String,
}

impl Sessions {
    /// Sessions in this Redis, beside the queue of this name. Connects when first used.
    ///
    /// # Errors
    /// A URL that is none.
    pub fn new(redis_url: &str, queue: &str) -> Result<Self, SessionError> {
        let redis = Redis::new(redis_url, PATIENCE)?;
        let prefix = format!("{{{queue}}}:session:");
        Ok(Self { redis, prefix })
    }

    /// A new session of this token; gives the cookie's value.
    ///
    /// # Errors
    /// Redis, or no random bytes.
    pub async fn begin(&self, token: &Entry) -> Result<Zeroizing<String>, SessionError> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        getrandom::fill(bytes.as_mut()).map_err(SessionError::Random)?;
        let id = Zeroizing::new(hex::encode(*bytes));
        let key = self.key(&id);
        let mut write = redis::pipe();
        write
            .atomic()
            .hset_multiple(&key, &[("name", token.name.as_str()), ("mark", &token.mark())])
            .ignore()
            .expire(&key, LASTS.as_secs().cast_signed())
            .ignore();
        let () = self.run(&write).await?;
        self.bound(&token.name, &key).await?;
        Ok(id)
    }

    /// Remembers that this name has this session, and ends the oldest beyond [`EACH`].
    async fn bound(&self, name: &str, key: &str) -> Result<(), SessionError> {
        let of_name = self.of_name(name);
        let newest = -1 - EACH;
        let mut note = redis::pipe();
        note.zadd(&of_name, key, jiff::Timestamp::now().as_microsecond()).ignore();
        note.expire(&of_name, LASTS.as_secs().cast_signed()).ignore();
        note.zrange(&of_name, 0, newest);
        let (ended,): (Vec<String>,) = self.run(&note).await?;
        if ended.is_empty() {
            return Ok(());
        }
        self.run(redis::pipe().del(&ended).ignore().zremrangebyrank(&of_name, 0, newest).ignore()).await
    }

    /// Whose session this is; `None` when it has ended.
    ///
    /// # Errors
    /// Redis.
    pub async fn holder(&self, id: &str) -> Result<Option<Holder>, SessionError> {
        let (mut fields,): (HashMap<String, String>,) = self.run(redis::pipe().hgetall(self.key(id))).await?;
        Ok(fields.remove("name").zip(fields.remove("mark")).map(|(name, mark)| Holder { name, mark }))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// Redis.
    pub async fn end(&self, id: &str) -> Result<(), SessionError> {
        let Some(holder) = self.holder(id).await? else { return Ok(()) };
        let key = self.key(id);
        self.run(redis::pipe().zrem(self.of_name(&holder.name), &key).ignore().del(&key).ignore()).await
    }

    async fn run<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, SessionError> {
        Ok(self
            .redis
            .retry_on_disconnect(|mut redis| async move { commands.query_async(&mut redis).await })
            .await?)
    }

    fn key(&self, id: &str) -> String {
        format!("{}{}", self.prefix, hex::encode(Sha256::digest(id)))
    }

    /// The keys of a name's sessions, by when they began.
    fn of_name(&self, name: &str) -> String {
        format!("{}of:{name}", self.prefix)
    }
}

//! Sessions of the dashboard: a random id in a cookie, its hash in Redis.

use std::collections::HashMap;
use std::time::Duration;

use redis::{FromRedisValue, Pipeline};
use sha2::{Digest as _, Sha256};
use wpclone_redis::Redis;
use zeroize::Zeroizing;

use crate::tokens::Token;

/// The cookie's name.
pub const COOKIE: &str = "wpclone_session";
/// How long a session lasts.
pub const LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// How many sessions a token may have; a new one ends the oldest.
const MAX_PER_TOKEN: isize = 20;
/// The timeout of a Redis command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a session cannot be created, read or deleted.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Redis failed.
    #[error("sessions cannot be read or written: {0}")]
    Store(#[from] redis::RedisError),
    /// The system has no random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

/// The sessions. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    redis: Redis,
    prefix: String,
}

/// The token that a session belongs to. It has to be looked up in the tokens file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionToken {
    /// The token's name.
    pub name: String,
    /// The token's fingerprint ([`Token::fingerprint`]).
    pub fingerprint: String,
}

impl Sessions {
    /// Sessions in this Redis, with keys beside those of the queue of this name. Connects on first use.
    ///
    /// # Errors
    /// The URL is invalid.
    pub fn new(redis_url: &str, queue: &str) -> Result<Self, SessionError> {
        let redis = Redis::new(redis_url, COMMAND_TIMEOUT)?;
        let prefix = format!("{{{queue}}}:session:");
        Ok(Self { redis, prefix })
    }

    /// Creates a session of this token and returns the cookie's value.
    ///
    /// # Errors
    /// Redis fails, or there are no random bytes.
    pub async fn create(&self, token: &Token) -> Result<Zeroizing<String>, SessionError> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        getrandom::fill(bytes.as_mut()).map_err(SessionError::Random)?;
        let id = Zeroizing::new(hex::encode(*bytes));
        let key = self.key(&id);
        let mut write = redis::pipe();
        write
            .atomic()
            .hset_multiple(&key, &[("name", token.name.as_str()), ("fingerprint", &token.fingerprint())])
            .ignore()
            .expire(&key, LIFETIME.as_secs().cast_signed())
            .ignore();
        let () = self.run(&write).await?;
        self.add_to_index(&token.name, &key).await?;
        Ok(id)
    }

    /// Adds a session to the index of its token's sessions, and deletes the oldest beyond [`MAX_PER_TOKEN`].
    async fn add_to_index(&self, name: &str, key: &str) -> Result<(), SessionError> {
        let index = self.index_key(name);
        let last_evicted = -1 - MAX_PER_TOKEN;
        let mut add = redis::pipe();
        add.zadd(&index, key, jiff::Timestamp::now().as_microsecond()).ignore();
        add.expire(&index, LIFETIME.as_secs().cast_signed()).ignore();
        add.zrange(&index, 0, last_evicted);
        let (evicted,): (Vec<String>,) = self.run(&add).await?;
        if evicted.is_empty() {
            return Ok(());
        }
        self.run(redis::pipe().del(&evicted).ignore().zremrangebyrank(&index, 0, last_evicted).ignore()).await
    }

    /// The token of a session; `None` when the session has ended.
    ///
    /// # Errors
    /// Redis fails.
    pub async fn token(&self, id: &str) -> Result<Option<SessionToken>, SessionError> {
        let (mut fields,): (HashMap<String, String>,) = self.run(redis::pipe().hgetall(self.key(id))).await?;
        let fields = fields.remove("name").zip(fields.remove("fingerprint"));
        Ok(fields.map(|(name, fingerprint)| SessionToken { name, fingerprint }))
    }

    /// Deletes a session.
    ///
    /// # Errors
    /// Redis fails.
    pub async fn delete(&self, id: &str) -> Result<(), SessionError> {
        let Some(token) = self.token(id).await? else { return Ok(()) };
        let key = self.key(id);
        self.run(redis::pipe().zrem(self.index_key(&token.name), &key).ignore().del(&key).ignore()).await
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

    /// The index of a token's sessions: their keys by creation time.
    fn index_key(&self, name: &str) -> String {
        format!("{}by-token:{name}", self.prefix)
    }
}

//! Sessions of the dashboard: a random id in a cookie, its hash in Redis.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{FromRedisValue, RedisError, Script, ScriptInvocation};
use sha2::{Digest as _, Sha256};
use wpclone_redis::{Connection, OtherLayout, Redis, layout_lua};
use zeroize::Zeroizing;

use crate::tokens::Token;

/// How long a session lasts.
pub const LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// How many sessions a token may have; a new one ends the oldest.
const MAX_PER_TOKEN: u32 = 20;
/// The timeout of a Redis command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

macro_rules! script {
    ($name:ident, $flags:literal, $file:literal) => {
        static $name: LazyLock<Script> = LazyLock::new(|| {
            let (layout, shared, body) =
                (layout_lua(), include_str!("sessions/prelude.lua"), include_str!($file));
            Script::new(&format!("#!lua{}\n{layout}{shared}{body}", $flags))
        });
    };
}
script!(CREATE, "", "sessions/create.lua");
script!(READ, " flags=no-writes", "sessions/read.lua");
// Signing out also works in a full Redis.
script!(DELETE, " flags=allow-oom", "sessions/delete.lua");

/// Why a session cannot be created, read or deleted.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Redis failed.
    #[error("sessions cannot be read or written: {0}")]
    Store(#[source] RedisError),
    /// Redis holds data of another layout; nothing was changed.
    #[error(transparent)]
    OtherLayout(OtherLayout),
    /// The system has no random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

impl From<RedisError> for SessionError {
    fn from(error: RedisError) -> Self {
        OtherLayout::from_error(&error).map_or(Self::Store(error), Self::OtherLayout)
    }
}

/// The sessions. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    redis: Redis,
    /// The hash tag of the queue's keys.
    tag: String,
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
        Ok(Self { redis, tag: format!("{{{queue}}}") })
    }

    /// Creates a session of this token and returns the cookie's value. Beyond [`MAX_PER_TOKEN`] the oldest is deleted.
    ///
    /// # Errors
    /// Redis fails, or there are no random bytes.
    pub async fn create(&self, token: &Token) -> Result<Zeroizing<String>, SessionError> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        getrandom::fill(bytes.as_mut()).map_err(SessionError::Random)?;
        let id = Zeroizing::new(hex::encode(*bytes));
        let mut call = self.begin(&CREATE, &id);
        call.arg(&token.name).arg(token.fingerprint()).arg(LIFETIME.as_secs()).arg(MAX_PER_TOKEN);
        self.run::<()>(&call).await?;
        Ok(id)
    }

    /// The token of a session; `None` when the session has ended.
    ///
    /// # Errors
    /// Redis fails.
    pub async fn token(&self, id: &str) -> Result<Option<SessionToken>, SessionError> {
        let found: Option<(String, String)> = self.run(&self.begin(&READ, id)).await?;
        Ok(found.map(|(name, fingerprint)| SessionToken { name, fingerprint }))
    }

    /// Deletes a session.
    ///
    /// # Errors
    /// Redis fails.
    pub async fn delete(&self, id: &str) -> Result<(), SessionError> {
        self.run(&self.begin(&DELETE, id)).await
    }

    /// Every script may be executed twice.
    async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, SessionError> {
        let call = |mut redis: Connection| async move { call.invoke_async(&mut redis).await };
        Ok(self.redis.retry_on_disconnect(call).await?)
    }

    fn begin(&self, script: &'static Script, id: &str) -> ScriptInvocation<'static> {
        let mut call = script.prepare_invoke();
        call.key(self.tag.as_str()).arg(hex::encode(Sha256::digest(id)));
        call
    }
}

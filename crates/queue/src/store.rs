//! The way to the queue's place in Redis, and errors.

use std::time::Duration;

use redis::{ErrorKind, FromRedisValue, RedisError};
use wpclone_redis::{Connection, Redis};

use crate::QueueError;
use crate::functions::Call;

/// How long an answer may take. Redis' own log can hold it back under `appendfsync always`.
const ANSWER: Duration = Duration::from_secs(5);

/// Redis, and the queue's place in it.
pub(crate) struct Store {
    pub(crate) redis: Redis,
    /// `{name}`: the first part of every key, and its hash tag.
    tag: String,
}

impl Store {
    pub(crate) fn new(url: &str, name: &str) -> Result<Self, QueueError> {
        if name.is_empty() || name.contains(['{', '}']) {
            return Err(QueueError::Unexpected("a queue's name is not empty and has no braces".into()));
        }
        // The URL may hold a password: no error tells it.
        let redis =
            Redis::new(url, ANSWER).map_err(|_| QueueError::Unavailable("the Redis URL is none".into()))?;
        Ok(Self { redis, tag: format!("{{{name}}}") })
    }

    /// The full name of one of the queue's keys, or of its channel.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.tag)
    }

    pub(crate) async fn connection(&self) -> Result<Connection, QueueError> {
        Ok(self.redis.connection().await?)
    }

    /// Begins a call of a function; its arguments follow.
    pub(crate) fn call(&self, function: &'static str) -> Call {
        Call::new(function, &self.tag)
    }

    pub(crate) async fn run<T: FromRedisValue>(&self, call: &Call) -> Result<T, QueueError> {
        Ok(call.run(&mut self.connection().await?).await?)
    }

    /// [`Store::run`], and once more when the connection broke. For calls that may come twice.
    pub(crate) async fn run_again<T: FromRedisValue>(&self, call: &Call) -> Result<T, QueueError> {
        Ok(self.redis.retry_on_disconnect(|mut redis| async move { call.run(&mut redis).await }).await?)
    }
}

impl From<RedisError> for QueueError {
    fn from(e: RedisError) -> Self {
        // These messages show what was read: whole tasks.
        if e.kind() == ErrorKind::UnexpectedReturnType {
            return Self::Unexpected(e.category().to_owned());
        }
        if e.kind() == ErrorKind::Parse {
            return Self::Unavailable("an answer was cut off".to_owned());
        }
        let away = e.is_io_error()
            || e.is_timeout()
            || e.is_unrecoverable_error()
            || e.kind() == ErrorKind::AuthenticationFailed
            || matches!(
                e.code(),
                Some(
                    "OOM"
                        | "LOADING"
                        | "READONLY"
                        | "MASTERDOWN"
                        | "CLUSTERDOWN"
                        | "MOVED"
                        | "ASK"
                        | "TRYAGAIN"
                        | "BUSY"
                        | "MISCONF"
                ) | Some("NOAUTH" | "WRONGPASS" | "NOREPLICAS")
            );
        if away { Self::Unavailable(e.to_string()) } else { Self::Unexpected(e.to_string()) }
    }
}

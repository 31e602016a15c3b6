//! The queue's keys and calls in Redis, and the mapping of errors.

use std::time::Duration;

use redis::{ErrorKind, FromRedisValue, RedisError};
use wpclone_redis::{Connection, OtherLayout, Redis};

use crate::QueueError;
use crate::functions::Call;

/// How long Redis may take to answer. Under `appendfsync always` writing its log can delay it.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Redis, and the queue's keys in it.
pub(crate) struct Store {
    pub(crate) redis: Redis,
    /// `{name}`: the first part of every key, and its hash tag.
    tag: String,
}

impl Store {
    pub(crate) fn new(url: &str, name: &str) -> Result<Self, QueueError> {
        if name.is_empty() || name.contains(['{', '}']) {
            return Err(QueueError::Unexpected("a queue's name must not be empty or contain braces".into()));
        }
        // The URL may contain a password, so no error contains the URL.
        let redis = Redis::new(url, RESPONSE_TIMEOUT)
            .map_err(|_| QueueError::Unavailable("the Redis URL is invalid".into()))?;
        Ok(Self { redis, tag: format!("{{{name}}}") })
    }

    /// The full name of a key or channel of the queue.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.tag)
    }

    pub(crate) async fn connection(&self) -> Result<Connection, QueueError> {
        Ok(self.redis.connection().await?)
    }

    /// A call of a function, without arguments yet.
    pub(crate) fn call(&self, function: &'static str) -> Call {
        Call::new(function, &self.tag)
    }

    pub(crate) async fn run<T: FromRedisValue>(&self, call: &Call) -> Result<T, QueueError> {
        Ok(call.run(&mut self.connection().await?, &self.tag).await?)
    }

    /// [`Store::run`], repeated once when the connection broke. Only for calls that may be executed twice.
    pub(crate) async fn run_idempotent<T: FromRedisValue>(&self, call: &Call) -> Result<T, QueueError> {
        Ok(self
            .redis
            .retry_on_disconnect(|mut redis| async move { call.run(&mut redis, &self.tag).await })
            .await?)
    }
}

impl From<RedisError> for QueueError {
    fn from(e: RedisError) -> Self {
        if let Some(layout) = OtherLayout::from_error(&e) {
            return Self::OtherLayout(layout);
        }
        // These messages contain what was read: whole tasks.
        if e.kind() == ErrorKind::UnexpectedReturnType {
            return Self::Unexpected(e.category().to_owned());
        }
        if e.kind() == ErrorKind::Parse {
            return Self::Unavailable("a response was incomplete".to_owned());
        }
        let unavailable = e.is_io_error()
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
        if unavailable { Self::Unavailable(e.to_string()) } else { Self::Unexpected(e.to_string()) }
    }
}

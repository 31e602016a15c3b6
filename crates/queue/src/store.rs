//! The way to Redis: pool, deadlines, errors.

use std::time::Duration;

use deadpool_redis::{Connection, Manager, Pool, Runtime};
use redis::{AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, RedisError, Script, ScriptInvocation};

use crate::QueueError;

/// How long a connection may take to be made.
pub(crate) const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take. Redis' own log fsync can hold it back under `appendfsync always`.
const ANSWER: Duration = Duration::from_secs(5);
/// Connections of one process. Each carries one short command at a time.
const CONNECTIONS: usize = 16;

/// Redis, and the queue's place in it.
pub(crate) struct Store {
    pool: Pool,
    /// Opens the connection that listens; the pool's are never blocked or subscribed.
    pub(crate) client: Client,
    /// `{name}`: the first part of every key, and its hash tag.
    tag: String,
}

impl Store {
    pub(crate) fn new(url: &str, name: &str) -> Result<Self, QueueError> {
        // The URL may hold a password: no error tells it.
        let unusable = |_| QueueError::Unavailable("the Redis URL is none".into());
        if name.is_empty() || name.contains(['{', '}']) {
            return Err(QueueError::Unexpected("a queue's name is not empty and has no braces".into()));
        }
        let client = Client::open(url).map_err(unusable)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER));
        let pool = Pool::builder(Manager::new_with_config(url, config).map_err(unusable)?)
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT + ANSWER))
            .create_timeout(Some(CONNECT))
            .recycle_timeout(Some(CONNECT))
            .build()
            .map_err(|e| QueueError::Unexpected(e.to_string()))?;
        Ok(Self { pool, client, tag: format!("{{{name}}}") })
    }

    /// The full name of one of the queue's keys, or of its channel.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.tag)
    }

    pub(crate) async fn connection(&self) -> Result<Connection, QueueError> {
        self.pool.get().await.map_err(|e| match e {
            deadpool_redis::PoolError::Backend(e) => e.into(),
            e => QueueError::Unavailable(e.to_string()),
        })
    }

    /// Begins a call of a script; its arguments follow.
    pub(crate) fn call<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        call.key(&self.tag);
        call
    }

    /// Runs a call. One that Redis does not know (it was restarted or flushed) is loaded first.
    pub(crate) async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, QueueError> {
        Ok(call.invoke_async(&mut self.connection().await?).await?)
    }
}

impl From<RedisError> for QueueError {
    fn from(e: RedisError) -> Self {
        // A parser's message shows what it read: whole tasks.
        if matches!(e.kind(), ErrorKind::Parse | ErrorKind::UnexpectedReturnType) {
            return Self::Unexpected(e.category().to_owned());
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
                        | "TRYAGAIN"
                        | "BUSY"
                        | "MISCONF"
                ) | Some("NOAUTH" | "WRONGPASS" | "NOREPLICAS")
            );
        if away { Self::Unavailable(e.to_string()) } else { Self::Unexpected(e.to_string()) }
    }
}

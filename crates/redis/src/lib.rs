#![doc = include_str!("../README.md")]

mod layout;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value,
};
use tokio::sync::Mutex;

pub use layout::{LAYOUT, OtherLayout, layout_lua};

/// The timeout for making a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A Redis, one server or a cluster. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

struct Inner {
    url: String,
    client: Client,
    /// The timeout for an answer.
    response_timeout: Duration,
    /// Whether the URL leads to a node of a cluster; determined once.
    cluster: OnceLock<bool>,
    current: Mutex<Current>,
}

/// The shared connection, and how many were made so far.
#[derive(Default)]
struct Current {
    link: Option<Link>,
    made: u64,
    /// When and why the last attempt to connect failed.
    failed: Option<(Instant, RedisError)>,
}

#[derive(Clone)]
enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Redis {
    /// The Redis at this URL, with a timeout for answers. Connects when first used.
    ///
    /// # Errors
    /// The URL is invalid. The error may contain the URL, and so a password.
    pub fn new(url: &str, response_timeout: Duration) -> RedisResult<Self> {
        let client = Client::open(url)?;
        let (url, cluster, current) = (url.to_owned(), OnceLock::new(), Mutex::default());
        Ok(Self { inner: Arc::new(Inner { url, client, response_timeout, cluster, current }) })
    }

    /// A client for separate connections to the server in the URL.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// The shared connection; it is made when there is none.
    ///
    /// # Errors
    /// Redis cannot be reached.
    pub async fn connection(&self) -> RedisResult<Connection> {
        let asked = Instant::now();
        let mut current = self.inner.current.lock().await;
        let link = match (&current.link, &current.failed) {
            (Some(link), _) => link.clone(),
            // A caller that has waited for a failed attempt does not start another one.
            (None, Some((when, error))) if *when >= asked => return Err(error.clone()),
            (None, _) => {
                let made = self.inner.connect().await;
                let link = made.inspect_err(|e| current.failed = Some((Instant::now(), e.clone())))?;
                current.made += 1;
                current.link = Some(link.clone());
                link
            }
        };
        Ok(Connection { link, number: current.made, inner: Arc::clone(&self.inner) })
    }

    /// Runs a call, and repeats it once when the connection broke, which is noticed only on use. Only for calls that may be
    /// executed twice.
    ///
    /// # Errors
    /// That of the repeated call, or of the first when the connection did not break.
    pub async fn retry_on_disconnect<T, F>(&self, call: impl Fn(Connection) -> F) -> RedisResult<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        match call(self.connection().await?).await {
            Err(e) if is_disconnect(&e) => call(self.connection().await?).await,
            done => done,
        }
    }
}

impl Inner {
    async fn connect(&self) -> RedisResult<Link> {
        if self.cluster.get() == Some(&true) {
            return self.connect_to_cluster().await;
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.response_timeout));
        let mut one = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        if self.cluster.get().is_none() {
            // A provider that hides this has no cluster that a client must know about.
            let info: RedisResult<String> = redis::cmd("INFO").arg("cluster").query_async(&mut one).await;
            let is_cluster = match info {
                Ok(info) => info.lines().any(|line| line == "cluster_enabled:1"),
                Err(e) if matches!(e.code(), Some("ERR" | "NOPERM")) => false,
                Err(e) => return Err(e),
            };
            if self.cluster.set(is_cluster).is_ok() && is_cluster {
                tracing::info!("Redis is a cluster");
                return self.connect_to_cluster().await;
            }
        }
        Ok(Link::One(one))
    }

    async fn connect_to_cluster(&self) -> RedisResult<Link> {
        let client = ClusterClientBuilder::new([self.url.as_str()])
            .connection_timeout(CONNECT_TIMEOUT)
            .response_timeout(self.response_timeout)
            // A call that may have been executed must not be repeated without the caller's knowledge.
            .retries(0)
            .overall_response_timeout(Some(self.response_timeout))
            .build()?;
        Ok(Link::Cluster(client.get_async_connection().await?))
    }

    /// Drops this connection, so that the next caller gets a new one.
    async fn drop_connection(&self, number: u64) {
        let mut current = self.current.lock().await;
        if current.made == number {
            current.link = None;
        }
    }
}

/// Whether the connection broke during a call or its answer: it is unknown then whether the call was executed.
#[must_use]
pub fn is_disconnect(error: &RedisError) -> bool {
    let cut_off = error.kind() == ErrorKind::Parse;
    cut_off || error.is_connection_dropped() || (error.is_io_error() && !error.is_timeout())
}

/// The shared connection, for one call.
pub struct Connection {
    link: Link,
    number: u64,
    inner: Arc<Inner>,
}

impl Connection {
    /// Checks an answer, and drops the connection when it is broken or has timed out.
    async fn checked(&self, answer: RedisResult<Value>) -> RedisResult<Value> {
        let answer = answer.and_then(Value::extract_error);
        self.note_error(answer.as_ref().err()).await;
        answer
    }

    /// Drops the connection after these errors. A cluster's connection recovers by itself; one to a server that became a
    /// replica leads to the wrong server.
    async fn note_error(&self, error: Option<&RedisError>) {
        if let (Some(e), Link::One(_)) = (error, &self.link)
            && (is_disconnect(e)
                || e.is_timeout()
                || e.is_unrecoverable_error()
                || matches!(e.code(), Some("READONLY" | "MOVED")))
        {
            // Before the caller gets the error, because it may retry at once.
            self.inner.drop_connection(self.number).await;
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        async move {
            let answer = match &mut self.link {
                Link::One(link) => link.req_packed_command(cmd).await,
                Link::Cluster(link) => link.req_packed_command(cmd).await,
            };
            self.checked(answer).await
        }
        .boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        async move {
            let answer = match &mut self.link {
                Link::One(link) => link.req_packed_commands(pipeline, offset, count).await,
                Link::Cluster(link) => link.req_packed_commands(pipeline, offset, count).await,
            };
            let error = answer.as_ref().err();
            self.note_error(error).await;
            answer
        }
        .boxed()
    }

    fn get_db(&self) -> i64 {
        match &self.link {
            Link::One(link) => link.get_db(),
            Link::Cluster(link) => link.get_db(),
        }
    }
}

//! A connection to an app's Redis.

use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use wpclone_tests::TestApp;

/// By default the client gives up after half a second, which a busy machine may need.
const PATIENCE: Duration = Duration::from_secs(120);

/// Connects to the app's Redis.
pub(crate) async fn connect(app: &TestApp) -> MultiplexedConnection {
    let client = redis::Client::open(app.redis.url()).expect("a URL");
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&config).await.expect("Redis")
}

//! Pub/sub on a connection of its own, which is made again when it breaks.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, RedisResult};
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};
use wpclone_redis::CONNECT_TIMEOUT;

use crate::Signal;

/// How many signals a receiver may lag behind; then it gets `Lagged`, which means that it must look at everything.
pub(crate) const CAPACITY: usize = 1024;
/// A connection that is silent for this long is pinged.
const PING_AFTER: Duration = Duration::from_secs(10);
/// The shortest and the longest pause between attempts to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A channel and the meaning of its messages.
#[derive(Clone, Copy)]
pub(crate) enum Channel {
    /// The name of a stage that has a ready step, after it had none.
    StageReady,
    /// The id of a task that has changed, and its owner.
    TaskChanged,
}

impl Channel {
    /// The last part of its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::StageReady => "stage_ready",
            Self::TaskChanged => "task_changed",
        }
    }

    fn read(self, text: &str) -> Option<Signal> {
        match self {
            Self::StageReady => text.parse().ok().map(Signal::StageReady),
            Self::TaskChanged => {
                let (id, owner) = text.split_once(' ')?;
                id.parse().ok().map(|id| Signal::TaskChanged(id, owner.into()))
            }
        }
    }
}

/// Listens to a channel, whose full name is `name`, until the tokio task is aborted.
pub(crate) async fn listen(
    client: Client,
    channel: Channel,
    name: String,
    sender: broadcast::Sender<Signal>,
) {
    let pauses = ExponentialBuilder::default()
        .with_min_delay(PAUSE.0)
        .with_max_delay(PAUSE.1)
        .without_max_times()
        .with_jitter();
    let mut pause = pauses.build();
    loop {
        match timeout(CONNECT_TIMEOUT, subscribe(&client, &name)).await {
            Ok(Ok((sink, stream))) => {
                pause = pauses.build();
                // Without a receiver at the moment the message is dropped.
                let _ = sender.send(Signal::Reconnected);
                forward(channel, sink, stream, &sender).await;
                tracing::warn!("the pub/sub connection was lost");
            }
            Ok(Err(error)) => tracing::debug!(%error, "cannot subscribe"),
            Err(_) => tracing::debug!("cannot subscribe: Redis does not respond"),
        }
        sleep(pause.next().unwrap_or(PAUSE.1)).await;
    }
}

async fn subscribe(client: &Client, channel: &str) -> RedisResult<(PubSubSink, PubSubStream)> {
    let (mut sink, stream) = client.get_async_pubsub().await?.split();
    sink.subscribe(channel).await?;
    Ok((sink, stream))
}

/// Forwards signals until the connection is lost.
async fn forward(
    channel: Channel,
    mut sink: PubSubSink,
    mut stream: PubSubStream,
    sender: &broadcast::Sender<Signal>,
) {
    loop {
        match timeout(PING_AFTER, stream.next()).await {
            Ok(Some(message)) => {
                if let Some(signal) =
                    message.get_payload::<String>().ok().as_deref().and_then(|text| channel.read(text))
                {
                    let _ = sender.send(signal);
                }
            }
            Ok(None) => return,
            Err(_) => {
                if !matches!(timeout(CONNECT_TIMEOUT, sink.ping::<redis::Value>()).await, Ok(Ok(_))) {
                    return;
                }
            }
        }
    }
}

//! Pub/sub, on a connection of its own that comes back by itself.

use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, RedisResult};
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};
use wpclone_redis::CONNECT_TIMEOUT;

use crate::Signal;

/// How many signals a receiver may be behind; then it hears `Lagged`, which means: look at everything.
pub(crate) const BEHIND: usize = 1024;
/// A connection that is silent for this long is asked whether it still is one.
const IDLE: Duration = Duration::from_secs(10);
/// Pauses between attempts to connect: doubled from the first to the second, with jitter.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What its messages say.
#[derive(Clone, Copy)]
pub(crate) enum Channel {
    /// The name of a stage that has work, after it had none.
    Work,
    /// The id of a task that has changed, and its owner.
    Changed,
}

impl Channel {
    /// The last part of its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Changed => "changed",
        }
    }

    fn read(self, text: &str) -> Option<Signal> {
        match self {
            Self::Work => text.parse().ok().map(Signal::StageReady),
            Self::Changed => {
                let (id, owner) = text.split_once(' ')?;
                id.parse().ok().map(|id| Signal::TaskChanged(id, owner.into()))
            }
        }
    }
}

/// Listens to a channel, whose full name is `name`, until it is aborted.
pub(crate) async fn listen(
    client: Client,
    channel: Channel,
    name: String,
    sender: broadcast::Sender<Signal>,
) {
    let mut pause = PAUSE.0;
    loop {
        match timeout(CONNECT_TIMEOUT, subscribe(&client, &name)).await {
            Ok(Ok((sink, stream))) => {
                pause = PAUSE.0;
                // Nobody may be listening just now: no reason to stop.
                let _ = sender.send(Signal::Reconnected);
                hear(channel, sink, stream, &sender).await;
                tracing::warn!("the connection that hears of new work is lost");
            }
            Ok(Err(error)) => tracing::debug!(%error, "cannot listen for new work"),
            Err(_) => tracing::debug!("cannot listen for new work: Redis does not answer"),
        }
        let jitter = getrandom::u32().map_or(1.0, |r| 0.5 + f64::from(r) / f64::from(u32::MAX) / 2.0);
        sleep(pause.mul_f64(jitter)).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

async fn subscribe(client: &Client, channel: &str) -> RedisResult<(PubSubSink, PubSubStream)> {
    let (mut sink, stream) = client.get_async_pubsub().await?.split();
    sink.subscribe(channel).await?;
    Ok((sink, stream))
}

/// Passes signals on until the connection is gone.
async fn hear(
    channel: Channel,
    mut sink: PubSubSink,
    mut stream: PubSubStream,
    sender: &broadcast::Sender<Signal>,
) {
    loop {
        match timeout(IDLE, stream.next()).await {
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

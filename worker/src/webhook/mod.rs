//! Telling the ends of tasks to their callback addresses: one POST each, signed, through a gate of its own.
//!
//! [`message`] is what is told, [`post`] how it gets there. A delivery needs no heartbeat: it has [`LIMIT`], which is half
//! of its lease.

mod message;
mod post;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::AllowedNetworks;
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use wpclone_queue::{Delivery, FailOutcome, Queue, QueueError, RetryPolicy, StepOutput};
use wpclone_service::limiter::KeyedLimiter;
use wpclone_service::seal::Sealer;
use wpclone_service::sealed_task::open_callback;
use wpclone_service::telemetry;
use wpclone_service::webhook::WebhookSecrets;
use wpclone_task::{Code, Problem, Stage};

use crate::claiming::claim_until;
use crate::metrics::{DeliveryLabels, Metrics};
use crate::tell::until_told;
use message::Message;
use post::{Answer, post};

/// How many are told at once. They cost a connection each.
const SLOTS: u32 = 8;
/// How many calls to one host may be under way: one that stalls holds up its own messages and nobody else's.
const A_HOST: usize = 2;
/// How long a message waits whose host has as many calls as it may have.
const NO_ROOM: Duration = Duration::from_secs(5);
/// How long one attempt may take, from the name's resolution to the end of the answer.
const LIMIT: Duration = Duration::from_secs(15);
/// The longest pause between attempts, also when the receiver asks for a longer one.
const LONGEST: Duration = Duration::from_secs(4 * 3600);
/// 5 s, 10 s, 20 s … up to [`LONGEST`], each shortened by chance: about five hours in all, ten at most. With a receiver
/// that asks for [`LONGEST`] each time it is 52 hours.
const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 14,
    backoff_base: Duration::from_secs(5),
    backoff_cap: LONGEST,
    not_before: Duration::ZERO,
};

/// Tells the ends of tasks.
pub(crate) struct Webhooks {
    pub(crate) queue: Queue,
    pub(crate) sealer: Sealer,
    pub(crate) secrets: WebhookSecrets,
    pub(crate) networks: AllowedNetworks,
    pub(crate) metrics: Metrics,
    /// Calls that are under way, by host.
    pub(crate) hosts: KeyedLimiter,
    /// Cancelled when what is still being told is to be given back.
    pub(crate) hand_back: CancellationToken,
}

/// How a delivery ended, as the queue is told.
enum Ending {
    Delivered,
    /// Failed; how it is tried again.
    Failed(Box<Problem>, RetryPolicy),
    /// Its host has as many calls as it may have.
    Defer,
    Release,
}

impl Webhooks {
    /// Claims deliveries and starts them until `shutdown`. Without secrets it leaves them to other workers.
    pub(crate) async fn claim_all(
        self: &Arc<Self>,
        worker: &str,
        started: &TaskTracker,
        shutdown: &CancellationToken,
    ) {
        if self.secrets.is_empty() {
            tracing::info!("there are no WPCLONE_WEBHOOK_SECRETS: this worker calls nobody back");
            return shutdown.cancelled().await;
        }
        let claim = || self.queue.claim_delivery(worker);
        let start = |delivery, slot: OwnedSemaphorePermit| {
            let webhooks = Arc::clone(self);
            started.spawn(async move {
                webhooks.deliver(delivery).await;
                drop(slot);
            });
        };
        claim_until(shutdown, &self.queue, &[Stage::Webhook], SLOTS, claim, start).await;
    }

    async fn deliver(&self, delivery: Delivery) {
        let span = tracing::info_span!(
            "delivery", task.id = %delivery.task, webhook.id = %delivery.lease.task, attempt = delivery.attempts + 1,
            trace_id = tracing::field::Empty, outcome = tracing::field::Empty,
        );
        telemetry::continue_trace(&span, delivery.traceparent.as_deref());
        span.record("trace_id", telemetry::trace_id(&span));
        async {
            let timer = Instant::now();
            let ending = tokio::select! {
                biased;
                () = self.hand_back.cancelled() => Ending::Release,
                ending = self.attempt(&delivery) => ending,
            };
            let told = until_told(|| self.tell(&delivery, &ending)).await;
            let labels = DeliveryLabels { outcome: ending.outcome(told), code: ending.code() };
            tracing::Span::current().record("outcome", labels.outcome);
            let took_ms = timer.elapsed().as_millis() as u64;
            match &ending {
                Ending::Failed(problem, _) => {
                    let outcome = labels.outcome;
                    tracing::warn!(outcome, took_ms, code = %problem.code, detail = %problem.detail, "not delivered");
                }
                // Comes back every few seconds for as long as the host is slow.
                Ending::Defer => tracing::debug!("the host is being called as often as it may be"),
                _ => tracing::info!(outcome = labels.outcome, took_ms, "the delivery ended"),
            }
            self.metrics.delivery(labels);
        }
        .instrument(span)
        .await;
    }

    /// One attempt. An address that this worker cannot open may be one for another, which has its key.
    async fn attempt(&self, delivery: &Delivery) -> Ending {
        let callback = match open_callback(&self.sealer, delivery.task, &delivery.sealed_callback) {
            Ok(callback) => callback,
            Err(error) => {
                let detail = format!("The callback address cannot be opened: {error}.");
                return failed(Code::WorkerFault, detail, Duration::ZERO);
            }
        };
        let url = callback.url();
        let Some(_call) = self.hosts.try_acquire(url.host_str().unwrap_or_default(), A_HOST) else {
            return Ending::Defer;
        };
        // Not where to: the address is the owner's secret, its host with it.
        tracing::info!("calling back");
        let id = delivery.lease.task.to_string();
        let message = Message::new(&id, delivery, &self.secrets, Timestamp::now());
        match message {
            Ok(message) => judge(post(url, message, self.networks.clone(), LIMIT).await),
            Err(error) => for_good(Code::WorkerFault, format!("The message cannot be written: {error}.")),
        }
    }

    async fn tell(&self, delivery: &Delivery, ending: &Ending) -> Result<Option<FailOutcome>, QueueError> {
        let lease = &delivery.lease;
        match ending {
            Ending::Delivered => self.queue.complete(lease, &StepOutput::default()).await.map(|_| None),
            Ending::Failed(problem, retry) => self.queue.fail_with(lease, problem, retry).await.map(Some),
            Ending::Defer => self.queue.defer(lease, NO_ROOM).await.map(|()| None),
            Ending::Release => self.queue.release(lease).await.map(|()| None),
        }
    }
}

/// What an answer means: 2xx is delivered, 410 wants no more, everything else may pass.
fn judge(answer: Answer) -> Ending {
    let failed = |detail, not_before| failed(Code::CallbackFailed, detail, not_before);
    match answer {
        Answer::Status(200..=299, _) => Ending::Delivered,
        Answer::Status(410, _) => {
            for_good(Code::CallbackRefused, "The callback address answered 410.".into())
        }
        Answer::Status(status, wait) => {
            let wait = wait.filter(|_| matches!(status, 429 | 503)).unwrap_or_default();
            failed(format!("The callback address answered {status}."), wait.min(LONGEST))
        }
        Answer::NotAllowed => for_good(
            Code::CallbackNotAllowed,
            "The callback address is in a network that callbacks may not be in.".into(),
        ),
        Answer::None(why) => failed(why, Duration::ZERO),
    }
}

/// It is tried again under [`RETRY`].
fn failed(code: Code, detail: String, not_before: Duration) -> Ending {
    Ending::Failed(
        Box::new(Problem::new(code, detail).at(Stage::Webhook)),
        RetryPolicy { not_before, ..RETRY },
    )
}

fn for_good(code: Code, detail: String) -> Ending {
    Ending::Failed(
        Box::new(Problem::new(code, detail).at(Stage::Webhook)),
        RetryPolicy { max_attempts: 1, ..RETRY },
    )
}

impl Ending {
    /// What became of it, by what the queue made of it; `told` is `None` when the queue could not be told.
    fn outcome(&self, told: Option<Option<FailOutcome>>) -> &'static str {
        match (self, told) {
            (_, None) => "lost",
            (_, Some(Some(FailOutcome::Retrying(_)))) => "retrying",
            (Self::Delivered, _) => "delivered",
            (Self::Failed(..), _) => "failed",
            (Self::Defer, _) => "deferred",
            (Self::Release, _) => "released",
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Failed(problem, _) => problem.code.as_str(),
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(answer: Answer) -> (Code, RetryPolicy) {
        match judge(answer) {
            Ending::Failed(problem, retry) => (problem.code, retry),
            _ => panic!("it failed"),
        }
    }

    #[test]
    fn only_2xx_is_delivered_and_what_says_never_is_tried_once() {
        for status in [200, 202, 204, 299] {
            assert!(matches!(judge(Answer::Status(status, None)), Ending::Delivered), "{status}");
        }
        for status in [301, 302, 307, 400, 401, 404, 429, 500, 503] {
            assert_eq!(failed(Answer::Status(status, None)), (Code::CallbackFailed, RETRY), "{status}");
        }
        assert_eq!(failed(Answer::None("silence".into())).1, RETRY);
        let (code, retry) = failed(Answer::Status(410, None));
        assert_eq!((code, retry.max_attempts), (Code::CallbackRefused, 1));
        let (code, retry) = failed(Answer::NotAllowed);
        assert_eq!((code, retry.max_attempts), (Code::CallbackNotAllowed, 1));
    }

    #[test]
    fn a_receiver_may_ask_for_a_pause_but_not_for_ever() {
        let wait = |status, seconds| {
            failed(Answer::Status(status, Some(Duration::from_secs(seconds)))).1.not_before.as_secs()
        };
        assert_eq!((wait(429, 60), wait(503, 60), wait(500, 60)), (60, 60, 0));
        assert_eq!(wait(503, u64::MAX), LONGEST.as_secs());
    }
}

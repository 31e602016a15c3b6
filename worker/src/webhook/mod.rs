//! Webhooks: reports the end of a task to its callback address, by one signed POST.
//!
//! [`message`] makes the message, [`post`] sends it. A delivery needs no heartbeat after the first: its deadline is half of
//! its lease.

mod message;
mod post;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use wpclone_http_server::KeyedLimiter;
use wpclone_queue::{ClaimAttempt, Delivery, FailOutcome, Queue, QueueError, RetryPolicy, StoredOutput};
use wpclone_service::seal::Sealer;
use wpclone_service::sealed_task::open_callback;
use wpclone_service::telemetry;
use wpclone_service::webhook::WebhookSecrets;
use wpclone_task::{Code, Problem, Stage};

use crate::claim_loop::claim_loop;
use crate::lease;
use crate::metrics::{DeliveryLabels, Metrics};
use crate::net::EgressRules;
use crate::report_outcome::report_with_retry;
use crate::slots::{Slot, Slots};
use message::Message;
use post::{Response, post};

/// How many deliveries run at once, at most half of them of one owner. Each costs a connection.
const SLOTS: u32 = 8;
/// How many requests to one host run at once: a host that stalls delays only its own messages.
const PER_HOST: usize = 2;
/// How long a message waits when its host is at that limit.
const HOST_BUSY_DELAY: Duration = Duration::from_secs(5);
/// The deadline of one attempt, from resolving the name to the end of the response.
const DEADLINE: Duration = Duration::from_secs(15);
/// The longest delay between attempts, even if the receiver asks for a longer one.
const MAX_DELAY: Duration = Duration::from_secs(4 * 3600);
/// 5 s, 10 s, 20 s … up to [`MAX_DELAY`], with full jitter: about five hours in all, ten at most. With a receiver that
/// asks for [`MAX_DELAY`] each time it is 52 hours.
const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 14,
    backoff_base: Duration::from_secs(5),
    backoff_cap: MAX_DELAY,
    not_before: Duration::ZERO,
};

/// Delivers webhooks.
pub(crate) struct Webhooks {
    pub(crate) queue: Queue,
    pub(crate) sealer: Sealer,
    pub(crate) secrets: WebhookSecrets,
    pub(crate) egress: EgressRules,
    pub(crate) metrics: Metrics,
    /// Requests that run, by host.
    pub(crate) hosts: KeyedLimiter,
    /// Cancelled when deliveries that still run are to be released.
    pub(crate) release: CancellationToken,
}

/// How a delivery ended, as it is reported to the queue.
enum Report {
    Delivered,
    /// With the rule for retries.
    Failed(Box<Problem>, RetryPolicy),
    /// Its host is at its limit.
    Defer,
    Release,
}

impl Webhooks {
    /// Claims and starts deliveries until `shutdown`. Without secrets it leaves them to other workers.
    pub(crate) async fn claim_all(
        self: &Arc<Self>,
        worker: &str,
        started: &TaskTracker,
        shutdown: &CancellationToken,
    ) {
        if self.secrets.is_empty() {
            tracing::info!("WPCLONE_WEBHOOK_SECRETS is not set: this worker delivers no webhooks");
            return shutdown.cancelled().await;
        }
        let claim = async |attempt: &ClaimAttempt| self.queue.claim_delivery_with(worker, attempt).await;
        let start = |delivery: Delivery, mut slot: Slot| {
            if delivery.shares_slots {
                slot.set_owner(&delivery.owner);
            }
            let webhooks = Arc::clone(self);
            started.spawn(async move {
                webhooks.deliver(delivery).await;
                drop(slot);
            });
        };
        let slots = Slots::half_for_one_owner(SLOTS);
        claim_loop(shutdown, &self.queue, &[Stage::Webhook], slots, claim, start).await;
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
            let report = tokio::select! {
                biased;
                () = self.release.cancelled() => Report::Release,
                report = self.attempt_confirmed(&delivery) => report,
            };
            let reported = self.report_with_retry(&delivery, &report).await;
            let labels = DeliveryLabels { outcome: report.outcome(reported), code: report.code() };
            tracing::Span::current().record("outcome", labels.outcome);
            let took_ms = timer.elapsed().as_millis() as u64;
            match &report {
                Report::Failed(problem, _) => {
                    let outcome = labels.outcome;
                    tracing::warn!(outcome, took_ms, code = %problem.code, detail = %problem.detail, "the delivery failed");
                }
                // Repeated every few seconds while the host is slow.
                Report::Defer => tracing::debug!("the host is at its limit; the delivery is deferred"),
                _ => tracing::info!(outcome = labels.outcome, took_ms, "the delivery ended"),
            }
            self.metrics.delivery(labels);
        }
        .instrument(span)
        .await;
    }

    /// One attempt, once the claim is confirmed.
    async fn attempt_confirmed(&self, delivery: &Delivery) -> Report {
        match lease::confirm(&self.queue, &delivery.lease, delivery.lease_duration).await {
            Ok(_) => self.attempt(delivery).await,
            Err(error) => {
                tracing::warn!(%error, "the claim could not be confirmed; nothing is sent");
                Report::Release
            }
        }
    }

    /// One attempt. Another worker may have the key for an address that this one cannot open.
    async fn attempt(&self, delivery: &Delivery) -> Report {
        let callback = match open_callback(&self.sealer, delivery.task, &delivery.sealed_callback) {
            Ok(callback) => callback,
            Err(error) => {
                let detail = format!("The callback address cannot be opened: {error}.");
                return failed(Code::WorkerFault, detail, Duration::ZERO);
            }
        };
        let url = callback.url();
        let Some(_permit) = self.hosts.try_acquire(url.host_str().unwrap_or_default(), PER_HOST) else {
            return Report::Defer;
        };
        // Without the address: it is a secret of the owner's, and so is its host.
        tracing::info!("sending the webhook");
        let id = delivery.lease.task.to_string();
        let message = Message::new(&id, delivery, &self.secrets, Timestamp::now());
        match message {
            Ok(message) => evaluate(post(url, message, self.egress.clone(), DEADLINE).await),
            Err(error) => permanent(Code::WorkerFault, format!("The message cannot be serialised: {error}.")),
        }
    }

    /// Reports the end of an attempt. A delivery whose report the queue rejects fails, and is retried by its rule.
    async fn report_with_retry(&self, delivery: &Delivery, report: &Report) -> Option<Option<FailOutcome>> {
        let error = match report_with_retry(|| self.report(delivery, report)).await {
            Ok(outcome) => return Some(outcome),
            Err(error) => error,
        };
        tracing::error!(%error, "the end of the delivery was not stored");
        let failure = Report::Failed(Box::new(error.problem()?.at(Stage::Webhook)), RETRY);
        report_with_retry(|| self.report(delivery, &failure)).await.ok()
    }

    async fn report(&self, delivery: &Delivery, report: &Report) -> Result<Option<FailOutcome>, QueueError> {
        let lease = &delivery.lease;
        match report {
            Report::Delivered => self.queue.complete(lease, &StoredOutput::default()).await.map(|_| None),
            Report::Failed(problem, retry) => self.queue.fail_with(lease, problem, retry).await.map(Some),
            Report::Defer => self.queue.defer(lease, HOST_BUSY_DELAY).await.map(|()| None),
            Report::Release => self.queue.release(lease).await.map(|()| None),
        }
    }
}

/// What a response means: 2xx is delivered, 410 rejects the message for good, everything else is retried.
fn evaluate(response: Response) -> Report {
    let failed = |detail, not_before| failed(Code::CallbackFailed, detail, not_before);
    match response {
        Response::Status(200..=299, _) => Report::Delivered,
        Response::Status(410, _) => {
            permanent(Code::CallbackRefused, "The callback address returned 410.".into())
        }
        Response::Status(status, wait) => {
            let wait = wait.filter(|_| matches!(status, 429 | 503)).unwrap_or_default();
            failed(format!("The callback address returned {status}."), wait.min(MAX_DELAY))
        }
        Response::NotAllowed => permanent(
            Code::CallbackNotAllowed,
            "The callback address is in a network that callbacks may not be in.".into(),
        ),
        Response::Failed(why) => failed(why, Duration::ZERO),
    }
}

/// A failure that is retried under [`RETRY`].
fn failed(code: Code, detail: String, not_before: Duration) -> Report {
    Report::Failed(
        Box::new(Problem::new(code, detail).at(Stage::Webhook)),
        RetryPolicy { not_before, ..RETRY },
    )
}

fn permanent(code: Code, detail: String) -> Report {
    Report::Failed(
        Box::new(Problem::new(code, detail).at(Stage::Webhook)),
        RetryPolicy { max_attempts: 1, ..RETRY },
    )
}

impl Report {
    /// The outcome for log and metrics. `reported`: the queue's answer; `None` when it could not be reported.
    fn outcome(&self, reported: Option<Option<FailOutcome>>) -> &'static str {
        match (self, reported) {
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

    fn failed(response: Response) -> (Code, RetryPolicy) {
        match evaluate(response) {
            Report::Failed(problem, retry) => (problem.code, retry),
            _ => panic!("it failed"),
        }
    }

    #[test]
    fn only_2xx_is_delivered_and_a_permanent_failure_is_not_retried() {
        for status in [200, 202, 204, 299] {
            assert!(matches!(evaluate(Response::Status(status, None)), Report::Delivered), "{status}");
        }
        for status in [301, 302, 307, 400, 401, 404, 429, 500, 503] {
            assert_eq!(failed(Response::Status(status, None)), (Code::CallbackFailed, RETRY), "{status}");
        }
        assert_eq!(failed(Response::Failed("silence".into())).1, RETRY);
        let (code, retry) = failed(Response::Status(410, None));
        assert_eq!((code, retry.max_attempts), (Code::CallbackRefused, 1));
        let (code, retry) = failed(Response::NotAllowed);
        assert_eq!((code, retry.max_attempts), (Code::CallbackNotAllowed, 1));
    }

    #[test]
    fn a_receiver_may_ask_for_a_delay_up_to_the_limit() {
        let wait = |status, seconds| {
            failed(Response::Status(status, Some(Duration::from_secs(seconds)))).1.not_before.as_secs()
        };
        assert_eq!((wait(429, 60), wait(503, 60), wait(500, 60)), (60, 60, 0));
        assert_eq!(wait(503, u64::MAX), MAX_DELAY.as_secs());
    }
}

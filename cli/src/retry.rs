//! Retry policies of requests.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::failure::Failure;

/// How often and after which delays a request is retried.
#[derive(Clone, Copy)]
pub(crate) struct RetryPolicy {
    /// Delays between attempts when the API sends no `Retry-After`.
    pub(crate) plan: ExponentialBuilder,
    /// Longest `Retry-After` that is honoured; with a longer one the request fails.
    max_retry_after: Duration,
    /// Whether a wait for `Retry-After` is printed. Not needed beside a progress bar.
    announced: bool,
}

/// A few attempts over a second or two: a lost connection, an API that is being restarted.
pub(crate) fn short_outage() -> RetryPolicy {
    let plan = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_factor(3.0)
        .with_max_times(2)
        .with_jitter();
    RetryPolicy { plan, max_retry_after: Duration::from_secs(10), announced: true }
}

/// Attempts over most of a minute, for requests about a task that runs meanwhile.
pub(crate) fn long_outage() -> RetryPolicy {
    let plan = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(250))
        .with_max_delay(Duration::from_secs(10))
        .with_max_times(9)
        .with_jitter();
    RetryPolicy { plan, max_retry_after: Duration::from_secs(60), announced: false }
}

impl RetryPolicy {
    /// The delays between attempts.
    pub(crate) fn delays(&self) -> ExponentialBackoff {
        self.plan.build()
    }

    /// The delay after this failure, given the planned one; `None` gives up.
    pub(crate) fn wait(&self, failure: &Failure, planned: Option<Duration>) -> Option<Duration> {
        let (planned, Some(retry_after)) = (planned?, failure.retry_after()) else { return planned };
        (retry_after <= self.max_retry_after).then(|| retry_after.max(planned))
    }

    /// Prints why the program waits.
    pub(crate) fn announce(&self, failure: &Failure, wait: Duration) {
        if self.announced && failure.retry_after().is_some() {
            let why = crate::text::sanitize(&failure.to_string());
            eprintln!("{why} Retrying in {} s.", wait.as_secs().max(1));
        }
    }
}

/// Parses `Retry-After` in seconds (RFC 9110, section 10.2.3). Our API sends no dates.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use wpclone_task::{Code, Problem};

    use super::*;

    fn busy(retry_after: Option<u64>) -> Failure {
        Failure::Problem {
            status: StatusCode::TOO_MANY_REQUESTS,
            problem: Box::new(Problem::new(Code::RateLimited, "Too much.")),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn retry_after_is_honoured_up_to_the_policys_maximum() {
        let planned = Duration::from_millis(200);
        let wait = |retry_after, planned| short_outage().wait(&busy(retry_after), planned);
        assert_eq!(wait(None, Some(planned)), Some(planned));
        assert_eq!(wait(Some(7), Some(planned)), Some(Duration::from_secs(7)));
        assert_eq!(wait(Some(0), Some(planned)), Some(planned));
        assert_eq!(wait(Some(11), Some(planned)), None);
        assert_eq!(wait(Some(1), None), None, "no attempts are left");
    }
}

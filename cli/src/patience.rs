//! How often, and how long apart, a request is tried again.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::failure::Failure;

/// A plan for trying again.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// Without a wish of the API.
    pub(crate) plan: ExponentialBuilder,
    /// The longest `Retry-After` that is waited for.
    longest: Duration,
    /// Whether such a wait is said; a progress bar says enough.
    aloud: bool,
}

/// A few tries over a second or two: a lost connection, an API that is being restarted.
pub(crate) fn short_outage() -> Patience {
    let plan = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_factor(3.0)
        .with_max_times(2)
        .with_jitter();
    Patience { plan, longest: Duration::from_secs(10), aloud: true }
}

/// Tries over most of a minute, for a task that is under way all the same.
pub(crate) fn long_outage() -> Patience {
    let plan = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(250))
        .with_max_delay(Duration::from_secs(10))
        .with_max_times(9)
        .with_jitter();
    Patience { plan, longest: Duration::from_secs(60), aloud: false }
}

impl Patience {
    /// The delays of the plan.
    pub(crate) fn delays(&self) -> ExponentialBackoff {
        self.plan.build()
    }

    /// How long to wait after this failure when the plan says `planned`; `None`: give up.
    pub(crate) fn wait(&self, failure: &Failure, planned: Option<Duration>) -> Option<Duration> {
        let (planned, Some(wished)) = (planned?, failure.retry_after()) else { return planned };
        (wished <= self.longest).then(|| wished.max(planned))
    }

    /// Says why nothing happens for a while.
    pub(crate) fn say(&self, failure: &Failure, wait: Duration) {
        if self.aloud && failure.retry_after().is_some() {
            let why = crate::text::clean(&failure.to_string());
            eprintln!("{why} Trying again in {} s.", wait.as_secs().max(1));
        }
    }
}

/// `Retry-After` in seconds; our API sends no dates.
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
    fn the_apis_wish_is_waited_for_when_it_is_not_too_long() {
        let planned = Duration::from_millis(200);
        let wait = |wished, planned| short_outage().wait(&busy(wished), planned);
        assert_eq!(wait(None, Some(planned)), Some(planned));
        assert_eq!(wait(Some(7), Some(planned)), Some(Duration::from_secs(7)));
        assert_eq!(wait(Some(0), Some(planned)), Some(planned));
        assert_eq!(wait(Some(11), Some(planned)), None);
        assert_eq!(wait(Some(1), None), None, "the plan has no further try");
    }
}

//! Bounds of paged responses: whatever a site answers, reading them ends.

use std::time::{Duration, Instant};

use crate::ClientError;
use crate::cursor::Cursor;

/// The most pages in a row, and in all, that may bring nothing: while a site computes the digest of a large file or reads a
/// large value, its pages are empty.
const MAX_EMPTY_PAGES: u32 = 10_000;
/// The longest time without anything new.
const MAX_IDLE: Duration = Duration::from_secs(600);
/// The most steps of a route that is repeated until it is done. A step works for `budget_ms`, some seconds.
const MAX_STEPS: u32 = 10_000;
/// The longest time that a route is repeated for.
const MAX_STEPS_TIME: Duration = Duration::from_secs(3600);

/// Counts the pages of one list.
#[derive(Debug)]
pub(crate) struct Paging {
    /// What is listed, for errors.
    what: &'static str,
    max_items: u64,
    items: u64,
    empty_pages: u32,
    progress_at: Instant,
}

impl Paging {
    /// A list of at most `max_items`.
    pub(crate) fn new(what: &'static str, max_items: u64) -> Self {
        Self { what, max_items, items: 0, empty_pages: 0, progress_at: Instant::now() }
    }

    /// Records a page with so many items, and where it continues.
    ///
    /// # Errors
    /// The list has too many items, brings nothing for too long, or continues where it was.
    pub(crate) fn page(
        &mut self,
        items: u64,
        before: Option<&Cursor>,
        after: Option<&Cursor>,
    ) -> Result<(), ClientError> {
        if after.is_some() && before == after {
            return Err(ClientError::Malformed("a cursor that stays where it was"));
        }
        self.items = self.items.saturating_add(items);
        if self.items > self.max_items {
            return Err(ClientError::Endless(self.what));
        }
        if items > 0 {
            self.progress_at = Instant::now();
            return Ok(());
        }
        self.empty_pages += 1;
        if self.empty_pages > MAX_EMPTY_PAGES || self.progress_at.elapsed() > MAX_IDLE {
            return Err(ClientError::Endless(self.what));
        }
        Ok(())
    }
}

/// Counts the steps of a route that is repeated until it is done.
#[derive(Debug)]
pub(crate) struct Steps {
    route: &'static str,
    steps: u32,
    started: Instant,
}

impl Steps {
    pub(crate) fn new(route: &'static str) -> Self {
        Self { route, steps: 0, started: Instant::now() }
    }

    /// Records a step that did not finish.
    ///
    /// # Errors
    /// There were too many, or they take too long.
    pub(crate) fn not_done(&mut self) -> Result<(), ClientError> {
        self.steps += 1;
        if self.steps >= MAX_STEPS || self.started.elapsed() > MAX_STEPS_TIME {
            return Err(ClientError::Endless(self.route));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(n: u32) -> Cursor {
        serde_json::from_value(serde_json::json!({ "n": n })).unwrap()
    }

    #[test]
    fn a_list_ends_by_its_items_or_its_empty_pages() {
        let mut paging = Paging::new("an index", 10);
        assert!(paging.page(10, None, Some(&cursor(0))).is_ok());
        let error = paging.page(1, Some(&cursor(0)), Some(&cursor(1))).unwrap_err();
        assert_eq!(error.to_string(), "the site's answers have no end: an index");

        let mut paging = Paging::new("an index", 10);
        let ends_at = (0..20_000).find(|n| paging.page(0, Some(&cursor(*n)), Some(&cursor(n + 1))).is_err());
        assert_eq!(ends_at, Some(MAX_EMPTY_PAGES));
        let stays = Paging::new("an index", 10).page(1, Some(&cursor(1)), Some(&cursor(1)));
        assert!(matches!(stays, Err(ClientError::Malformed(_))));
    }

    #[test]
    fn a_list_ends_when_it_brings_nothing_for_ten_minutes() {
        let ago = |seconds| Instant::now().checked_sub(MAX_IDLE + Duration::from_secs(seconds)).unwrap();
        let mut paging = Paging::new("an index", 10);
        paging.progress_at = ago(0) + Duration::from_secs(60);
        assert!(paging.page(0, None, Some(&cursor(0))).is_ok());
        paging.progress_at = ago(1);
        assert!(paging.page(1, None, Some(&cursor(1))).is_ok(), "it brought something");
        assert!(paging.page(0, None, Some(&cursor(2))).is_ok());
        paging.progress_at = ago(1);
        assert!(matches!(paging.page(0, None, Some(&cursor(3))), Err(ClientError::Endless(_))));
    }

    #[test]
    fn a_route_that_is_never_done_ends_by_its_steps_or_its_time() {
        let mut steps = Steps::new("swap");
        assert_eq!((0..MAX_STEPS * 2).find(|_| steps.not_done().is_err()), Some(MAX_STEPS - 1));
        let mut steps = Steps::new("swap");
        assert!(steps.not_done().is_ok());
        steps.started = Instant::now().checked_sub(MAX_STEPS_TIME + Duration::from_secs(1)).unwrap();
        assert!(matches!(steps.not_done(), Err(ClientError::Endless("swap"))));
    }
}

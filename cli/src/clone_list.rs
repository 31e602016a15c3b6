//! The list of clones: once, or again whenever it changes.

use std::io::IsTerminal as _;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use wpclone_task::{CloneList, CloneName, CloneView};

use crate::client::{Api, EventStream, MAX_PAGES, PAGE_SIZE};
use crate::failure::Failure;
use crate::retry::{RetryPolicy, long_outage, short_outage};
use crate::tables;
use crate::text::{json, print};

/// How often the list is read without a signal. Signals are those of tasks; workers publish clones as often as this.
const POLL_INTERVAL: Duration = Duration::from_secs(15);
/// The list is not read more often.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Moves the cursor of a terminal to its first line, and clears what is below (ECMA-48).
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Which clones.
pub(crate) struct ListQuery {
    /// The most clones.
    pub(crate) limit: u32,
    /// Where the list begins.
    pub(crate) cursor: Option<CloneName>,
}

/// A list of clones, parsed and as received.
struct Listed {
    views: Vec<CloneView>,
    raw: Vec<Value>,
    next: Option<CloneName>,
}

impl Listed {
    /// Reads it, page by page up to the limit.
    async fn read(api: &Api, query: &ListQuery, policy: &RetryPolicy) -> Result<Self, Failure> {
        let mut list = Self { views: Vec::new(), raw: Vec::new(), next: query.cursor.clone() };
        for _ in 0..MAX_PAGES {
            let missing = query.limit.saturating_sub(u32::try_from(list.views.len()).unwrap_or(u32::MAX));
            let mut pairs = vec![("limit", missing.min(PAGE_SIZE).to_string())];
            pairs.extend(list.next.take().map(|cursor| ("cursor", cursor.to_string())));
            let (page, mut raw) = api.get_with::<CloneList>("/clones", &pairs, policy).await?;
            list.views.extend(page.clones);
            if let Some(Value::Array(clones)) = raw.get_mut("clones").map(Value::take) {
                list.raw.extend(clones);
            }
            list.next = page.next;
            if list.next.is_none() || list.views.len() >= query.limit as usize {
                break;
            }
        }
        Ok(list)
    }

    /// The list as it is printed.
    fn text(&self, as_json: bool) -> String {
        if as_json {
            let mut page = Map::from_iter([("clones".to_owned(), Value::from(self.raw.clone()))]);
            page.extend(self.next.as_ref().map(|cursor| ("next".to_owned(), Value::from(cursor.as_str()))));
            return json(&Value::Object(page));
        }
        if self.views.is_empty() { String::new() } else { tables::clones(&self.views, Timestamp::now()) }
    }

    /// The line beside the list. JSON stands alone.
    fn note(&self, as_json: bool) -> Option<String> {
        if as_json {
            return None;
        }
        if self.views.is_empty() {
            return Some("no clones".to_owned());
        }
        let cursor = self.next.as_ref()?;
        Some(format!("there are more; continue with --cursor {cursor} or raise --limit"))
    }
}

/// Prints the list.
pub(crate) async fn once(api: &Api, as_json: bool, query: &ListQuery) -> Result<(), Failure> {
    let list = Listed::read(api, query, &short_outage()).await?;
    print(&list.text(as_json))?;
    if let Some(note) = list.note(as_json) {
        eprintln!("{note}");
    }
    Ok(())
}

/// Prints the list whenever it changes, until Ctrl-C. A terminal shows the newest one alone.
pub(crate) async fn watch(api: &Api, as_json: bool, query: &ListQuery) -> Result<(), Failure> {
    tokio::select! {
        ended = print_changes(api, as_json, query) => ended,
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
    }
}

async fn print_changes(api: &Api, as_json: bool, query: &ListQuery) -> Result<(), Failure> {
    let redraws = std::io::stdout().is_terminal();
    let (mut changes, mut printed) = (Changes::new(api), None);
    loop {
        let list = Listed::read(api, query, &long_outage()).await?;
        let read_at = Instant::now();
        let is_new = printed.as_ref() != Some(&list.raw);
        let note = list.note(as_json).map(|note| format!("{note}\n")).unwrap_or_default();
        if redraws {
            // Also when only the time that is left has changed.
            print(&format!("{CLEAR}{}{note}", list.text(as_json)))?;
        } else if is_new {
            let separator = if printed.is_none() || as_json { "" } else { "\n" };
            print(&format!("{separator}{}", list.text(as_json)))?;
            eprint!("{note}");
        }
        printed = Some(list.raw);
        changes.wait(POLL_INTERVAL).await;
        sleep_until(read_at + MIN_INTERVAL).await;
        changes.skip_arrived();
    }
}

/// The API's stream of changes.
struct Changes<'a> {
    api: &'a Api,
    stream: Option<EventStream>,
    opened_at: Instant,
    /// The pause before it is opened again, which grows while streams end early, such as those through some proxies.
    pause: Duration,
    /// Whether this token may have such a stream here.
    are_supported: bool,
}

impl<'a> Changes<'a> {
    fn new(api: &'a Api) -> Self {
        Self { api, stream: None, opened_at: Instant::now(), pause: Duration::ZERO, are_supported: true }
    }

    /// Waits until something may have changed, or for `limit`.
    async fn wait(&mut self, limit: Duration) {
        if self.stream.is_none() && self.are_supported {
            sleep(self.pause).await;
            self.opened_at = Instant::now();
            match self.api.changes().await {
                Ok(stream) => self.stream = Some(stream),
                Err(failure) => self.are_supported = failure.is_transient(),
            }
        }
        let Some(stream) = &mut self.stream else { return sleep(limit).await };
        // A stream ends at its greatest age, and with the API.
        if let Ok(None) = timeout(limit, stream.next()).await {
            self.close();
        }
    }

    /// Skips the signals for which the list is read next.
    fn skip_arrived(&mut self) {
        if self.stream.as_mut().is_some_and(|stream| !stream.skip_arrived()) {
            self.close();
        }
    }

    fn close(&mut self) {
        self.stream = None;
        self.pause = match self.opened_at.elapsed() < POLL_INTERVAL {
            true => (self.pause * 2).clamp(MIN_INTERVAL, POLL_INTERVAL),
            false => Duration::ZERO,
        };
    }
}

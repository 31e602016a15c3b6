//! Times, sizes and states as people read them.

use std::fmt::{self, Display, Formatter};

use askama::filters::HtmlSafe;
use jiff::{Timestamp, Unit};
use wpclone_task::{Kind, State};

/// A past time: relative, with the exact time on hover. The script keeps it up to date.
#[derive(Debug, Clone, Copy)]
pub struct RelativeTime(pub Timestamp);

impl HtmlSafe for RelativeTime {}

impl Display for RelativeTime {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let at = self.0.round(Unit::Second).unwrap_or(self.0);
        let ago = seconds_between(at, Timestamp::now());
        let exact = at.strftime("%Y-%m-%d %H:%M:%S UTC");
        write!(f, r#"<time datetime="{at}" title="{exact}">{}</time>"#, relative(ago))
    }
}

/// The time left until a moment, with the exact time on hover. The script counts it down.
#[derive(Debug, Clone, Copy)]
pub struct Countdown(pub Timestamp);

impl HtmlSafe for Countdown {}

impl Display for Countdown {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let at = self.0.round(Unit::Second).unwrap_or(self.0);
        let left = time_left(seconds_between(Timestamp::now(), at));
        let exact = at.strftime("%Y-%m-%d %H:%M:%S UTC");
        write!(f, r#"<time datetime="{at}" title="{exact}" data-countdown>{left}</time>"#)
    }
}

/// A remaining time in its two largest units: `12 s`, `3 min 4 s`, `5 h 6 min`.
#[must_use]
pub fn time_left(seconds: u64) -> String {
    match seconds {
        0 => "over".into(),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Whole seconds from one moment to a later one; 0 when it is earlier.
#[must_use]
pub fn seconds_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_second() - from.as_second()).unwrap_or(0)
}

fn relative(ago: u64) -> String {
    if ago < 5 { "just now".into() } else { format!("{} ago", approximate_duration(ago)) }
}

/// A duration in its largest unit: `12 s`, `3 min`, `5 h`, `2 d`.
#[must_use]
pub fn approximate_duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The time between two moments: `0.4 s`, `12.3 s`, `3 min 4 s`.
#[must_use]
pub fn duration_between(from: Timestamp, to: Timestamp) -> String {
    let ms = u64::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or(0);
    match ms {
        0..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

/// A size: `812 B`, `14 KiB`, `3.2 MiB`.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        1_048_576..1_073_741_824 => tenths(bytes, 1 << 20, "MiB"),
        _ => tenths(bytes, 1 << 30, "GiB"),
    }
}

fn tenths(bytes: u64, unit: u64, name: &str) -> String {
    format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
}

/// A state as colour, shape and word.
#[derive(Debug, Clone, Copy)]
pub struct StateBadge(pub State);

impl HtmlSafe for StateBadge {}

impl Display for StateBadge {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let shape = match self.0 {
            State::Queued => r#"<circle cx="8" cy="8" r="5.5" class="line"/>"#,
            State::Running => {
                r#"<circle cx="8" cy="8" r="5.5" class="line"/><path d="M8 2.5a5.5 5.5 0 0 1 0 11z"/>"#
            }
            State::Succeeded => r#"<path d="M2.5 8.5l3.5 3.5 7.5-8" class="line"/>"#,
            State::Failed => r#"<path d="M3.5 3.5l9 9m0-9l-9 9" class="line"/>"#,
            State::Cancelled => {
                r#"<circle cx="8" cy="8" r="5.5" class="line"/><path d="M4 12L12 4" class="line"/>"#
            }
        };
        let state = self.0.as_str();
        write!(
            f,
            r#"<span class="badge {state}"><svg viewBox="0 0 16 16" aria-hidden="true">{shape}</svg>{state}</span>"#
        )
    }
}

/// The name of a kind of task in headings and lists.
#[must_use]
pub fn kind_label(kind: Kind) -> &'static str {
    match kind {
        Kind::Setup => "Setup",
        Kind::CreateAppPassword => "Application password",
        Kind::Clone => "Clone",
        Kind::ExtendClone => "Extend clone",
        Kind::DeleteClone => "Delete clone",
    }
}

/// The queue depth of the last hour as a small line chart.
#[derive(Debug, Clone)]
pub struct Sparkline(pub Vec<u64>);

impl HtmlSafe for Sparkline {}

impl Display for Sparkline {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (most, count) = (self.0.iter().copied().max().unwrap_or(0), self.0.len());
        let points: Vec<String> = self
            .0
            .iter()
            .enumerate()
            .map(|(i, depth)| {
                let x = 120 - 2 * (count - 1 - i);
                let y = 26 - 24 * depth / most.max(4);
                format!("{x},{y}")
            })
            .collect();
        write!(
            f,
            r#"<svg class="spark" viewBox="0 0 122 28" role="img" aria-label="Waiting over the last hour: at most {most}"><path d="M0 26.5H122" class="base"/><polyline points="{}"/></svg>"#,
            points.join(" ")
        )
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    #[test]
    fn durations_and_sizes_have_units() {
        assert_eq!(approximate_duration(59), "59 s");
        assert_eq!(approximate_duration(61), "1 min");
        assert_eq!(approximate_duration(7300), "2 h");
        assert_eq!(approximate_duration(200_000), "2 d");
        assert_eq!([0, 9, 184, 7300].map(time_left), ["over", "9 s", "3 min 4 s", "2 h 1 min"]);
        assert_eq!(format_bytes(812), "812 B");
        assert_eq!(format_bytes(14_500), "14 KiB");
        assert_eq!(format_bytes(3_400_000), "3.2 MiB");
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let after = |ms: i64| start + ms.milliseconds();
        assert_eq!(duration_between(start, after(400)), "0.4 s");
        assert_eq!(duration_between(start, after(12_345)), "12.3 s");
        assert_eq!(duration_between(start, after(184_000)), "3 min 4 s");
        assert_eq!(duration_between(after(5), start), "0.0 s");
    }

    #[test]
    fn a_past_time_is_shown_relative_and_exact() {
        let text = RelativeTime("2020-01-02T03:04:05.6Z".parse().unwrap()).to_string();
        assert!(text.contains(r#"title="2020-01-02 03:04:06 UTC""#) && text.contains(" d ago"), "{text}");
    }

    #[test]
    fn a_sparkline_ends_at_the_right_edge_and_stays_in_its_box() {
        let line = Sparkline(vec![0, 8, 4]).to_string();
        assert!(line.contains(r#"points="116,26 118,2 120,14""#), "{line}");
        assert!(Sparkline(vec![]).to_string().contains(r#"points="""#));
    }
}

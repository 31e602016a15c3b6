//! A task's progress on standard error: a bar on a terminal, otherwise a line per change.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use wpclone_task::Event;

use crate::failure::Failure;
use crate::follow::EventListener;
use crate::text::{format_time, print, sanitize};

/// An event as a line: percentage, step (or state), message, problem code.
pub(crate) fn event_line(event: &Event) -> String {
    let label = event.step.as_deref().unwrap_or(event.state.as_str());
    let code = event.code.as_deref().map(|c| format!(" ({c})")).unwrap_or_default();
    let Event { progress, .. } = event;
    sanitize(&format!("{:>3}% {label}: {}{code}", progress.percent, progress.message))
}

/// Shows a task's progress.
pub(crate) enum Progress {
    /// A bar on a terminal.
    Bar(ProgressBar),
    /// Lines otherwise: the last line printed, and whether the stream is connected.
    Lines(String, bool),
}

impl Progress {
    /// Shows a bar if standard error is a terminal.
    pub(crate) fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines(String::new(), true);
        }
        let bar = ProgressBar::new(100);
        if let Ok(style) = ProgressStyle::with_template("{spinner} [{bar:25}] {wide_msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self::Bar(bar)
    }

    /// Removes the bar.
    pub(crate) fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

impl EventListener for Progress {
    fn event(&mut self, event: &Event) -> Result<(), Failure> {
        let line = event_line(event);
        match self {
            Self::Bar(bar) => {
                bar.set_position(event.progress.percent.into());
                bar.set_message(line);
            }
            Self::Lines(last, _) if *last != line => {
                eprintln!("{line}");
                *last = line;
            }
            Self::Lines(..) => {}
        }
        Ok(())
    }

    fn connected(&mut self, connected: bool) {
        const LOST: &str = "connection lost, reconnecting";
        match self {
            Self::Bar(bar) if !connected => bar.set_message(LOST),
            Self::Bar(_) => {}
            Self::Lines(_, was) => {
                if std::mem::replace(was, connected) && !connected {
                    eprintln!("{LOST}");
                }
            }
        }
    }
}

/// Prints events on standard output, for `tasks ID --events`.
pub(crate) struct EventPrinter {
    /// Prints one JSON object per line instead of text.
    pub(crate) json: bool,
}

impl EventListener for EventPrinter {
    fn event(&mut self, event: &Event) -> Result<(), Failure> {
        print(&if self.json {
            format!("{}\n", serde_json::json!(event))
        } else {
            format!("{}  {}\n", format_time(event.at), event_line(event))
        })
    }

    fn connected(&mut self, _: bool) {}
}

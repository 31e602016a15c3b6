//! A task's progress on standard error: a bar on a terminal, a line for each change elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use wpclone_task::Event;

use crate::failure::Failure;
use crate::follow::Listener;
use crate::text::{clean, moment, out};

/// One line of what has happened: how far, where, what.
pub(crate) fn line(event: &Event) -> String {
    let place = event.step.as_deref().unwrap_or(event.state.as_str());
    let code = event.code.as_deref().map(|c| format!(" ({c})")).unwrap_or_default();
    let Event { progress, .. } = event;
    clean(&format!("{:>3}% {place}: {}{code}", progress.percent, progress.message))
}

/// Shows progress.
pub(crate) enum Progress {
    /// On a terminal.
    Bar(ProgressBar),
    /// In a pipe: the last line, and whether we are connected.
    Lines(String, bool),
}

impl Progress {
    /// A bar if standard error is a terminal.
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

    /// Takes the bar away; lines stay.
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

impl Listener for Progress {
    fn event(&mut self, event: &Event) -> Result<(), Failure> {
        let line = line(event);
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
        const LOST: &str = "connection lost, trying again";
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
pub(crate) struct Events {
    /// One JSON object a line instead of text.
    pub(crate) json: bool,
}

impl Listener for Events {
    fn event(&mut self, event: &Event) -> Result<(), Failure> {
        out(&if self.json {
            format!("{}\n", serde_json::json!(event))
        } else {
            format!("{}  {}\n", moment(event.at), line(event))
        })
    }

    fn connected(&mut self, _: bool) {}
}

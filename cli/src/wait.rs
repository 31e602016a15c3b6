//! Waits for a task's end, printing its progress and its outcome.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use wpclone_task::{Event, State, StoredRequest, TaskId};

use crate::args::WaitArgs;
use crate::client::{Api, Task};
use crate::failure::{Failure, TASK_FAILED};
use crate::follow::{EventListener, follow};
use crate::progress::Progress;
use crate::tables;
use crate::text::{print, print_json};

/// Timeout of the question that Ctrl-C asks.
const PROMPT_TIMEOUT: Duration = Duration::from_secs(60);

/// Follows a task to its end, skipping the events of `failures` earlier runs.
pub(crate) async fn to_end(
    api: &Api,
    json: bool,
    id: TaskId,
    wait: &WaitArgs,
    failures: u32,
) -> Result<u8, Failure> {
    let mut progress = NewEvents { listener: Progress::new(), failures };
    let limit = Duration::from_secs(wait.timeout * 60);
    let followed = tokio::select! {
        followed = tokio::time::timeout(limit, follow(api, id, &mut progress)) => Some(followed),
        _ = tokio::signal::ctrl_c() => None,
    };
    drop(progress);
    match followed {
        Some(Ok(task)) => print_outcome(api, json, &task?),
        Some(Err(_)) => Err(Failure::WaitEnded(id)),
        None => {
            eprintln!("the task keeps running; see it with: wpclone tasks {id}");
            if confirm_cancel().await {
                api.cancel(id).await?;
                eprintln!("the task is being cancelled");
            }
            Err(Failure::Interrupted)
        }
    }
}

/// Passes on only the events after `failures` final ones.
struct NewEvents<L> {
    listener: L,
    failures: u32,
}

impl<L: EventListener> EventListener for NewEvents<L> {
    fn event(&mut self, event: &Event) -> Result<(), Failure> {
        if self.failures == 0 {
            return self.listener.event(event);
        }
        self.failures -= u32::from(event.state.is_final());
        Ok(())
    }

    fn connected(&mut self, connected: bool) {
        self.listener.connected(connected);
    }

    fn polling(&mut self) {
        self.failures = 0;
    }
}

/// Prints a finished task; returns the exit code.
fn print_outcome(api: &Api, json: bool, task: &Task) -> Result<u8, Failure> {
    let final_name = task.view.result.as_ref().and_then(|result| result.get("app_name")?.as_str());
    if let (StoredRequest::CreateAppPassword { app_name, .. }, Some(final_name)) =
        (&task.view.request, final_name)
        && final_name != app_name.as_str()
    {
        eprintln!(
            "the name is taken; WordPress lists the password as: {}",
            crate::text::sanitize(final_name)
        );
    }
    let succeeded = task.view.state == State::Succeeded;
    if json {
        print_json(&task.raw)?;
    } else if succeeded {
        print(&tables::result(task))?;
    }
    if succeeded {
        return Ok(0);
    }
    match &task.view.problem {
        Some(problem) => eprint!("{}", tables::problem(api, problem, Some(&task.view))),
        None => eprintln!("the task was {}", task.view.state),
    }
    Ok(TASK_FAILED)
}

/// Asks whether to cancel the task. The answer is no without a terminal, after the timeout, and on another Ctrl-C.
async fn confirm_cancel() -> bool {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return false;
    }
    eprint!("cancel it? [y/N] ");
    let _ = std::io::stderr().flush();
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let answer = tokio::select! {
        answer = answer => answer.ok().and_then(Result::ok),
        () = tokio::time::sleep(PROMPT_TIMEOUT) => None,
        _ = tokio::signal::ctrl_c() => None,
    };
    if answer.is_none() {
        eprintln!();
    }
    answer.is_some_and(|line| matches!(line.trim(), "y" | "Y" | "yes"))
}

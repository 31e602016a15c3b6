//! The command line's arguments and help texts.

mod clones;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use wpclone_task::{AppName, Kind, Role, State, TaskId};

pub(crate) use clones::{BareStartArgs, CloneArgs, ClonesArgs, ClonesCommand};
use clones::{CLONE_HELP, CLONES_HELP};

use crate::rewrite::RewriteArgs;

const AFTER_HELP: &str = "\
Secrets:
  Access to the API: WPCLONE_TOKEN or --token-file.
  A site's password: --password-file (- is standard input), WPCLONE_SITE_PASSWORD, or a prompt.
  Neither is ever an argument: other users of the machine could read it.

Output:
  Results go to standard output, everything else to standard error.

Exit codes:
    0  done
    1  the task failed or was cancelled; for rewrite: input or output failed
    2  wrong usage, or the API rejected the request (4xx)
    3  the API cannot be reached, is busy (408, 429) or failed (5xx), or --timeout ended the wait
  130  Ctrl-C while waiting; the task keeps running unless you chose to cancel it

Examples:
  wpclone setup https://example.com --username admin
  wpclone app-password https://example.com/blog --username admin --json
  wpclone clone https://example.com --source-user admin
  wpclone clones
  wpclone tasks --state failed
  wpclone queue";

const SETUP_HELP: &str = "\
Examples:
  wpclone setup https://example.com --username admin
  pass show example | wpclone setup https://example.com --username admin --password-file -
  wpclone setup https://example.com --username admin --role target --json | jq -r .result.api_key";

const APP_PASSWORD_HELP: &str = "\
Examples:
  wpclone app-password https://example.com --username admin
  wpclone app-password https://example.com --username admin --name backup --json";

const TASKS_HELP: &str = "\
Examples:
  wpclone tasks
  wpclone tasks --state failed --kind setup --limit 100
  wpclone tasks 019ac0de-0000-7000-8000-000000000001
  wpclone tasks 019ac0de-0000-7000-8000-000000000001 --events";

const REPLAY_HELP: &str = "\
The task resumes at the step that failed. The password of its request is kept for a day after the
failure, so none is needed until then. Later it comes from WPCLONE_SITE_PASSWORD or a prompt.
--password-file always replaces the stored password.

Examples:
  wpclone replay 019ac0de-0000-7000-8000-000000000001
  pass show example | wpclone replay 019ac0de-0000-7000-8000-000000000001 --password-file -";

const TOKEN_HELP: &str = "\
Prints the token, then the line for the API's tokens file. The file holds only a hash of the token:
the token cannot be shown again.

Examples:
  wpclone token new ci --scope user
  wpclone token new ci --per-minute 60 --concurrent 5";

const SEAL_KEY_HELP: &str = "\
To rotate: append the new key to WPCLONE_SEAL_KEYS of the API and of every worker and restart them
all, so that each of them can decrypt with it. Then move it to the front and restart again. Keep the
old keys for seven days: that long a failed task can be replayed, and its callback URL is sealed
with the key that was first at the time.

Example:
  wpclone seal-key new 2026-11";

const WEBHOOK_SECRET_HELP: &str = "\
Set it in WPCLONE_WEBHOOK_SECRETS of the API and of every worker, and give it to the receivers. To
rotate, put the new secret before the old one: messages are signed with both, so receivers can
switch at any time. Then remove the old one.

Example:
  wpclone webhook-secret new";

/// Clones WordPress sites and prepares them, through wpclone's API
#[derive(Debug, Parser)]
#[command(name = "wpclone", version, max_term_width = 100, after_help = AFTER_HELP)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The API's address and the caller's token.
#[derive(Debug, Args)]
#[command(next_help_heading = "API")]
pub(crate) struct ApiArgs {
    /// Address of the API
    #[arg(
        long,
        global = true,
        env = "WPCLONE_URL",
        default_value = "http://127.0.0.1:8080",
        hide_env_values = true
    )]
    pub(crate) url: String,
    /// File that holds the token; overrides WPCLONE_TOKEN
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Install the migrator plugin on a site and read its key
    #[command(after_help = SETUP_HELP)]
    Setup {
        #[command(flatten)]
        login: LoginArgs,
        /// Whether content will be read from the site (source) or written to it (target)
        #[arg(long, default_value = Role::Source.as_str(), value_parser = names(Role::ALL.iter().map(|r| r.as_str())).try_map(|s| s.parse::<Role>()))]
        role: Role,
        #[command(flatten)]
        start: StartArgs,
    },
    /// Create an application password on a site
    #[command(after_help = APP_PASSWORD_HELP)]
    AppPassword {
        #[command(flatten)]
        login: LoginArgs,
        /// Name under which WordPress lists it
        #[arg(long, default_value = AppName::DEFAULT)]
        name: String,
        #[command(flatten)]
        start: StartArgs,
    },
    /// Copy a site: into a clone that expires, or into an empty WordPress
    #[command(after_help = CLONE_HELP)]
    Clone(CloneArgs),
    /// List clones, or show, extend, log in to or delete one
    #[command(after_help = CLONES_HELP)]
    Clones(ClonesArgs),
    /// List tasks, or show one
    #[command(after_help = TASKS_HELP)]
    Tasks(TasksArgs),
    /// Follow a task to its end
    Watch {
        /// The task's id
        id: TaskId,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Cancel a task
    Cancel {
        /// The task's id
        id: TaskId,
    },
    /// Run a failed task again
    #[command(after_help = REPLAY_HELP)]
    Replay(ReplayArgs),
    /// Show the queue's depth and the workers
    Queue,
    /// Replace a site's URLs in standard input; needs no API
    #[command(after_help = crate::rewrite::HELP)]
    Rewrite(RewriteArgs),
    /// Create a token for the API; needs no API
    #[command(after_help = TOKEN_HELP)]
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Create a key for WPCLONE_SEAL_KEYS; needs no API
    #[command(after_help = SEAL_KEY_HELP)]
    SealKey {
        #[command(subcommand)]
        command: SealKeyCommand,
    },
    /// Create a secret that webhooks are signed with; needs no API
    #[command(after_help = WEBHOOK_SECRET_HELP)]
    WebhookSecret {
        #[command(subcommand)]
        command: WebhookSecretCommand,
    },
}

/// A site and the account that logs in to it.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// URL of the site, such as https://example.com/blog
    pub(crate) site: String,
    /// User name or e-mail address of an administrator
    #[arg(long, value_name = "NAME")]
    pub(crate) username: String,
    /// File that holds the password; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

/// Options for starting a task and waiting for it.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Print the accepted task and exit, instead of waiting for its end
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Repeating a request with the same key returns the same task [default: random]
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// URL for a signed webhook when the task ends; other users of this machine can see this argument
    #[arg(long, value_name = "URL")]
    pub(crate) callback_url: Option<String>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// How long to wait for a task.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Stop waiting after this time; the task keeps running
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1440))]
    pub(crate) timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct TasksArgs {
    /// Show this task
    pub(crate) id: Option<TaskId>,
    /// Print its events until it ends
    #[arg(long, requires = "id")]
    pub(crate) events: bool,
    /// Only tasks in this state
    #[arg(long, conflicts_with = "id", value_parser = names(State::ALL.iter().map(|s| s.as_str())).try_map(|s| s.parse::<State>()))]
    pub(crate) state: Option<State>,
    /// Only tasks of this kind
    #[arg(long, conflicts_with = "id", value_parser = names(Kind::ALL.iter().map(|k| k.as_str())).try_map(|s| s.parse::<Kind>()))]
    pub(crate) kind: Option<Kind>,
    /// Only tasks whose site URL contains this text, or whose id begins with it
    #[arg(long, conflicts_with = "id", value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// Maximum number of tasks
    #[arg(long, conflicts_with = "id", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Continue a list at this cursor
    #[arg(long, conflicts_with = "id")]
    pub(crate) cursor: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The task's id
    pub(crate) id: TaskId,
    /// File that holds the password, replacing the stored one; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// The same for a clone's target
    #[arg(long, value_name = "FILE")]
    pub(crate) target_password_file: Option<PathBuf>,
    /// Print the queued task and exit, instead of waiting for its end
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token
    New {
        /// Name of its holder: 1 to 64 of A-Z a-z 0-9 . _ -
        name: String,
        /// What the token permits
        #[arg(long, value_enum, default_value_t = Scope::User)]
        scope: Scope,
        #[command(flatten)]
        limits: LimitArgs,
    },
}

/// Rate and concurrency limits of a token. The scope `metrics` takes none, because it starts no tasks.
#[derive(Debug, Default, Args)]
pub(crate) struct LimitArgs {
    /// Maximum number of tasks per minute; not for --scope metrics
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) per_minute: Option<u32>,
    /// Maximum number of unfinished tasks at once; not for --scope metrics
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) concurrent: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SealKeyCommand {
    /// Create a key
    New {
        /// Id of the key, 1 to 32 of A-Z a-z 0-9 - _ . [default: today's date]
        id: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WebhookSecretCommand {
    /// Create a secret
    New,
}

/// What a token permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    /// Start tasks; see, cancel and replay its own
    User,
    /// The same for all tasks, except for secrets in the results of others
    Operator,
    /// Read /metrics and /queue
    Metrics,
}

impl Scope {
    /// The scope as written in the tokens file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
            Self::Metrics => "metrics",
        }
    }
}

/// A parser that accepts exactly these names.
fn names(names: impl Iterator<Item = &'static str>) -> PossibleValuesParser {
    PossibleValuesParser::new(names)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}

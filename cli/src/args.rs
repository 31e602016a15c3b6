//! What can be typed.

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
  Neither is ever taken from an argument, which other users of the machine could read.

Output:
  Results go to standard output, everything else to standard error.

Exit codes:
    0  done
    1  the task failed or was cancelled; for rewrite: input or output failed
    2  wrong usage, or the API turned the request down (4xx)
    3  the API cannot be reached, is busy (408, 429) or failed (5xx), or --timeout ended the wait
  130  Ctrl-C while waiting; the task goes on unless you said otherwise

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
The task goes on from where it failed. For a day after that the password of its request is kept, and
none is needed. Then WPCLONE_SITE_PASSWORD is used, or a prompt; --password-file is used at once.

Examples:
  wpclone replay 019ac0de-0000-7000-8000-000000000001
  pass show example | wpclone replay 019ac0de-0000-7000-8000-000000000001 --password-file -";

const TOKEN_HELP: &str = "\
The first line printed is the token, the second belongs into the API's tokens file. That holds only
a hash: the token cannot be shown again.

Examples:
  wpclone token new ci --scope user
  wpclone token new ci --per-minute 60 --concurrent 5";

const SEAL_KEY_HELP: &str = "\
To rotate: put it BEHIND the others in WPCLONE_SEAL_KEYS of the API and of every worker and restart
them all, so that each can open what it seals. Then put it in front and restart again. Keep the
others until nothing is left that they sealed. That takes seven days: a failed task can be replayed
for as long as it is kept, and its callback address is sealed with the key of its time.

Example:
  wpclone seal-key new 2026-11";

const WEBHOOK_SECRET_HELP: &str = "\
Put it into WPCLONE_WEBHOOK_SECRETS of the API and of every worker, and give it to the receivers. To
rotate, put it in front of the old one: messages are signed with each, so that receivers can change
when it suits them. Then take the old one out.

Example:
  wpclone webhook-secret new";

/// Drives wpclone: prepares WordPress sites through its API.
#[derive(Debug, Parser)]
#[command(name = "wpclone", version, max_term_width = 100, after_help = AFTER_HELP)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the API is, and who calls.
#[derive(Debug, Args)]
#[command(next_help_heading = "API")]
pub(crate) struct ApiArgs {
    /// The API's address
    #[arg(
        long,
        global = true,
        env = "WPCLONE_URL",
        default_value = "http://127.0.0.1:8080",
        hide_env_values = true
    )]
    pub(crate) url: String,
    /// A file that holds the token, instead of WPCLONE_TOKEN
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
        /// What the site will be used for: content comes from it, or goes to it
        #[arg(long, default_value = Role::Source.as_str(), value_parser = names(Role::ALL.iter().map(|r| r.as_str())).try_map(|s| s.parse::<Role>()))]
        role: Role,
        #[command(flatten)]
        start: StartArgs,
    },
    /// Make an application password on a site
    #[command(after_help = APP_PASSWORD_HELP)]
    AppPassword {
        #[command(flatten)]
        login: LoginArgs,
        /// The name that WordPress lists it under
        #[arg(long, default_value = AppName::DEFAULT)]
        name: String,
        #[command(flatten)]
        start: StartArgs,
    },
    /// Copy a site: into a clone that expires, or into an empty WordPress
    #[command(after_help = CLONE_HELP)]
    Clone(CloneArgs),
    /// List clones, or show, extend, enter or delete one
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
    /// End a task
    Cancel {
        /// The task's id
        id: TaskId,
    },
    /// Do a failed task again
    #[command(after_help = REPLAY_HELP)]
    Replay(ReplayArgs),
    /// Show how much work waits, and who does it
    Queue,
    /// Move a site's addresses in what comes on standard input; works without the API
    #[command(after_help = crate::rewrite::HELP)]
    Rewrite(RewriteArgs),
    /// Make tokens for the API; works without it
    #[command(after_help = TOKEN_HELP)]
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Make keys that secrets are sealed with; works without the API
    #[command(after_help = SEAL_KEY_HELP)]
    SealKey {
        #[command(subcommand)]
        command: SealKeyCommand,
    },
    /// Make secrets that callbacks are signed with; works without the API
    #[command(after_help = WEBHOOK_SECRET_HELP)]
    WebhookSecret {
        #[command(subcommand)]
        command: WebhookSecretCommand,
    },
}

/// A site and who logs in to it.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The site's address, such as https://example.com/blog
    pub(crate) site: String,
    /// The administrator's login name or e-mail address
    #[arg(long, value_name = "NAME")]
    pub(crate) username: String,
    /// A file that holds the password; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

/// How a task is started and waited for.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Print the accepted task instead of waiting for its end
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// The same key with the same request gives the same task; a random one by default
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Have the task's end told to this address, signed; other users of this machine can read it here
    #[arg(long, value_name = "URL")]
    pub(crate) callback_url: Option<String>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// How long to wait.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Stop waiting after this time; the task goes on
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1440))]
    pub(crate) timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct TasksArgs {
    /// Show this one
    pub(crate) id: Option<TaskId>,
    /// Print its events until it ends
    #[arg(long, requires = "id")]
    pub(crate) events: bool,
    /// Only those in this state
    #[arg(long, conflicts_with = "id", value_parser = names(State::ALL.iter().map(|s| s.as_str())).try_map(|s| s.parse::<State>()))]
    pub(crate) state: Option<State>,
    /// Only those of this kind
    #[arg(long, conflicts_with = "id", value_parser = names(Kind::ALL.iter().map(|k| k.as_str())).try_map(|s| s.parse::<Kind>()))]
    pub(crate) kind: Option<Kind>,
    /// Only those on sites whose address contains this, or with an id that begins with it
    #[arg(long, conflicts_with = "id", value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// At most so many
    #[arg(long, conflicts_with = "id", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Go on where another list ended
    #[arg(long, conflicts_with = "id")]
    pub(crate) cursor: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The task's id
    pub(crate) id: TaskId,
    /// A file that holds the password, instead of that of the request; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// The same for the target of a clone
    #[arg(long, value_name = "FILE")]
    pub(crate) target_password_file: Option<PathBuf>,
    /// Print the queued task instead of waiting for its end
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make one
    New {
        /// Who it is for: 1 to 64 of A-Z a-z 0-9 . _ -
        name: String,
        /// What it may do
        #[arg(long, value_enum, default_value_t = Scope::User)]
        scope: Scope,
        #[command(flatten)]
        limits: LimitArgs,
    },
}

/// How much a token may ask for. Those of scope metrics ask for nothing.
#[derive(Debug, Default, Args)]
pub(crate) struct LimitArgs {
    /// At most so many tasks a minute; not for --scope metrics
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) per_minute: Option<u32>,
    /// At most so many unfinished tasks at once; not for --scope metrics
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) concurrent: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SealKeyCommand {
    /// Make one
    New {
        /// What to call it, 1 to 32 of A-Z a-z 0-9 - _ . [default: today's date]
        id: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WebhookSecretCommand {
    /// Make one
    New,
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    /// Start tasks, see, cancel and replay its own
    User,
    /// See and do everything; secrets in results of others excepted
    Operator,
    /// Read /metrics and /queue
    Metrics,
}

impl Scope {
    /// As the tokens file has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
            Self::Metrics => "metrics",
        }
    }
}

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

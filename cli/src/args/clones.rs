//! Arguments of `wpclone clone` and `wpclone clones`.

use std::path::PathBuf;

use clap::builder::TypedValueParser as _;
use clap::{Args, Subcommand};
use wpclone_task::{CloneName, Isolation};

use super::{StartArgs, WaitArgs, names};

pub(super) const CLONE_HELP: &str = "\
Prints the clone's address, login and expiry, and a summary of what was copied. The full report is
the task's artifact fidelity.json. The clone is deleted when it expires.

Examples:
  wpclone clone https://example.com --source-user admin
  wpclone clone --source https://example.com --source-user admin --ttl 240 --json
  wpclone clone https://example.com --source-user admin --target https://b.example --target-user me

With --target the copy goes into an empty WordPress of yours and never expires. Its users are then
those of the source. It sends no mail and makes no outgoing requests until you delete the must-use
plugin that the result names.";

pub(super) const CLONES_HELP: &str = "\
Examples:
  wpclone clones
  wpclone clones --watch
  wpclone clones show clone-20261123-163105-abcdef
  wpclone clones extend clone-20261123-163105-abcdef --ttl 240
  wpclone clones login clone-20261123-163105-abcdef
  wpclone clones delete clone-20261123-163105-abcdef";

#[derive(Debug, Args)]
pub(crate) struct CloneArgs {
    /// URL of the site to copy, such as https://example.com/blog
    #[arg(required_unless_present = "source", conflicts_with = "source")]
    pub(crate) site: Option<String>,
    /// The same as SITE, as an option
    #[arg(long, value_name = "URL")]
    pub(crate) source: Option<String>,
    /// User name or e-mail address of an administrator of the source
    #[arg(long, value_name = "NAME", visible_alias = "username")]
    pub(crate) source_user: String,
    /// File that holds that administrator's password; - is standard input
    #[arg(long, value_name = "FILE", visible_alias = "password-file")]
    pub(crate) source_password_file: Option<PathBuf>,
    /// URL of an empty WordPress of yours to copy into, instead of a clone that expires
    #[arg(long, value_name = "URL", requires = "target_user")]
    pub(crate) target: Option<String>,
    /// User name or e-mail address of an administrator of the target
    #[arg(long, value_name = "NAME", requires = "target")]
    pub(crate) target_user: Option<String>,
    /// File that holds that administrator's password; - is standard input
    #[arg(long, value_name = "FILE", requires = "target")]
    pub(crate) target_password_file: Option<PathBuf>,
    /// Lifetime of the clone, counted from when it is ready [default: 60]
    #[arg(long, value_name = "MINUTES", conflicts_with = "target", value_parser = clap::value_parser!(u16).range(5..=1440))]
    pub(crate) ttl: Option<u16>,
    /// Whether the clone gets a database in the shared server, or a database server of its own
    /// [default: shared]
    #[arg(long, conflicts_with = "target", value_parser = names(Isolation::ALL.iter().map(|i| i.as_str())).try_map(|s| s.parse::<Isolation>()))]
    pub(crate) isolation: Option<Isolation>,
    /// Do not remove the migrator plugin from the source (and the target) at the end
    #[arg(long)]
    pub(crate) keep_migrator: bool,
    /// Copy the tables without WordPress' table prefix too, except those of other installations
    #[arg(long)]
    pub(crate) unprefixed_tables: bool,
    #[command(flatten)]
    pub(crate) start: StartArgs,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ClonesArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ClonesCommand>,
    /// Maximum number of clones
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Continue a list at this cursor
    #[arg(long)]
    pub(crate) cursor: Option<CloneName>,
    /// Print the list again whenever it changes, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClonesCommand {
    /// Show a clone with its password
    Show {
        /// Name of the clone
        name: CloneName,
    },
    /// Set a new lifetime
    Extend {
        /// Name of the clone
        name: CloneName,
        /// New lifetime, counted from now
        #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u16).range(5..=1440))]
        ttl: u16,
        #[command(flatten)]
        start: StartArgs,
    },
    /// Delete a clone; if it is still being created, cancel its task
    Delete {
        /// Name of the clone
        name: CloneName,
        #[command(flatten)]
        start: BareStartArgs,
    },
    /// Print a link that logs in as the clone's administrator: works once, within five minutes
    Login {
        /// Name of the clone
        name: CloneName,
    },
}

/// [`StartArgs`] without an idempotency key and a webhook.
#[derive(Debug, Args)]
pub(crate) struct BareStartArgs {
    /// Print the accepted task instead of waiting for its end
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

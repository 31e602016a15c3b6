//! What can be typed about clones.

use std::path::PathBuf;

use clap::builder::TypedValueParser as _;
use clap::{Args, Subcommand};
use wpclone_task::{CloneName, Isolation};

use super::{StartArgs, WaitArgs, names};

pub(super) const CLONE_HELP: &str = "\
The clone goes by itself when its time is over. Its address, login and end are printed, and what was
copied; all of that is the artifact fidelity.json of the task.

Examples:
  wpclone clone https://example.com --source-user admin
  wpclone clone --source https://example.com --source-user admin --ttl 240 --json
  wpclone clone https://example.com --source-user admin --target https://b.example --target-user me

With --target the copy goes to an empty WordPress of yours, and stays. Its users are the source's
then. It sends no mail and calls nobody until the must-use plugin that the result names is removed.";

pub(super) const CLONES_HELP: &str = "\
Examples:
  wpclone clones
  wpclone clones show clone-20261123-163105-abcdef
  wpclone clones extend clone-20261123-163105-abcdef --ttl 240
  wpclone clones login clone-20261123-163105-abcdef
  wpclone clones delete clone-20261123-163105-abcdef";

#[derive(Debug, Args)]
pub(crate) struct CloneArgs {
    /// The site to copy, such as https://example.com/blog
    #[arg(required_unless_present = "source", conflicts_with = "source")]
    pub(crate) site: Option<String>,
    /// The same, by name
    #[arg(long, value_name = "URL")]
    pub(crate) source: Option<String>,
    /// The login name or e-mail address of an administrator of the source
    #[arg(long, value_name = "NAME", visible_alias = "username")]
    pub(crate) source_user: String,
    /// A file that holds that administrator's password; - is standard input
    #[arg(long, value_name = "FILE", visible_alias = "password-file")]
    pub(crate) source_password_file: Option<PathBuf>,
    /// An empty WordPress of yours to copy into, instead of a clone that expires
    #[arg(long, value_name = "URL", requires = "target_user")]
    pub(crate) target: Option<String>,
    /// The login name or e-mail address of an administrator of the target
    #[arg(long, value_name = "NAME", requires = "target")]
    pub(crate) target_user: Option<String>,
    /// A file that holds that administrator's password; - is standard input
    #[arg(long, value_name = "FILE", requires = "target")]
    pub(crate) target_password_file: Option<PathBuf>,
    /// How long the clone is kept from when it is ready [default: 60]
    #[arg(long, value_name = "MINUTES", conflicts_with = "target", value_parser = clap::value_parser!(u16).range(5..=1440))]
    pub(crate) ttl: Option<u16>,
    /// What the clone has for itself: a database in a shared server, or a server [default: shared]
    #[arg(long, conflicts_with = "target", value_parser = names(Isolation::ALL.iter().map(|i| i.as_str())).try_map(|s| s.parse::<Isolation>()))]
    pub(crate) isolation: Option<Isolation>,
    /// Leave the migrator plugin on the source, and on a target
    #[arg(long)]
    pub(crate) keep_migrator: bool,
    #[command(flatten)]
    pub(crate) start: StartArgs,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ClonesArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ClonesCommand>,
    /// At most so many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Go on where another list ended
    #[arg(long)]
    pub(crate) cursor: Option<CloneName>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClonesCommand {
    /// Show one, with its password
    Show {
        /// The clone's name
        name: CloneName,
    },
    /// Let one live longer, or shorter
    Extend {
        /// The clone's name
        name: CloneName,
        /// For how long from now
        #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u16).range(5..=1440))]
        ttl: u16,
        #[command(flatten)]
        start: StartArgs,
    },
    /// Delete one; one that is still being made is not finished
    Delete {
        /// The clone's name
        name: CloneName,
        #[command(flatten)]
        start: BareStartArgs,
    },
    /// Print a link that logs in to one as its administrator: once, within five minutes
    Login {
        /// The clone's name
        name: CloneName,
    },
}

/// The same as [`StartArgs`] where nobody is told.
#[derive(Debug, Args)]
pub(crate) struct BareStartArgs {
    /// Print the accepted task instead of waiting for its end
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

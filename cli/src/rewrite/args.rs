//! What can be typed behind `wpclone rewrite`.

use clap::{Args, ValueEnum};
use wpclone_rewrite::{DumpOptions, Folder, Guid, Options, Pair, PairError, Prefix, Rewriter};

use crate::failure::Failure;

pub(crate) const HELP: &str = "\
Every byte that is not part of a moved address stays as it is. A scheme that was written becomes the
new one, // stays //, with and without www. is the same. Serialised PHP, JSON, base64 and what else
values are wrapped in is seen through, and lengths in it are mended.

With --sql the values are the literals of INSERT, REPLACE and UPDATE. What holds no rows passes as
it is: comments, definitions, triggers and routines. A value may have 256 MiB; in a dump a larger
one passes as it is.

The report goes to standard error: what was done, what is malformed, which old addresses are left
and why. Exit codes: 0 done, 1 input or output failed, 2 wrong usage.

Examples:
  wpclone rewrite --sql --from http://example.com --to https://example.org <old.sql >new.sql
  mysqldump a | wpclone rewrite --sql --from https://a.example --to https://b.example | mysql b
  wpclone rewrite --sql --from https://a.example --to https://b.example --prefix wp_=b_ \\
    --folder /var/www/a=/srv/b --report json <old.sql >new.sql 2>report.json";

/// What moves where.
#[derive(Debug, Args)]
pub(crate) struct RewriteArgs {
    /// The site's old address
    #[arg(long, value_name = "URL", requires = "to")]
    from: Option<String>,
    /// Its new one
    #[arg(long, value_name = "URL", requires = "from")]
    to: Option<String>,
    /// One more site that moves; can be repeated. The longest old address that fits decides
    #[arg(long = "pair", value_name = "FROM=TO")]
    pairs: Vec<String>,
    /// A folder of the old machine that moves too; can be repeated
    #[arg(long = "folder", value_name = "OLD=NEW")]
    folders: Vec<String>,
    /// A table prefix that changes: names of tables, user roles, capabilities
    #[arg(long, value_name = "OLD=NEW", requires = "sql")]
    prefix: Option<String>,
    /// www.example.com and example.com are two sites
    #[arg(long)]
    no_www: bool,
    /// What becomes of the posts' guids
    #[arg(long, value_enum, default_value_t = GuidArg::Rewrite, requires = "sql")]
    guid: GuidArg,
    /// Standard input is values with a NUL behind each, not one value
    #[arg(long, conflicts_with = "sql")]
    pub(super) nul: bool,
    /// Standard input is a dump of MySQL or MariaDB
    #[arg(long)]
    sql: bool,
    /// In the dump's literals a backslash is only a backslash (sql_mode NO_BACKSLASH_ESCAPES)
    #[arg(long, requires = "sql")]
    no_backslash_escapes: bool,
    /// What the report looks like
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Form::Table)]
    report: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GuidArg {
    /// They move like all addresses
    Rewrite,
    /// They stay, so that feed readers know old posts again
    Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Json,
}

impl RewriteArgs {
    pub(super) fn wants_json(&self) -> bool {
        self.report == Form::Json
    }

    /// What does it.
    pub(super) fn rewriter(&self) -> Result<Rewriter, Failure> {
        let mut faults = Vec::new();
        let mut pairs = Vec::new();
        if let (Some(from), Some(to)) = (&self.from, &self.to) {
            pairs.extend(pair(from, to, ["--from", "--to"], &mut faults));
        }
        for (number, text) in self.pairs.iter().enumerate() {
            let flag = format!("--pair, number {},", number + 1);
            match split_pair(text) {
                Some((from, to)) => pairs.extend(pair(from, to, [flag.as_str(); 2], &mut faults)),
                None => faults.push(format!("{flag} is not of the form FROM=TO, both http:// or https://")),
            }
        }
        let mut folders = Vec::new();
        for (number, text) in self.folders.iter().enumerate() {
            match text.split_once('=').map(|(from, to)| Folder::new(from, to)) {
                Some(Ok(folder)) => folders.push(folder),
                _ => faults.push(format!(
                    "--folder, number {}, is not of the form OLD=NEW, both absolute",
                    number + 1
                )),
            }
        }
        if let Some(text) = &self.prefix
            && prefix(text).is_none()
        {
            faults.push("--prefix is not of the form OLD=NEW, both of A-Z a-z 0-9 _ $".into());
        }
        if !faults.is_empty() {
            return Err(Failure::Usage(faults.join("; ")));
        }
        let options = Options { www: !self.no_www, folders, root_relative: true, ..Options::default() };
        Rewriter::new(&pairs, options).map_err(|why| {
            Failure::Usage(match why {
                PairError::Nothing => {
                    "there is nothing to move: give --from and --to, --pair or --folder".into()
                }
                PairError::Twice(_) => "one old address is given two new ones".into(),
                other => other.to_string(),
            })
        })
    }

    /// How a dump is read; `None` when standard input is none.
    pub(super) fn dump_options(&self, longest: usize) -> Option<DumpOptions> {
        self.sql.then(|| DumpOptions {
            backslash_escapes: !self.no_backslash_escapes,
            guid: if self.guid == GuidArg::Keep { Guid::Keep } else { Guid::Rewrite },
            prefix: self.prefix.as_deref().and_then(prefix),
            longest,
        })
    }
}

/// Addresses are not repeated in a complaint: they may hold a password.
fn pair(from: &str, to: &str, flags: [&str; 2], faults: &mut Vec<String>) -> Option<Pair> {
    let mut fault = |text: &str, flag: &str| {
        let Err(why) = Pair::new(text, text) else { return };
        let why = match why {
            PairError::MoreThanASite(_) => {
                "must end with its path and hold no credentials, query or fragment"
            }
            _ => "is not an http or https address",
        };
        faults.push(format!("{flag} {why}"));
    };
    fault(from, flags[0]);
    fault(to, flags[1]);
    Pair::new(from, to).ok()
}

/// `http://a=https://b`. Addresses may hold the sign as well.
fn split_pair(text: &str) -> Option<(&str, &str)> {
    let at = text.match_indices("=http").map(|(at, _)| at).last()?;
    Some((&text[..at], &text[at + 1..]))
}

fn prefix(text: &str) -> Option<Prefix> {
    let (from, to) = text.split_once('=')?;
    let is = |name: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
        (1..=64).contains(&name.len()) && name.bytes().all(letter)
    };
    (is(from) && is(to)).then(|| Prefix::new(from, to))
}

//! Arguments of `wpclone rewrite`.

use clap::{Args, ValueEnum};
use wpclone_rewrite::{
    DumpOptions, FolderMapping, GuidPolicy, MappingError, Options, PrefixMapping, Rewriter, SiteMapping,
};

use crate::failure::Failure;

pub(crate) const HELP: &str = "\
Replaces a site's URLs and leaves every other byte unchanged. A URL with a scheme gets the new
scheme, // stays //, and www. is ignored when comparing hosts. Serialised PHP, JSON, base64 and
other encodings are decoded, and the lengths in them corrected.

With --sql the values are the literals of INSERT, REPLACE and UPDATE. Everything else in a dump
(comments, definitions, triggers, routines) is copied unchanged. A value may have up to 256 MiB; in
a dump a larger value is copied unchanged.

A report goes to standard error: what was replaced, what is malformed, and which old URLs are left
and why. Exit codes: 0 done, 1 reading or writing failed or the input is in UTF-16 or compressed,
2 wrong usage.

Examples:
  wpclone rewrite --sql --from http://example.com --to https://example.org <old.sql >new.sql
  mysqldump a | wpclone rewrite --sql --from https://a.example --to https://b.example | mysql b
  wpclone rewrite --sql --from https://a.example --to https://b.example --prefix wp_=b_ \\
    --folder /var/www/a=/srv/b --report json <old.sql >new.sql 2>report.json";

/// What is replaced, and how the input is read.
#[derive(Debug, Args)]
pub(crate) struct RewriteArgs {
    /// Old URL of the site
    #[arg(long, value_name = "URL", requires = "to")]
    from: Option<String>,
    /// New URL of the site
    #[arg(long, value_name = "URL", requires = "from")]
    to: Option<String>,
    /// Another pair of URLs; can be repeated. The longest matching old URL wins
    #[arg(long = "pair", value_name = "FROM=TO")]
    pairs: Vec<String>,
    /// A folder path to replace; can be repeated
    #[arg(long = "folder", value_name = "OLD=NEW")]
    folders: Vec<String>,
    /// A table prefix to replace: in names of tables, user roles and capabilities
    #[arg(long, value_name = "OLD=NEW", requires = "sql")]
    prefix: Option<String>,
    /// Treat www.example.com and example.com as different hosts
    #[arg(long)]
    no_www: bool,
    /// How to treat the guids of posts
    #[arg(long, value_enum, default_value_t = GuidArg::Rewrite, requires = "sql")]
    guid: GuidArg,
    /// Standard input is a list of values that each end with a NUL
    #[arg(long, conflicts_with = "sql")]
    pub(super) nul: bool,
    /// Standard input is an SQL dump of MySQL, MariaDB or SQLite
    #[arg(long)]
    sql: bool,
    /// Backslashes in the dump are not escapes (sql_mode NO_BACKSLASH_ESCAPES)
    #[arg(long, requires = "sql")]
    no_backslash_escapes: bool,
    /// Format of the report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    report: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GuidArg {
    /// Replace them like all URLs
    Rewrite,
    /// Keep them, so that feed readers recognise old posts
    Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

impl RewriteArgs {
    pub(super) fn wants_json(&self) -> bool {
        self.report == Format::Json
    }

    /// Builds the rewriter. The error names every invalid argument at once.
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
            match text.split_once('=').map(|(from, to)| FolderMapping::new(from, to)) {
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
        let options =
            Options { match_www: !self.no_www, folders, count_root_relative: true, ..Options::default() };
        Rewriter::new(&pairs, options).map_err(|why| {
            Failure::Usage(match why {
                MappingError::Empty => {
                    "there is nothing to replace; use --from and --to, --pair or --folder".into()
                }
                MappingError::Conflict(_) => "an old URL has two different new URLs".into(),
                other => other.to_string(),
            })
        })
    }

    /// Options for reading a dump; `None` without `--sql`.
    pub(super) fn dump_options(&self, longest: usize) -> Option<DumpOptions> {
        self.sql.then(|| DumpOptions {
            backslash_escapes: !self.no_backslash_escapes,
            guid: if self.guid == GuidArg::Keep { GuidPolicy::Keep } else { GuidPolicy::Rewrite },
            prefix: self.prefix.as_deref().and_then(prefix),
            max_value_bytes: longest,
        })
    }
}

/// Parses a pair. Errors do not repeat the URLs, which may contain a password.
fn pair(from: &str, to: &str, flags: [&str; 2], faults: &mut Vec<String>) -> Option<SiteMapping> {
    let mut check = |text: &str, flag: &str| {
        let Err(why) = SiteMapping::new(text, text) else { return };
        let why = match why {
            MappingError::ExtraUrlParts(_) => "must not contain credentials, a query or a fragment",
            _ => "is not an http or https URL",
        };
        faults.push(format!("{flag} {why}"));
    };
    check(from, flags[0]);
    check(to, flags[1]);
    SiteMapping::new(from, to).ok()
}

/// Splits `http://a=https://b` at the last `=http`, because URLs may contain `=` as well.
fn split_pair(text: &str) -> Option<(&str, &str)> {
    let at = text.match_indices("=http").map(|(at, _)| at).last()?;
    Some((&text[..at], &text[at + 1..]))
}

fn prefix(text: &str) -> Option<PrefixMapping> {
    let (from, to) = text.split_once('=')?;
    let is_valid = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
        (1..=64).contains(&name.len()) && name.bytes().all(allowed)
    };
    (is_valid(from) && is_valid(to)).then(|| PrefixMapping::new(from, to))
}

//! Who may call: the tokens file.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use wpclone_queue::OwnerLimits;

/// How often the file is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Ask for tasks and see one's own.
    User,
    /// See and do everything.
    Operator,
    /// Read /metrics and /queue.
    Metrics,
}

impl Scope {
    /// Its name in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
            Self::Metrics => "metrics",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::User, Self::Operator, Self::Metrics].into_iter().find(|s| s.as_str() == text)
    }
}

/// One line of the file.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Who it is for; tasks belong to this name.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// How much it may ask for.
    pub limits: OwnerLimits,
    hash: [u8; 32],
}

impl Entry {
    /// Tells a token from another of the same name, for sessions; says nothing of the token.
    #[must_use]
    pub fn mark(&self) -> String {
        hex::encode(&Sha256::digest(self.hash)[..8])
    }
}

/// The tokens of a file, read again when it changes.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    entries: Arc<[Entry]>,
    stamp: Option<Stamp>,
    /// What was wrong with it when it was last read again, so that it is said once.
    fault: Option<String>,
    looked_at: Instant,
}

/// What changes when a file does.
type Stamp = (SystemTime, u64, u64);

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// Every fault in it.
    pub fn open(path: &str) -> Result<Self, String> {
        let path = PathBuf::from(path);
        let stamp = stamp(&path);
        let entries = read(&path)?;
        let loaded = Loaded { entries, stamp, fault: None, looked_at: Instant::now() };
        Ok(Self { path, loaded: Mutex::new(loaded) })
    }

    /// Whose token this is. Compares with every entry, in constant time.
    #[must_use]
    pub fn find(&self, token: &str) -> Option<Entry> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        self.entries().iter().fold(None, |found, entry| {
            if bool::from(entry.hash.ct_eq(&hash)) { Some(entry.clone()) } else { found }
        })
    }

    /// The token of this name and mark, when it is still in the file.
    #[must_use]
    pub fn named(&self, name: &str, mark: &str) -> Option<Entry> {
        self.entries().iter().find(|e| e.name == name && e.mark() == mark).cloned()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries().len()
    }

    fn entries(&self) -> Arc<[Entry]> {
        let mut loaded = self.loaded.lock();
        if loaded.looked_at.elapsed() >= LOOK_EVERY {
            loaded.looked_at = Instant::now();
            let stamp = stamp(&self.path);
            if stamp != loaded.stamp {
                // A file with faults, perhaps half written, changes nothing: those who may call stay the same. It is
                // read again until it can be: a token that was taken out must not stay for want of a file handle.
                match read(&self.path) {
                    Ok(entries) => {
                        tracing::info!(tokens = entries.len(), "the tokens file was read again");
                        (loaded.entries, loaded.stamp, loaded.fault) = (entries, stamp, None);
                    }
                    Err(faults) if loaded.fault.as_ref() != Some(&faults) => {
                        tracing::error!(%faults, "the tokens file has faults; the tokens of before hold");
                        loaded.fault = Some(faults);
                    }
                    Err(_) => {}
                }
            }
        }
        Arc::clone(&loaded.entries)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len(), meta.ino()))
}

fn read(path: &Path) -> Result<Arc<[Entry]>, String> {
    let meta = std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?;
    if meta.len() > MAX_FILE {
        return Err(format!("is larger than {MAX_FILE} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot be read: {e}"))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Arc<[Entry]>, String> {
    let (mut entries, mut faults, mut names) = (Vec::new(), Vec::new(), HashSet::new());
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match entry(line) {
            Ok(entry) if !names.insert(entry.name.clone()) => {
                faults.push(format!("line {}: the name stands twice", number + 1));
            }
            Ok(entry) => entries.push(entry),
            Err(fault) => faults.push(format!("line {}: {fault}", number + 1)),
        }
    }
    if faults.is_empty() { Ok(entries.into()) } else { Err(format!("has faults: {}", faults.join("; "))) }
}

/// `name:sha256:scope[:per_minute[:concurrent]]`. Never quotes the line: somebody may have put the token itself there.
fn entry(line: &str) -> Result<Entry, &'static str> {
    let parts: Vec<&str> = line.split(':').collect();
    let [name, hash, scope, ref limits @ ..] = parts[..] else {
        return Err("must read name:sha256:scope, perhaps with limits behind it");
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
        return Err("a name is 1 to 64 of A-Z a-z 0-9 - _ .");
    }
    if name == crate::http::auth::LOCAL_OWNER {
        return Err("that name is for those who call where no tokens are configured");
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(hash, &mut bytes).map_err(|_| "the hash is 64 hex digits (SHA-256 of the token)")?;
    let scope = Scope::parse(scope).ok_or("the scope is user, operator or metrics")?;
    if scope == Scope::Metrics && !limits.is_empty() {
        return Err("a token of scope metrics starts no tasks: it takes no limits");
    }
    Ok(Entry { name: name.to_owned(), scope, limits: self::limits(limits)?, hash: bytes })
}

/// `per_minute`, `per_minute:concurrent` or `:concurrent`.
fn limits(parts: &[&str]) -> Result<OwnerLimits, &'static str> {
    let number = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|n| digits && *n > 0);
        number.map(Some).ok_or("a limit is a whole number from 1")
    };
    match *parts {
        [] => Ok(OwnerLimits::default()),
        [per_minute] => Ok(OwnerLimits { per_minute: number(per_minute)?, concurrent: None }),
        ["", concurrent] => Ok(OwnerLimits { per_minute: None, concurrent: number(concurrent)? }),
        [per_minute, concurrent] => {
            Ok(OwnerLimits { per_minute: number(per_minute)?, concurrent: number(concurrent)? })
        }
        _ => Err("has more parts than name:sha256:scope:per_minute:concurrent"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(token: &str) -> String {
        hex::encode(Sha256::digest(token))
    }

    #[test]
    fn every_fault_of_the_file_is_named_without_quoting_it() {
        let good = hash("t");
        let text = format!(
            "# people\n\na:{good}:user\nb:canary:user\nc:{good}:boss\na:{good}:user\nd d:{good}:user\ne:{good}:user:\nf\n\
             g:{good}:user:0\nh:{good}:user::\ni:{good}:user:1:+2\nj:{good}:user:1:2:3\nk:{good}:metrics:60\n"
        );
        let faults = parse(&text).unwrap_err();
        for part in [
            "line 4: the hash",
            "line 5: the scope",
            "line 6: the name stands twice",
            "line 7: a name",
            "line 8: a limit",
            "line 9: must read",
            "line 10: a limit",
            "line 11: a limit",
            "line 12: a limit",
            "line 13: has more parts",
            "line 14: a token of scope metrics",
        ] {
            assert!(faults.contains(part), "{part}: {faults}");
        }
        assert!(!faults.contains("canary") && !faults.contains(&good));
    }

    #[test]
    fn limits_stand_behind_the_scope() {
        for (behind, per_minute, concurrent) in
            [("", None, None), (":60", Some(60), None), (":60:2", Some(60), Some(2)), ("::5", None, Some(5))]
        {
            let entries = parse(&format!("a:{}:user{behind}", hash("t"))).unwrap();
            assert_eq!(entries[0].limits, OwnerLimits { per_minute, concurrent }, "{behind}");
        }
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_changes_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let look_again = |tokens: &Tokens| {
            let mut loaded = tokens.loaded.lock();
            loaded.looked_at = Instant::now().checked_sub(LOOK_EVERY).unwrap();
        };
        std::fs::write(path, format!("a:{}:operator\n", hash("one"))).unwrap();
        let tokens = Tokens::open(path).unwrap();
        assert_eq!(tokens.find("one").unwrap().scope, Scope::Operator);
        assert!(tokens.find("two").is_none());
        let mark = tokens.find("one").unwrap().mark();

        std::fs::write(path, "half a li").unwrap();
        look_again(&tokens);
        assert!(tokens.find("one").is_some());

        std::fs::write(path, format!("a:{}:metrics\nb:{}:user", hash("two"), hash("three"))).unwrap();
        look_again(&tokens);
        assert!(tokens.find("one").is_none());
        assert_eq!(tokens.find("two").unwrap().scope, Scope::Metrics);
        assert_eq!(tokens.count(), 2);
        assert!(tokens.named("a", &mark).is_none(), "a name with a new token is another");
    }
}

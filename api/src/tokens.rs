//! The tokens file: who has access.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;
use wpclone_queue::OwnerLimits;

/// The owner of tasks and clones while no tokens are configured. No token may have this name.
pub const LOCAL_OWNER: &str = "local";

/// How often the file is checked for changes, at most.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a request waits for a check of the file, which may lie on a disk that does not respond.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest tokens file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Start tasks, and see those of this token.
    User,
    /// See and change everything.
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

/// A token: one line of the file.
#[derive(Debug, Clone)]
pub struct Token {
    /// Its name, which owns the tasks and clones that it starts.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// Its limits.
    pub limits: OwnerLimits,
    hash: [u8; 32],
}

impl Token {
    /// Distinguishes a token from a later one of the same name, without revealing it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex::encode(&Sha256::digest(self.hash)[..8])
    }
}

/// The tokens of a file, which is reloaded when it changes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tokens {
    path: Arc<Path>,
    loaded: Arc<Mutex<Loaded>>,
}

#[derive(Debug)]
struct Loaded {
    tokens: Arc<[Token]>,
    version: Option<FileVersion>,
    /// The faults found by the last reload, so that they are logged once.
    faults: Option<String>,
    checked_at: Instant,
    checking: bool,
}

/// Modification time, length and inode: changes with the file.
type FileVersion = (SystemTime, u64, u64);

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// Every fault in it.
    pub fn open(path: &str) -> Result<Self, String> {
        let path = PathBuf::from(path);
        let version = file_version(&path);
        let tokens = read(&path)?;
        let loaded = Loaded { tokens, version, faults: None, checked_at: Instant::now(), checking: false };
        Ok(Self { path: path.into(), loaded: Arc::new(Mutex::new(loaded)) })
    }

    /// The token with this secret. Every token is compared, in constant time.
    pub async fn find(&self, secret: &str) -> Option<Token> {
        let hash: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        self.current().await.iter().fold(None, |found, token| {
            if bool::from(token.hash.ct_eq(&hash)) { Some(token.clone()) } else { found }
        })
    }

    /// The token of this name and fingerprint, when it is still in the file.
    pub async fn find_by_fingerprint(&self, name: &str, fingerprint: &str) -> Option<Token> {
        self.current()
            .await
            .iter()
            .find(|token| token.name == name && token.fingerprint() == fingerprint)
            .cloned()
    }

    /// The number of tokens.
    #[must_use]
    pub fn count(&self) -> usize {
        self.loaded.lock().tokens.len()
    }

    /// Whether several tokens can own tasks.
    #[must_use]
    pub fn has_several_owners(&self) -> bool {
        self.loaded.lock().tokens.iter().filter(|token| token.scope != Scope::Metrics).nth(1).is_some()
    }

    /// The tokens, after a reload when the file has changed. One caller at a time checks the file; the others go on with
    /// the tokens of the last check.
    async fn current(&self) -> Arc<[Token]> {
        {
            let mut loaded = self.loaded.lock();
            if loaded.checking || loaded.checked_at.elapsed() < CHECK_INTERVAL {
                return Arc::clone(&loaded.tokens);
            }
            loaded.checking = true;
        }
        let tokens = self.clone();
        // The check ends also when the caller does not wait for it.
        let checked = tokio::task::spawn_blocking(move || tokens.reload_if_changed());
        let _ = timeout(CHECK_TIMEOUT, checked).await;
        Arc::clone(&self.loaded.lock().tokens)
    }

    /// Blocks while the file is read.
    fn reload_if_changed(&self) {
        let version = file_version(&self.path);
        let known = self.loaded.lock().version;
        let read = (version != known).then(|| read(&self.path));
        let mut loaded = self.loaded.lock();
        loaded.checked_at = Instant::now();
        loaded.checking = false;
        // A file with faults, perhaps half written, changes nothing. It is read again at each check, so that a token that
        // was removed loses its access also when the first reload fails.
        match read {
            None => {}
            Some(Ok(tokens)) => {
                tracing::info!(tokens = tokens.len(), "the tokens file was reloaded");
                (loaded.tokens, loaded.version, loaded.faults) = (tokens, version, None);
            }
            Some(Err(faults)) if loaded.faults.as_ref() != Some(&faults) => {
                tracing::error!(%faults, "the tokens file has faults; the previous tokens stay valid");
                loaded.faults = Some(faults);
            }
            Some(Err(_)) => {}
        }
    }
}

fn file_version(path: &Path) -> Option<FileVersion> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len(), meta.ino()))
}

fn read(path: &Path) -> Result<Arc<[Token]>, String> {
    let meta = std::fs::metadata(path).map_err(|e| format!("cannot be read: {e}"))?;
    if meta.len() > MAX_FILE_BYTES {
        return Err(format!("is larger than {MAX_FILE_BYTES} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot be read: {e}"))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Arc<[Token]>, String> {
    let (mut tokens, mut faults, mut names) = (Vec::new(), Vec::new(), HashSet::new());
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match parse_line(line) {
            Ok(token) if !names.insert(token.name.clone()) => {
                faults.push(format!("line {}: the name is used twice", number + 1));
            }
            Ok(token) => tokens.push(token),
            Err(fault) => faults.push(format!("line {}: {fault}", number + 1)),
        }
    }
    if faults.is_empty() { Ok(tokens.into()) } else { Err(format!("has faults: {}", faults.join("; "))) }
}

/// `name:sha256:scope[:per_minute[:concurrent]]`. Errors never quote the line: it may hold the token itself by mistake.
fn parse_line(line: &str) -> Result<Token, &'static str> {
    let parts: Vec<&str> = line.split(':').collect();
    let [name, hash, scope, ref limits @ ..] = parts[..] else {
        return Err("must be name:sha256:scope, optionally followed by limits");
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
        return Err("a name is 1 to 64 of A-Z a-z 0-9 - _ .");
    }
    if name == LOCAL_OWNER {
        return Err("that name is reserved for callers where no tokens are configured");
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(hash, &mut bytes).map_err(|_| "the hash is 64 hex digits (SHA-256 of the token)")?;
    let scope = Scope::parse(scope).ok_or("the scope is user, operator or metrics")?;
    if scope == Scope::Metrics && !limits.is_empty() {
        return Err("a token of scope metrics starts no tasks and takes no limits");
    }
    Ok(Token { name: name.to_owned(), scope, limits: parse_limits(limits)?, hash: bytes })
}

/// `per_minute`, `per_minute:concurrent` or `:concurrent`.
fn parse_limits(parts: &[&str]) -> Result<OwnerLimits, &'static str> {
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
    use std::task::Poll;

    use super::*;

    fn hash(token: &str) -> String {
        hex::encode(Sha256::digest(token))
    }

    #[test]
    fn every_fault_of_the_file_is_reported_without_quoting_it() {
        let good = hash("t");
        let text = format!(
            "# people\n\na:{good}:user\nb:canary:user\nc:{good}:boss\na:{good}:user\nd d:{good}:user\ne:{good}:user:\nf\n\
             g:{good}:user:0\nh:{good}:user::\ni:{good}:user:1:+2\nj:{good}:user:1:2:3\nk:{good}:metrics:60\n"
        );
        let faults = parse(&text).unwrap_err();
        for part in [
            "line 4: the hash",
            "line 5: the scope",
            "line 6: the name is used twice",
            "line 7: a name",
            "line 8: a limit",
            "line 9: must be",
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
    fn limits_follow_the_scope() {
        for (behind, per_minute, concurrent) in
            [("", None, None), (":60", Some(60), None), (":60:2", Some(60), Some(2)), ("::5", None, Some(5))]
        {
            let tokens = parse(&format!("a:{}:user{behind}", hash("t"))).unwrap();
            assert_eq!(tokens[0].limits, OwnerLimits { per_minute, concurrent }, "{behind}");
        }
    }

    #[test]
    fn a_token_that_only_reads_metrics_is_no_owner() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let has_several = |lines: &str| {
            std::fs::write(file.path(), lines).unwrap();
            Tokens::open(file.path().to_str().unwrap()).unwrap().has_several_owners()
        };
        let (one, two) = (hash("one"), hash("two"));
        assert!(!has_several(&format!("a:{one}:operator\nb:{two}:metrics\n")));
        assert!(has_several(&format!("a:{one}:operator\nb:{two}:user\n")));
    }

    #[tokio::test]
    async fn a_changed_file_is_reloaded_and_a_broken_one_changes_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let expire_check = |tokens: &Tokens| {
            let mut loaded = tokens.loaded.lock();
            loaded.checked_at = Instant::now().checked_sub(CHECK_INTERVAL).unwrap();
        };
        std::fs::write(path, format!("a:{}:operator\n", hash("one"))).unwrap();
        let tokens = Tokens::open(path).unwrap();
        assert_eq!(tokens.find("one").await.unwrap().scope, Scope::Operator);
        assert!(tokens.find("two").await.is_none());
        let fingerprint = tokens.find("one").await.unwrap().fingerprint();

        std::fs::write(path, "half a li").unwrap();
        expire_check(&tokens);
        assert!(tokens.find("one").await.is_some());

        std::fs::write(path, format!("a:{}:metrics\nb:{}:user", hash("two"), hash("three"))).unwrap();
        expire_check(&tokens);
        assert!(tokens.find("one").await.is_none());
        assert_eq!(tokens.find("two").await.unwrap().scope, Scope::Metrics);
        assert_eq!(tokens.count(), 2);
        assert!(
            tokens.find_by_fingerprint("a", &fingerprint).await.is_none(),
            "the name has another token now"
        );
    }
    #[tokio::test]
    async fn a_file_that_cannot_be_read_keeps_no_request_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, format!("a:{}:operator\n", hash("one"))).unwrap();
        let tokens = Tokens::open(path.to_str().unwrap()).unwrap();
        // Opening a pipe that nobody writes to blocks, like a disk that does not respond.
        std::fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        tokens.loaded.lock().checked_at = Instant::now().checked_sub(CHECK_INTERVAL).unwrap();
        let checking = tokio::spawn({
            let tokens = tokens.clone();
            async move { tokens.find("one").await }
        });
        let begun = Instant::now();
        while !tokens.loaded.lock().checking {
            assert!(begun.elapsed() < CHECK_TIMEOUT * 30, "the file is checked");
            tokio::task::yield_now().await;
        }
        // Another caller goes on at once: a single poll finds the token.
        let mut other = std::pin::pin!(tokens.find("one"));
        let found = std::future::poll_fn(|context| Poll::Ready(other.as_mut().poll(context))).await;
        assert!(matches!(found, Poll::Ready(Some(_))) && tokens.loaded.lock().checking);
        assert!(checking.await.unwrap().is_some(), "the previous tokens stay valid");
        // Ends the blocked thread.
        drop(std::fs::OpenOptions::new().write(true).open(&path).unwrap());
    }
}

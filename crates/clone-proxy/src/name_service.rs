//! Finds the addresses of clones' Services. Anybody can ask for any clone's name, so what that costs the cluster's name
//! service is bounded.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, timeout};
use wpclone_provision::CloneName;

/// The deadline of finding an address, with the wait for one of the permits.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// The most names that are looked up at once. Each takes a thread, which goes on after the deadline.
const MAX_LOOKUPS: usize = 64;
/// How long an answer is used. It is short, because the address of a clone that is deleted may become another clone's.
const LIFETIME: Duration = Duration::from_secs(2);
/// The most answers that are kept.
const MAX_ANSWERS: usize = 4096;

type Find = dyn Fn(&CloneName) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// What finds Services, and what it has found.
pub(crate) struct NameService {
    find: Arc<Find>,
    permits: Arc<Semaphore>,
    answers: Mutex<HashMap<CloneName, Answer>>,
}

/// The answer for a name since it was first asked for. All who ask meanwhile share it.
struct Answer {
    since: Instant,
    addresses: Arc<OnceCell<Vec<SocketAddr>>>,
}

/// Why it is not known whether there is a Service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// Too many names are looked up, or the name service is slow.
    #[error("the name is not found in time")]
    Late,
    /// The name service has failed.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl NameService {
    pub(crate) fn new(
        find: impl Fn(&CloneName) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(MAX_LOOKUPS));
        Self { find: Arc::new(find), permits, answers: Mutex::default() }
    }

    /// The addresses of the clone's Service; none when there is no such Service.
    pub(crate) async fn find(&self, name: &CloneName) -> Result<Vec<SocketAddr>, LookupError> {
        let answer = self.answer(name);
        let found = timeout(LOOKUP_TIMEOUT, answer.get_or_try_init(|| self.ask(name))).await;
        Ok(found.map_err(|_| LookupError::Late)??.clone())
    }

    fn answer(&self, name: &CloneName) -> Arc<OnceCell<Vec<SocketAddr>>> {
        let mut answers = self.answers.lock();
        if let Some(answer) = answers.get(name)
            && answer.since.elapsed() < LIFETIME
        {
            return Arc::clone(&answer.addresses);
        }
        if answers.len() >= MAX_ANSWERS {
            answers.clear();
        }
        let addresses = Arc::default();
        answers.insert(name.clone(), Answer { since: Instant::now(), addresses: Arc::clone(&addresses) });
        addresses
    }

    async fn ask(&self, name: &CloneName) -> io::Result<Vec<SocketAddr>> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(io::Error::other)?;
        let (find, name) = (Arc::clone(&self.find), name.clone());
        let asked = tokio::task::spawn_blocking(move || {
            // It is held as long as the thread works, also when nobody waits any more.
            let _permit = permit;
            find(&name)
        });
        asked.await.map_err(io::Error::other)?
    }
}

/// The addresses of a host, from the system's name service; none when there is no such host. It blocks.
///
/// # Errors
/// The name service fails.
pub fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match (host, port).to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        Err(error) if is_unknown(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether this is `EAI_NONAME`, for which the standard library has no kind: it is known by glibc's text alone. Everything
/// else, also any other library's text, counts as a failure: it must not be taken for a clone that is gone.
fn is_unknown(error: &io::Error) -> bool {
    error.to_string().ends_with(": Name or service not known")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use futures_util::future::join_all;

    use super::*;

    fn name(number: usize) -> CloneName {
        let letter = |n: usize| char::from(b"abcdefghij"[n % 10]);
        let text = format!("clone-20261130-120000-aaaa{}{}", letter(number / 10), letter(number));
        text.parse().unwrap()
    }

    #[test]
    fn only_a_name_that_is_not_known_is_no_failure() {
        let error = |text: &str| io::Error::other(format!("failed to lookup address information: {text}"));
        assert!(is_unknown(&error("Name or service not known")));
        for text in [
            "Temporary failure in name resolution",
            "Non-recoverable failure in name resolution",
            "Memory allocation failure",
            // The name is known.
            "No address associated with hostname",
            "Try again",
            "Der Name oder der Dienst ist nicht bekannt",
        ] {
            assert!(!is_unknown(&error(text)), "{text}");
        }
        assert!(!is_unknown(&io::Error::from_raw_os_error(24)));
        assert_eq!(look_up("127.0.0.1", 80).unwrap(), ["127.0.0.1:80".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_name_is_asked_for_once_by_all_who_ask_at_once_and_a_failure_is_not_kept() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let service = NameService::new(move |of| {
            counted.fetch_add(1, Ordering::Relaxed);
            if *of == name(2) { Err(io::Error::other("failed")) } else { Ok(Vec::new()) }
        });
        let (one, two) = (name(1), name(2));
        let found = join_all((0..20).map(|_| service.find(&one))).await;
        assert!(found.iter().all(|found| found.as_ref().is_ok_and(Vec::is_empty)));
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        for attempt in 2..4 {
            assert!(matches!(service.find(&two).await, Err(LookupError::Failed(_))));
            assert_eq!(calls.load(Ordering::Relaxed), attempt);
        }
    }

    #[tokio::test]
    async fn no_more_names_are_looked_up_at_once_than_there_are_permits() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let (held, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let service = NameService::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            // Until `held` is dropped.
            let _ = wait.lock().recv();
            Ok(Vec::new())
        });
        let names: Vec<_> = (0..MAX_LOOKUPS + 10).map(name).collect();
        let found = join_all(names.iter().map(|name| service.find(name))).await;
        assert!(found.iter().all(|found| matches!(found, Err(LookupError::Late))));
        // Threads that nobody waits for any more keep their permits.
        assert!(matches!(service.find(&name(90)).await, Err(LookupError::Late)));
        assert_eq!(calls.load(Ordering::Relaxed), MAX_LOOKUPS);
        drop(held);
        assert!(service.find(&name(91)).await.unwrap().is_empty());
    }
}

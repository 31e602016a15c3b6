//! A limit of concurrent work that a few slow pieces of work do not use up.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Lets a few pieces of work run at once. One that takes long leaves its place to the next one and takes one of the places
/// for slow work, while there is one.
#[derive(Debug)]
pub(crate) struct FairLimit {
    quick: Semaphore,
    slow: Semaphore,
    /// How long work counts as quick.
    patience: Duration,
}

impl FairLimit {
    pub(crate) fn new(quick: usize, slow: usize, patience: Duration) -> Self {
        Self { quick: Semaphore::new(quick), slow: Semaphore::new(slow), patience }
    }

    /// Runs the work when there is a place for it.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let place = self.quick.acquire().await;
        let mut work = std::pin::pin!(work);
        if let Ok(done) = timeout(self.patience, &mut work).await {
            return done;
        }
        let _slow = tokio::select! {
            done = &mut work => return done,
            slow = self.slow.acquire() => slow,
        };
        drop(place);
        work.await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Work that runs until it is told to end.
    struct Slow {
        limit: Arc<FairLimit>,
        running: Arc<AtomicUsize>,
        end: Arc<Notify>,
    }

    impl Slow {
        fn start(&self) -> JoinHandle<()> {
            let (limit, running, end) =
                (Arc::clone(&self.limit), Arc::clone(&self.running), Arc::clone(&self.end));
            tokio::spawn(async move {
                let work = async {
                    running.fetch_add(1, Ordering::SeqCst);
                    end.notified().await;
                    running.fetch_sub(1, Ordering::SeqCst);
                };
                limit.run(work).await;
            })
        }

        async fn until_running(&self, count: usize) {
            let reached = async {
                while self.running.load(Ordering::SeqCst) != count {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(LIMIT, reached).await.unwrap();
        }
    }

    fn slow(quick: usize, slow: usize) -> Slow {
        let limit = Arc::new(FairLimit::new(quick, slow, Duration::from_millis(20)));
        Slow { limit, running: Arc::default(), end: Arc::default() }
    }

    #[tokio::test]
    async fn slow_work_leaves_its_place_to_others() {
        let slow = slow(2, 3);
        let _all: Vec<_> = (0..3).map(|_| slow.start()).collect();
        slow.until_running(3).await;
        assert_eq!(timeout(LIMIT, slow.limit.run(async { 7 })).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn no_more_runs_at_once_than_there_are_places() {
        let slow = slow(1, 1);
        let _all: Vec<_> = (0..2).map(|_| slow.start()).collect();
        // One has the place for slow work, the other one keeps its own.
        slow.until_running(2).await;
        let third = timeout(Duration::from_millis(200), slow.limit.run(async {})).await;
        assert!(third.is_err() && slow.running.load(Ordering::SeqCst) == 2);
        slow.end.notify_one();
        assert!(timeout(LIMIT, slow.limit.run(async {})).await.is_ok(), "one has ended");
        slow.end.notify_one();
    }
}

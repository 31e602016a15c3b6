//! Runs the test programs of which no pass is cached, and caches those that pass.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use tokio::task::spawn_blocking;

use crate::environment::WORKSPACE;
use crate::libtest::{self, ProgramReport};
use crate::pass_cache::{PassCache, cacheable_tests};
use crate::programs::TestProgram;
use crate::{environment, report};

/// Runs test programs with a cache of their passes.
pub(crate) struct CachedRunner {
    /// Nothing where it cannot be known what has changed; then all programs are run.
    cache: Option<Arc<PassCache>>,
    /// The keys of programs that have passed in this run, and how many tests each has.
    passed: Mutex<BTreeMap<String, usize>>,
}

impl CachedRunner {
    pub(crate) async fn open() -> Self {
        let cache = open_cache().await;
        if let Err(why) = &cache {
            report::say(&format!("all test programs are run: {why:#}"));
        }
        Self { cache: cache.ok().map(Arc::new), passed: Mutex::default() }
    }

    /// Runs a program's tests, `threads` at a time; `words` choose among them. If all are asked for, and a pass of
    /// all is cached, it is not run.
    pub(crate) async fn run(&self, program: &TestProgram, threads: usize, words: &[String]) -> ProgramReport {
        let key = if words.is_empty() { self.key(program, threads).await } else { None };
        let Some((cache, key)) = self.cache.as_ref().zip(key) else {
            return libtest::run(program, threads, words).await;
        };
        if let Some(pass) = cache.find(&key) {
            return ProgramReport::cached(&program.name, pass);
        }
        let report = libtest::run(program, threads, words).await;
        // Somebody may have built another one meanwhile.
        if let Some(tests) = cacheable_tests(&report)
            && self.key(program, threads).await.as_ref() == Some(&key)
        {
            self.passed.lock().insert(key, tests);
        }
        report
    }

    /// Records what has passed, unless something has changed since [`Self::open`].
    pub(crate) async fn close(self) {
        let Some(cache) = self.cache else { return };
        let recorded = match environment_digest().await {
            Ok(environment) => {
                cache.record(&self.passed.into_inner(), &environment).context("the cache of passes")
            }
            Err(error) => Err(error),
        };
        if let Err(why) = recorded {
            report::say(&format!("what has passed is not recorded: {why:#}"));
        }
    }

    async fn key(&self, program: &TestProgram, threads: usize) -> Option<String> {
        let (cache, program) = (self.cache.clone()?, program.clone());
        // A program whose file cannot be read is run, and that says why.
        spawn_blocking(move || cache.key(&program, threads)).await.ok()?.ok()
    }
}

async fn open_cache() -> Result<PassCache> {
    let repeat = env::var_os("WPCLONE_TEST_ALL").is_some_and(|set| !set.is_empty());
    Ok(PassCache::new(&wpclone_tests::cache()?, environment_digest().await?, repeat))
}

async fn environment_digest() -> Result<String> {
    let cache = wpclone_tests::cache()?;
    spawn_blocking(move || environment::digest(Path::new(WORKSPACE), &cache)).await?
}

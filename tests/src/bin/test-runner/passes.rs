//! Runs the test programs that have not passed before, and records those that pass.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use tokio::task::spawn_blocking;

use crate::libtest::{self, ProgramReport};
use crate::passed_before::{PassedBefore, counts};
use crate::programs::TestProgram;
use crate::surroundings::WORKSPACE;
use crate::{report, surroundings};

/// The passes of earlier runs, and those of this one.
pub(crate) struct Passes {
    /// Nothing where it cannot be known what has changed; then all programs are run.
    before: Option<Arc<PassedBefore>>,
    /// The keys of programs that have passed now, and how many tests each has.
    now: Mutex<BTreeMap<String, usize>>,
}

impl Passes {
    pub(crate) async fn open() -> Self {
        let before = open_record().await;
        if let Err(why) = &before {
            report::say(&format!("all test programs are run: {why:#}"));
        }
        Self { before: before.ok().map(Arc::new), now: Mutex::default() }
    }

    /// Runs a program's tests, `threads` at a time; `words` choose among them. If all are asked for, and all have passed
    /// before, it is not run.
    pub(crate) async fn run(&self, program: &TestProgram, threads: usize, words: &[String]) -> ProgramReport {
        let key = if words.is_empty() { self.key(program, threads).await } else { None };
        let Some((before, key)) = self.before.as_ref().zip(key) else {
            return libtest::run(program, threads, words).await;
        };
        if let Some(pass) = before.find(&key) {
            return ProgramReport::not_repeated(&program.name, pass);
        }
        let report = libtest::run(program, threads, words).await;
        // Somebody may have built another one meanwhile.
        if let Some(tests) = counts(&report)
            && self.key(program, threads).await.as_ref() == Some(&key)
        {
            self.now.lock().insert(key, tests);
        }
        report
    }

    /// Records what has passed, unless something has changed since [`Self::open`].
    pub(crate) async fn close(self) {
        let Some(before) = self.before else { return };
        let recorded = match look_around().await {
            Ok(surroundings) => before.record(&self.now.into_inner(), &surroundings).context("the record"),
            Err(error) => Err(error),
        };
        if let Err(why) = recorded {
            report::say(&format!("what has passed is not recorded: {why:#}"));
        }
    }

    async fn key(&self, program: &TestProgram, threads: usize) -> Option<String> {
        let (before, program) = (self.before.clone()?, program.clone());
        // A program whose file cannot be read is run, and that says why.
        spawn_blocking(move || before.key(&program, threads)).await.ok()?.ok()
    }
}

async fn open_record() -> Result<PassedBefore> {
    let repeat = env::var_os("WPCLONE_TEST_ALL").is_some_and(|set| !set.is_empty());
    Ok(PassedBefore::new(&wpclone_tests::cache()?, look_around().await?, repeat))
}

async fn look_around() -> Result<String> {
    let cache = wpclone_tests::cache()?;
    spawn_blocking(move || surroundings::digest(Path::new(WORKSPACE), &cache)).await?
}

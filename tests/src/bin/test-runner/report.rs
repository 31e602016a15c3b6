//! What is said of the tests.

use std::time::Duration;

use crate::libtest::ProgramReport;

/// A test that takes longer is named when it has ended, so that somebody who waits sees progress.
const SLOW: Duration = Duration::from_secs(5);
/// How many of the slowest tests are named at the end.
const SLOWEST: usize = 10;

/// Says something to who waits.
pub(crate) fn say(text: &str) {
    eprintln!("    {text}");
}

/// A test has ended well.
pub(crate) fn passed(program: &str, test: &str, took: Duration) {
    if took >= SLOW {
        say(&format!("{:6.1} s  {program} {test}", took.as_secs_f64()));
    }
}

/// A test has failed.
pub(crate) fn failed(program: &str, test: &str, output: &str) {
    println!("---- FAILED: {program} {test} ----\n{}", output.trim_end());
}

/// A program has ended.
pub(crate) fn program(report: &ProgramReport) {
    let ProgramReport { name, passed, failed, ignored, took, broken, .. } = report;
    if let Some(why) = broken {
        println!("---- FAILED: {name} ----\n{}", why.trim_end());
    }
    if passed.len() + failed.len() > 0 {
        let (passed, failed) = (passed.len(), failed.len());
        say(&format!("{name}: {passed} passed, {failed} failed, {ignored} ignored in {} s", took.as_secs()));
    }
}

/// All programs together.
pub(crate) struct Report {
    programs: Vec<ProgramReport>,
    took: Duration,
}

impl Report {
    pub(crate) fn of(programs: Vec<ProgramReport>, took: Duration) -> Self {
        Self { programs, took }
    }

    pub(crate) fn is_green(&self) -> bool {
        self.programs.iter().all(ProgramReport::is_green)
    }

    /// Which tests were not run, because they have passed before.
    pub(crate) fn not_repeated(&self) -> Option<String> {
        let passes: Vec<_> = self.programs.iter().filter_map(|program| program.cached).collect();
        let oldest = passes.iter().map(|pass| pass.age).max()?;
        let tests: usize = passes.iter().map(|pass| pass.tests).sum();
        Some(format!(
            "{tests} tests of {} programs: nothing that they depend on has changed since they passed here, at most {} \
             ago",
            passes.len(),
            hours_and_minutes(oldest)
        ))
    }

    /// Prints the programs and tests that took longest, what failed, and the count of all.
    pub(crate) fn print(&self) {
        let run = self.programs.iter().filter(|program| program.cached.is_none());
        let mut programs: Vec<_> = run.map(|program| (program.took, &*program.name)).collect();
        programs.sort_by(|a, b| b.cmp(a));
        let mut tests: Vec<_> = self.programs.iter().flat_map(timed).collect();
        tests.sort_by(|a, b| b.cmp(a));
        println!("slowest programs:");
        for (took, name) in programs.iter().take(SLOWEST) {
            println!("{:8.1} s  {name}", took.as_secs_f64());
        }
        println!("slowest tests:");
        for (took, name) in tests.iter().take(SLOWEST) {
            println!("{:8.1} s  {name}", took.as_secs_f64());
        }
        for program in self.programs.iter().filter(|program| !program.is_green()) {
            for (test, _) in &program.failed {
                println!("failed: {} {test}", program.name);
            }
            if program.broken.is_some() {
                println!("failed: {}", program.name);
            }
        }
        let sum = |count: fn(&ProgramReport) -> usize| self.programs.iter().map(count).sum::<usize>();
        let passed = sum(|program| program.passed.len());
        let failed = sum(|program| program.failed.len().max(usize::from(program.broken.is_some())));
        println!("all test programs ended after {} s", self.took.as_secs());
        if let Some(text) = self.not_repeated() {
            println!("not repeated: {text} (WPCLONE_TEST_ALL=1 repeats them):");
            for program in self.programs.iter().filter(|program| program.cached.is_some()) {
                println!("    {}", program.name);
            }
        }
        println!("{passed} passed, {failed} failed, {} skipped", sum(|program| program.ignored));
    }
}

fn hours_and_minutes(time: Duration) -> String {
    format!("{} h {} min", time.as_secs() / 3600, time.as_secs() / 60 % 60)
}

fn timed(program: &ProgramReport) -> impl Iterator<Item = (Duration, String)> {
    program.passed.iter().map(|(test, took)| (*took, format!("{} {test}", program.name)))
}

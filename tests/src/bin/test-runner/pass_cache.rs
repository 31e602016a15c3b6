//! A cache of passes: test programs that have passed and are not repeated.
//!
//! The result of a test program follows from its own file, the programs that it starts, and its environment: the files
//! that it reads, its settings and the machine. A digest of all of these is its key, and a pass is recorded under it.
//! Where it is not known whether a test reads something, that belongs to the key: at worst, a program runs once more.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::libtest::ProgramReport;
use crate::programs::TestProgram;

/// How long a pass is valid: the machine may have changed in a way that no key shows, and some tests choose at random.
const VALID_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// The passes of test programs on this machine.
#[derive(Debug)]
pub(crate) struct PassCache {
    folder: PathBuf,
    /// Digest of the environment.
    environment: String,
    /// Whether everything is run again.
    repeat: bool,
}

/// A run of all tests of a program, at the end of which none had failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    /// How many tests passed.
    pub(crate) tests: usize,
    pub(crate) age: Duration,
}

impl PassCache {
    pub(crate) fn new(cache: &Path, environment: String, repeat: bool) -> Self {
        Self { folder: cache.join("passed/tests"), environment, repeat }
    }

    /// The name under which a pass of this program is recorded, as it is now and run with so many threads.
    ///
    /// # Errors
    /// A program cannot be read.
    pub(crate) fn key(&self, program: &TestProgram, threads: usize) -> io::Result<String> {
        let mut digest = Sha256::new();
        digest.update(format!("{} {threads} {}", self.environment, program.name));
        for file in [&program.executable].into_iter().chain(&program.starts) {
            digest.update(format!("\n{} ", file.display()));
            digest.update(file_digest(file)?);
        }
        Ok(format!("{}-{}", program.name.replace(' ', "-"), &hex::encode(digest.finalize())[..32]))
    }

    /// The last pass of this key, if it is still valid.
    pub(crate) fn find(&self, key: &str) -> Option<Pass> {
        let file = self.folder.join(key);
        let age = age(&file).filter(|age| *age < VALID_FOR && !self.repeat)?;
        Some(Pass { tests: fs::read_to_string(file).ok()?.trim().parse().ok()?, age })
    }

    /// Records what has passed, unless the environment is not what it was when the tests began. Removes passes that are
    /// not valid any more.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn record(&self, passed: &BTreeMap<String, usize>, environment: &str) -> io::Result<()> {
        if self.environment != environment {
            return Ok(());
        }
        fs::create_dir_all(&self.folder)?;
        for file in fs::read_dir(&self.folder)? {
            let file = file?.path();
            if age(&file).is_none_or(|age| age >= VALID_FOR) {
                fs::remove_file(file)?;
            }
        }
        for (key, tests) in passed {
            fs::write(self.folder.join(key), tests.to_string())?;
        }
        Ok(())
    }
}

/// The number of passed tests of a run that may be cached: all that the program has ran, and none failed.
pub(crate) fn cacheable_tests(report: &ProgramReport) -> Option<usize> {
    Some(report.passed.len()).filter(|passed| *passed > 0 && report.is_green())
}

fn age(file: &Path) -> Option<Duration> {
    // A time in the future is no age.
    SystemTime::now().duration_since(fs::metadata(file).ok()?.modified().ok()?).ok()
}

fn file_digest(file: &Path) -> io::Result<[u8; 32]> {
    let (mut file, mut digest, mut part) = (File::open(file)?, Sha256::new(), vec![0; 256 * 1024]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok(digest.finalize().into()),
            length => digest.update(&part[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use tempfile::TempDir;

    use super::*;

    /// A folder with a test program that starts another, and a cache.
    struct Machine {
        folder: TempDir,
        program: TestProgram,
    }

    impl Machine {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = |name: &str| {
                fs::write(folder.path().join(name), name).unwrap();
                folder.path().join(name)
            };
            let (executable, starts) = (file("tests"), vec![file("product")]);
            let program = TestProgram {
                name: "wpclone-a tests".into(),
                executable,
                folder: folder.path().into(),
                starts,
            };
            Self { folder, program }
        }

        fn cache(&self, environment: &str, repeat: bool) -> PassCache {
            PassCache::new(self.folder.path(), environment.into(), repeat)
        }

        fn key(&self) -> String {
            self.cache("here", false).key(&self.program, 2).unwrap()
        }

        /// Records the key as the end of a run would.
        fn passed(&self, key: &str) {
            self.cache("here", false).record(&[(key.to_owned(), 3)].into(), "here").unwrap();
        }

        fn tests_found(&self, key: &str, repeat: bool) -> Option<usize> {
            self.cache("here", repeat).find(key).map(|pass| pass.tests)
        }
    }

    fn report() -> ProgramReport {
        let passed = vec![("a_test".to_owned(), Duration::ZERO)];
        ProgramReport { passed, ..ProgramReport::new("wpclone-a tests") }
    }

    #[test]
    fn a_program_that_has_passed_is_found_until_something_changes() {
        let mut machine = Machine::new();
        let key = machine.key();
        assert_eq!(machine.tests_found(&key, false), None, "it has not passed yet");
        machine.passed(&key);
        assert_eq!(machine.tests_found(&machine.key(), false), Some(3));

        let others = [
            machine.cache("elsewhere", false).key(&machine.program, 2).unwrap(),
            machine.cache("here", false).key(&machine.program, 4).unwrap(),
        ];
        let mut others = Vec::from(others);
        for file in ["tests", "product"] {
            fs::write(machine.folder.path().join(file), "another").unwrap();
            others.push(machine.key());
            fs::write(machine.folder.path().join(file), file).unwrap();
        }
        machine.program.name = "wpclone-b tests".into();
        others.push(machine.key());
        machine.program.name = "wpclone-a tests".into();
        machine.program.starts.clear();
        others.push(machine.key());
        for (number, other) in others.iter().enumerate() {
            assert_eq!(machine.tests_found(other, false), None, "change {number}");
        }
    }

    #[test]
    fn a_program_that_is_missing_has_no_key() {
        let machine = Machine::new();
        fs::remove_file(machine.folder.path().join("product")).unwrap();
        assert!(machine.cache("here", false).key(&machine.program, 2).is_err());
    }

    #[test]
    fn everything_is_repeated_if_that_is_wanted() {
        let machine = Machine::new();
        machine.passed(&machine.key());
        assert_eq!(machine.tests_found(&machine.key(), true), None);
    }

    #[test]
    fn an_old_pass_is_not_valid_and_is_removed() {
        let machine = Machine::new();
        let key = machine.key();
        machine.passed(&key);
        let file = machine.folder.path().join("passed/tests").join(&key);
        for (time, found) in [
            (SystemTime::now() - VALID_FOR + Duration::from_secs(600), true),
            (SystemTime::now() - VALID_FOR, false),
            (SystemTime::now() + Duration::from_secs(600), false),
        ] {
            File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
            assert_eq!(machine.tests_found(&key, false).is_some(), found, "{time:?}");
        }
        machine.passed("another");
        assert!(!file.exists(), "it is removed");
        assert_eq!(machine.tests_found("another", false), Some(3));
    }

    #[test]
    fn nothing_is_recorded_if_the_environment_changed_meanwhile() {
        let machine = Machine::new();
        machine.cache("here", false).record(&[(machine.key(), 3)].into(), "elsewhere").unwrap();
        assert_eq!(machine.tests_found(&machine.key(), false), None);
    }

    #[test]
    fn only_a_run_that_passed_is_cached() {
        assert_eq!(cacheable_tests(&report()), Some(1));
        let failed = vec![("another".to_owned(), "why".to_owned())];
        assert_eq!(cacheable_tests(&ProgramReport { failed, ..report() }), None);
        assert_eq!(
            cacheable_tests(&ProgramReport { broken: Some("it was killed".into()), ..report() }),
            None
        );
        assert_eq!(
            cacheable_tests(&ProgramReport { passed: Vec::new(), ..report() }),
            None,
            "nothing was run"
        );
    }
}

//! A source that records the requests that it receives, and can hold them, so that a test acts at a known moment.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use wpclone_tests::{Result, Site, TestApp, until};

/// How long the test waits for a request to the source.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// A source that records its requests and can hold them.
pub(crate) struct RecordingSource {
    /// The parent of the site's folder, which has the record.
    folder: PathBuf,
}

/// A request to the source.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SourceRequest {
    /// A route of the migrator; `file` for each file of `files`, `page` for a browser's request, `held` and
    /// `done` for the start and the end of a held request.
    pub(crate) kind: String,
    /// The table, root, file path or script.
    pub(crate) what: String,
    /// The offset: rows of the table or bytes of the file before it.
    pub(crate) from: u64,
}

impl RecordingSource {
    /// `change` is the body of a PHP function of the request (`$kind`, `$what`, `$from`), called before the response.
    pub(crate) fn to(site: &Site, change: &str) -> Result<Self> {
        // With a trailing slash, like WordPress' ABSPATH.
        let tree = site.tree().join("");
        let php = include_str!("recording_source.php")
            .trim_start_matches("<?php")
            .replace("LAB_TREE", &format!("'{}'", tree.display()))
            .replace("LAB_CHANGE", &format!("function ($kind, $what, $from) {{ {change} }}"));
        site.put_mu_plugin("recording", &php)?;
        Ok(Self { folder: tree.parent().expect("a folder around it").to_owned() })
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<SourceRequest> {
        let text = fs::read_to_string(self.folder.join("requests")).unwrap_or_default();
        let request = |line: &str| {
            let mut parts = line.split('\t').map(str::to_owned);
            let (kind, what) = (parts.next()?, parts.next()?);
            Some(SourceRequest { kind, what, from: parts.next()?.parse().ok()? })
        };
        text.lines().filter_map(request).collect()
    }

    /// The offsets of all reads of a table or file.
    pub(crate) fn request_offsets(&self, kind: &str, what: &str) -> Vec<u64> {
        let of =
            self.requests().into_iter().filter(|request| (&*request.kind, &*request.what) == (kind, what));
        of.map(|request| request.from).collect()
    }

    /// Makes the source hold requests for this, from an offset on; clears the record.
    pub(crate) fn hold(&self, kind: &str, what: &str, from: u64) -> Result {
        let _ = fs::remove_file(self.folder.join("requests"));
        fs::write(self.folder.join("hold.new"), format!("{kind}\t{what}\t{from}"))?;
        Ok(fs::rename(self.folder.join("hold.new"), self.folder.join("hold"))?)
    }

    /// Waits until a request is held.
    pub(crate) async fn wait_until_held(&self, app: &TestApp) -> Result {
        let log = app.workers[0].log();
        let held = async || self.requests().iter().any(|request| request.kind == "held");
        until("a request to be held", REQUEST_TIMEOUT, Some(&log), held).await
    }

    /// Waits until the held request has ended.
    pub(crate) async fn wait_until_done(&self) -> Result {
        let done = async || self.requests().iter().any(|request| request.kind == "done");
        until("the held request to end", REQUEST_TIMEOUT, None, done).await
    }

    /// Lets the held requests go on.
    pub(crate) fn release(&self) -> Result {
        Ok(fs::remove_file(self.folder.join("hold"))?)
    }
}

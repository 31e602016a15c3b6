//! The logs of programs.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use wpclone_beneath::{Dir, Owner};

use crate::blocking::run_blocking;

/// The most bytes of a log that an error quotes.
const LOG_TAIL_BYTES: u64 = 600;

/// The last part of a log of ours, for an error message.
pub(crate) async fn log_tail(log: &Path) -> String {
    let log = log.to_owned();
    run_blocking(move || File::open(log).and_then(read_tail)).await.unwrap_or_default()
}

/// The same of a log in a clone's folder, where anything may have its name.
pub(crate) fn untrusted_log_tail(folder: &Path, log: &str, owner: Owner) -> io::Result<String> {
    Dir::open(folder)?.read_tail(log, owner, LOG_TAIL_BYTES).map(to_text)
}

fn read_tail(mut file: File) -> io::Result<String> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut text = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut text)?;
    Ok(to_text(text))
}

fn to_text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

//! Files that are sent as they are, with conditions and ranges.

use std::ffi::OsStr;
use std::fs::File;
use std::io::SeekFrom;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::pages;

/// The last second of the year 9999, in seconds since 1970: dates of HTTP have four digits for the year (RFC 9110, 5.6.7). A clone
/// may give its files any time.
const LAST_HTTP_DATE: u64 = 253_402_300_799;

/// Sends a file, a range of it, or 304 when the client has it.
pub(crate) async fn serve<B>(request: &Request<B>, file: File, name: &OsStr) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut page = pages::page(StatusCode::METHOD_NOT_ALLOWED, "A file can only be read.");
        page.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return page;
    }
    let Ok(found) = file.metadata() else { return pages::internal_error() };
    let modified = u64::try_from(found.mtime()).unwrap_or_default().min(LAST_HTTP_DATE);
    let validators = Validators {
        length: found.len(),
        etag: format!("\"{:x}-{:x}-{:x}\"", found.len(), found.mtime(), found.mtime_nsec()),
        modified: UNIX_EPOCH + Duration::from_secs(modified),
    };
    let part = validators.evaluate(request.headers());
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let (Ok(etag), Ok(modified)) = (
        HeaderValue::from_str(&validators.etag),
        HeaderValue::from_str(&httpdate::fmt_http_date(validators.modified)),
    ) {
        headers.insert(ETAG, etag);
        headers.insert(LAST_MODIFIED, modified);
    }
    headers.insert(CONTENT_TYPE, content_type(name));
    let (status, from, length) = match part {
        Part::Nothing(status) => (status, 0, None),
        Part::All => (StatusCode::OK, 0, Some(validators.length)),
        Part::Range(from, to) => {
            let range = format!("bytes {from}-{to}/{}", validators.length);
            if let Ok(range) = HeaderValue::from_str(&range) {
                headers.insert(CONTENT_RANGE, range);
            }
            (StatusCode::PARTIAL_CONTENT, from, Some(to - from + 1))
        }
    };
    if status == StatusCode::RANGE_NOT_SATISFIABLE
        && let Ok(range) = HeaderValue::from_str(&format!("bytes */{}", validators.length))
    {
        headers.insert(CONTENT_RANGE, range);
    }
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        if *request.method() == Method::GET {
            let mut file = tokio::fs::File::from_std(file);
            if from > 0 && file.seek(SeekFrom::Start(from)).await.is_err() {
                return pages::internal_error();
            }
            *response.body_mut() =
                Body::from_stream(ReaderStream::with_capacity(file.take(length), 64 << 10));
        }
    }
    *response.status_mut() = status;
    response
}

/// The type by the file's name. HTML is sent as HTML: it is the clone's own.
fn content_type(name: &OsStr) -> HeaderValue {
    let guess = mime_guess::from_path(Path::new(name)).first_raw().unwrap_or("application/octet-stream");
    HeaderValue::from_static(guess)
}

/// What conditions and ranges are evaluated with.
struct Validators {
    length: u64,
    etag: String,
    modified: SystemTime,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    All,
    /// From and to, both inclusive.
    Range(u64, u64),
    Nothing(StatusCode),
}

impl Validators {
    /// Evaluates the conditions in the order of RFC 9110, 13.2.2.
    fn evaluate(&self, headers: &HeaderMap) -> Part {
        let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
        let matches = |list: &str| {
            list.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.etag)
        };
        if text(IF_MATCH).is_some_and(|list| !matches(list)) {
            return Part::Nothing(StatusCode::PRECONDITION_FAILED);
        }
        let since = |name| text(name).and_then(|t| httpdate::parse_http_date(t).ok());
        let unchanged = match text(IF_NONE_MATCH) {
            Some(list) => matches(list),
            None => since(IF_MODIFIED_SINCE).is_some_and(|since| self.modified <= since),
        };
        if unchanged {
            return Part::Nothing(StatusCode::NOT_MODIFIED);
        }
        let fresh = match text(IF_RANGE) {
            None => true,
            Some(tag) => tag == self.etag || since(IF_RANGE).is_some_and(|since| self.modified == since),
        };
        match text(RANGE).filter(|_| fresh) {
            None => Part::All,
            Some(range) => self.range(range),
        }
    }

    /// One range. For several the whole file is sent, as RFC 9110, 14.2 allows.
    fn range(&self, range: &str) -> Part {
        let Some(range) = range.strip_prefix("bytes=") else { return Part::All };
        let Some((from, to)) = range.split_once('-').filter(|_| !range.contains(',')) else {
            return Part::All;
        };
        let last = self.length.saturating_sub(1);
        let part = match (from.trim(), to.trim()) {
            ("", count) => {
                count.parse::<u64>().ok().map(|count| (self.length.saturating_sub(count), last, count > 0))
            }
            (from, "") => from.parse().ok().map(|from| (from, last, true)),
            (from, to) => match (from.parse::<u64>(), to.parse::<u64>()) {
                (Ok(from), Ok(to)) if from <= to => Some((from, to.min(last), true)),
                _ => None,
            },
        };
        match part {
            None => Part::All,
            Some((from, to, true)) if from < self.length => Part::Range(from, to),
            Some(_) => Part::Nothing(StatusCode::RANGE_NOT_SATISFIABLE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_of_a_far_year_is_sent() {
        // This file system has times of 64 bits.
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(2 * LAST_HTTP_DATE)).unwrap();
        let response = serve(&Request::new(()), file, OsStr::new("a.txt")).await;
        assert_eq!(response.headers()[LAST_MODIFIED], "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn ranges_and_conditions_are_evaluated() {
        let validators = Validators {
            length: 10,
            etag: "\"e\"".into(),
            modified: UNIX_EPOCH + Duration::from_secs(1_000_000),
        };
        let (then, later) = ("Mon, 12 Jan 1970 13:46:40 GMT", "Tue, 13 Jan 1970 00:00:00 GMT");
        let status = |code: u16| Part::Nothing(StatusCode::from_u16(code).unwrap());
        for (headers, expected) in [
            (vec![], Part::All),
            (vec![(RANGE, "bytes=0-3")], Part::Range(0, 3)),
            (vec![(RANGE, "bytes=8-")], Part::Range(8, 9)),
            (vec![(RANGE, "bytes=-3")], Part::Range(7, 9)),
            (vec![(RANGE, "bytes=-30")], Part::Range(0, 9)),
            (vec![(RANGE, "bytes=5-99999999999")], Part::Range(5, 9)),
            (vec![(RANGE, "bytes=10-")], status(416)),
            (vec![(RANGE, "bytes=-0")], status(416)),
            (vec![(RANGE, "bytes=3-1")], Part::All),
            (vec![(RANGE, "bytes=0-1,3-4")], Part::All),
            (vec![(RANGE, "bytes=99999999999999999999-")], Part::All),
            (vec![(RANGE, "lines=1-2")], Part::All),
            (vec![(RANGE, "bytes=0-3"), (IF_RANGE, "\"e\"")], Part::Range(0, 3)),
            (vec![(RANGE, "bytes=0-3"), (IF_RANGE, "\"f\"")], Part::All),
            (vec![(RANGE, "bytes=0-3"), (IF_RANGE, then)], Part::Range(0, 3)),
            (vec![(IF_NONE_MATCH, "\"x\", W/\"e\"")], status(304)),
            (vec![(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, later)], Part::All),
            (vec![(IF_MODIFIED_SINCE, then)], status(304)),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], Part::All),
            (vec![(IF_MATCH, "\"x\"")], status(412)),
        ] {
            let map = headers.iter().map(|(k, v)| (k.clone(), HeaderValue::from_static(v))).collect();
            assert_eq!(validators.evaluate(&map), expected, "{headers:?}");
        }
        let empty = Validators { length: 0, ..validators };
        assert_eq!(empty.range("bytes=0-"), status(416));
    }
}

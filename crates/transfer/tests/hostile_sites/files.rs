//! Files that a source announces and sends.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use wpclone_migrator::ClientError;
use wpclone_transfer::TransferError;

use crate::fake_site::{FakeSite, Reply, entry, index_reply, job};
use crate::{transfer, transferred};

#[tokio::test]
async fn a_source_that_lists_much_more_than_at_first_is_abandoned_before_it_sends_anything() {
    let lists = AtomicUsize::new(0);
    let source = FakeSite::new().with("index", move |call| {
        if call.json["root"] != "uploads" {
            return index_reply(&[], Value::Null);
        }
        let size = if lists.fetch_add(1, Ordering::Relaxed) == 0 { 5 } else { 5 << 30 };
        Reply::Frames(vec![(b'I', entry(b"a.txt", size))], json!({ "cursor": null, "entries": 1 }))
    });
    let (source, target) = tokio::join!(source.start(), FakeSite::new().start());
    let error = transferred(&source, &target).await.unwrap_err();
    assert!(matches!(error, TransferError::Source(ClientError::Endless("files"))), "{error:?}");
    assert_eq!((source.requests("files"), target.requests("swap")), (0, 0));
}

#[tokio::test]
async fn files_that_an_earlier_attempt_sent_are_named_because_they_are_not_searched() {
    let resumed = |_: &_| {
        let mut job = job(json!([]));
        job["resumed"] = true.into();
        Reply::Json(200, job)
    };
    let fidelity = transfer(FakeSite::new(), FakeSite::new().with("begin", resumed)).await.unwrap();
    let files = &fidelity.files;
    assert_eq!((files.resumed_files, files.unsearched, files.holding_address), (1, 1, 0));
    assert_eq!(files.unsearched_files, ["Uploads/a.txt"]);
    let is_named = |text: &String| text.starts_with("Files that were not searched") && text.contains("a.txt");
    assert!(fidelity.warnings.iter().any(is_named), "{:?}", fidelity.warnings);
}

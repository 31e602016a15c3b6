//! Hostile targets.

use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use wpclone_migrator::ClientError;
use wpclone_transfer::{TransferError, commit, rollback};

use crate::fake_site::{FakeSite, Reply, entry, index_reply, job};
use crate::{transfer, transferred};

/// The error of the target.
async fn failure(target: FakeSite) -> ClientError {
    match transfer(FakeSite::new(), target).await.map_err(TransferError::into_cause) {
        Err(TransferError::Target(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn not_done() -> Reply {
    Reply::Json(200, json!({ "done": false, "rejected": [] }))
}

#[tokio::test]
async fn a_target_that_is_never_done_is_abandoned() {
    let (source, target) =
        tokio::join!(FakeSite::new().start(), FakeSite::new().with("prepare", |_| not_done()).start());
    let error = transferred(&source, &target).await.unwrap_err();
    assert!(matches!(error, TransferError::Target(ClientError::Endless("prepare"))), "{error:?}");
    assert_eq!((target.requests("prepare"), target.requests("swap")), (10_000, 0));

    assert!(matches!(
        failure(FakeSite::new().with("swap", |_| not_done())).await,
        ClientError::Endless("swap")
    ));
}

#[tokio::test]
async fn rolling_back_and_committing_end_as_well() {
    let swapped = |_: &_| {
        let mut job = job(json!([]));
        job["phase"] = "swapped".into();
        Reply::Json(200, job)
    };
    let id = "0".repeat(32);
    let target = FakeSite::new().with("begin", swapped).with("rollback", |_| not_done()).start().await;
    let error = rollback(&target.client, &id).await.unwrap_err();
    assert!(matches!(error, TransferError::Target(ClientError::Endless("rollback"))), "{error:?}");
    let target = FakeSite::new().with("begin", swapped).with("commit", |_| not_done()).start().await;
    let error = commit(&target.client, &id).await.unwrap_err();
    assert!(matches!(error, TransferError::Target(ClientError::Endless("commit"))), "{error:?}");
    let target = FakeSite::new().with("remove", |_| not_done()).start().await;
    assert!(matches!(target.client.remove(None).await, Err(ClientError::Endless("remove"))));
}

#[tokio::test]
async fn a_target_that_has_other_rows_or_files_than_were_sent_fails_verification() {
    let other_rows = |_: &_| Reply::Json(200, json!({ "rows": 2, "digest": "0".repeat(64), "cursor": null }));
    let other_file = |call: &crate::fake_site::Call| match call.json["root"].as_str() {
        Some("uploads") => {
            Reply::Frames(vec![(b'I', entry(b"b.txt", 5))], json!({ "cursor": null, "entries": 1 }))
        }
        _ => index_reply(&[], Value::Null),
    };
    for target in [
        FakeSite::new().with("checksum", other_rows),
        FakeSite::new().with("staged-index", other_file),
        FakeSite::new().with("staged-index", |_| index_reply(&[], Value::Null)),
    ] {
        let (source, target) = tokio::join!(FakeSite::new().start(), target.start());
        let error = transferred(&source, &target).await.unwrap_err();
        assert!(matches!(error, TransferError::Verification(_)), "{error:?}");
        // What cannot be resumed is ended, and nothing was swapped in.
        assert_eq!((target.requests("swap"), target.requests("abort")), (0, 1));
    }
}

#[tokio::test]
async fn a_target_that_needs_a_table_again_each_time_fails_the_transfer() {
    let emptied = |_: &_| Reply::Json(409, json!({ "error": "restart_table", "id": "0".repeat(16) }));
    let (source, target) =
        tokio::join!(FakeSite::new().start(), FakeSite::new().with("load-rows", emptied).start());
    let error = transferred(&source, &target).await.unwrap_err();
    let TransferError::Target(cause) = error.cause() else { panic!("{error:?}") };
    assert_eq!(cause.code(), Some("restart_table"));
    assert!(error.to_string().contains("wp_t") && !error.is_about_content(), "{error}");
    // The table is sent three times, and the next attempt starts over.
    let requests = ["load-rows", "omit", "swap", "abort"].map(|route| target.requests(route));
    assert_eq!(requests, [3, 0, 0, 1]);
}

#[tokio::test]
async fn a_target_that_needs_a_table_again_once_gets_it() {
    let target = FakeSite::new().with("load-rows", |call| match call.count {
        0 => Reply::Json(409, json!({ "error": "restart_table", "id": "0".repeat(16) })),
        _ => Reply::Json(200, json!({ "chunk": 1, "rows": 2 })),
    });
    let fidelity = transfer(FakeSite::new(), target).await.unwrap();
    assert_eq!((fidelity.tables[0].target_rows, fidelity.tables[0].rereads), (2, 1));
}

#[tokio::test]
async fn a_staged_index_without_an_end_is_abandoned() {
    let target = FakeSite::new().with("staged-index", |call| {
        let page = |n: usize| entry(format!("{:010}", call.count * 40_000 + n).as_bytes(), 5);
        let entries = (0..40_000).flat_map(page).collect();
        Reply::Frames(vec![(b'I', entries)], json!({ "cursor": { "n": call.count }, "entries": 40_000 }))
    });
    assert!(matches!(failure(target).await, ClientError::Endless("an index")));
}

#[tokio::test]
async fn progress_that_no_job_has_is_not_resumed_from() {
    let table = |chunk: u32, cursor: Value| json!([{ "table_id": 1, "name": "wp_t", "chunk": chunk, "rows": u64::MAX, "cursor": cursor, "complete": false }]);
    let target = FakeSite::new().with("begin", move |_| Reply::Json(200, job(table(u32::MAX, Value::Null))));
    assert!(matches!(failure(target).await, ClientError::Malformed(_)));

    // Numbers that would overflow; a checkpoint that is none: the table is sent from its beginning.
    let numbers = json!({
        "p": "x", "c": null, "u": u64::MAX, "sr": u64::MAX, "sd": "0".repeat(64), "tr": u64::MAX, "td": "0".repeat(64),
        "ch": u64::MAX, "ad": u64::MAX,
    });
    for cursor in [Value::from(numbers.to_string()), "[".repeat(10_000).into(), json!({ "a": 1 }), json!(7)] {
        let target = FakeSite::new().with("begin", move |_| Reply::Json(200, job(table(7, cursor.clone()))));
        assert_eq!(transfer(FakeSite::new(), target).await.unwrap().tables[0].target_rows, 2);
    }
}

#[tokio::test]
async fn a_job_with_very_many_tables_is_resumed_or_ended() {
    let target = FakeSite::new().with("begin", |call| {
        let table = |n| {
            json!({ "table_id": n, "name": format!("wp_{n}"), "chunk": 1, "rows": 1, "cursor": "x".repeat(600),
                "complete": true })
        };
        // The source has none of these tables any more.
        Reply::Json(200, job(if call.count == 0 { (0..5000).map(table).collect() } else { json!([]) }))
    });
    let (source, target) = tokio::join!(FakeSite::new().start(), target.start());
    let fidelity = transferred(&source, &target).await.unwrap();
    assert_eq!((fidelity.tables.len(), target.requests("begin"), target.requests("abort")), (1, 2, 1));
}

#[tokio::test]
async fn a_target_cannot_reject_what_was_not_sent() {
    let target = FakeSite::new().with("store-files", |_| {
        let file = json!({ "root": "uploads", "path": "YQ==", "field": "path" });
        Reply::Json(200, json!({ "stored": 0, "rejected": vec![file; 5000] }))
    });
    assert!(matches!(failure(target).await, ClientError::Malformed(_)));

    // One of them was not sent: whatever a target names would be kept.
    let target = FakeSite::new().with("store-files", |_| {
        let file =
            json!({ "root": "uploads", "path": BASE64.encode("elsewhere".repeat(1000)), "field": "path" });
        Reply::Json(200, json!({ "stored": 0, "rejected": [file] }))
    });
    assert!(matches!(
        failure(target).await,
        ClientError::Malformed("rejections of files that were not sent")
    ));

    let target = FakeSite::new().with("swap", |_| {
        let names: Vec<_> =
            (0..5000).map(|n| json!({ "kind": "view", "name": format!("v{n}"), "errno": 1 })).collect();
        Reply::Json(200, json!({ "done": true, "rejected": names }))
    });
    assert!(transfer(FakeSite::new(), target).await.unwrap().omitted_views_and_triggers.is_empty());
}

#[tokio::test]
async fn reported_adjustments_are_cut() {
    let target = FakeSite::new().with("define", |_| {
        let part = json!({ "field": "x".repeat(500), "from": ["y".repeat(5000)], "to": { "a": "z" } });
        Reply::Json(200, json!({ "table_id": 1, "adjustments": vec![part; 150] }))
    });
    let fidelity = transfer(FakeSite::new(), target).await.unwrap();
    let adjustments = &fidelity.tables[0].adjustments;
    assert!(adjustments.len() <= 20 && adjustments.iter().all(|text| text.chars().count() <= 200));
}

#[tokio::test]
async fn responses_that_are_redirected_unsigned_huge_or_late_are_errors() {
    let redirect =
        |_: &_| Reply::Raw((StatusCode::FOUND, [(header::LOCATION, "https://b.example/")]).into_response());
    assert!(matches!(
        failure(FakeSite::new().with("define", redirect)).await,
        ClientError::Redirected { .. }
    ));

    let other = |_: &_| Reply::WrongSignature(json!({ "table_id": 1, "adjustments": [] }));
    assert!(matches!(failure(FakeSite::new().with("define", other)).await, ClientError::Unverified { .. }));

    let huge =
        |_: &_| Reply::Json(200, json!({ "table_id": 1, "adjustments": [], "x": "y".repeat(2 << 20) }));
    assert!(matches!(failure(FakeSite::new().with("define", huge)).await, ClientError::ResponseTooLarge));

    let deep = |_: &_| {
        Reply::Raw(([(header::CONTENT_TYPE, "application/json")], "[".repeat(100_000)).into_response())
    };
    assert!(matches!(
        failure(FakeSite::new().with("define", deep)).await,
        ClientError::UnexpectedContent { .. }
    ));

    let forged_error =
        |_: &_| Reply::Json(422, json!({ "error": "\u{1b}[2J\u{202e}a b".repeat(100), "id": "\n" }));
    let error = failure(FakeSite::new().with("load-rows", forged_error)).await.to_string();
    assert!(error.len() < 100 && error.is_ascii() && !error.contains('\u{1b}'), "{error:?}");

    let (source, target) =
        tokio::join!(FakeSite::new().start(), FakeSite::new().with("begin", |_| Reply::Silence).start());
    let mut target = target;
    target.client = target.client.with_deadline(Duration::from_millis(200));
    let error = transferred(&source, &target).await.unwrap_err();
    assert!(matches!(error, TransferError::Target(ClientError::Timeout)), "{error:?}");
}

#[tokio::test]
async fn a_hostile_target_does_not_hold_up_another_transfer() {
    let endless = || FakeSite::new().with("prepare", |_| not_done());
    let hostile =
        async { tokio::join!(transfer(FakeSite::new(), endless()), transfer(FakeSite::new(), endless())) };
    let honest = transfer(FakeSite::new(), FakeSite::new());
    tokio::select! {
        _ = hostile => panic!("the hostile ones end first"),
        fidelity = honest => assert_eq!(fidelity.unwrap().files.files, 1),
    }
}

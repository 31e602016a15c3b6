//! The last snapshot of all tables.

use serde_json::json;

use crate::fake_site::{
    self, FakeSite, ROWS, Reply, Row, count_of, definitions, encoded, rejected_by_the_database, rows_reply,
    table,
};
use crate::{transfer, transferred};

/// A snapshot of the honest table with one more row.
fn snapshot_with_a_new_row() -> Reply {
    let header = json!({ "table": "wp_t", "columns": ["id", "name"], "key": [0], "whole": false });
    let new: [Row<'_>; 1] = [&[Some(b"3"), Some(b"three")]];
    let mut summary = count_of(&new);
    summary["complete"] = true.into();
    summary["end"] = json!({ "n": 3 });
    let verdict = json!({ "table": "wp_t", "state": "exact" });
    let json = |value: serde_json::Value| value.to_string().into_bytes();
    let frames =
        vec![(b'H', json(header)), (b'R', encoded(new[0])), (b'S', json(summary)), (b'V', json(verdict))];
    Reply::Frames(frames, json!({ "cursor": null }))
}

#[tokio::test]
async fn rows_that_the_last_snapshot_adds_are_sent_and_counted_on_the_target() {
    let all: [Row<'_>; 3] = [ROWS[0], ROWS[1], &[Some(b"3"), Some(b"three")]];
    let source = FakeSite::new().with("snapshot", |_| snapshot_with_a_new_row());
    let target = FakeSite::new().with("checksum", move |call| {
        Reply::Json(200, if call.count == 0 { count_of(&ROWS) } else { count_of(&all) })
    });
    let fidelity = transfer(source, target).await.unwrap();
    let table = &fidelity.tables[0];
    assert_eq!((table.source_rows, table.target_rows, table.in_snapshot), (3, 3, true));
    assert_eq!((fidelity.snapshot.appended_rows, fidelity.snapshot.torn_tables.len()), (1, 0));
    // A target that did not load them is found out.
    let source = FakeSite::new().with("snapshot", |_| snapshot_with_a_new_row());
    let error = transfer(source, FakeSite::new()).await.unwrap_err();
    assert!(error.to_string().contains("3 were sent"), "{error}");
}

#[tokio::test]
async fn a_snapshot_that_is_none_is_a_warning_and_nothing_of_it_is_used() {
    let other = json!({ "table": "wp_other", "state": "exact" }).to_string();
    for frames in [vec![(b'V', other.into_bytes())], vec![(b'H', b"{}".to_vec())], vec![(b'S', Vec::new())]] {
        let answer = move |_: &fake_site::Call| Reply::Frames(frames.clone(), json!({ "cursor": null }));
        let fidelity = transfer(FakeSite::new().with("snapshot", answer), FakeSite::new()).await.unwrap();
        assert!(fidelity.snapshot.error.is_some() && !fidelity.tables[0].in_snapshot);
        assert!(fidelity.warnings.iter().any(|text| text.contains("may not fit together")));
    }
}

#[tokio::test]
async fn a_table_that_changed_and_was_not_taken_is_named() {
    let verdict = json!({ "table": "wp_t", "state": "changed" }).to_string();
    let source = FakeSite::new().with("snapshot", move |_| {
        Reply::Frames(vec![(b'V', verdict.clone().into_bytes())], json!({ "cursor": null }))
    });
    let fidelity = transfer(source, FakeSite::new()).await.unwrap();
    assert_eq!(fidelity.snapshot.torn_tables, ["wp_t"]);
    assert!(
        fidelity.warnings.iter().any(|text| text.contains("may not fit those of other tables (1): wp_t"))
    );
}

#[tokio::test]
async fn a_table_that_is_altered_before_the_last_snapshot_is_read_again_with_its_new_definition() {
    let source =
        FakeSite::new().with("snapshot", |_| snapshot_with_a_new_row()).with("definitions", |call| {
            let mut altered = table();
            if call.count > 0 {
                altered["columns"][1]["type"] = "text".into();
            }
            definitions(&[altered])
        });
    // The new row does not fit into the old column, nor when the table is read again.
    let target = FakeSite::new().with("load-rows", |call| match call.count {
        1 | 2 => rejected_by_the_database(1406),
        _ => Reply::Json(200, json!({ "chunk": 1, "rows": 2 })),
    });
    let (source, target) = tokio::join!(source.start(), target.start());
    let fidelity = transferred(&source, &target).await.unwrap();
    assert_eq!((fidelity.tables[0].target_rows, fidelity.omitted_tables.len()), (2, 0), "{fidelity:?}");
    assert_eq!(fidelity.snapshot.torn_tables, ["wp_t"]);
    // As it was, again as it was, and as it is.
    assert_eq!((target.requests("define"), target.requests("load-rows")), (3, 4));
}

#[tokio::test]
async fn a_table_that_is_dropped_before_the_last_snapshot_is_left_out_by_name() {
    let source = FakeSite::new()
        .with("snapshot", |_| snapshot_with_a_new_row())
        .with("rows", |call| match call.count {
            0 => rows_reply(&ROWS),
            _ => Reply::Json(409, json!({ "error": "gone", "id": "0".repeat(16) })),
        })
        .with("definitions", |call| definitions(&if call.count == 0 { vec![table()] } else { Vec::new() }));
    let target = FakeSite::new().with("load-rows", |call| match call.count {
        0 => Reply::Json(200, json!({ "chunk": 1, "rows": 2 })),
        _ => rejected_by_the_database(1406),
    });
    let (source, target) = tokio::join!(source.start(), target.start());
    let fidelity = transferred(&source, &target).await.unwrap();
    let [omitted] = &fidelity.omitted_tables[..] else { panic!("{fidelity:?}") };
    assert_eq!(omitted.reason, "the source has dropped it meanwhile");
    assert_eq!((omitted.name.as_str(), fidelity.tables.len(), target.requests("omit")), ("wp_t", 0, 1));
    assert!(fidelity.snapshot.torn_tables.is_empty(), "{:?}", fidelity.snapshot);
}

//! The last snapshot of all tables.

use serde_json::json;

use crate::fake_site::{self, FakeSite, ROWS, Reply, Row, count_of, encoded};
use crate::transfer;

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

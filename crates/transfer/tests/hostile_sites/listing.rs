//! Tables that the source's lists lack, as those of a database lack a table while it is altered.

use serde_json::{Value, json};
use wpclone_transfer::{OmitReason, TransferError};

use crate::fake_site::{FakeSite, Reply, definitions, table};
use crate::{transfer, transferred};

/// A source whose list lacks a second table, or whatever else, except for the readings that have it.
fn source(other: Value, has_other: fn(usize) -> bool) -> FakeSite {
    FakeSite::new().with("definitions", move |call| {
        let mut all = vec![table()];
        all.extend(has_other(call.count).then(|| other.clone()));
        definitions(&all)
    })
}

fn named(name: &str) -> Value {
    let mut other = table();
    other["name"] = name.into();
    other
}

#[tokio::test]
async fn a_table_that_the_source_lists_only_at_the_end_is_named() {
    let fidelity = transfer(source(named("wp_orders"), |count| count > 0), FakeSite::new()).await.unwrap();
    let [omitted] = &fidelity.omitted_tables[..] else { panic!("{fidelity:?}") };
    assert_eq!((omitted.name.as_str(), omitted.listed_late, fidelity.tables.len()), ("wp_orders", true, 1));
    let warning = format!("The table wp_orders is not in the copy: {}.", omitted.reason);
    assert!(omitted.reason.contains("did not list it before the end"), "{}", omitted.reason);
    assert!(fidelity.warnings.contains(&warning), "{:?}", fidelity.warnings);
    let counted = fidelity.summary().omitted;
    assert_eq!(counted.get(&OmitReason::ListedLate), Some(&1), "{counted:?}");
    assert_eq!(counted.get(&OmitReason::TableOrSequence), None, "{counted:?}");
    let report = serde_json::to_value(&fidelity).unwrap();
    assert_eq!(report["omitted_tables"][0]["listed_late"], true, "{report}");
}

#[tokio::test]
async fn a_view_and_a_trigger_that_are_listed_late_are_named_and_what_was_listed_is_not() {
    let view =
        json!({ "kind": "unreadable", "name": "wp_sums", "object": "view", "errno": 1356, "message": "" });
    let fidelity = transfer(source(view, |count| count > 0), FakeSite::new()).await.unwrap();
    assert_eq!(fidelity.omitted_views_and_triggers, ["wp_sums"]);
    assert_eq!(fidelity.summary().omitted[&OmitReason::ListedLate], 1);
    // A trigger may have the name of a table.
    let trigger =
        json!({ "kind": "unreadable", "name": "wp_t", "object": "trigger", "errno": 1, "message": "" });
    let fidelity = transfer(source(trigger, |count| count > 0), FakeSite::new()).await.unwrap();
    assert_eq!(fidelity.omitted_views_and_triggers, ["wp_t"]);
    // Stored programs are not copied in any case.
    let event = json!({ "kind": "program", "name": "wp_t", "object": "event" });
    let fidelity = transfer(source(event, |count| count > 0), FakeSite::new()).await.unwrap();
    assert!(fidelity.summary().omitted.is_empty(), "{fidelity:?}");
}

#[tokio::test]
async fn a_copy_that_lacks_a_table_of_wordpress_which_is_listed_late_fails() {
    let (source, target) =
        tokio::join!(source(named("wp_posts"), |count| count > 0).start(), FakeSite::new().start());
    let error = transferred(&source, &target).await.unwrap_err();
    assert!(
        matches!(&error, TransferError::TableChanged(detail) if detail.contains("wp_posts")),
        "{error:?}"
    );
    // Another attempt starts over.
    assert_eq!((target.requests("swap"), target.requests("abort")), (0, 1));
}

#[tokio::test]
async fn a_last_list_that_cannot_be_read_is_a_warning() {
    let source = FakeSite::new().with("definitions", |call| match call.count {
        0 => definitions(&[table()]),
        _ => Reply::Json(500, json!({ "error": "internal_error", "id": "0".repeat(16) })),
    });
    let fidelity = transfer(source, FakeSite::new()).await.unwrap();
    assert!(fidelity.snapshot.list_error.is_some());
    let is_named = |text: &String| text.starts_with("Whether the source has tables that it did not list");
    assert!(fidelity.warnings.iter().any(is_named), "{:?}", fidelity.warnings);
}

#[tokio::test]
async fn a_table_that_one_list_lacks_while_it_is_altered_is_read_with_its_new_definition() {
    // Its rows have other columns than the first definition, and the second list does not have it.
    let source =
        FakeSite::new().with("rows", |_| crate::source::other_columns()).with("definitions", |call| {
            let mut altered = table();
            if call.count > 0 {
                altered["columns"][1]["name"] = "other".into();
            }
            definitions(&if call.count == 1 { Vec::new() } else { vec![altered] })
        });
    let fidelity = transfer(source, FakeSite::new()).await.unwrap();
    assert_eq!((fidelity.tables.len(), fidelity.omitted_tables.len()), (1, 0), "{fidelity:?}");
    assert_eq!(fidelity.tables[0].target_rows, 2);
}

#[tokio::test]
async fn stored_programs_may_have_the_names_of_others_and_of_tables() {
    let program = |name: &str, object: &str| json!({ "kind": "program", "name": name, "object": object });
    let all = [table(), program("wp_t", "procedure"), program("wp_t", "function"), program("wp_t", "event")];
    let fidelity = transfer(FakeSite::new().with("definitions", move |_| definitions(&all)), FakeSite::new());
    let fidelity = fidelity.await.unwrap();
    assert_eq!(fidelity.omitted_programs, ["procedure wp_t", "function wp_t", "event wp_t"]);
    assert_eq!(fidelity.tables.len(), 1);
}

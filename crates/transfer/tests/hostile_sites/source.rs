//! Hostile sources.

use serde_json::{Value, json};
use wpclone_migrator::ClientError;
use wpclone_transfer::TransferError;

use crate::fake_site::{
    FakeSite, ROWS, Reply, Row, count_of, definitions, encoded, entry, index_reply, manifest, numbers,
    rejected_by_the_database, rows_reply, table,
};
use crate::{transfer, transferred};

/// The type of a frame, and its content.
type Frame = (u8, Vec<u8>);

/// The error of the source.
async fn failure(source: FakeSite) -> ClientError {
    match transfer(source, FakeSite::new()).await.map_err(TransferError::into_cause) {
        Err(TransferError::Source(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// A page of an index that goes on: so many files with sorted names.
fn endless_page(count: usize, page: usize) -> Reply {
    let entries = (0..count).flat_map(|n| entry(format!("{:010}", page * count + n).as_bytes(), 5)).collect();
    Reply::Frames(vec![(b'I', entries)], json!({ "cursor": { "n": page }, "entries": count }))
}

#[tokio::test]
async fn an_index_without_an_end_is_abandoned() {
    // The first index is that of the core files: more than a WordPress has are not compared.
    let source = FakeSite::new().with("index", |call| endless_page(40_000, call.count));
    assert!(matches!(failure(source).await, ClientError::Endless("an index")));
}

#[tokio::test]
async fn an_index_that_lists_a_file_twice_or_goes_in_circles_is_malformed() {
    for paths in [["a", "a"], ["b", "a"], ["a.txt", "a/b"]] {
        let source = FakeSite::new().with("index", move |_| index_reply(&paths, Value::Null));
        assert!(matches!(failure(source).await, ClientError::Malformed(_)), "{paths:?}");
    }
    // The same page with another cursor each time.
    let source = FakeSite::new().with("index", |call| index_reply(&["a"], json!({ "n": call.count })));
    assert!(matches!(failure(source).await, ClientError::Malformed(_)));
    let source = FakeSite::new().with("index", |_| index_reply(&[], json!({ "n": 1 })));
    assert!(matches!(failure(source).await, ClientError::Malformed(_)));
}

#[tokio::test]
async fn sizes_that_no_file_has_and_paths_that_leave_their_folder_are_malformed() {
    for (path, size) in [("a", u64::MAX), ("a", 1 << 60), ("../a", 5), ("/a", 5), ("a\0b", 5), ("a//b", 5)] {
        let source = FakeSite::new().with("index", move |_| {
            Reply::Frames(vec![(b'I', entry(path.as_bytes(), size))], json!({ "cursor": null, "entries": 1 }))
        });
        assert!(matches!(failure(source).await, ClientError::Malformed(_)), "{path:?} {size}");
    }
}

#[tokio::test]
async fn definitions_without_an_end_or_of_a_size_that_no_table_has_are_abandoned() {
    let named = |name: String, comment: usize| {
        let mut table = table();
        (table["name"], table["comment"]) = (name.into(), "x".repeat(comment).into());
        (b'T', table.to_string().into_bytes())
    };
    let source = FakeSite::new().with("definitions", move |call| {
        let page = (0..1000).map(|n| named(format!("wp_{}", call.count * 1000 + n), 8000)).collect();
        Reply::Frames(page, json!({ "cursor": { "n": call.count } }))
    });
    assert!(matches!(failure(source).await, ClientError::Endless("definitions")));

    // Many very short names take many times as much memory as they are long.
    let source = FakeSite::new().with("definitions", move |call| {
        let view = |n| {
            json!({ "kind": "view", "name": format!("wp_v{}_{n}", call.count), "select": "", "security": "", "definer": "",
                "check_option": "", "columns": vec!["a"; 4000] })
        };
        definitions(&(0..300).map(view).collect::<Vec<_>>())
    });
    assert!(matches!(failure(source).await, ClientError::Endless("definitions")));

    let twice = vec![named("wp_t".into(), 0), named("wp_t".into(), 0)];
    let mut columns = table();
    columns["columns"] = vec![table()["columns"][0].clone(); 5000].into();
    let mut type_text = table();
    type_text["columns"][0]["type"] = "x".repeat(300 << 10).into();
    let wrong = [
        twice,
        vec![named("x".repeat(600), 0)],
        vec![named("wp_\0".into(), 0)],
        vec![named("wp_t".into(), 10_000)],
        vec![(b'T', columns.to_string().into())],
        vec![(b'T', type_text.to_string().into())],
        vec![(b'T', "[".repeat(100_000).into())],
        vec![(b'T', b"{\"kind\":\"table\",\"name\":\"\xff\"}".to_vec())],
        vec![(b'T', br#"{"kind":"table","kind":"view","name":"a"}"#.to_vec())],
        vec![(b'X', table().to_string().into())],
    ];
    for (number, frames) in wrong.into_iter().enumerate() {
        let source = FakeSite::new()
            .with("definitions", move |_| Reply::Frames(frames.clone(), json!({ "cursor": null })));
        assert!(matches!(failure(source).await, ClientError::Malformed(_)), "{number}");
    }
}

#[tokio::test]
async fn a_manifest_with_texts_and_lists_that_no_site_has_is_malformed() {
    let plugins = vec![json!({ "file": "wordfence/a.php", "version": "1" }); 15_000];
    for (pointer, value) in [
        ("/wordpress/version", Value::from("6".repeat(300))),
        ("/wordpress/prefix", "wp_`; --".into()),
        ("/wordpress/prefix", "w".repeat(65).into()),
        ("/wordpress/plugins", plugins.into()),
        ("/wordpress/home_url", format!("https://{}", "a".repeat(3000)).into()),
        ("/php/version", "8".repeat(100_000).into()),
        ("/php/extensions", vec!["x"; 20_000].into()),
        ("/database/version", 10.into()),
        ("/limits/budget_ms", (-1).into()),
        ("/limits/parallel", u64::MAX.into()),
        ("/abspath", "/".repeat(5000).into()),
    ] {
        let source = FakeSite::new().with("manifest", move |_| {
            let mut manifest = manifest();
            *manifest.pointer_mut(pointer).unwrap() = value.clone();
            Reply::Json(200, manifest)
        });
        assert!(matches!(failure(source).await, ClientError::Malformed(_)), "{pointer}");
    }
}

#[tokio::test]
async fn the_result_stays_small_whatever_the_source_names() {
    let source = FakeSite::new().with("manifest", |_| {
        let mut manifest = manifest();
        let plugin =
            |n| json!({ "file": format!("wordfence/{n}\u{1b}[2J{}.php", "x".repeat(90)), "version": "1" });
        manifest["wordpress"]["plugins"] = (0..5000).map(plugin).collect();
        manifest["php"]["extensions"] = (0..5000).map(|n| json!(format!("ext{n}"))).collect();
        Reply::Json(200, manifest)
    });
    let fidelity = transfer(source, FakeSite::new()).await.unwrap();
    let summary = serde_json::to_string(&fidelity.summary()).unwrap();
    assert!(summary.len() < 16 << 10, "{}", summary.len());
    assert!(summary.contains("4985 more in the artifact") && summary.contains("and 4980 more"), "{summary}");
    assert_eq!(fidelity.deactivated_plugins.len(), 5000);
}

#[tokio::test]
async fn rows_that_are_not_what_they_claim_to_be_are_malformed() {
    let head = |columns: Value| {
        (b'H', json!({ "table": "wp_t", "columns": columns, "key": [0] }).to_string().into())
    };
    let row = |values: Row<'_>| (b'R', encoded(values));
    let large = |size: u64| {
        [&0xFFFF_FFFE_u32.to_be_bytes()[..], &1_u32.to_be_bytes(), &size.to_be_bytes(), &[7; 32], b"1"]
            .concat()
    };
    let honest: Row<'_> = &[Some(b"1"), Some(b"one")];
    let two = json!(["id", "name"]);
    let cases: Vec<(Vec<Frame>, Value)> = vec![
        // The count or the digest is another one.
        (vec![head(two.clone()), row(honest)], count_of(&[honest, honest])),
        (vec![head(two.clone()), row(honest)], json!({ "rows": u64::MAX, "digest": "00", "cursor": null })),
        (
            vec![head(two.clone()), row(honest)],
            json!({ "rows": -1, "digest": "0".repeat(64), "cursor": null }),
        ),
        // Fewer values than columns, lengths beyond the frame, a value that no database holds.
        (vec![head(two.clone()), row(&[Some(b"1")])], count_of(&[honest])),
        (vec![head(two.clone()), (b'R', vec![0xff, 0xff, 0xff, 0xfd, 0, 0, 0, 0])], count_of(&[honest])),
        (vec![head(two.clone()), (b'R', large(u64::MAX))], count_of(&[honest])),
        // Columns without names, too many, of a wrong type; a key that is no column.
        (vec![head(json!([])), row(honest)], count_of(&[honest])),
        (vec![head(vec!["c"; 5000].into()), row(honest)], count_of(&[honest])),
        (vec![head(json!([1, 2])), row(honest)], count_of(&[honest])),
        (vec![(b'H', br#"{"table":"wp_t","columns":["a"],"key":[1]}"#.to_vec())], count_of(&[])),
        (
            vec![(b'H', br#"{"table":"wp_other","columns":["id","name"],"key":[0]}"#.to_vec()), row(honest)],
            count_of(&[honest]),
        ),
        // No header; a piece of a column that does not exist.
        (vec![row(honest)], count_of(&[honest])),
        (
            vec![head(two), (b'P', [&9_u16.to_be_bytes()[..], &0_u64.to_be_bytes(), b"x"].concat())],
            count_of(&[]),
        ),
    ];
    for (number, (frames, end)) in cases.into_iter().enumerate() {
        let source = FakeSite::new().with("rows", move |_| Reply::Frames(frames.clone(), end.clone()));
        assert!(matches!(failure(source).await, ClientError::Malformed(_)), "{number}");
    }
}

#[tokio::test]
async fn a_table_with_pieces_without_their_value_or_beyond_it_is_left_out() {
    let head = json!({ "table": "wp_t", "columns": ["id", "name"], "key": [0] }).to_string().into_bytes();
    let piece = |offset: u64, length: usize| {
        (b'P', [&1_u16.to_be_bytes()[..], &offset.to_be_bytes(), &vec![b'x'; length]].concat())
    };
    for frames in [vec![piece(0, 10)], vec![piece(1 << 40, 1)]] {
        let frames = [vec![(b'H', head.clone())], frames].concat();
        let source = FakeSite::new().with("rows", move |_| Reply::Frames(frames.clone(), count_of(&[])));
        let reason = omitted_table(source).await;
        assert!(reason.contains("changed each time it was read"), "{reason}");
    }
}

/// A response with a row of other columns than the honest table's.
pub(crate) fn other_columns() -> Reply {
    let head = json!({ "table": "wp_t", "columns": ["id", "other"], "key": [0] });
    let rows = ROWS.iter().flat_map(|row| encoded(row)).collect();
    Reply::Frames(vec![(b'H', head.to_string().into()), (b'R', rows)], count_of(&ROWS))
}

/// Why the table of the source is not in the copy.
async fn omitted_table(source: FakeSite) -> String {
    let fidelity = transfer(source, FakeSite::new()).await.unwrap();
    let [omitted] = &fidelity.omitted_tables[..] else { panic!("{fidelity:?}") };
    assert_eq!((omitted.name.as_str(), fidelity.tables.len()), ("wp_t", 0));
    let warning = format!("The table wp_t is not in the copy: {}.", omitted.reason);
    assert!(fidelity.warnings.contains(&warning), "{:?}", fidelity.warnings);
    omitted.reason.clone()
}

#[tokio::test]
async fn a_table_whose_columns_change_each_time_it_is_read_or_that_is_dropped_is_left_out_by_name() {
    let reason = omitted_table(FakeSite::new().with("rows", |_| other_columns())).await;
    assert_eq!(reason, "the columns of the table wp_t changed while it was read");
    // Its definition is another one each time it is asked for.
    let restless = FakeSite::new().with("rows", |_| other_columns()).with("definitions", |call| {
        let mut altered = table();
        altered["columns"][1]["name"] = format!("altered_{}", call.count).into();
        definitions(&[altered])
    });
    let reason = omitted_table(restless).await;
    assert_eq!(reason, "the columns of the table wp_t changed while it was read");
    let gone = || Reply::Json(409, json!({ "error": "gone", "id": "0".repeat(16) }));
    let dropped = FakeSite::new()
        .with("rows", move |_| gone())
        .with("definitions", |call| definitions(&if call.count == 0 { vec![table()] } else { Vec::new() }));
    assert_eq!(omitted_table(dropped).await, "the source has dropped it meanwhile");
}

#[tokio::test]
async fn a_table_that_is_altered_once_is_transferred_with_its_new_definition() {
    let source = FakeSite::new().with("rows", |_| other_columns()).with("definitions", |call| {
        let mut altered = table();
        if call.count > 0 {
            altered["columns"][1]["name"] = "other".into();
        }
        definitions(&[altered])
    });
    let (source, target) = tokio::join!(source.start(), FakeSite::new().start());
    let fidelity = transferred(&source, &target).await.unwrap();
    assert_eq!((fidelity.tables.len(), fidelity.tables[0].target_rows), (1, 2), "{fidelity:?}");
    assert!(fidelity.omitted_tables.is_empty() && fidelity.tables[0].consistent, "{fidelity:?}");
    assert_eq!((target.requests("define"), target.requests("omit")), (2, 0));
}

#[tokio::test]
async fn a_table_whose_column_gets_another_type_is_transferred_with_its_new_definition() {
    let source = FakeSite::new().with("definitions", |call| {
        let mut altered = table();
        if call.count > 0 {
            altered["columns"][1]["type"] = "text".into();
        }
        definitions(&[altered])
    });
    // The new rows do not fit into the old column.
    let target = FakeSite::new().with("load-rows", |call| match call.count {
        0 => rejected_by_the_database(1406),
        _ => Reply::Json(200, json!({ "chunk": 1, "rows": 2 })),
    });
    let (source, target) = tokio::join!(source.start(), target.start());
    let fidelity = transferred(&source, &target).await.unwrap();
    assert_eq!((fidelity.tables.len(), fidelity.omitted_tables.len()), (1, 0), "{fidelity:?}");
    assert_eq!((target.requests("define"), target.requests("omit")), (2, 0));
}

#[tokio::test]
async fn a_new_definition_that_the_target_rejects_is_not_followed_by_the_former_one() {
    let source = FakeSite::new().with("rows", |_| other_columns()).with("definitions", |call| {
        let mut altered = table();
        if call.count > 0 {
            altered["columns"][1]["name"] = "other".into();
        }
        definitions(&[altered])
    });
    let target = FakeSite::new().with("define", |call| match call.count {
        0 => Reply::Json(200, json!({ "table_id": 1, "adjustments": [] })),
        _ => rejected_by_the_database(1118),
    });
    let (source, target) = tokio::join!(source.start(), target.start());
    let fidelity = transferred(&source, &target).await.unwrap();
    let [omitted] = &fidelity.omitted_tables[..] else { panic!("{fidelity:?}") };
    assert!(omitted.reason.contains("database_error 1118"), "{}", omitted.reason);
    assert_eq!((target.requests("define"), target.requests("omit")), (2, 1));
}

#[tokio::test]
async fn a_table_that_sends_other_rows_each_time_fails_verification() {
    let row: Row<'_> = &[Some(b"3"), None];
    let (source, target) = tokio::join!(
        FakeSite::new().with("rows", move |_| rows_reply(&[row])).start(),
        FakeSite::new().start()
    );
    let error = transferred(&source, &target).await.unwrap_err();
    assert!(matches!(error, TransferError::Verification(_)), "{error:?}");
    assert_eq!((source.requests("rows"), target.requests("swap")), (3, 0));
}

#[tokio::test]
async fn a_checksum_without_an_end_is_abandoned() {
    let source = FakeSite::new().with("checksum", |call| {
        Reply::Json(200, json!({ "rows": 1 << 20, "digest": "0".repeat(64), "cursor": { "n": call.count } }))
    });
    assert!(matches!(failure(source).await, ClientError::Endless("a checksum")));
    let source = FakeSite::new().with("checksum", |_| {
        Reply::Json(200, json!({ "rows": u64::MAX, "digest": "0".repeat(64), "cursor": null }))
    });
    assert!(matches!(failure(source).await, ClientError::Endless("a checksum")));
}

#[tokio::test]
async fn a_file_that_grows_whenever_it_is_read_is_left_out() {
    let source = FakeSite::new().with("files", |call| {
        let size = 6 + call.count as u64;
        let head = [&0_u32.to_be_bytes()[..], &[1], &numbers([size, 1, 0])].concat();
        Reply::Frames(vec![(b'F', head)], json!({ "file": null, "offset": null }))
    });
    let target = FakeSite::new().with("staged-index", |_| index_reply(&[], Value::Null));
    let fidelity = transfer(source, target).await.unwrap();
    assert_eq!((fidelity.files.files, fidelity.files.omitted_files.len()), (0, 1));
}

use proptest::prelude::*;
use serde_json::json;
use wpclone_migrator::Table;
use wpclone_rewrite::{Options, Rewriter, SiteMapping};

use super::*;

fn table() -> Table {
    let column = |name: &str, kind: &str| {
        json!({"name": name, "type": kind, "nullable": true, "default": null, "auto_increment": false,
            "on_update": null, "charset": "utf8mb4", "collation": null, "comment": "", "generated": null,
            "invisible": false, "srid": null})
    };
    let columns =
        [column("id", "bigint(20)"), column("a", "longtext"), column("b", "longblob"), column("c", "bit(1)")];
    let table = json!({"name": "wp_x", "engine": "InnoDB", "charset": "utf8mb4", "collation": "c",
        "row_format": null, "comment": "", "auto_increment": null, "columns": columns, "indexes": [],
        "foreign_keys": [], "checks": []});
    serde_json::from_value(table).unwrap()
}

fn rewriter() -> Rewriter {
    let pair = SiteMapping::new("http://a.example", "https://a-longer-name.example").unwrap();
    Rewriter::new(&[pair], Options::default()).unwrap()
}

type Row = Vec<Option<Vec<u8>>>;
/// Column, offset and bytes.
type Piece = (usize, u64, Vec<u8>);

/// A row as a source sends it: the row, and pieces of at most `cut` bytes.
fn parts(row: &Row, cut: usize) -> (Vec<u8>, Vec<Piece>) {
    let values: Vec<_> = row.iter().map(|value| value.as_deref().map_or(Value::Null, Value::of)).collect();
    let mut bytes = Vec::new();
    write_row(&mut bytes, &values);
    let large = row.iter().enumerate().filter_map(|(at, value)| Some((at, value.as_ref()?)));
    let large = large.filter(|(_, value)| value.len() > LARGE_VALUE_BYTES);
    let cut = |(at, value): (usize, &Vec<u8>)| {
        let pieces = value.chunks(cut).enumerate();
        pieces.map(|(n, piece)| (at, (n * cut) as u64, piece.to_vec())).collect::<Vec<_>>()
    };
    (bytes, large.flat_map(cut).collect())
}

/// Joins units the way a target does.
#[derive(Default)]
struct Target {
    rows: Vec<Row>,
    digest: RowDigest,
    columns: usize,
}

impl Target {
    fn take(&mut self, unit: Unit<'_>) {
        match unit {
            Unit::Row { bytes, whole } => {
                self.digest.add(bytes);
                let mut rest = &bytes[4 * self.columns..];
                let mut large = false;
                let value = |at: usize| {
                    let length = u32::from_be_bytes(bytes[4 * at..4 * at + 4].try_into().unwrap());
                    match length {
                        0xFFFF_FFFF => None,
                        0xFFFF_FFFE => {
                            rest = &rest[40..];
                            large = true;
                            Some(Vec::new())
                        }
                        length => {
                            let (value, after) = rest.split_at(length as usize);
                            rest = after;
                            Some(value.to_vec())
                        }
                    }
                };
                self.rows.push((0..self.columns).map(value).collect());
                assert_eq!(large, !whole);
            }
            Unit::Piece { column, offset, bytes } => {
                let value = self.rows.last_mut().unwrap()[usize::from(column)].as_mut().unwrap();
                assert_eq!(value.len() as u64, offset);
                value.extend_from_slice(bytes);
            }
            Unit::Alternatives(_) => panic!("no index is unique"),
        }
    }
}

fn run(rows: &[Row], cut: usize) -> (Target, Counts) {
    let (table, rewriter) = (table(), rewriter());
    let mut units = RowStream::new(RowTransformer::new(&table, "x", &rewriter, None));
    let mut target = Target { columns: 4, ..Target::default() };
    for row in rows {
        let (bytes, pieces) = parts(row, cut);
        let values: Vec<_> =
            row.iter().map(|value| value.as_deref().map_or(Value::Null, Value::of)).collect();
        units.push(&RowPart::Row { bytes: &bytes, values }, &mut |unit| target.take(unit)).unwrap();
        for (column, offset, bytes) in &pieces {
            let piece = RowPart::Piece { column: *column, offset: *offset, bytes };
            units.push(&piece, &mut |unit| target.take(unit)).unwrap();
        }
        assert!(units.is_between_rows());
    }
    (target, units.counts)
}

fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
    let text =
        prop::collection::vec(prop::sample::select(vec!["http://a.example/", "x ", "\u{fc}", "s:3"]), 0..8);
    prop_oneof![
        1 => Just(None),
        6 => text.prop_map(|words| Some(words.concat().into_bytes())),
        1 => (LARGE_VALUE_BYTES - 20..LARGE_VALUE_BYTES + 300_000).prop_map(|size| {
            Some(b"http://a.example/ and more ".iter().copied().cycle().take(size).collect())
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_arrive_transformed_whatever_the_size_of_their_pieces(
        rows in prop::collection::vec((value(), value()), 1..5), cut in 50_000_usize..400_000,
    ) {
        let rows: Vec<Row> = rows.into_iter().map(|(a, b)| vec![Some(b"1".to_vec()), a, b, Some(b"1".to_vec())]).collect();
        let (target, counts) = run(&rows, cut);
        let rewriter = rewriter();
        let rewrite = |value: &Vec<u8>| rewriter.rewrite(value, &mut Report::default()).into_owned();
        let expected: Vec<Row> =
            rows.iter().map(|row| row.iter().map(|value| value.as_ref().map(rewrite)).collect()).collect();
        prop_assert!(target.rows == expected);
        prop_assert_eq!(counts.target_digest, target.digest);
        prop_assert_eq!(counts.target_rows, rows.len() as u64);
    }
}

#[test]
fn the_hash_of_an_address_follows_it_and_is_counted() {
    let row = |address: &str| {
        let hash = format!("{}:{}", address.len(), hex::encode(md5::Md5::digest(address)));
        vec![Some(b"1".to_vec()), Some(address.into()), Some(hash.into()), None]
    };
    let rows = [row("http://a.example/about/"), row("http://b.example/about/")];
    let (target, counts) = run(&rows, 1 << 20);
    assert_eq!(target.rows, [row("https://a-longer-name.example/about/"), row("http://b.example/about/")]);
    assert_eq!((counts.report.changed_values, counts.report.replaced_addresses), (2, 1));
    assert_eq!(counts.target_digest, target.digest);
}

/// A row with an address and its hash.
fn hashed(address: &str) -> Row {
    row(["1", address, &hex::encode(md5::Md5::digest(address)), "0"])
}

#[test]
fn a_hash_is_kept_with_the_row_that_keeps_its_address() {
    let rows = |keeps_constrained| run_unique(&["a"], &[hashed("http://a.example/")], keeps_constrained);
    let shown = |address: &str| hashed(address).into_iter().flatten().map(|v| String::from_utf8(v).unwrap());
    let shown = |address: &str| shown(address).collect::<String>();
    let (old, new) = (shown("http://a.example/"), shown("https://a-longer-name.example/"));
    assert_eq!(rows(false).0, [format!("{new} or {old} (2, 1)")]);
    assert_eq!(rows(true).0, [old]);
}

#[test]
fn a_hash_by_which_others_may_refer_to_its_row_stays() {
    let old = hashed("http://a.example/");
    let hash = String::from_utf8(old[2].clone().unwrap()).unwrap();
    let kept = format!("1https://a-longer-name.example/{hash}0");
    let (units, counts) = run_unique(&["b"], std::slice::from_ref(&old), false);
    assert_eq!((units, counts.report.changed_values), (vec![kept], 1), "of a unique index");

    let (table, rewriter) = (table(), rewriter());
    let transformer = RowTransformer::new(&table, "x", &rewriter, None);
    let mut units = RowStream::new(transformer.with_foreign_keys(&[false, false, true, false]));
    let mut target = Target { columns: 4, ..Target::default() };
    let (bytes, _) = parts(&old, 1);
    let values = old.iter().map(|value| value.as_deref().map_or(Value::Null, Value::of)).collect();
    units.push(&RowPart::Row { bytes: &bytes, values }, &mut |unit| target.take(unit)).unwrap();
    assert_eq!(target.rows, [row(["1", "https://a-longer-name.example/", &hash, "0"])], "of a foreign key");
}

#[test]
fn large_values_beyond_the_buffer_are_passed_through_and_counted() {
    let large: Vec<u8> =
        b"http://a.example/ ".iter().copied().cycle().take(MAX_BUFFERED_BYTES as usize + 1).collect();
    let row = vec![Some(b"1".to_vec()), Some(b"http://a.example".to_vec()), Some(large.clone()), None];
    let (target, counts) = run(&[row], 1 << 20);
    assert_eq!(target.rows[0][1].as_deref(), Some(b"https://a-longer-name.example".as_slice()));
    assert_eq!(target.rows[0][2].as_ref().map(Vec::len), Some(large.len()));
    assert!(target.rows[0][2].as_deref() == Some(&large));
    assert_eq!((counts.skipped_large_values, counts.report.changed_values), (1, 1));
}

#[test]
fn pieces_that_do_not_match_their_row_are_rejected() {
    let (table, rewriter) = (table(), rewriter());
    let mut units = RowStream::new(RowTransformer::new(&table, "x", &rewriter, None));
    let old = vec![b'x'; LARGE_VALUE_BYTES + 10];
    let values = vec![Value::Bytes(b"1"), Value::of(&old), Value::Null, Value::Null];
    let mut bytes = Vec::new();
    write_row(&mut bytes, &values);
    let mut take = |part: RowPart<'_>| units.push(&part, &mut |_| {});
    take(RowPart::Row { bytes: &bytes, values: values.clone() }).unwrap();
    let new = vec![b'y'; LARGE_VALUE_BYTES + 10];
    assert_eq!(take(RowPart::Piece { column: 1, offset: 5, bytes: &new }), Err(RowChanged), "wrong offset");
    assert_eq!(take(RowPart::Piece { column: 1, offset: 0, bytes: &new }), Err(RowChanged), "wrong digest");
}

#[test]
fn source_counts_do_not_depend_on_the_size_of_responses() {
    let (table, rewriter) = (table(), rewriter());
    let rows = [b"one".as_slice(), b"two", b"two", b"three"];
    let counted = |answers: &[&[&[u8]]]| {
        let mut units = RowStream::new(RowTransformer::new(&table, "x", &rewriter, None));
        for answer in answers {
            let mut digest = RowDigest::default();
            answer.iter().for_each(|row| digest.add(row));
            units.add_source_counts(answer.len() as u64, digest);
        }
        (units.counts.source_rows, units.counts.source_digest)
    };
    let whole = counted(&[&rows]);
    assert_eq!(whole.0, 4);
    assert_eq!(counted(&[&rows[..1], &[], &rows[1..]]), whole);
    assert_ne!(counted(&[&rows[..3]]), whole, "a row is missing");
    assert_ne!(counted(&[&rows, &rows[..1]]).0, whole.0, "a row came twice");
}

/// The units of rows of a table of which some columns are unique together, and the counts.
fn run_unique(unique: &[&str], rows: &[Row], keeps_constrained: bool) -> (Vec<String>, Counts) {
    let mut table = table();
    let part = |name: &str| json!({"column": name, "length": 20, "descending": false});
    let parts_of_index: Vec<_> = unique.iter().map(|name| part(name)).collect();
    let index = json!({"name": "u", "unique": true, "kind": "BTREE", "comment": "", "parts": parts_of_index});
    table.indexes = vec![serde_json::from_value(index).unwrap()];
    let rewriter = rewriter();
    let mut stream = RowStream::new(RowTransformer::new(&table, "x", &rewriter, None))
        .keeping_constrained(keeps_constrained);
    let mut units = Vec::new();
    let shown = |row: &[u8]| String::from_utf8_lossy(&row[16..]).into_owned();
    let mut emit = |unit: Unit<'_>| {
        units.push(match unit {
            Unit::Row { bytes, .. } => shown(bytes),
            Unit::Piece { .. } => "piece".to_owned(),
            Unit::Alternatives(rows) => {
                format!("{} or {} ({}, {})", shown(rows.new), shown(rows.kept), rows.values, rows.addresses)
            }
        });
    };
    for row in rows {
        let (bytes, pieces) = parts(row, 300_000);
        let values = row.iter().map(|value| value.as_deref().map_or(Value::Null, Value::of)).collect();
        stream.push(&RowPart::Row { bytes: &bytes, values }, &mut emit).unwrap();
        for (column, offset, bytes) in &pieces {
            stream.push(&RowPart::Piece { column: *column, offset: *offset, bytes }, &mut emit).unwrap();
        }
    }
    let held = !stream.is_emitted();
    stream.finish(&mut emit);
    assert!(stream.is_emitted());
    assert_eq!(held, units.iter().any(|unit| unit.contains(" or ")), "{units:?}");
    (units, stream.counts)
}

fn row(values: [&str; 4]) -> Row {
    values.iter().map(|value| Some(value.as_bytes().to_vec())).collect()
}

#[test]
fn rows_with_new_addresses_in_a_unique_index_come_last_and_in_both_forms() {
    let rows = [
        row(["1", "http://a.example", "http://a.example", "0"]),
        row(["2", "same", "same", "0"]),
        row(["3", "https://a.example", "", "0"]),
    ];
    let (units, counts) = run_unique(&["a", "b"], &rows, false);
    let new = "https://a-longer-name.example";
    assert_eq!(
        units,
        [
            "2samesame0".to_owned(),
            format!("1{new}{new}0 or 1http://a.examplehttp://a.example0 (2, 2)"),
            format!("3{new}0 or 3https://a.example0 (1, 1)"),
        ]
    );
    assert_eq!(
        (counts.target_rows, counts.report.replaced_addresses, counts.constraint_conflicts),
        (3, 3, 0)
    );

    // The target had a row for the third one already.
    let mut after = counts.clone();
    after.take_back(&ConstraintConflicts { rows: 1, values: 1, addresses: 1, digest: RowDigest::default() });
    assert_eq!((after.report.changed_values, after.report.replaced_addresses), (2, 2));
    assert_eq!((after.report.unreplaced[&UnreplacedReason::Constraint], after.constraint_conflicts), (1, 1));

    let (units, counts) = run_unique(&["a", "b"], &rows, true);
    assert_eq!(units, ["1http://a.examplehttp://a.example0", "2samesame0", "3https://a.example0"]);
    assert_eq!((counts.report.changed_values, counts.report.replaced_addresses), (0, 0));
    assert_eq!(
        (counts.report.unreplaced[&UnreplacedReason::Constraint], counts.constraint_conflicts),
        (3, 2)
    );
}

#[test]
fn a_row_that_travels_in_pieces_keeps_its_values_in_unique_indexes() {
    let long = "http://a.example ".repeat(LARGE_VALUE_BYTES / 17 + 1);
    let (units, counts) = run_unique(&["a", "b"], &[row(["1", "http://a.example", &long, "0"])], false);
    assert_eq!(units.len(), 2, "a row and a piece");
    assert_eq!(counts.constraint_conflicts, 1);
    assert_eq!(counts.report.replaced_addresses, 0);
}

#[test]
fn rows_are_held_back_up_to_a_size() {
    let rows: Vec<Row> =
        (0..9_000).map(|id| row([&id.to_string(), "http://a.example", &"x".repeat(500), "0"])).collect();
    let (units, counts) = run_unique(&["a", "b"], &rows, false);
    assert_eq!((units.len(), counts.target_rows), (9_000, 9_000));
    // Every row once, in the order in which they came.
    assert!(units.iter().enumerate().all(|(id, unit)| unit.starts_with(&format!("{id}https:"))));
}

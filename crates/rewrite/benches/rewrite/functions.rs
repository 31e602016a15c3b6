//! Benchmarks of the crate's functions.

use std::hint::black_box;
use std::time::Duration;

use anyhow::Result;
use criterion::{Criterion, Throughput};
use wpclone_rewrite::{DumpOptions, Options as RewriteOptions, Report, Rewriter, SiteMapping};

use crate::rows::{self, Kind, Matching};
use crate::{NEW, OLD, Options};

/// Bytes of rows per iteration of a benchmark.
const ROW_BYTES: usize = 400_000;

/// Bytes of a chunk of a dump.
const CHUNK_BYTES: usize = 1 << 20;

pub(crate) fn measure(options: &Options) -> Result<()> {
    let (warm_up, time, samples) = if options.quick { (50, 100, 10) } else { (500, 2000, 20) };
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(warm_up))
        .measurement_time(Duration::from_millis(time))
        .sample_size(samples);
    let rewriter = Rewriter::new(&[SiteMapping::new(OLD, NEW)?], RewriteOptions::default())?;
    let mut group = criterion.benchmark_group("value");
    for kind in Kind::ALL {
        for own in [false, true] {
            let rows = rows::of(options.seed, ROW_BYTES, kind, own);
            group.throughput(Throughput::Bytes(rows.iter().map(|row| row.len() as u64).sum()));
            let name =
                format!("{}, {}", kind.name(), if own { "every row matches" } else { "nothing matches" });
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let mut report = Report::default();
                    for row in &rows {
                        black_box(rewriter.rewrite(black_box(row), &mut report));
                    }
                    report
                });
            });
        }
    }
    group.finish();
    let mut group = criterion.benchmark_group("dump");
    for (matching, name) in
        [(Matching::Nothing, "nothing matches"), (Matching::Third, "a third of the rows matches")]
    {
        let dump = dump(&rows::mixed(options.seed, 10 * ROW_BYTES, matching));
        group.throughput(Throughput::Bytes(dump.len() as u64));
        group.bench_function(name, |bencher| {
            let mut out = Vec::new();
            bencher.iter(|| {
                let (mut report, mut stream) =
                    (Report::default(), rewriter.dump_rewriter(DumpOptions::default()));
                for chunk in dump.chunks(CHUNK_BYTES) {
                    out.clear();
                    stream.push(black_box(chunk), &mut out, &mut report);
                }
                stream.finish(&mut out, &mut report);
                report
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("new");
    for count in [1, 10, 100] {
        let pairs: Result<Vec<SiteMapping>, _> =
            (0..count).map(|site| SiteMapping::new(&format!("http://site{site}.example.com"), NEW)).collect();
        let pairs = pairs?;
        group.bench_function(format!("{count} pairs"), |bencher| {
            bencher.iter(|| Rewriter::new(black_box(&pairs), RewriteOptions::default()).is_ok());
        });
    }
    group.finish();
    Ok(())
}

/// A dump of the rows, with a hundred rows per statement.
fn dump(rows: &[Vec<u8>]) -> Vec<u8> {
    let mut dump = Vec::new();
    for rows in rows.chunks(100) {
        dump.extend(b"INSERT INTO `wp_postmeta` VALUES ");
        for (index, row) in rows.iter().enumerate() {
            dump.extend(if index == 0 { "" } else { "," }.bytes());
            dump.extend(format!("({index},{},'_key_{index}','", index * 7).bytes());
            for byte in row {
                match byte {
                    b'\n' => dump.extend(b"\\n"),
                    b'\\' | b'\'' | b'"' => dump.extend([b'\\', *byte]),
                    byte => dump.push(*byte),
                }
            }
            dump.extend(b"')");
        }
        dump.extend(b";\n");
    }
    dump
}

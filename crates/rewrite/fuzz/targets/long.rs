//! A few bytes repeated many times between addresses. Time and memory have to be linear in the length: an input that
//! exceeds libFuzzer's timeout is a finding.

#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use wpclone_rewrite_fuzz::{REWRITER, check_invariants, words};

/// Bytes of a value. Quadratic work takes minutes for it.
const VALUE_BYTES: usize = 256 << 10;

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let mut part = || words(&mut u, 8).unwrap_or_default();
    let (before, repeated, after) = (part(), part(), part());
    let address: &[u8] = b"//example.com";
    if repeated.is_empty() {
        return;
    }
    let repeated = repeated.repeat(VALUE_BYTES / repeated.len());
    let value = [address, &before, &repeated, &after, address, &before].concat();
    check_invariants(&REWRITER, &value);
});

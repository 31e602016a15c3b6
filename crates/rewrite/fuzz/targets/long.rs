//! A few bytes many times over, between addresses: work and memory are linear in a value's length. What takes longer than
//! libFuzzer's timeout is a finding.

#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use wpclone_rewrite_fuzz::{USUAL, checked, words};

/// Bytes of a value. What needs the square of it takes minutes.
const LENGTH: usize = 256 << 10;

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let mut part = || words(&mut u, 8).unwrap_or_default();
    let (before, again, after) = (part(), part(), part());
    let address: &[u8] = b"//example.com";
    if again.is_empty() {
        return;
    }
    let again = again.repeat(LENGTH / again.len());
    let value = [address, &before, &again, &after, address, &before].concat();
    checked(&USUAL, &value);
});

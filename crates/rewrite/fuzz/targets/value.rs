//! Arbitrary bytes as a value: no panic, no excessive growth; an unchanged value is borrowed; a second run changes
//! nothing; and every old host is replaced or reported. The first byte chooses the mapping; the rest is the value, or
//! chooses the words of one.

#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use wpclone_rewrite::{Encoding, Report};
use wpclone_rewrite_fuzz::{MAPPINGS, NESTED_MAPPING, check_invariants, words};

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let mapping = usize::from(*first) % MAPPINGS.len();
    let generated = if *first < 128 { None } else { words(&mut Unstructured::new(rest), 200).ok() };
    let value = generated.as_deref().unwrap_or(rest);
    let rewriter = &MAPPINGS[mapping];
    let (new, report) = check_invariants(rewriter, value);
    if mapping == 0 {
        assert!(
            whole_hosts(&new) <= report.unreplaced_total(),
            "an old host is neither replaced nor reported: {report:?}"
        );
    }
    // Two exceptions: with a nested mapping, `//example.com+` becomes an address outside of the new path; and text
    // that was decoded because of an old address may be read as plain text once no old address is left.
    let is_encoded =
        |encoding: &Encoding| !matches!(encoding, Encoding::Plain | Encoding::Php | Encoding::Json);
    if report.malformed.is_empty()
        && mapping != NESTED_MAPPING
        && !report.replaced_by_encoding.keys().any(is_encoded)
    {
        let again = rewriter.rewrite(&new, &mut Report::default());
        assert!(
            again == new,
            "a second run changes the result of mapping {mapping}:\n{}\n{}",
            new.escape_ascii(),
            again.escape_ascii()
        );
    }
});

/// The old hosts in a text that are whole hosts in every interpretation: no letter, encoding or user name next to
/// them.
fn whole_hosts(text: &[u8]) -> u64 {
    const HOST: &[u8] = b"example.com";
    let apart = |byte: Option<&u8>, other: &[u8]| {
        byte.is_none_or(|byte| {
            byte.is_ascii()
                && !byte.is_ascii_alphanumeric()
                && !b"-._".contains(byte)
                && !other.contains(byte)
        })
    };
    let is_whole = |(at, window): &(usize, &[u8])| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        window.eq_ignore_ascii_case(HOST)
            && apart(before, b"%;")
            && apart(text.get(at + HOST.len()), b"%&\\:@")
    };
    text.windows(HOST.len()).enumerate().filter(is_whole).count() as u64
}

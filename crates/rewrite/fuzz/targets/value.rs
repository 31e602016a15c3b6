//! Any bytes: no panic, no growth; what did not change is borrowed; once is enough; and no old host is left in silence.
//! The first byte chooses the way; the rest is the value, or what chooses words to make one from.

#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use wpclone_rewrite::{Encoding, Report};
use wpclone_rewrite_fuzz::{DEEPER, WAYS, checked, words};

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let way = usize::from(*first) % WAYS.len();
    let made = if *first < 128 { None } else { words(&mut Unstructured::new(rest), 200).ok() };
    let value = made.as_deref().unwrap_or(rest);
    let rewriter = &WAYS[way];
    let (new, report) = checked(rewriter, value);
    if way == 0 {
        assert!(whole_hosts(&new) <= report.unreplaced_total(), "an old host is left in silence: {report:?}");
    }
    // Of a site that moves deeper into its own host, `//example.com+` becomes what is not in its new folder. And what was
    // read as spelled since an address was may be read as plain when none is left.
    let spelled = |encoding: &Encoding| !matches!(encoding, Encoding::Plain | Encoding::Php | Encoding::Json);
    if report.malformed.is_empty() && way != DEEPER && !report.replaced_by_encoding.keys().any(spelled) {
        let again = rewriter.rewrite(&new, &mut Report::default());
        assert!(
            again == new,
            "once is enough, of way {way}:\n{}\n{}",
            new.escape_ascii(),
            again.escape_ascii()
        );
    }
});

/// The old hosts in a text that are hosts whatever it is: no letter, no encoding and no name before or behind them.
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

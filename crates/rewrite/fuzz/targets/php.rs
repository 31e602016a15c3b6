//! Serialised data: the result is still valid, and only its strings differ, each rewritten as if it were a value by
//! itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wpclone_rewrite::Report;
use wpclone_rewrite_fuzz::php::Php;
use wpclone_rewrite_fuzz::{REWRITER, check_invariants};

fuzz_target!(|php: Php| {
    let value = php.encode();
    assert_eq!(Php::parse(&value).as_ref(), Some(&php), "the parser reads what the generator writes");
    let (new, report) = check_invariants(&REWRITER, &value);
    let parsed = Php::parse(&new);
    assert!(parsed.is_some(), "{}\nbecomes {}\n{report:?}", value.escape_ascii(), new.escape_ascii());
    let rewrite = |text: &[u8]| REWRITER.rewrite(text, &mut Report::default()).into_owned();
    let expected = php.map(&rewrite);
    assert!(
        parsed.as_ref() == Some(&expected),
        "{}\nbecomes {}\n    not {}\n{report:?}",
        value.escape_ascii(),
        new.escape_ascii(),
        expected.encode().escape_ascii()
    );
});

//! What PHP could read it can read afterwards, and only the strings differ: each is what it becomes by itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wpclone_rewrite::Report;
use wpclone_rewrite_fuzz::php::Php;
use wpclone_rewrite_fuzz::{USUAL, checked};

fuzz_target!(|php: Php| {
    let value = php.encode();
    assert_eq!(Php::parse(&value).as_ref(), Some(&php), "the target reads what it writes");
    let (new, report) = checked(&USUAL, &value);
    let read = Php::parse(&new);
    assert!(read.is_some(), "{}\nbecomes {}\n{report:?}", value.escape_ascii(), new.escape_ascii());
    let alone = |text: &[u8]| USUAL.rewrite(text, &mut Report::default()).into_owned();
    let wanted = php.map(&alone);
    assert!(
        read.as_ref() == Some(&wanted),
        "{}\nbecomes {}\n    not {}\n{report:?}",
        value.escape_ascii(),
        new.escape_ascii(),
        wanted.encode().escape_ascii()
    );
});

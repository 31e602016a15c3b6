//! Values in each other: rewriting what is encoded is encoding what is rewritten, and there is a way back.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wpclone_rewrite::{Options, Report, Rewriter};
use wpclone_rewrite_fuzz::node::Node;
use wpclone_rewrite_fuzz::{NEW, OLD, USUAL, WAYS, checked, rewriter};

const FAR: &str = "https://a-much-longer.example.net:8443";
static BACK: LazyLock<[Rewriter; 2]> =
    LazyLock::new(|| [(OLD, FAR), (FAR, OLD)].map(|pair| rewriter(&[pair], Options::default())));

fuzz_target!(|node: Node| {
    let value = node.encode(OLD);
    let (new, report) = checked(&USUAL, value.as_bytes());
    let (new, wanted) = (String::from_utf8_lossy(&new), node.encode(NEW));
    assert!(new == wanted, "of {value}\n  is {new}\nnot {wanted}\n{node:?}\n{report:?}");

    let [there, back] = &*BACK;
    let far = there.rewrite(value.as_bytes(), &mut Report::default());
    let near = back.rewrite(&far, &mut Report::default());
    let near = String::from_utf8_lossy(&near);
    assert!(near == value, "there and back {value}\nbecomes {near}\n{node:?}");

    let (same, report) = checked(&WAYS[1], value.as_bytes());
    assert_eq!((&*same, report.unreplaced_total()), (value.as_bytes(), 0), "to where it is: {report:?}");
});

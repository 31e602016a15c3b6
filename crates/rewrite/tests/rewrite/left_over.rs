//! What stays is told.

use wpclone_rewrite::{Encoding, Malformed, Report, Why};

use crate::{rewrite, usual};

fn why(value: &str) -> Vec<(Why, u64)> {
    let (new, report) = rewrite(&usual(), value);
    assert_eq!(new, value);
    report.stayed.into_iter().collect()
}

#[test]
fn an_old_host_that_stays_is_counted_with_its_reason() {
    let cases = [
        ("bob@example.com", Why::Email),
        ("bob@Example.com.", Why::Email),
        ("example.com", Why::Bare),
        ("/srv/www.example.com/", Why::Bare),
        ("ftp://example.com", Why::Scheme),
        ("http://example.com:8080/", Why::Port),
        ("http://example.com:80a/", Why::Port),
        (r#"a:1:{s:18:"http://example.com";N;}"#, Why::Key),
        (r#"{"http:\/\/example.com":1}"#, Why::Key),
        (r#"a:2:{i:0;s:18:"http://example.com";}"#, Why::Malformed),
        ("cm9vdEBleGFtcGxlLmNvbQ==", Why::Email),
        ("root%40example.com", Why::Email),
    ];
    for (value, reason) in cases {
        assert_eq!(why(value), [(reason, 1)], "{value}");
    }
    for other in ["http://example.com.au", "notexample.com", "shop.example.com"] {
        assert_eq!(why(other), []);
    }
}

#[test]
fn a_left_over_comes_with_its_surroundings() {
    let value = r#"{"a":"s:30:\"write to bob@example.com, now!\";"}"#;
    let (_, report) = rewrite(&usual(), value);
    let [left] = report.left_overs.as_slice() else { panic!("{report:?}") };
    assert_eq!((left.why, left.context.as_str()), (Why::Email, "write to bob@example.com, now!"));
    assert_eq!(left.within, [Encoding::Php, Encoding::Json]);
}

#[test]
fn only_so_many_are_kept_but_all_are_counted() {
    let (_, report) = rewrite(&usual(), &"bob@example.com ".repeat(1000));
    assert_eq!((report.left_overs.len(), report.stayed()), (100, 1000));
}

#[test]
fn what_is_malformed_stays_and_is_counted_with_its_reason() {
    let cases = [
        (r#"s:17:"http://example.com";"#, Malformed::PhpLength),
        (r#"s:19:"http://example.com";"#, Malformed::PhpLength),
        (r#"s:1000000000:"http://example.com";"#, Malformed::PhpCutOff),
        (r#"s:99999999999999999:"http://example.com";"#, Malformed::PhpCutOff),
        (r#"a:1:{i:0;s:18:"http://example.com";"#, Malformed::PhpCutOff),
        (r#"a:1000000000:{i:0;s:18:"http://example.com";}"#, Malformed::PhpCutOff),
        (r#"a:2:{i:0;s:18:"http://example.com";}"#, Malformed::PhpSyntax),
        (r#"a:1:{i:0;x:18:"http://example.com";}"#, Malformed::PhpSyntax),
        (r#"a:1:{a:0:{}s:18:"http://example.com";}"#, Malformed::PhpSyntax),
        (r#"O:3:"Foo":1:{i:0;s:18:"http://example.com"}"#, Malformed::PhpSyntax),
        (r#"C:3:"Foo":17:{http://example.com}"#, Malformed::PhpLength),
        (r#"S:19:"\68ttp://example.com";"#, Malformed::PhpLength),
        (r#"S:18:"\68ttp://example.com";"#, Malformed::PhpSyntax),
        (r#"text s:17:"http://example.com";"#, Malformed::PhpLength),
        (r#"text s:99:"see http://example.com";"#, Malformed::PhpCutOff),
    ];
    for (value, reason) in cases {
        let (new, report) = rewrite(&usual(), value);
        assert_eq!(new, value);
        let reasons: Vec<Malformed> = report.malformed.keys().copied().collect();
        assert_eq!(reasons, [reason], "{value}");
        assert_eq!(report.stayed(), 1, "{value}");
    }
}

#[test]
fn what_is_broken_does_not_spoil_what_is_around_it() {
    let value = r#"<code>s:9:"http://example.com";</code> http://example.com"#;
    let (new, _) = rewrite(&usual(), value);
    assert_eq!(new, r#"<code>s:9:"http://example.com";</code> https://new.example.org/shop"#);
    let value = r#"{"a":"http:\/\/example.com","b":"s:9:\"http:\/\/example.com\";","c"#;
    let (new, report) = rewrite(&usual(), value);
    assert_eq!(new, r#"{"a":"https:\/\/new.example.org\/shop","b":"s:9:\"http:\/\/example.com\";","c"#);
    assert_eq!(report.malformed.get(&Malformed::Json), Some(&1));
}

#[test]
fn reports_add_up() {
    let mut sum = Report::default();
    let mut whole = Report::default();
    for value in ["http://example.com bob@example.com", "s:1:\"http://example.com\";", "none"] {
        let mut one = Report::default();
        usual().value(value.as_bytes(), &mut one);
        usual().value(value.as_bytes(), &mut whole);
        sum.absorb(one);
    }
    assert_eq!(sum, whole);
    assert_eq!((sum.values, sum.changed, sum.addresses, sum.stayed()), (3, 1, 1, 2));
}

//! Serialised PHP data and JSON, nested in each other and in other text.

use crate::{assert_rewritten, assert_unchanged, default_rewriter, rewrite};

#[test]
fn serialised_strings_keep_their_lengths() {
    assert_rewritten(&[
        (r#"s:18:"http://example.com";"#, r#"s:28:"https://new.example.org/shop";"#),
        (
            r#"a:2:{s:4:"http";s:18:"http://example.com";i:7;s:20:"ü http://example.co";}"#,
            r#"a:2:{s:4:"http";s:28:"https://new.example.org/shop";i:7;s:20:"ü http://example.co";}"#,
        ),
        (
            r#"a:1:{i:0;a:1:{s:1:"a";s:37:"http://example.com/http://example.com";}}"#,
            r#"a:1:{i:0;a:1:{s:1:"a";s:57:"https://new.example.org/shop/https://new.example.org/shop";}}"#,
        ),
        (
            r#"a:1:{i:0;s:28:"quotes "; http://example.com";}"#,
            r#"a:1:{i:0;s:38:"quotes "; https://new.example.org/shop";}"#,
        ),
        ("s:24:\"http://example.com/\0\"};a\";", "s:34:\"https://new.example.org/shop/\0\"};a\";"),
    ]);
}

#[test]
fn every_type_of_serialised_data_is_parsed() {
    assert_rewritten(&[(
        concat!(
            "a:11:{i:-1;N;i:0;b:1;i:1;i:-42;i:2;d:0.1;i:3;d:-1.0E+25;i:4;d:-INF;i:5;d:NAN;",
            "i:6;O:3:\"Foo\":3:{s:1:\"a\";R:2;s:6:\"\0Foo\0b\";r:1;s:4:\"\0*\0c\";s:18:\"http://example.com\";}",
            "i:7;C:3:\"Bar\":18:{http://example.com}",
            "i:8;E:11:\"Suit:Hearts\";",
            "i:9;S:18:\"http://example.com\";}",
        ),
        concat!(
            "a:11:{i:-1;N;i:0;b:1;i:1;i:-42;i:2;d:0.1;i:3;d:-1.0E+25;i:4;d:-INF;i:5;d:NAN;",
            "i:6;O:3:\"Foo\":3:{s:1:\"a\";R:2;s:6:\"\0Foo\0b\";r:1;s:4:\"\0*\0c\";s:28:\"https://new.example.org/shop\";}",
            "i:7;C:3:\"Bar\":28:{https://new.example.org/shop}",
            "i:8;E:11:\"Suit:Hearts\";",
            "i:9;S:28:\"https://new.example.org/shop\";}",
        ),
    )]);
}

#[test]
fn custom_serialised_classes_are_parsed_as_text() {
    assert_rewritten(&[(
        r#"C:11:"ArrayObject":55:{x:i:0;a:1:{s:1:"u";s:18:"http://example.com";};m:a:0:{}}"#,
        r#"C:11:"ArrayObject":65:{x:i:0;a:1:{s:1:"u";s:28:"https://new.example.org/shop";};m:a:0:{}}"#,
    )]);
}

#[test]
fn names_are_kept() {
    assert_unchanged(&[
        r#"a:1:{s:18:"http://example.com";i:1;}"#,
        r#"O:8:"stdClass":1:{s:18:"http://example.com";i:1;}"#,
        r#"{"http://example.com":1,"a":{"http:\/\/example.com\/" : "b"}}"#,
        r#"<!-- wp:x {"http://example.com":1} -->"#,
        r#"<i data-x="{&quot;http://example.com&quot;:1}">"#,
        r#"<script>var x = {"a":[{"http://example.com":1}]};</script>"#,
    ]);
}

#[test]
fn json_keeps_its_escapes() {
    assert_rewritten(&[
        (
            "{ \"b\" : \"http:\\/\\/example.com\\/\\u00fc\",\n\t\"a\":1.50e+3, \"a\": [ ] }\n",
            "{ \"b\" : \"https:\\/\\/new.example.org\\/shop\\/\\u00fc\",\n\t\"a\":1.50e+3, \"a\": [ ] }\n",
        ),
        (r#"["http://example.com",null,true,-1]"#, r#"["https://new.example.org/shop",null,true,-1]"#),
        (r#"[null,["a","http:\/\/example.com"]]"#, r#"[null,["a","https:\/\/new.example.org\/shop"]]"#),
        (r#""http:\/\/example.com\/""#, r#""https:\/\/new.example.org\/shop\/""#),
        (r#"{"a":"http:\u002f\u002Fexample.com"}"#, r#"{"a":"https:\u002f\u002fnew.example.org\u002fshop"}"#),
        (
            r#"{"a":"\"http:\/\/example.com\" \ud83d\ude00"}"#,
            r#"{"a":"\"https:\/\/new.example.org\/shop\" \ud83d\ude00"}"#,
        ),
        (r#"{"a":"\ud83d http:\/\/example.com"}"#, r#"{"a":"\ud83d https:\/\/new.example.org\/shop"}"#),
        (r#"{"a":"//example.com\/x"}"#, r#"{"a":"//new.example.org/shop\/x"}"#),
    ]);
}

#[test]
fn structures_can_be_nested_in_each_other() {
    assert_rewritten(&[
        (
            r#"a:1:{s:1:"j";s:28:"{"u":"http:\/\/example.com"}";}"#,
            r#"a:1:{s:1:"j";s:39:"{"u":"https:\/\/new.example.org\/shop"}";}"#,
        ),
        (
            r#"{"p":"a:1:{s:1:\"u\";s:18:\"http:\/\/example.com\";}"}"#,
            r#"{"p":"a:1:{s:1:\"u\";s:28:\"https:\/\/new.example.org\/shop\";}"}"#,
        ),
        (
            r#"{"j":"{\"j\":\"{\\\"u\\\":\\\"http:\\\\\\\/\\\\\\\/example.com\\\"}\"}"}"#,
            r#"{"j":"{\"j\":\"{\\\"u\\\":\\\"https:\\\\\\\/\\\\\\\/new.example.org\\\\\\\/shop\\\"}\"}"}"#,
        ),
        (
            r#"{"j":"{\"u\":\"http:\\/\\/example.com\"}"}"#,
            r#"{"j":"{\"u\":\"https:\\/\\/new.example.org\\/shop\"}"}"#,
        ),
        (
            r#"s:34:"s:26:"s:18:"http://example.com";";";"#,
            r#"s:44:"s:36:"s:28:"https://new.example.org/shop";";";"#,
        ),
        (
            r#"a:1:{i:0;s:47:"<i x="a:1:{i:0;s:18:&quot;http://example.com&quot;;}">";}"#,
            r#"a:1:{i:0;s:47:"<i x="a:1:{i:0;s:18:&quot;http://example.com&quot;;}">";}"#,
        ),
        (
            r#"a:1:{i:0;s:54:"<i x="a:1:{i:0;s:18:&quot;http://example.com&quot;;}">";}"#,
            r#"a:1:{i:0;s:64:"<i x="a:1:{i:0;s:28:&quot;https://new.example.org/shop&quot;;}">";}"#,
        ),
        (
            r#"a:1:{i:0;s:33:"?u=http%3A%2F%2Fexample.com%2Fabc";}"#,
            r#"a:1:{i:0;s:45:"?u=https%3A%2F%2Fnew.example.org%2Fshop%2Fabc";}"#,
        ),
        (
            r#"a:1:{i:0;s:24:"aHR0cDovL2V4YW1wbGUuY29t";}"#,
            r#"a:1:{i:0;s:40:"aHR0cHM6Ly9uZXcuZXhhbXBsZS5vcmcvc2hvcA==";}"#,
        ),
    ]);
}

#[test]
fn structures_are_found_inside_text() {
    assert_rewritten(&[
        (
            r#"before a:1:{i:0;s:18:"http://example.com";} after http://example.com"#,
            r#"before a:1:{i:0;s:28:"https://new.example.org/shop";} after https://new.example.org/shop"#,
        ),
        (
            r#"<script type="application/json">{"a": "s:18:\"http:\/\/example.com\";"}</script>"#,
            r#"<script type="application/json">{"a": "s:28:\"https:\/\/new.example.org\/shop\";"}</script>"#,
        ),
        (
            r#"[x a='{"p":"s:18:\"http:\/\/example.com\";"}'] http://example.com"#,
            r#"[x a='{"p":"s:28:\"https:\/\/new.example.org\/shop\";"}'] https://new.example.org/shop"#,
        ),
        (
            "i:0;s:18:\"http://example.com\";\nsession|a:1:{i:0;s:18:\"http://example.com\";}",
            "i:0;s:28:\"https://new.example.org/shop\";\nsession|a:1:{i:0;s:28:\"https://new.example.org/shop\";}",
        ),
    ]);
}

#[test]
fn replacements_are_counted_by_encoding() {
    let value = r#"a:1:{s:1:"j";s:28:"{"u":"http:\/\/example.com"}";} http://example.com"#;
    let (_, report) = rewrite(&default_rewriter(), value);
    let counts = serde_json::to_value(&report).unwrap();
    assert_eq!(
        counts,
        serde_json::json!({
            "values": 1, "changed_values": 1, "replaced_addresses": 2, "prefix_renames": 0,
            "replaced_by_encoding": {"plain": 1, "php": 1, "json": 1},
            "malformed": {}, "unreplaced": {}, "unreplaced_samples": [],
        })
    );
}

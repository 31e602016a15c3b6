//! The option `active_plugins`: a serialised PHP array of strings.

/// The list without some plugins, renumbered; `None` if none of them is in it, or if it is not such a list.
pub(crate) fn without(list: &[u8], off: &[String]) -> Option<Vec<u8>> {
    let plugins = read(list)?;
    let kept: Vec<_> =
        plugins.iter().filter(|plugin| !off.iter().any(|off| off.as_bytes() == **plugin)).collect();
    if kept.len() == plugins.len() {
        return None;
    }
    let mut new = format!("a:{}:{{", kept.len()).into_bytes();
    for (n, plugin) in kept.into_iter().enumerate() {
        new.extend(format!("i:{n};s:{}:\"", plugin.len()).bytes());
        new.extend_from_slice(plugin);
        new.extend_from_slice(b"\";");
    }
    new.push(b'}');
    Some(new)
}

/// The strings of an array that has only strings and integer keys.
fn read(list: &[u8]) -> Option<Vec<&[u8]>> {
    let (count, mut rest) = number(list.strip_prefix(b"a:")?, b":{")?;
    let mut plugins = Vec::new();
    while let Some(member) = rest.strip_prefix(b"i:") {
        let (_, text) = number(member, b";s:")?;
        let (length, text) = number(text, b":\"")?;
        let (plugin, after) = text.split_at_checked(length)?;
        plugins.push(plugin);
        rest = after.strip_prefix(b"\";")?;
    }
    (rest == b"}" && plugins.len() == count).then_some(plugins)
}

/// A number, and the text after it and after `then`.
fn number<'t>(text: &'t [u8], then: &[u8]) -> Option<(usize, &'t [u8])> {
    let digits = text.iter().take(9).take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    Some((number, text[digits..].strip_prefix(then)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_removed_and_the_others_keep_their_order() {
        let list = br#"a:3:{i:0;s:9:"a/one.php";i:4;s:23:"wordfence/wordfence.php";i:7;s:9:"b/two.php";}"#;
        let off = ["wordfence/wordfence.php".to_owned(), "not/there.php".to_owned()];
        let new = without(list, &off).unwrap();
        assert_eq!(String::from_utf8_lossy(&new), r#"a:2:{i:0;s:9:"a/one.php";i:1;s:9:"b/two.php";}"#);
        assert_eq!(without(&new, &off), None);
    }

    #[test]
    fn other_values_are_not_changed() {
        let off = ["x".to_owned()];
        for list in [
            "",
            "a:0:{}",
            "a:1:{i:0;s:9:\"x\";}",
            "a:2:{i:0;s:1:\"x\";}",
            "a:1:{i:0;s:1:\"x\";}y",
            "s:1:\"x\";",
        ] {
            assert_eq!(without(list.as_bytes(), &off), None, "{list}");
        }
        assert_eq!(without(b"a:1:{i:0;s:1:\"x\";}", &off).as_deref(), Some(b"a:0:{}".as_slice()));
    }
}

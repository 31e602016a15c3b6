//! Paths of requests, as names of files.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

/// The most names in a path, and the most bytes of one: what file systems take.
const MOST_NAMES: usize = 64;
const LONGEST: usize = 255;

/// A path below a clone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) names: Vec<OsString>,
    /// Whether it ends with a slash: it means a folder.
    pub(crate) folder: bool,
}

/// The names in a path. Encoded slashes, NUL and steps up or in place are no names: a browser never sends them.
pub(crate) fn names(path: &str) -> Result<Names, &'static str> {
    let mut names = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let name = decode(part).ok_or("a percent sign in it stands for nothing")?;
        match name.as_slice() {
            b"." | b".." => return Err("it has steps in it"),
            name if name.contains(&b'/') => return Err("it has an encoded slash in it"),
            name if name.contains(&0) => return Err("it has a NUL in it"),
            name if name.contains(&b'\\') => return Err("it has a backslash in it"),
            name if name.len() > LONGEST => return Err("a name in it is too long"),
            _ => {}
        }
        names.push(OsString::from_vec(name));
        if names.len() > MOST_NAMES {
            return Err("it is too deep");
        }
    }
    let folder = names.is_empty() || path.ends_with('/');
    Ok(Names { names, folder })
}

fn decode(part: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| char::from(b?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Result<(Vec<String>, bool), &'static str> {
        let found = names(path)?;
        let text = found.names.into_iter().map(|n| n.to_string_lossy().into_owned()).collect();
        Ok((text, found.folder))
    }

    #[test]
    fn a_path_is_its_names() {
        for (path, wanted, folder) in [
            ("/", vec![], true),
            ("//wp-admin///a.php", vec!["wp-admin", "a.php"], false),
            ("/a%20b/%C3%BC/", vec!["a b", "\u{fc}"], true),
            ("/a+b", vec!["a+b"], false),
            ("/...", vec!["..."], false),
        ] {
            let wanted: Vec<String> = wanted.into_iter().map(Into::into).collect();
            assert_eq!(read(path), Ok((wanted, folder)), "{path}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_no_path() {
        let (long, deep) = (format!("/{}", "a".repeat(256)), "/a".repeat(65));
        for path in [
            "/../x",
            "/a/..",
            "/%2e%2e/x",
            "/.%2E/x",
            "/./x",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/%",
            "/%2",
            "/%zz",
            &long,
            &deep,
        ] {
            assert!(names(path).is_err(), "{path}");
        }
    }
}

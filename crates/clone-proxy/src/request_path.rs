//! The path of a request as file names.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use percent_encoding::percent_decode_str;

/// The most names in a path.
const MAX_NAMES: usize = 64;
/// The most bytes of a name: NAME_MAX of Linux' file systems.
const MAX_NAME_BYTES: usize = 255;

/// A path below a clone's folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PathNames {
    pub(crate) names: Vec<OsString>,
    /// Whether it ends with a slash, so that it means a folder.
    pub(crate) is_folder: bool,
}

/// Why a path is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("a percent sign is not followed by two hex digits")]
    Encoding,
    #[error("it contains `.` or `..`")]
    DotSegment,
    #[error("a name contains a slash, a backslash or NUL")]
    Character,
    #[error("a name is too long")]
    NameTooLong,
    #[error("it has too many names")]
    TooDeep,
}

/// The names in a path. Encoded slashes, NUL and dot segments are rejected: no browser sends them.
pub(crate) fn parse(path: &str) -> Result<PathNames, PathError> {
    let mut names = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let name = decode(part)?;
        match name.as_slice() {
            b"." | b".." => return Err(PathError::DotSegment),
            name if name.iter().any(|b| matches!(b, b'/' | b'\\' | 0)) => return Err(PathError::Character),
            name if name.len() > MAX_NAME_BYTES => return Err(PathError::NameTooLong),
            _ => {}
        }
        names.push(OsString::from_vec(name));
        if names.len() > MAX_NAMES {
            return Err(PathError::TooDeep);
        }
    }
    let is_folder = names.is_empty() || path.ends_with('/');
    Ok(PathNames { names, is_folder })
}

fn decode(part: &str) -> Result<Vec<u8>, PathError> {
    let is_encoded =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit));
    // The decoder leaves a percent sign that encodes nothing as it is.
    if part.split('%').skip(1).all(is_encoded) {
        Ok(percent_decode_str(part).collect())
    } else {
        Err(PathError::Encoding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str) -> Result<(Vec<String>, bool), PathError> {
        let found = parse(path)?;
        let text = found.names.into_iter().map(|n| n.to_string_lossy().into_owned()).collect();
        Ok((text, found.is_folder))
    }

    #[test]
    fn a_path_is_split_into_decoded_names() {
        for (path, wanted, folder) in [
            ("/", vec![], true),
            ("//wp-admin///a.php", vec!["wp-admin", "a.php"], false),
            ("/a%20b/%C3%BC/", vec!["a b", "\u{fc}"], true),
            ("/a+b", vec!["a+b"], false),
            ("/...", vec!["..."], false),
        ] {
            let wanted: Vec<String> = wanted.into_iter().map(Into::into).collect();
            assert_eq!(parsed(path), Ok((wanted, folder)), "{path}");
        }
    }

    #[test]
    fn paths_that_lead_outside_or_are_malformed_are_rejected() {
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
            assert!(parse(path).is_err(), "{path}");
        }
    }
}

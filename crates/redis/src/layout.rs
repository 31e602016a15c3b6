//! The number of the layout of our keys in Redis.
//!
//! Each keyspace (queue, registry of clones, artifacts) has a key `layout` that holds [`LAYOUT`]. Every function and script
//! checks it in the same atomic call as its work, so that a program never touches keys of another layout, also when Redis
//! was replaced or upgraded while the program was running.

use redis::RedisError;

/// The layout of keys and records that this version reads and writes. Increase it with every change that an older program
/// would misread.
pub const LAYOUT: u32 = 3;

/// The code of the error reply.
const CODE: &str = "LAYOUT";

/// Lua code that functions and scripts begin with: it defines `check_layout(key, sentinels, may_write)`.
#[must_use]
pub fn layout_lua() -> String {
    format!("local LAYOUT = '{LAYOUT}'\n{}", include_str!("layout.lua"))
}

/// Redis holds data of another layout. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the data in Redis has {}, but this version needs layout {LAYOUT}: run the version that wrote the data, or set \
     WPCLONE_REDIS_URL to another Redis or database number; nothing was changed",
    found_text(.found)
)]
pub struct OtherLayout {
    /// The number in Redis; `None` when it holds data without a number.
    pub found: Option<u32>,
}

fn found_text(found: &Option<u32>) -> String {
    found.map_or_else(|| "no layout number".to_owned(), |found| format!("layout {found}"))
}

impl OtherLayout {
    /// The error behind a call that was refused because of the layout; `None` for every other error.
    #[must_use]
    pub fn from_error(error: &RedisError) -> Option<Self> {
        (error.code() == Some(CODE)).then(|| Self {
            found: error.detail().and_then(|detail| detail.split_whitespace().next()?.parse().ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_has_both_numbers_and_what_to_do() {
        let text = OtherLayout { found: Some(7) }.to_string();
        assert!(
            text.contains("layout 7")
                && text.contains(&format!("needs layout {LAYOUT}"))
                && text.contains("WPCLONE_REDIS_URL")
        );
        assert!(OtherLayout { found: None }.to_string().contains("no layout number"));
    }
}

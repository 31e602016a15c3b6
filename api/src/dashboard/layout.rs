//! The page layout that all templates share.

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

use crate::dashboard::ASSETS;
use crate::http::auth::Caller;

/// A hash of the assets. It is part of their addresses, so that browsers may cache them for ever.
pub static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all = ASSETS.iter().fold(Sha256::new(), |hash, (.., text)| hash.chain_update(text));
    hex::encode(&all.finalize()[..6])
});

/// The variables of `base.html`.
pub struct PageLayout {
    /// The page's title and first heading.
    pub title: String,
    /// The path of the page's entry in the navigation, which is marked as current.
    pub current_path: &'static str,
    /// The signed-in user; `None` on public pages.
    pub viewer: Option<Viewer>,
    /// The assets' version: [`VERSION`].
    pub version: &'static str,
}

/// The user a page is shown to.
pub struct Viewer {
    /// The token's name.
    pub name: String,
    /// Whether the user sees the whole system.
    pub operator: bool,
    /// Whether there is a session to end: not when no tokens are configured.
    pub signed_in: bool,
}

impl PageLayout {
    /// The layout of a page of the dashboard.
    #[must_use]
    pub fn new(title: &str, current_path: &'static str, caller: &Caller) -> Self {
        Self {
            current_path,
            viewer: Some(Viewer {
                name: caller.name.clone(),
                operator: caller.is_operator(),
                signed_in: !caller.single_user,
            }),
            ..Self::public(title)
        }
    }

    /// The layout of a public page.
    #[must_use]
    pub fn public(title: &str) -> Self {
        Self { title: title.to_owned(), current_path: "", viewer: None, version: &VERSION }
    }

    /// Whether the navigation entry of this path is the current one, for `aria-current`.
    #[must_use]
    pub fn is_current(&self, path: &str) -> bool {
        self.current_path == path
    }

    /// Whether the user sees the whole system.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.viewer.as_ref().is_some_and(|v| v.operator)
    }
}

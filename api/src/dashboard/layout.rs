//! What all pages have around them.

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

use crate::dashboard::ASSETS;
use crate::http::auth::Caller;

/// Changes with the assets, so that browsers may keep them for ever.
pub static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all = ASSETS.iter().fold(Sha256::new(), |hash, (.., text)| hash.chain_update(text));
    hex::encode(&all.finalize()[..6])
});

/// What all pages have around them.
pub struct Frame {
    /// The page's title and first heading.
    pub title: String,
    /// The path of the page's entry in the navigation.
    pub here: &'static str,
    /// Who looks at it; `None` on pages that are open to all.
    pub viewer: Option<Viewer>,
    /// The assets' version.
    pub version: &'static str,
}

/// Who looks at a page.
pub struct Viewer {
    /// The token's name.
    pub name: String,
    /// Whether they see the whole system.
    pub operator: bool,
    /// Whether there is a session to end.
    pub signed_in: bool,
}

impl Frame {
    /// Around a page of the dashboard.
    #[must_use]
    pub fn new(title: &str, here: &'static str, caller: &Caller) -> Self {
        Self {
            here,
            viewer: Some(Viewer {
                name: caller.name.clone(),
                operator: caller.is_operator(),
                signed_in: !caller.single_user,
            }),
            ..Self::open(title)
        }
    }

    /// Around a page that is open to all.
    #[must_use]
    pub fn open(title: &str) -> Self {
        Self { title: title.to_owned(), here: "", viewer: None, version: &VERSION }
    }

    /// For `aria-current`.
    #[must_use]
    pub fn is_here(&self, path: &str) -> bool {
        self.here == path
    }

    /// Whether the viewer sees the whole system.
    #[must_use]
    pub fn operator(&self) -> bool {
        self.viewer.as_ref().is_some_and(|v| v.operator)
    }
}

//! Kinds of tasks, the stages they pass through, and the states they can be in.

/// A name that is not one of those known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not one of {known}")]
pub struct UnknownName {
    /// The name that was given.
    pub given: String,
    /// The known names, comma-separated.
    pub known: String,
}

/// An enum whose variants have one name each, used in JSON, Redis, metrics and on the command line.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $text)] $variant),+ }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                $crate::kind::names_schema(Self::ALL.iter().map(|x| x.as_str()))
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}

        impl $name {
            /// All variants, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Their names, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// Its name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::kind::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|x| x.as_str() == text).ok_or_else(|| $crate::kind::UnknownName {
                    given: text.chars().take(64).collect(),
                    known: Self::ALL.iter().map(|x| x.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}
pub(crate) use named;

/// The schema of a string that is one of these. (utoipa's derive ignores a `rename` that comes from a macro.)
#[cfg(feature = "openapi")]
pub(crate) fn names_schema(
    names: impl Iterator<Item = &'static str>,
) -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
    use utoipa::openapi::schema::{ObjectBuilder, Type};
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
}

named! {
    /// The kind of a task.
    Kind {
        /// Installs the migrator on a site and reads its key.
        Setup = "setup",
        /// Creates an application password on a site.
        CreateAppPassword = "create-app-password",
        /// Copies a site.
        Clone = "clone",
        /// Sets another expiry for a clone.
        ExtendClone = "extend-clone",
        /// Deletes a clone.
        DeleteClone = "delete-clone",
    }
}

named! {
    /// A part of a task that has its own queue, because stages need different resources and scale separately.
    Stage {
        /// Creates and deletes clones.
        Provisioning = "provisioning",
        /// Uses wp-admin with a browser.
        Browser = "browser",
        /// Copies content.
        Transfer = "transfer",
        /// Delivers webhooks. Internal: tasks have no steps of it; every worker with a signing secret serves it.
        Webhook = "webhook",
        /// Undoes what ended tasks have left on sites. Internal: tasks have no steps of it; every worker that serves
        /// `transfer` serves it.
        Cleanup = "cleanup",
    }
}

impl Stage {
    /// The stages of tasks, which a worker can be configured to serve.
    pub const OF_TASKS: &'static [Self] = &[Self::Provisioning, Self::Browser, Self::Transfer];
}

named! {
    /// The state of a task, or of one of its steps.
    State {
        /// It waits for its first worker.
        Queued = "queued",
        /// A worker executes it, or it is between two steps or two attempts.
        Running = "running",
        /// It ended with success.
        Succeeded = "succeeded",
        /// It ended with a problem.
        Failed = "failed",
        /// Its owner cancelled it.
        Cancelled = "cancelled",
    }
}

impl State {
    /// Whether it has ended.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl Kind {
    /// Its priority in the queue: a task of priority `n` overtakes tasks that were accepted up to `n` minutes before it.
    #[must_use]
    pub const fn priority(self) -> u8 {
        match self {
            // Short, and a person waits for them.
            Self::Setup | Self::CreateAppPassword | Self::ExtendClone | Self::DeleteClone => 1,
            Self::Clone => 0,
        }
    }
}

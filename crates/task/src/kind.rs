//! Kinds of tasks, the stages they pass through, and the states they can be in.

/// A name that is none of those known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not one of {known}")]
pub struct UnknownName {
    /// What was given.
    pub given: String,
    /// What would have been understood, comma-separated.
    pub known: String,
}

/// An enum whose every variant has one name, used in JSON, Redis, metrics and on the command line alike.
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
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Their names, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// Its one name.
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

/// A string that is one of these. (utoipa's derive does not see a `rename` that comes from a macro.)
#[cfg(feature = "openapi")]
pub(crate) fn names_schema(
    names: impl Iterator<Item = &'static str>,
) -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
    use utoipa::openapi::schema::{ObjectBuilder, Type};
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
}

named! {
    /// What a client can ask for.
    Kind {
        /// Put the migrator on a site and read its key.
        Setup = "setup",
        /// Make an application password on a site.
        CreateAppPassword = "create-app-password",
        /// Copy a site.
        Clone = "clone",
        /// Let a clone live longer, or shorter.
        ExtendClone = "extend-clone",
        /// Take a clone away.
        DeleteClone = "delete-clone",
    }
}

named! {
    /// A part of a task with a queue of its own, because the stages cost differently and scale by themselves.
    Stage {
        /// Makes and unmakes clones.
        Provisioning = "provisioning",
        /// Drives a browser through wp-admin.
        Browser = "browser",
        /// Moves content.
        Transfer = "transfer",
        /// Tells the ends of tasks to their owners' callback addresses. Internal: no step of a task is of it, and
        /// every worker serves it.
        Webhook = "webhook",
    }
}

impl Stage {
    /// Those that steps of tasks can be of, and a worker can be told to serve.
    pub const OF_TASKS: &'static [Self] = &[Self::Provisioning, Self::Browser, Self::Transfer];
}

named! {
    /// Where a task, or one of its steps, stands.
    State {
        /// Waiting for its first worker.
        Queued = "queued",
        /// A worker has it, or it is between two steps or two attempts.
        Running = "running",
        /// Done.
        Succeeded = "succeeded",
        /// Ended with a problem.
        Failed = "failed",
        /// Ended by its owner.
        Cancelled = "cancelled",
    }
}

impl State {
    /// Whether nothing more will happen to it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl Kind {
    /// How much earlier than its age it is served: a task of priority `n` overtakes those that came up to
    /// `n` minutes before it (`queue.md`, promise 4).
    #[must_use]
    pub const fn priority(self) -> u8 {
        match self {
            // Somebody waits for them at a screen, and they are short.
            Self::Setup | Self::CreateAppPassword | Self::ExtendClone | Self::DeleteClone => 1,
            Self::Clone => 0,
        }
    }
}

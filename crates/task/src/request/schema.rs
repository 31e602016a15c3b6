//! The fields of each request body, declared once: the parser, the OpenAPI document and the dashboard's forms read them.

use serde_json::{Map, Value};

use super::{Isolation, Role, Ttl};
use crate::{AppName, CallbackUrl, callback, names, site};

/// The fields of a JSON object in a request. Other fields are refused.
#[derive(Debug)]
pub struct ObjectSchema {
    /// Its name in the OpenAPI document.
    pub name: &'static str,
    /// What the object is.
    pub description: &'static str,
    /// The fields, in the order in which their faults are reported.
    pub fields: &'static [Field],
}

/// A field of a request.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name in JSON.
    pub name: &'static str,
    /// Which values it takes.
    pub kind: FieldKind,
    /// Whether it must be present. Any other field may be absent or null.
    pub required: bool,
    /// What it is for: one paragraph of Markdown.
    pub description: &'static str,
}

/// Which values a field takes, and an example or the default of it.
#[derive(Debug, Clone, Copy)]
pub enum FieldKind {
    /// An absolute URL, http or https.
    Url {
        /// The longest, in bytes.
        max_bytes: usize,
        /// Whether the URL may hold a secret, so that it is never shown again.
        secret: bool,
        /// A valid value.
        example: &'static str,
    },
    /// One line of text.
    Text {
        /// The longest, in characters.
        max_chars: usize,
        /// The value when the field is absent.
        default: Option<&'static str>,
        /// A valid value.
        example: &'static str,
    },
    /// A password: one line, kept as it is, spaces included.
    Password {
        /// The longest, in bytes.
        max_bytes: usize,
        /// A valid value.
        example: &'static str,
    },
    /// One of some names.
    Choice {
        /// The names.
        values: &'static [&'static str],
        /// The value when the field is absent.
        default: &'static str,
    },
    /// A whole number.
    Integer {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
        /// The value when the field is absent.
        default: Option<u64>,
        /// A valid value.
        example: u64,
    },
    /// True or false.
    Boolean {
        /// The value when the field is absent.
        default: bool,
    },
    /// An object with fields of its own.
    Object(&'static ObjectSchema),
}

impl Field {
    /// The value that an absent field has; `None` where absence has a meaning of its own.
    #[must_use]
    pub fn default(&self) -> Option<Value> {
        match self.kind {
            FieldKind::Text { default, .. } => default.map(Value::from),
            FieldKind::Choice { default, .. } => Some(default.into()),
            FieldKind::Integer { default, .. } => default.map(Value::from),
            FieldKind::Boolean { default } => Some(default.into()),
            FieldKind::Url { .. } | FieldKind::Password { .. } | FieldKind::Object(_) => None,
        }
    }

    /// A valid value.
    #[must_use]
    pub fn example(&self) -> Value {
        match self.kind {
            FieldKind::Url { example, .. }
            | FieldKind::Text { example, .. }
            | FieldKind::Password { example, .. } => example.into(),
            FieldKind::Choice { default, .. } => default.into(),
            FieldKind::Integer { example, .. } => example.into(),
            FieldKind::Boolean { default } => default.into(),
            FieldKind::Object(object) => object.example(),
        }
    }

    /// Whether the value must never be shown again: in pages, logs or answers.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self.kind, FieldKind::Password { .. } | FieldKind::Url { secret: true, .. })
    }
}

impl ObjectSchema {
    /// A valid object: its required fields and those that have a default; its first field when it has neither.
    #[must_use]
    pub fn example(&self) -> Value {
        let mut shown: Vec<&Field> =
            self.fields.iter().filter(|field| field.required || field.default().is_some()).collect();
        if shown.is_empty() {
            shown.extend(self.fields.first());
        }
        let shown = shown.into_iter().map(|field| (field.name.to_owned(), field.example()));
        Value::Object(shown.collect::<Map<_, _>>())
    }

    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// Every request body.
pub static BODIES: &[&ObjectSchema] = &[&SETUP, &CREATE_APP_PASSWORD, &CLONE, &EXTEND_CLONE, &REPLAY];

/// The body of `POST /setup`.
pub static SETUP: ObjectSchema = ObjectSchema {
    name: "SetupBody",
    description: "The body of `POST /setup`.",
    fields: &[URL, USERNAME, PASSWORD, ROLE, CALLBACK_URL],
};

/// The body of `POST /create-app-password`.
pub static CREATE_APP_PASSWORD: ObjectSchema = ObjectSchema {
    name: "CreateAppPasswordBody",
    description: "The body of `POST /create-app-password`.",
    fields: &[
        URL,
        Field {
            description: "The login name or e-mail address of the user who gets the application password.",
            ..USERNAME
        },
        Field { description: "The user's password. It is stored encrypted until the task ends.", ..PASSWORD },
        APP_NAME,
        CALLBACK_URL,
    ],
};

/// The body of `POST /clone`.
pub static CLONE: ObjectSchema = ObjectSchema {
    name: "CloneBody",
    description: "The body of `POST /clone`.",
    fields: &[SOURCE, TARGET, CLONE_TTL, ISOLATION, REMOVE_MIGRATOR, COPY_UNPREFIXED_TABLES, CALLBACK_URL],
};

/// A site and a login.
pub static LOGIN: ObjectSchema = ObjectSchema {
    name: "LoginBody",
    description: "A site and an administrator's login.",
    fields: &[URL, USERNAME, PASSWORD],
};

/// The body of `PATCH /clones/{name}`.
pub static EXTEND_CLONE: ObjectSchema = ObjectSchema {
    name: "ExtendCloneBody",
    description: "The body of `PATCH /clones/{name}`.",
    fields: &[EXTENDED_TTL, CALLBACK_URL],
};

/// The body of `POST /tasks/{id}/replay`: no field, or all the secrets that the task's request has.
pub static REPLAY: ObjectSchema = ObjectSchema {
    name: "ReplayBody",
    description: "The body of `POST /tasks/{id}/replay`: empty, or with every password that the request had.",
    fields: &[
        Field {
            required: false,
            description: "The password of the site's user, when the stored one has been deleted or was wrong.",
            ..PASSWORD
        },
        Field { description: "The password for a clone's source.", ..SITE_PASSWORD_OF_SOURCE },
        Field { description: "The password for a clone's target.", ..SITE_PASSWORD_OF_TARGET },
    ],
};

/// The password for one of a clone's sites.
pub static SITE_PASSWORD: ObjectSchema = ObjectSchema {
    name: "PasswordBody",
    description: "The password for one of a clone's sites.",
    fields: &[Field { description: "The password.", ..PASSWORD }],
};

pub(super) const URL: Field = Field {
    name: "url",
    kind: FieldKind::Url { max_bytes: site::MAX_LEN, secret: false, example: "https://example.com" },
    required: true,
    description: "The site's address, http or https. Addresses of wp-admin pages are accepted too.",
};

pub(super) const USERNAME: Field = Field {
    name: "username",
    kind: FieldKind::Text { max_chars: names::MAX_CHARS, default: None, example: "admin" },
    required: true,
    description: "An administrator's login name or e-mail address.",
};

pub(super) const PASSWORD: Field = Field {
    name: "password",
    kind: FieldKind::Password {
        max_bytes: names::MAX_PASSWORD_BYTES,
        example: "correct horse battery staple",
    },
    required: true,
    description: "The administrator's password. It is stored encrypted until the task ends.",
};

pub(super) const ROLE: Field = Field {
    name: "role",
    kind: FieldKind::Choice { values: Role::NAMES, default: Role::Source.as_str() },
    required: false,
    description: "`source`: content is copied from the site. `target`: content is copied to it, so the migrator's import is enabled.",
};

pub(super) const APP_NAME: Field = Field {
    name: "app_name",
    kind: FieldKind::Text {
        max_chars: names::MAX_CHARS,
        default: Some(AppName::DEFAULT),
        example: "deploy script",
    },
    required: false,
    description: "The name of the application password in the user's profile. When it is taken, six characters are added.",
};

pub(super) const SOURCE: Field = Field {
    name: "source",
    kind: FieldKind::Object(&LOGIN),
    required: true,
    description: "The site to copy.",
};

pub(super) const TARGET: Field = Field {
    name: "target",
    kind: FieldKind::Object(&LOGIN),
    required: false,
    description: "An empty WordPress of yours to copy to, instead of a clone that expires. It may have one user, its first \
        post, page and comment, and no uploads. Not together with `ttl_minutes` or `isolation`.",
};

pub(super) const CLONE_TTL: Field = Field {
    name: "ttl_minutes",
    kind: FieldKind::Integer {
        min: Ttl::MIN_MINUTES as u64,
        max: Ttl::MAX_MINUTES as u64,
        default: Some(Ttl::DEFAULT.0 as u64),
        example: Ttl::DEFAULT.0 as u64,
    },
    required: false,
    description: "How long the clone is kept, in minutes from when it is ready.",
};

pub(super) const EXTENDED_TTL: Field = Field {
    name: "ttl_minutes",
    kind: FieldKind::Integer {
        min: Ttl::MIN_MINUTES as u64,
        max: Ttl::MAX_MINUTES as u64,
        default: None,
        example: 240,
    },
    required: true,
    description: "How long the clone is kept, in minutes from this request. It may be less than the time that is left.",
};

pub(super) const ISOLATION: Field = Field {
    name: "isolation",
    kind: FieldKind::Choice { values: Isolation::NAMES, default: Isolation::Shared.as_str() },
    required: false,
    description: "`shared`: the clone has a database and a database user of its own in a server that clones share. \
        `dedicated`: it has a database server of its own.",
};

pub(super) const REMOVE_MIGRATOR: Field = Field {
    name: "remove_migrator",
    kind: FieldKind::Boolean { default: true },
    required: false,
    description: "Whether the migrator is removed at the end from the source, and from a target, where this task \
        installed it. One that was there before stays.",
};

pub(super) const COPY_UNPREFIXED_TABLES: Field = Field {
    name: "copy_unprefixed_tables",
    kind: FieldKind::Boolean { default: false },
    required: false,
    description: "Whether tables of the source's database without WordPress' table prefix are copied too, except those of \
        other WordPress installations. They are named in any case.",
};

const CALLBACK_URL: Field = Field {
    name: CallbackUrl::FIELD,
    kind: FieldKind::Url {
        max_bytes: callback::MAX_LEN,
        secret: true,
        example: "https://example.com/hooks/wpclone",
    },
    required: false,
    description: "A URL that receives a signed webhook (Standard Webhooks) when the task ends: http or https, a host, no \
        login. The message is small and links to the task. The URL is stored encrypted, since it may hold a secret, and \
        never shown again. 422 when the operator has configured no webhook secrets.",
};

/// The objects of a replay's body: required as soon as the body has any password.
pub(super) const SITE_PASSWORD_OF_SOURCE: Field =
    Field { kind: FieldKind::Object(&SITE_PASSWORD), required: false, ..SOURCE };
pub(super) const SITE_PASSWORD_OF_TARGET: Field =
    Field { kind: FieldKind::Object(&SITE_PASSWORD), required: false, ..TARGET };

//! The fields of the forms and their texts. Kinds, bounds, defaults and most help texts are those of the request's
//! declaration ([`wpclone_task::schema`]).

use wpclone_task::CallbackUrl;
use wpclone_task::schema::{self, FieldKind, ObjectSchema};

use crate::dashboard::new_task::Form;

/// The form field that says where a copy goes. It is not a field of the request.
pub(super) const DESTINATION: &str = "destination";
/// The values of [`DESTINATION`].
pub(super) const TO_CLONE: &str = "clone";
pub(super) const TO_TARGET: &str = "target";

static DESTINATION_FIELD: schema::Field = schema::Field {
    name: DESTINATION,
    kind: FieldKind::Choice { values: &[TO_CLONE, TO_TARGET], default: TO_CLONE },
    required: true,
    description: "",
};

/// Fields that belong together.
pub(super) struct Group {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) help: &'static str,
    /// The value of [`DESTINATION`] that the group is for; empty for any.
    pub(super) destination: &'static str,
    pub(super) labels: &'static [Label],
}

/// The texts of a field.
pub(super) struct Label {
    /// The field's place in the request: names joined by dots.
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    /// A text for the form where the declaration's description does not suit it.
    pub(super) help: Option<&'static str>,
    /// The options of a choice: value, label and help.
    pub(super) options: &'static [(&'static str, &'static str, &'static str)],
}

/// A field of a form.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) label: &'static Label,
    pub(super) declared: &'static schema::Field,
}

const fn label(name: &'static str, label: &'static str) -> Label {
    Label { name, label, help: None, options: &[] }
}

const CALLBACK: Label = Label {
    help: Some(
        "Optional. Receives a signed webhook when the task ends. The URL is stored encrypted and never shown.",
    ),
    ..label(CallbackUrl::FIELD, "Callback URL")
};

const CLONE: &[Group] = &[
    Group {
        id: "source",
        title: "Source",
        help: "The site to copy. Its content is only read; the migrator plugin is installed there for the transfer.",
        destination: "",
        labels: &[
            label("source.url", "Site address"),
            label("source.username", "Username"),
            label("source.password", "Password"),
        ],
    },
    Group {
        id: "destination-group",
        title: "Destination",
        help: "",
        destination: "",
        labels: &[Label {
            options: &[
                (TO_CLONE, "A new clone", "Created for this copy, and deleted when it expires."),
                (
                    TO_TARGET,
                    "A WordPress of your own",
                    "An empty site. Its content is replaced; it does not expire.",
                ),
            ],
            ..label(DESTINATION, "Where the copy goes")
        }],
    },
    Group {
        id: "clone-settings",
        title: "Clone",
        help: "",
        destination: TO_CLONE,
        labels: &[
            label("ttl_minutes", "Lifetime in minutes"),
            Label {
                help: Some(""),
                options: &[
                    ("shared", "Shared", "A database of its own in a server that clones share."),
                    ("dedicated", "Dedicated", "A database server of its own."),
                ],
                ..label("isolation", "Isolation")
            },
        ],
    },
    Group {
        id: "target-settings",
        title: "Target",
        help: "It may have one user, its first post, page and comment, and no uploads.",
        destination: TO_TARGET,
        labels: &[
            label("target.url", "Site address"),
            label("target.username", "Username"),
            label("target.password", "Password"),
        ],
    },
    Group {
        id: "options",
        title: "Options",
        help: "",
        destination: "",
        labels: &[
            Label {
                help: Some("From the source, and from a WordPress of your own."),
                ..label("remove_migrator", "Remove the migrator plugin at the end")
            },
            Label {
                help: Some("Except those of other WordPress installations in the same database."),
                ..label("copy_unprefixed_tables", "Copy tables without the table prefix too")
            },
            CALLBACK,
        ],
    },
];

const SITE: Group = Group {
    id: "site",
    title: "Site",
    help: "",
    destination: "",
    labels: &[label("url", "Site address"), label("username", "Username"), label("password", "Password")],
};

const OPTIONS: Group = Group { id: "options", title: "Options", help: "", destination: "", labels: &[] };

const SETUP: &[Group] = &[
    SITE,
    Group {
        labels: &[
            Label {
                help: Some(""),
                options: &[
                    ("source", "Source", "Content is copied from the site."),
                    (
                        "target",
                        "Target",
                        "Content is copied to the site, so the migrator's import is enabled.",
                    ),
                ],
                ..label("role", "Role")
            },
            CALLBACK,
        ],
        ..OPTIONS
    },
];

const APP_PASSWORD: &[Group] =
    &[SITE, Group { labels: &[label("app_name", "Name of the application password"), CALLBACK], ..OPTIONS }];

impl Form {
    pub(super) fn groups(self) -> &'static [Group] {
        match self {
            Self::Clone => CLONE,
            Self::Setup => SETUP,
            Self::AppPassword => APP_PASSWORD,
        }
    }

    fn schema(self) -> &'static ObjectSchema {
        match self {
            Self::Clone => &schema::CLONE,
            Self::Setup => &schema::SETUP,
            Self::AppPassword => &schema::CREATE_APP_PASSWORD,
        }
    }

    pub(super) fn fields_of(self, group: &'static Group) -> impl Iterator<Item = Field> {
        group
            .labels
            .iter()
            .filter_map(move |label| Some(Field { label, declared: self.declaration(label.name)? }))
    }

    pub(super) fn fields(self) -> impl Iterator<Item = Field> {
        self.groups().iter().flat_map(move |group| self.fields_of(group))
    }

    fn declaration(self, name: &str) -> Option<&'static schema::Field> {
        if name == DESTINATION {
            return Some(&DESTINATION_FIELD);
        }
        let Some((object, name)) = name.split_once('.') else { return self.schema().field(name) };
        match self.schema().field(object)?.kind {
            FieldKind::Object(inner) => inner.field(name),
            _ => None,
        }
    }
}

impl Field {
    pub(super) fn name(&self) -> &'static str {
        self.label.name
    }

    /// The form's own text, else the declaration's description. Numbers have their bounds added.
    pub(super) fn help(&self) -> String {
        let help = self.label.help.unwrap_or(self.declared.description);
        match self.declared.kind {
            FieldKind::Integer { min, max, .. } => format!("{help} From {min} to {max}."),
            _ => help.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_have_every_field_and_option_of_the_requests() {
        for form in Form::ALL {
            let mut declared = Vec::new();
            for field in form.schema().fields {
                match field.kind {
                    FieldKind::Object(object) => {
                        declared.extend(
                            object.fields.iter().map(|inner| format!("{}.{}", field.name, inner.name)),
                        );
                    }
                    _ => declared.push(field.name.to_owned()),
                }
            }
            let labels = form.groups().iter().flat_map(|group| group.labels);
            let mut shown: Vec<_> =
                labels.map(|label| label.name.to_owned()).filter(|name| name != DESTINATION).collect();
            declared.sort();
            shown.sort();
            assert_eq!(shown, declared);
            for field in form.fields() {
                let options: Vec<_> = field.label.options.iter().map(|(value, ..)| *value).collect();
                match field.declared.kind {
                    FieldKind::Choice { values, .. } => assert_eq!(options, values, "{}", field.name()),
                    _ => assert!(options.is_empty(), "{}", field.name()),
                }
                assert!(!field.help().contains('`'), "help is plain text: {}", field.help());
            }
        }
    }
}

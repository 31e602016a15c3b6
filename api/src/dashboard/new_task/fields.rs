//! The fields of the forms, their values, and the request body that they make. Kinds, bounds, defaults and most help texts
//! are those of the request's declaration ([`wpclone_task::schema`]).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use url::Url;
use wpclone_queue::TaskRecord;
use wpclone_task::CallbackUrl;
use wpclone_task::schema::{self, FieldKind, ObjectSchema};

use crate::dashboard::new_task::Form;
use crate::http::body::FormBody;

/// The form field that says where a copy goes. It is not a field of the request.
pub(super) const DESTINATION: &str = "destination";
/// The values of [`DESTINATION`].
const TO_CLONE: &str = "clone";
const TO_TARGET: &str = "target";

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

    fn fields(self) -> impl Iterator<Item = Field> {
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

/// The values of a form's fields by name. Secrets are never among them.
#[derive(Default)]
pub(super) struct Values {
    values: BTreeMap<String, String>,
    /// Whether a callback URL was given that has to be entered again.
    pub(super) callback_hidden: bool,
}

impl Values {
    /// The values that were sent.
    pub(super) fn of_form(form: Form, body: &FormBody) -> Self {
        let value = |field: Field| {
            let sent = body.field(field.name());
            let value = match field.declared.kind {
                FieldKind::Boolean { .. } => sent.is_some().to_string(),
                _ if field.declared.is_secret() => return None,
                FieldKind::Url { .. } if has_login(sent?) => return None,
                _ => sent?.to_owned(),
            };
            Some((field.name().to_owned(), value))
        };
        let callback = body.field(CallbackUrl::FIELD).unwrap_or_default();
        Self { values: form.fields().filter_map(value).collect(), callback_hidden: !callback.is_empty() }
    }

    /// The values of a task's request.
    pub(super) fn of_task(task: &TaskRecord) -> Self {
        let mut values = BTreeMap::new();
        let request = serde_json::to_value(&task.request).unwrap_or_default();
        flatten("", &request, &mut values);
        let to_target = request["target"].is_object();
        values.insert(DESTINATION.to_owned(), if to_target { TO_TARGET } else { TO_CLONE }.to_owned());
        Self { values, callback_hidden: task.callback.is_some() }
    }

    /// The value of a field: its default where there is none.
    pub(super) fn get(&self, field: Field) -> String {
        let value = self.values.get(field.name()).cloned();
        value.or_else(|| field.declared.default().map(text_of)).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// Whether a URL holds a username or password.
fn has_login(url: &str) -> bool {
    let parsed = Url::parse(url.trim());
    // What cannot be parsed may hold one all the same.
    parsed.map_or(url.contains('@'), |url| !url.username().is_empty() || url.password().is_some())
}

fn flatten(prefix: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&path, value, into);
            }
        }
        Value::Null => {}
        value => drop(into.insert(prefix.to_owned(), text_of(value.clone()))),
    }
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The request body that a form stands for: what a client of the API would send.
pub(super) fn request_body(form: Form, body: &FormBody) -> Value {
    let to_target = body.field(DESTINATION) == Some(TO_TARGET);
    let destination = if to_target { TO_TARGET } else { TO_CLONE };
    let mut request = Map::new();
    let groups = form.groups().iter();
    let groups = groups.filter(|group| group.destination.is_empty() || group.destination == destination);
    let fields = groups.flat_map(|group| form.fields_of(group));
    for field in fields.filter(|field| field.name() != DESTINATION) {
        let value = field_value(field, body.field(field.name()));
        match (field.name().split_once('.'), value) {
            (None, Some(value)) => drop(request.insert(field.name().to_owned(), value)),
            (Some((object, name)), value) => {
                // The object is there even when it is empty, so that its missing fields are reported.
                let object = request.entry(object).or_insert_with(|| json!({}));
                object
                    .as_object_mut()
                    .zip(value)
                    .map(|(object, value)| object.insert(name.to_owned(), value));
            }
            (None, None) => {}
        }
    }
    Value::Object(request)
}

/// A field's value in the request; `None` for one that was left empty.
fn field_value(field: Field, sent: Option<&str>) -> Option<Value> {
    match field.declared.kind {
        FieldKind::Boolean { .. } => Some(sent.is_some().into()),
        FieldKind::Integer { .. } => {
            let text = sent.map(str::trim).filter(|text| !text.is_empty())?;
            // The parser reports what is not a number.
            Some(text.parse::<u64>().map_or_else(|_| text.into(), Value::from))
        }
        _ => sent.filter(|text| !text.is_empty()).map(Value::from),
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn sent(fields: &[(&str, &str)]) -> FormBody {
        FormBody(fields.iter().map(|(n, v)| ((*n).to_owned(), Zeroizing::new((*v).to_owned()))).collect())
    }

    #[test]
    fn only_the_fields_of_the_chosen_destination_are_sent() {
        let mut fields = vec![
            ("source.url", "https://a.example"),
            ("source.username", "admin"),
            ("source.password", " p "),
            ("ttl_minutes", " 30 "),
            ("isolation", "dedicated"),
            ("target.url", "https://b.example"),
            ("target.username", ""),
            ("remove_migrator", "true"),
            ("callback_url", ""),
        ];
        let source = json!({"url": "https://a.example", "username": "admin", "password": " p "});
        assert_eq!(
            request_body(Form::Clone, &sent(&fields)),
            json!({"source": source, "ttl_minutes": 30, "isolation": "dedicated", "remove_migrator": true})
        );
        fields.push((DESTINATION, TO_TARGET));
        fields.retain(|(name, _)| *name != "remove_migrator");
        assert_eq!(
            request_body(Form::Clone, &sent(&fields)),
            json!({"source": source, "target": {"url": "https://b.example"}, "remove_migrator": false})
        );
    }

    #[test]
    fn an_empty_form_makes_a_request_that_names_every_missing_field() {
        let faults = Form::Clone.read(request_body(Form::Clone, &sent(&[(DESTINATION, TO_TARGET)])));
        let pointers: Vec<_> = faults.unwrap_err().into_iter().map(|fault| fault.pointer).collect();
        let logins = ["source", "target"];
        let expected =
            logins.map(|site| ["url", "username", "password"].map(|name| format!("/{site}/{name}")));
        assert_eq!(pointers, expected.concat());
    }

    #[test]
    fn what_may_be_secret_is_not_kept() {
        let fields = [
            ("url", "https://admin:hunter2@a.example"),
            ("username", "admin"),
            ("password", "hunter3"),
            ("callback_url", "https://b.example/?token=hunter4"),
        ];
        let values = Values::of_form(Form::Setup, &sent(&fields));
        assert!(!format!("{:?}", values.values).contains("hunter"), "{:?}", values.values);
        assert!(values.callback_hidden);
        assert_eq!(values.values["username"], "admin");
    }

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

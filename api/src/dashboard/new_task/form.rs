//! A form as its template shows it.

use askama::Template;
use uuid::Uuid;
use wpclone_task::schema::FieldKind;
use wpclone_task::{CallbackUrl, Problem};

use crate::dashboard::layout::PageLayout;
use crate::dashboard::new_task::fields::{self, DESTINATION};
use crate::dashboard::new_task::values::Values;
use crate::dashboard::new_task::{Form, IDEMPOTENCY_KEY};
use crate::http::auth::Caller;
use crate::state::App;

#[derive(Template)]
#[template(path = "new_task.html")]
pub(super) struct FormPage {
    page: PageLayout,
    tabs: Vec<Tab>,
    path: &'static str,
    intro: &'static str,
    /// The operation of the API that does the same: its id and its path.
    operation: (&'static str, &'static str),
    submit_label: &'static str,
    key_field: &'static str,
    key: Uuid,
    problem: Option<Problem>,
    /// What is wrong with the request, in the order of the form.
    errors: Vec<FormError>,
    groups: Vec<Group>,
}

struct Tab {
    label: &'static str,
    href: &'static str,
    current: bool,
}

struct FormError {
    /// The id of the field that has to be changed; empty when it is none of the form.
    field_id: String,
    text: String,
}

struct Group {
    id: &'static str,
    title: &'static str,
    help: &'static str,
    error: String,
    fields: Vec<Field>,
}

struct Field {
    id: String,
    name: &'static str,
    label: &'static str,
    help: String,
    /// Empty unless something is wrong with the value, or it has to be entered again.
    error: String,
    notice: &'static str,
    required: bool,
    autofocus: bool,
    control: Control,
}

enum Control {
    Input(Input),
    Radio(Vec<RadioOption>),
    /// Whether it is checked.
    Checkbox(bool),
}

/// An `<input>` of one line.
struct Input {
    kind: &'static str,
    value: String,
    /// The other attributes, which hold nothing of the user's.
    attributes: String,
}

struct RadioOption {
    id: String,
    value: &'static str,
    label: &'static str,
    help: &'static str,
    checked: bool,
}

impl Form {
    const fn title(self) -> &'static str {
        match self {
            Self::Clone => "New clone",
            Self::Setup => "Set up a site",
            Self::AppPassword => "Application password",
        }
    }

    const fn intro(self) -> &'static str {
        match self {
            Self::Clone => "Copies a WordPress site with its content, users, plugins, themes and uploads.",
            Self::Setup => {
                "Logs in to wp-admin, installs and activates the migrator plugin, and reads its key."
            }
            Self::AppPassword => {
                "Logs in to wp-admin and creates an application password, which works for the REST API."
            }
        }
    }

    const fn operation(self) -> (&'static str, &'static str) {
        match self {
            Self::Clone => ("clone_site", "/clone"),
            Self::Setup => ("setup", "/setup"),
            Self::AppPassword => ("create_app_password", "/create-app-password"),
        }
    }

    const fn submit_label(self) -> &'static str {
        match self {
            Self::Clone => "Start cloning",
            Self::Setup => "Set up site",
            Self::AppPassword => "Create application password",
        }
    }
}

impl FormPage {
    /// A form with these values and, after a request that was not accepted, its problem.
    pub(super) fn new(
        app: &App,
        caller: &Caller,
        form: Form,
        values: &Values,
        key: Uuid,
        problem: Option<Problem>,
    ) -> Self {
        let mut groups: Vec<Group> =
            form.groups().iter().map(|shown| group(form, shown, values, app.callbacks_enabled)).collect();
        let errors = problem.as_ref().map(|problem| place_errors(problem, &mut groups)).unwrap_or_default();
        set_focus(&mut groups, values);
        Self {
            page: PageLayout::new(form.title(), "/new", caller),
            tabs: Form::ALL.into_iter().map(|other| tab(other, form)).collect(),
            path: form.path(),
            intro: form.intro(),
            operation: form.operation(),
            submit_label: form.submit_label(),
            key_field: IDEMPOTENCY_KEY,
            key,
            problem,
            errors,
            groups,
        }
    }
}

fn tab(form: Form, current: Form) -> Tab {
    Tab { label: form.title(), href: form.path(), current: form == current }
}

/// `webhooks`: whether a callback URL can be given.
fn group(form: Form, shown: &'static fields::Group, values: &Values, webhooks: bool) -> Group {
    let fields = form.fields_of(shown).filter(|field| webhooks || field.name() != CallbackUrl::FIELD);
    // The browser would refuse to send a required field that is hidden: the script makes these required when shown.
    let always_shown = shown.destination.is_empty();
    Group {
        id: shown.id,
        title: shown.title,
        help: shown.help,
        error: String::new(),
        fields: fields.map(|shown| field(shown, values, always_shown)).collect(),
    }
}

fn field(field: fields::Field, values: &Values, always_shown: bool) -> Field {
    let id = field.name().replace(['.', '_'], "-");
    let enter_again = field.name() == CallbackUrl::FIELD && values.callback_hidden;
    Field {
        control: control(field, values.get(field), &id),
        id,
        name: field.name(),
        label: field.label.label,
        help: field.help(),
        error: String::new(),
        notice: if enter_again { "Enter it again: it is not kept in the page." } else { "" },
        required: field.declared.required && always_shown,
        autofocus: false,
    }
}

fn control(field: fields::Field, value: String, id: &str) -> Control {
    let input = |kind, attributes: String| Control::Input(Input { kind, value: value.clone(), attributes });
    match field.declared.kind {
        FieldKind::Url { max_bytes, .. } => {
            input("url", format!("maxlength={max_bytes} autocomplete=off spellcheck=false"))
        }
        FieldKind::Text { max_chars, .. } => input(
            "text",
            format!("maxlength={max_chars} autocomplete=off autocapitalize=none spellcheck=false"),
        ),
        FieldKind::Integer { min, max, .. } => {
            input("number", format!("min={min} max={max} inputmode=numeric"))
        }
        FieldKind::Boolean { .. } => Control::Checkbox(value == "true"),
        FieldKind::Choice { .. } => Control::Radio(
            field
                .label
                .options
                .iter()
                .map(|(option, label, help)| RadioOption {
                    id: format!("{id}-{option}"),
                    value: option,
                    label,
                    help,
                    checked: *option == value,
                })
                .collect(),
        ),
        FieldKind::Password { max_bytes, .. } => Control::Input(Input {
            kind: "password",
            value: String::new(),
            attributes: format!("maxlength={max_bytes} autocomplete=new-password spellcheck=false"),
        }),
        // No form has a whole object as a field.
        FieldKind::Object(_) => input("text", String::new()),
    }
}

/// Puts each error at its field or group, and returns all of them.
fn place_errors(problem: &Problem, groups: &mut [Group]) -> Vec<FormError> {
    let mut errors = Vec::new();
    for fault in &problem.errors {
        // RFC 6901; no name of a field has a character that would be escaped.
        let name = fault.pointer.trim_start_matches('/').replace('/', ".");
        let mut titled = groups.iter_mut().flat_map(|group| {
            let title = group.title;
            group.fields.iter_mut().map(move |field| (title, field))
        });
        let found = titled.find(|(_, field)| field.name == name);
        if let Some((title, field)) = found {
            field.error = format!("{} {}.", field.label, fault.detail);
            // Two sites have fields of the same labels.
            let site = if field.name.contains('.') { format!("{title}: ") } else { String::new() };
            errors.push(FormError { field_id: field.id.clone(), text: format!("{site}{}", field.error) });
            continue;
        }
        let prefix = format!("{name}.");
        let group = groups.iter_mut().find(|group| group.fields.iter().any(|f| f.name.starts_with(&prefix)));
        let label = group.as_ref().map_or(name.as_str(), |group| group.title);
        let text = format!("{label} {}.", fault.detail);
        let field_id = group.as_ref().and_then(|group| group.fields.first()).map(|field| field.id.clone());
        if let Some(group) = group {
            group.error.clone_from(&text);
        }
        errors.push(FormError { field_id: field_id.unwrap_or_default(), text });
    }
    // The parser's order is not always the form's.
    let order: Vec<&str> =
        groups.iter().flat_map(|group| &group.fields).map(|field| field.id.as_str()).collect();
    errors.sort_by_key(|error| order.iter().position(|id| *id == error.field_id));
    errors
}

/// Focuses the first field with an error, else the first that has to be filled in.
fn set_focus(groups: &mut [Group], values: &Values) {
    let mut fields: Vec<&mut Field> = groups.iter_mut().flat_map(|group| &mut group.fields).collect();
    let with_error = fields.iter().position(|field| !field.error.is_empty());
    let is_password =
        |field: &&mut Field| matches!(&field.control, Control::Input(i) if i.kind == "password");
    let to_fill_in = if values.is_empty() { Some(0) } else { fields.iter().position(is_password) };
    if let Some(field) = with_error.or(to_fill_in).and_then(|i| fields.get_mut(i)) {
        field.autofocus = field.name != DESTINATION;
    }
}

impl Field {
    /// The ids of the texts that describe it, for `aria-describedby`; empty when there are none.
    fn described_by(&self) -> String {
        let texts = [("error", &*self.error), ("notice", self.notice), ("help", &*self.help)];
        let shown = texts.iter().filter(|(_, text)| !text.is_empty());
        shown.map(|(part, _)| format!("{}-{part}", self.id)).collect::<Vec<_>>().join(" ")
    }
}

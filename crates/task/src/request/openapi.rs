//! Request bodies in the OpenAPI document.

use std::borrow::Cow;

use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, KnownFormat, Object, ObjectBuilder, OneOfBuilder, RefBuilder, Schema, SchemaFormat,
    SchemaType, Type,
};
use utoipa::{PartialSchema, ToSchema};

use super::schema::{self, Field, FieldKind, ObjectSchema};

/// A type for `#[utoipa::path(request_body = …)]` of each schema.
macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident = $schema:path { $($inner:ident),* }),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                object(&$schema).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                $schema.name.into()
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                schemas.extend([$(($inner::name().into_owned(), $inner::schema())),*]);
            }
        }
    )+};
}

bodies! {
    /// The body of `POST /setup`.
    SetupBody = schema::SETUP {},
    /// The body of `POST /create-app-password`.
    CreateAppPasswordBody = schema::CREATE_APP_PASSWORD {},
    /// The body of `POST /clone`.
    CloneBody = schema::CLONE { LoginBody },
    /// A site and a login.
    LoginBody = schema::LOGIN {},
    /// The body of `PATCH /clones/{name}`.
    ExtendCloneBody = schema::EXTEND_CLONE {},
    /// The body of `POST /tasks/{id}/replay`.
    ReplayBody = schema::REPLAY { PasswordBody },
    /// The password for one of a clone's sites.
    PasswordBody = schema::SITE_PASSWORD {},
}

fn object(schema: &ObjectSchema) -> Object {
    let fields = schema.fields.iter();
    let object = ObjectBuilder::new()
        .description(Some(schema.description))
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    fields
        .fold(object, |object, field| {
            let object = object.property(field.name, property(field));
            if field.required { object.required(field.name) } else { object }
        })
        .build()
}

fn property(field: &Field) -> RefOr<Schema> {
    let (kind, builder) = match field.kind {
        FieldKind::Object(inner) => return reference(field, inner),
        FieldKind::Url { max_bytes, .. } => {
            let url = ObjectBuilder::new().format(Some(SchemaFormat::Custom("uri".into())));
            (Type::String, url.max_length(Some(max_bytes)))
        }
        FieldKind::Text { max_chars, .. } => {
            (Type::String, ObjectBuilder::new().min_length(Some(1)).max_length(Some(max_chars)))
        }
        FieldKind::Password { max_bytes, .. } => {
            let password =
                ObjectBuilder::new().format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)));
            let password = password.min_length(Some(1)).max_length(Some(max_bytes));
            (Type::String, password.pattern(Some("^[^\\x00\\r\\n]*$")))
        }
        FieldKind::Choice { values, .. } => {
            let null = (!field.required).then_some(Value::Null);
            let values = values.iter().map(|value| Value::from(*value)).chain(null);
            (Type::String, ObjectBuilder::new().enum_values(Some(values)))
        }
        FieldKind::Integer { min, max, .. } => {
            let number = ObjectBuilder::new().format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)));
            (Type::Integer, number.minimum(Some(min)).maximum(Some(max)))
        }
        FieldKind::Boolean { .. } => (Type::Boolean, ObjectBuilder::new()),
    };
    let null = (!field.required).then_some(Type::Null);
    let kind = match null {
        Some(null) => SchemaType::from_iter([kind, null]),
        None => kind.into(),
    };
    builder
        .schema_type(kind)
        .description(Some(field.description))
        .default(field.default())
        .examples([field.example()])
        .into()
}

/// An object of its own; where it is optional, or null.
fn reference(field: &Field, object: &ObjectSchema) -> RefOr<Schema> {
    let reference = RefBuilder::new().ref_location_from_schema_name(object.name);
    let reference = reference.description(Some(field.description)).build();
    if field.required {
        return RefOr::Ref(reference);
    }
    let null = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Null));
    RefOr::T(OneOfBuilder::new().item(RefOr::Ref(reference)).item(null).build().into())
}

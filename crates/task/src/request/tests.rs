//! Parsing requests, and splitting them from their secrets.

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::*;
use crate::{FieldError, FieldErrors, StoredRequest};

fn as_text(errors: FieldErrors) -> Vec<String> {
    errors.into_iter().map(|FieldError { pointer, detail }| format!("{pointer} {detail}")).collect()
}

fn setup(body: Value) -> Request {
    Request::parse_setup(body).unwrap()
}

#[test]
fn every_fault_is_reported_at_once() {
    let body = json!({"url": "ftp://a", "username": 7, "password": "", "role": "boss", "extra/x": 1});
    insta::assert_json_snapshot!(
        as_text(Request::parse_setup(body).unwrap_err()),
        @r#"
    [
      "/url must begin with http:// or https://",
      "/username must be a string",
      "/password must not be empty",
      "/role `boss` is not one of source, target",
      "/extra~1x is not a field of this request"
    ]
    "#
    );
    assert_eq!(as_text(Request::parse_setup(json!([])).unwrap_err()), [" must be a JSON object"]);
    let body = json!({"url": "http://a", "username": "b", "password": "c", "app_name": "<b>"});
    assert_eq!(
        as_text(Request::parse_create_app_password(body).unwrap_err()),
        ["/app_name must not contain `<` or `%`, which WordPress removes"]
    );
}

#[test]
fn every_fault_of_a_clone_request_is_reported_at_once() {
    let faults = |body| as_text(Request::parse_clone(body).unwrap_err());
    let body = json!({
        "source": {"url": "http://a.example", "password": "", "x": 1}, "ttl_minutes": 4, "isolation": "none",
        "remove_migrator": "no", "copy_unprefixed_tables": 1,
    });
    insta::assert_json_snapshot!(faults(body), @r#"
    [
      "/source/username is required",
      "/source/password must not be empty",
      "/source/x is not a field of this request",
      "/ttl_minutes must be between 5 and 1440",
      "/isolation `none` is not one of shared, dedicated",
      "/remove_migrator must be true or false",
      "/copy_unprefixed_tables must be true or false"
    ]
    "#);
    assert_eq!(faults(json!({})), ["/source is required"]);
    assert_eq!(faults(json!({"source": 1})), ["/source must be an object"]);
    let login = |url: &str| json!({"url": url, "username": "b", "password": "c"});
    let to_target = json!({
        "source": login("https://a.example"), "target": login("http://www.a.example/"), "ttl_minutes": 10,
        "isolation": "shared",
    });
    insta::assert_json_snapshot!(faults(to_target), @r#"
    [
      "/ttl_minutes is for clones that expire; a target of your own does not",
      "/isolation is for clones that expire; a target of your own does not",
      "/target must be another site than the source"
    ]
    "#);
}

#[test]
fn a_clone_request_has_defaults() {
    let source = json!({"url": "https://a.example", "username": "b", "password": "c"});
    let request = Request::parse_clone(json!({"source": source.clone(), "target": null})).unwrap();
    let (sealed, secrets) = request.split_secrets();
    insta::assert_json_snapshot!(sealed, @r#"
    {
      "kind": "clone",
      "source": {
        "url": "https://a.example",
        "username": "b"
      },
      "ttl_minutes": 60,
      "isolation": "shared",
      "remove_migrator": true
    }
    "#);
    let unprefixed = Request::parse_clone(json!({"source": source, "copy_unprefixed_tables": true})).unwrap();
    assert_eq!(json!(unprefixed.split_secrets().0)["copy_unprefixed_tables"], true);
    let id = TaskId::new();
    let sites: Vec<_> = sealed.site_keys(id).iter().map(ToString::to_string).collect();
    assert_eq!(sites, ["a.example".to_owned(), format!("clone:{id}")]);
    let whole =
        serde_json::from_value::<StoredRequest>(json!(sealed)).unwrap().with_secrets(&secrets).unwrap();
    let Request::Clone(CloneRequest { source, .. }) = whole else { panic!("it is a clone") };
    assert_eq!(source.password.expose_secret(), "c");
}

#[test]
fn a_request_is_split_from_its_secrets_and_joined_again() {
    let body = json!({"url": "http://a.example/x", "username": "b", "password": " c ", "role": "target"});
    let request = setup(body);
    assert!(!format!("{request:?}").contains(" c "));
    let (sealed, secrets) = request.clone().split_secrets();
    let stored = serde_json::to_string(&sealed).unwrap();
    assert_eq!(stored, r#"{"kind":"setup","url":"http://a.example/x","username":"b","role":"target"}"#);
    let sealed: StoredRequest = serde_json::from_str(&stored).unwrap();
    assert!(sealed.clone().with_secrets(&[]).is_none());
    let whole = sealed.with_secrets(&secrets).unwrap();
    let text = request.fingerprint_text(None);
    assert_eq!(whole.fingerprint_text(None).expose_secret(), text.expose_secret());
    let Request::Setup(SetupRequest { login, .. }) = whole else { panic!("it is a setup") };
    assert_eq!(login.password.expose_secret(), " c ");
    let callback = CallbackUrl::parse("https://b.example/hook").unwrap();
    assert_ne!(request.fingerprint_text(Some(&callback)).expose_secret(), text.expose_secret());
}

#[test]
fn a_replay_has_all_secrets_or_none() {
    let (sealed, _) =
        setup(json!({"url": "http://a.example", "username": "b", "password": "c"})).split_secrets();
    for none in [json!({}), json!({"password": null})] {
        assert!(sealed.parse_secrets(none).unwrap().is_none());
    }
    let secrets = sealed.parse_secrets(json!({"password": " c "})).unwrap().unwrap();
    assert_eq!((secrets[0].0.as_str(), secrets[0].1.expose_secret()), ("password", " c "));
    let faults = |body| as_text(sealed.parse_secrets(body).unwrap_err());
    assert_eq!(
        faults(json!({"password": "", "username": "b"})),
        ["/password must not be empty", "/username is not a field of this request"]
    );
    assert_eq!(faults(json!([])), [" must be a JSON object"]);
}

fn clone_to_a_target() -> StoredRequest {
    let account = |url: &str| json!({"url": url, "username": "b"});
    let stored = json!({
        "kind": "clone", "source": account("http://a.example"), "target": account("http://b.example"),
        "remove_migrator": true,
    });
    serde_json::from_value(stored).unwrap()
}

#[test]
fn a_replay_of_a_clone_has_the_password_of_each_site() {
    let sealed = clone_to_a_target();
    assert!(sealed.parse_secrets(json!({})).unwrap().is_none());
    let brought = json!({"source": {"password": "x"}, "target": {"password": "y"}});
    let secrets = sealed.parse_secrets(brought).unwrap().unwrap();
    let secrets: Vec<_> = secrets.iter().map(|(f, s)| (f.as_str(), s.expose_secret())).collect();
    assert_eq!(secrets, [("source.password", "x"), ("target.password", "y")]);
    let faults = |body| as_text(sealed.parse_secrets(body).unwrap_err());
    assert_eq!(faults(json!({"source": {"password": "x"}})), ["/target is required"]);
    assert_eq!(
        faults(json!({"source": {}, "target": 7, "password": ""})),
        [
            "/source/password is required",
            "/target must be an object",
            "/password is not a field of this request"
        ]
    );
}

#[test]
fn a_callback_url_is_parsed_with_the_request() {
    let body = |callback: &str| json!({"url": "http://a.example", "username": "b", "password": "c", "callback_url": callback});
    let (request, callback) =
        Request::parse_with_callback(body("https://b.example/hook"), true, Request::parse_setup).unwrap();
    let Request::Setup(SetupRequest { login, .. }) = request else { panic!("it is a setup") };
    assert_eq!(login.username.as_str(), "b");
    assert_eq!(callback.unwrap().url().path(), "/hook");
    let mut wrong = body("nowhere");
    wrong["url"] = Value::Null;
    let faults = Request::parse_with_callback(wrong, true, Request::parse_setup).unwrap_err();
    assert_eq!(faults.iter().map(|f| &f.pointer).collect::<Vec<_>>(), ["/url", "/callback_url"]);
}

#[test]
fn inserted_secrets_are_parsed() {
    let request = clone_to_a_target();
    let mut body = serde_json::Map::new();
    for field in request.secret_fields() {
        field.insert_into(&mut body, &format!("{field} again"));
        assert_eq!(request.account_of(*field).unwrap().username.as_str(), "b");
    }
    let secrets = request.parse_secrets(body.into()).unwrap().unwrap();
    let plain: Vec<_> = secrets.iter().map(|(_, secret)| secret.expose_secret()).collect();
    assert_eq!(plain, ["source.password again", "target.password again"]);
    assert!(request.account_of(SecretField::Password).is_none());
}

#[test]
fn deleting_a_clone_takes_no_fields() {
    let clone = CloneRef { name: "clone-20261123-163105-abcdef".parse().unwrap(), created_by: TaskId::new() };
    assert!(Request::parse_delete_clone(clone.clone(), json!({})).is_ok());
    let faults = as_text(Request::parse_delete_clone(clone, json!({"ttl_minutes": 5})).unwrap_err());
    assert_eq!(faults, ["/ttl_minutes is not a field of this request"]);
}

#[test]
fn each_schema_has_exactly_the_fields_that_are_parsed() {
    let clone = CloneRef { name: "clone-20261123-163105-abcdef".parse().unwrap(), created_by: TaskId::new() };
    type Parse = Box<dyn Fn(Value) -> Result<Request, FieldErrors>>;
    let parsers: [(&schema::ObjectSchema, Parse); 4] = [
        (&schema::SETUP, Box::new(Request::parse_setup)),
        (&schema::CREATE_APP_PASSWORD, Box::new(Request::parse_create_app_password)),
        (&schema::CLONE, Box::new(Request::parse_clone)),
        (&schema::EXTEND_CLONE, Box::new(move |body| Request::parse_extend_clone(clone.clone(), body))),
    ];
    for (schema, parse) in parsers {
        let parse = |body| Request::parse_with_callback(body, true, &parse);
        assert!(parse(schema.example()).is_ok(), "{}", schema.name);
        // No field takes a list, so each known field has exactly that fault, in the schema's order.
        let lists: serde_json::Map<_, _> =
            schema.fields.iter().map(|field| (field.name.to_owned(), json!([]))).collect();
        let errors = parse(lists.into()).unwrap_err();
        let expected: Vec<_> = schema.fields.iter().map(|field| format!("/{}", field.name)).collect();
        assert_eq!(errors.iter().map(|error| error.pointer.clone()).collect::<Vec<_>>(), expected);
        assert!(errors.iter().all(|error| error.detail.starts_with("must be")), "{errors:?}");
    }
}

#[test]
fn secret_fields_are_marked() {
    let secrets = |object: &schema::ObjectSchema| {
        let secrets = object.fields.iter().filter(|field| field.is_secret());
        secrets.map(|field| field.name).collect::<Vec<_>>()
    };
    assert_eq!(secrets(&schema::SETUP), ["password", "callback_url"]);
    assert_eq!(secrets(&schema::LOGIN), ["password"]);
    assert_eq!(schema::CLONE.field("ttl_minutes").unwrap().default(), Some(json!(60)));
}

#[test]
fn clones_share_a_source_only_with_the_same_owner_and_login() {
    let clone = |url: &str, user: &str, password: &str, more: serde_json::Value| {
        let mut body = json!({"source": {"url": url, "username": user, "password": password}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Request::parse_clone(body).unwrap()
    };
    let text = |owner: &str, request: Request| request.share_text(owner).unwrap().expose_secret().to_owned();
    let same = text("alice", clone("https://a.example", "u", "p", json!({})));
    assert_eq!(
        same,
        text("alice", clone("https://a.example/wp-admin/", "u", "p", json!({"ttl_minutes": 60})))
    );
    for (owner, other) in [
        ("bob", clone("https://a.example", "u", "p", json!({}))),
        ("alice", clone("http://a.example", "u", "p", json!({}))),
        ("alice", clone("https://a.example", "v", "p", json!({}))),
        ("alice", clone("https://a.example", "u", "q", json!({}))),
        ("alice", clone("https://a.example", "u", "p", json!({"remove_migrator": false}))),
    ] {
        assert_ne!(same, text(owner, other));
    }
    let setup = json!({"url": "https://a.example", "username": "u", "password": "p", "role": "source"});
    assert!(Request::parse_setup(setup).unwrap().share_text("alice").is_none());
}

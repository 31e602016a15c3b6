//! Problem details (RFC 9457).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Code, FieldError, LeftOnSite, LeftState, SiteText, Stage};

/// A problem (RFC 9457): part of a failed task, or the body of an error response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `/problems/CODE`, a page that explains the code.
    #[serde(rename = "type")]
    pub type_: String,
    /// The code's title.
    pub title: String,
    /// The HTTP status; absent in a failed task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What happened this time, without secrets.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub detail: SiteText,
    /// The request id; absent in a failed task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The stable code.
    pub code: Code,
    /// The stage that failed, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// The recommended action.
    pub user_action: String,
    /// Whether anything on the target site was changed.
    pub changed_target: bool,
    /// What was achieved before the failure, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub achieved: Vec<SiteText>,
    /// The faults of the request's fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Further members for programs, such as `to` of `REDIRECTED`.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(additional_properties))]
    pub more: Map<String, Value>,
}

impl Problem {
    /// A problem with this code; `detail` must not contain secrets. It may quote a site.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            type_: format!("{}{}", crate::PROBLEM_TYPE_PREFIX, code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            detail: SiteText::from(detail.into()),
            instance: None,
            code,
            stage: None,
            retryable: code.retryable(),
            user_action: code.user_action().to_owned(),
            changed_target: false,
            achieved: Vec::new(),
            errors: Vec::new(),
            more: Map::new(),
        }
    }

    /// Adds a member. Texts in it are cleaned.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), SiteText::clean_json(value.into()));
        self
    }

    /// Adds `clone` (`name`, `url`, `username`, `expires_at`) if the task published a clone although it failed. The clone's
    /// password is only in the result, which only the owner sees in full.
    #[must_use]
    pub fn with_clone_of(self, result: Option<&Map<String, Value>>) -> Self {
        let shown = ["name", "url", "username", "expires_at"];
        let field = |name| result?.get("clone")?.get(name).cloned();
        let clone = shown.map(|name| (name.to_owned(), field(name).unwrap_or_default()));
        if clone.iter().all(|(_, value)| value.is_string()) {
            self.with("clone", Map::from_iter(clone))
        } else {
            self
        }
    }

    /// Adds what the task has left on sites, as `left`, and says so in the detail.
    #[must_use]
    pub fn with_left(mut self, left: Vec<LeftOnSite>) -> Self {
        for LeftOnSite { left, state } in &left {
            let what_happens = match state {
                LeftState::Pending => "It is undone as soon as the site can be reached, for a day.",
                LeftState::GivenUp => "It could not be undone within a day.",
                LeftState::Manual => "Only the site's owner can remove it.",
            };
            self.detail = SiteText::from(format!("{} {left} {what_happens}", self.detail.trim_end()));
        }
        if let (false, Ok(left)) = (left.is_empty(), serde_json::to_value(&left)) {
            self = self.with("left", left);
        }
        self
    }

    /// Sets the stage that failed. It is then the end of a task, which has no HTTP status.
    #[must_use]
    pub fn at(mut self, stage: Stage) -> Self {
        self.stage = Some(stage);
        self.status = None;
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_of_a_stage_has_no_status() {
        assert_eq!(Problem::new(Code::CloneGone, "It was deleted.").status, Some(410));
        assert_eq!(Problem::new(Code::CloneGone, "It was deleted.").at(Stage::Provisioning).status, None);
    }

    #[test]
    fn a_published_clone_is_shown_without_its_password() {
        let problem = |clone: Value| {
            let result = Map::from_iter([("clone".to_owned(), clone)]);
            Problem::new(Code::CloneBroken, "x").with_clone_of(Some(&result)).more
        };
        let mut clone = serde_json::json!({
            "name": "n", "url": "http://a", "username": "u", "password": "p", "expires_at": null,
        });
        assert!(problem(clone.clone()).is_empty() && problem(Value::Null).is_empty());
        clone["expires_at"] = "2026-11-28T00:00:00Z".into();
        let expected = serde_json::json!({
            "name": "n", "url": "http://a", "username": "u", "expires_at": "2026-11-28T00:00:00Z",
        });
        assert_eq!(problem(clone)["clone"], expected);
    }

    #[test]
    fn no_text_of_a_site_in_a_problem_controls_a_terminal() {
        let problem = Problem::new(Code::SiteFatal, "It said \u{1b}[2J\u{202e}boo\n.")
            .with("to", "https://a.example/\u{1b}]0;x\u{7}\u{200b}");
        assert_eq!(
            (problem.detail.as_str(), &problem.more["to"]),
            ("It said boo .", &"https://a.example/".into())
        );
        let mut stored = serde_json::to_value(&problem).unwrap();
        stored["detail"] = "a\u{9b}31m\u{2067}b".into();
        stored["achieved"] = serde_json::json!(["c\u{1b}[1m"]);
        let read: Problem = serde_json::from_value(stored).unwrap();
        assert_eq!((read.detail.as_str(), read.achieved[0].as_str()), ("ab", "c"));
    }

    #[test]
    fn what_is_left_on_sites_is_in_the_detail_and_for_programs() {
        let problem = Problem::new(Code::TransferFailed, "The site did not respond.");
        assert_eq!(problem.clone().with_left(Vec::new()), problem);
        let left = |state| LeftOnSite { left: "The migrator is still on a.example.".into(), state };
        let manual = problem.clone().with_left(vec![left(LeftState::Manual)]);
        assert!(
            manual.detail.ends_with("on a.example. Only the site's owner can remove it."),
            "{}",
            manual.detail
        );
        let problem = problem.with_left(vec![left(LeftState::Pending), left(LeftState::GivenUp)]);
        assert_eq!(
            problem.detail,
            "The site did not respond. The migrator is still on a.example. It is undone as soon as the site can be reached, \
             for a day. The migrator is still on a.example. It could not be undone within a day."
        );
        let expected =
            serde_json::json!({"left": "The migrator is still on a.example.", "state": "given_up"});
        assert_eq!(problem.more["left"][1], expected);
    }

    #[test]
    fn a_problem_reads_as_rfc_9457() {
        let problem = Problem::new(Code::Redirected, "The site responds with a redirect.")
            .with("to", "https://b.example")
            .at(Stage::Browser);
        let json = serde_json::to_value(&problem).unwrap();
        insta::assert_json_snapshot!(json);
        assert_eq!(serde_json::from_value::<Problem>(json).unwrap(), problem);
    }
}

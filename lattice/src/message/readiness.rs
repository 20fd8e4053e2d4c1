//! When an actor counts as ready: an annotation of the command that starts it, so that the shape of lattice v1 stays as it
//! is. Hosts of lattice v1 echo it and do nothing about it.

use serde::{Deserialize, Serialize};

use super::command::StringMap;

/// The annotation; its value is a [`Rule`] as JSON.
pub const READINESS: &str = "trellis.dev/readiness";

/// When an actor counts as ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its answer to a request that the host makes of it, again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// So long that has to be well without a break.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub settle_ms: u64,
    /// It fails when it is not ready so long after its start.
    pub deadline_ms: u64,
}

/// A GET request, and what it has to be answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpProbe {
    /// The path, with a query if there is one.
    pub path: String,
    /// The `host` header; the actor's id when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The status; any from 200 to 399 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How often, once it was ready.
    pub every_ms: u64,
    /// How long an answer may take.
    pub timeout_ms: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Rule {
    /// As an annotation has it.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers have a JSON form")
    }

    /// The rule among `annotations`, if there is one.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn of(annotations: Option<&StringMap>) -> Result<Option<Self>, String> {
        let Some(text) = annotations.and_then(|annotations| annotations.get(READINESS)) else { return Ok(None) };
        let wrong = |error| format!("annotation {READINESS} is not valid: {error}");
        serde_json::from_str(text).map(Some).map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::{HttpProbe, READINESS, Rule};

    #[test]
    fn a_rule_is_read_as_it_was_written_and_nonsense_is_named() {
        let http = HttpProbe {
            path: "/healthz".to_owned(),
            host: None,
            status: Some(204),
            every_ms: 2_000,
            timeout_ms: 1_000,
        };
        let rule = Rule { http: Some(http), settle_ms: 0, deadline_ms: 60_000 };
        let with = |text: String| [(READINESS.to_owned(), text)].into();
        assert_eq!(Rule::of(Some(&with(rule.to_text()))), Ok(Some(rule)));
        assert_eq!(Rule::of(None), Ok(None));
        assert!(Rule::of(Some(&with("soon".to_owned()))).expect_err("nonsense").contains(READINESS));
    }
}

//! The shape of every refusal: problem+json (RFC 9457) with our members.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was refused.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// Where the code is explained, relative to the project's documentation.
    #[schema(example = "/docs/errors/RUN0001")]
    pub r#type: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// Stable code of the error.
    #[schema(example = "RUN0001")]
    pub code: String,
    /// The request's path.
    pub instance: String,
    /// The request's id, also in the header `x-request-id` and in the server's log.
    pub request_id: String,
    /// Problems of a flow definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<Vec<Diagnostic>>,
    /// The execution that has the name, or that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// The flow versions that use a module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_by: Option<Vec<String>>,
    /// What a new version would reach that the one before does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beyond: Option<Vec<String>>,
    /// Error name of a failed execution behind an endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// One problem in a flow definition.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Diagnostic {
    /// Stable code.
    #[schema(example = "FLOW0011")]
    pub code: String,
    /// `error` or `warning`.
    pub severity: String,
    /// JSON pointer of the place.
    pub pointer: String,
    /// Line in the text as given, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

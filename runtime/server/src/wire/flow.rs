//! Flows, their versions and endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stepwell_orchestrator::api;
use utoipa::ToSchema;

use super::grants::Grants;
use super::json::Rfc3339;
use super::problem::Diagnostic;

/// A published flow version.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// Its name.
    pub name: String,
    /// From 1.
    pub version: u32,
    /// When it was published, RFC 3339.
    pub published: String,
    /// SHA-256 of the definition's text, hexadecimal.
    pub digest: String,
    /// The text as it was published; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// `standard` or `express`.
    pub r#type: String,
    /// Which histories of express executions are kept: `none`, `errors` or `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
    /// Modules that it uses, as they were resolved when it was published.
    pub modules: Vec<UsedModule>,
    /// What its `${NAME}` were filled in with; absent when there were none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub substitutions: BTreeMap<String, String>,
    /// Resources of the text that were bound to others when it was published; absent when none were.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    pub resources: BTreeMap<String, Binding>,
    /// Endpoints of its newest version, below `/t`.
    pub triggers: Vec<Trigger>,
    /// What its states may reach; absent: it has no manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Grants>,
}

/// A definition with what fills it in: the body of type `application/vnd.stepwell.publish+json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The text, JSON or YAML.
    pub definition: String,
    /// Values of its `${NAME}`, at most 1,000: letters, digits and `_` as names, values
    /// without quotes, backslashes and line breaks.
    #[serde(default)]
    pub substitutions: BTreeMap<String, String>,
    /// What its resources mean, at most 10,000: an ARN, an Action or a pattern with `*`, and a resource such as `"wasm:NAME"`, a flow `{"flow": "NAME"}`, or an HTTP call `{"url": "https://…", "method": "POST"}`.
    #[serde(default)]
    #[schema(value_type = Object, example = json!({"arn:aws:states:::sqs:sendMessage": "wasm:queue"}))]
    pub resources: BTreeMap<String, Binding>,
    /// What its states may reach; absent: what the version before may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Grants>,
}

/// What stands for a resource: one of ours by its name, or a flow or an HTTP call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Binding {
    /// Such as `wasm:NAME`: it runs as if the definition named it.
    Name(String),
    /// `{"flow": "NAME"}` or `{"url": "https://…"}`.
    Data(Map<String, Value>),
}

impl Binding {
    /// The text that names it within the house: an object as JSON.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Binding::Name(text) => text,
            Binding::Data(object) => Value::Object(object).to_string(),
        }
    }

    fn read(text: &str) -> Binding {
        match serde_json::from_str(text) {
            Ok(object) => Binding::Data(object),
            Err(_) => Binding::Name(text.to_owned()),
        }
    }
}

/// A module that a flow version is bound to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UsedModule {
    /// The name that the definition used.
    pub name: String,
    /// SHA-256 of the `.wasm`, hexadecimal.
    pub digest: String,
}

/// An endpoint of a flow's own.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Trigger {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// Below `/t`; `{name}` matches one segment.
    #[schema(example = "/orders/{id}")]
    pub path: String,
    /// Whether the caller gets the result (`true`) or 202 at once.
    pub wait: bool,
}

/// The answer to a publish.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PublishedFlow {
    /// What is there now.
    #[serde(flatten)]
    pub flow: Flow,
    /// `false`: the newest version already was this text with these modules.
    pub new: bool,
    /// What it, and each of its modules, may reach that the version before might not, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub gained: Vec<String>,
    /// What the version before might reach that it may not.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub lost: Vec<String>,
    /// Warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// One page of flows, by name.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FlowPage {
    /// The newest version of each.
    pub flows: Vec<Flow>,
    /// Pass as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// All versions of one flow.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FlowVersions {
    /// Without definitions.
    pub versions: Vec<Flow>,
}

/// The verdict on a definition.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// Whether it could be published.
    pub valid: bool,
    /// Everything found, warnings included.
    pub diagnostics: Vec<Diagnostic>,
}

impl From<&api::FlowInfo> for Flow {
    fn from(f: &api::FlowInfo) -> Flow {
        Flow {
            name: f.name.to_string(),
            version: f.version,
            published: Rfc3339(f.published).to_string(),
            digest: f.digest.to_string(),
            definition: f.definition.as_ref().map(ToString::to_string),
            r#type: match f.mode {
                api::Mode::Standard => "standard".into(),
                api::Mode::Express(_) => "express".into(),
            },
            history: match f.mode {
                api::Mode::Standard => None,
                api::Mode::Express(api::Keep::None) => Some("none".into()),
                api::Mode::Express(api::Keep::Errors) => Some("errors".into()),
                api::Mode::Express(api::Keep::All) => Some("all".into()),
            },
            modules: f
                .modules
                .iter()
                .map(|(name, digest)| UsedModule {
                    name: name.to_string(),
                    digest: digest.to_string(),
                })
                .collect(),
            substitutions: pairs(&f.substitutions, str::to_owned),
            resources: pairs(&f.resources, Binding::read),
            triggers: f.triggers.iter().map(Trigger::from).collect(),
            grants: f.grants.as_deref().map(Grants::from),
        }
    }
}

fn pairs<T>(list: &[(Arc<str>, Arc<str>)], of: fn(&str) -> T) -> BTreeMap<String, T> {
    let owned = |(name, value): &(Arc<str>, Arc<str>)| (name.to_string(), of(value));
    list.iter().map(owned).collect()
}

impl From<&api::HttpTrigger> for Trigger {
    fn from(t: &api::HttpTrigger) -> Trigger {
        Trigger {
            method: t.method.to_string(),
            path: t.path.to_string(),
            wait: t.wait,
        }
    }
}

//! The parameters of AWS service integrations, as far as they are literal:
//! `lambda:invoke` and `http:invoke`.
//!
//! Refuses to judge what comes from the data: that is the interpreter's, when an attempt begins.

use std::sync::Arc;

use stepwell_types::StepTarget;

use super::Compiler;
use crate::call;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::program::Service;
use crate::resource;

/// Source: AWS Step Functions Developer Guide, "Invoke Lambda".
const LAMBDA_FIELDS: &[&str] = &[
    "ClientContext",
    "FunctionName",
    "InvocationType",
    "LogType",
    "Payload",
    "Qualifier",
];

/// Source: AWS Step Functions Developer Guide, "Call HTTPS APIs".
const HTTP_FIELDS: &[&str] = &[
    "ApiEndpoint",
    "Authentication",
    "Headers",
    "InvocationConfig",
    "Method",
    "QueryParameters",
    "RequestBody",
    "Transform",
];

/// One parameter of a service.
enum Given<'c, 't> {
    /// Its place and text.
    Literal(At<'c, 't>, &'t str),
    /// It comes from the data.
    Data,
    Absent,
}

/// The object of parameters; `None`: there is none, or it comes whole from the data.
fn parameters<'c, 't>(at: &'c At<'_, 't>) -> Option<At<'c, 't>> {
    let found = at.get("Parameters").or_else(|| at.get("Arguments"))?;
    matches!(found.node.tree, Tree::Object(_)).then_some(found)
}

/// Whether a text is a JSONata expression.
fn computed(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("{%") && text.ends_with("%}")
}

impl<'t> Compiler<'t, '_> {
    pub(super) fn lambda_invoke(&mut self, at: &At<'_, 't>) -> Option<(StepTarget, Service)> {
        let given = parameters(at);
        if given.is_none() && at.get("Arguments").is_none() {
            self.required(at, "a lambda:invoke Task", "Parameters")?;
        }
        let chosen = |c: &Self| {
            let wasm = |(name, digest): (Arc<str>, _)| {
                let target = StepTarget::Wasm {
                    name: Arc::clone(&name),
                    digest,
                    function: None,
                };
                (name, target)
            };
            let service = Service::Invoke {
                functions: c.resolve.modules().into_iter().map(wasm).collect(),
                version: Arc::from(LATEST),
            };
            Some((StepTarget::Chosen, service))
        };
        let Some(given) = given else {
            return chosen(self);
        };
        self.service_fields(&given, "lambda:invoke", LAMBDA_FIELDS);
        if let Given::Literal(place, kind) = self.given(&given, "InvocationType")
            && kind != "RequestResponse"
        {
            let hint = "a step belongs to an execution that waits for it; states:startExecution of a flow with this Task answers at once";
            self.report.error_hint(
                &place,
                code::NOT_SUPPORTED,
                format!(
                    "the InvocationType {:?} is not supported",
                    crate::path::clip(kind)
                ),
                (kind == "Event").then(|| hint.to_owned()),
            );
        }
        let qualifier = match self.given(&given, "Qualifier") {
            Given::Literal(place, text) => Some((place, text)),
            _ => None,
        };
        let qualifier = match qualifier {
            Some((place, text)) => match resource::version(text) {
                Ok(version) => version,
                Err(bad) => {
                    self.report.error(&place, code::BAD_VALUE, bad.message);
                    None
                }
            },
            None => None,
        };
        match self.given(&given, "FunctionName") {
            Given::Data => chosen(self),
            Given::Absent => {
                self.required(&given, "a lambda:invoke Task's parameters", "FunctionName");
                None
            }
            Given::Literal(place, text) => match self.function_named(text) {
                Ok((name, version)) => {
                    let version = version.as_deref();
                    let version = version.or(qualifier);
                    let target = self.module(&place, &name, version, None)?;
                    let service = Service::Invoke {
                        functions: Vec::new(),
                        version: Arc::from(version.unwrap_or(LATEST)),
                    };
                    Some((target, service))
                }
                Err(bad) => {
                    self.report.error(&place, code::BAD_RESOURCE, bad.message);
                    None
                }
            },
        }
    }

    /// The module, and its version, that a function's name or ARN means: what it is bound to,
    /// or the module of that name.
    fn function_named(
        &self,
        text: &str,
    ) -> Result<(String, Option<String>), resource::BadResource> {
        let owned =
            |(name, version): (&str, Option<&str>)| (name.to_owned(), version.map(str::to_owned));
        let Some(bound) = self.resolve.binding(text) else {
            return resource::function(text).map(owned);
        };
        match resource::parse(&bound)?.kind {
            resource::ResourceKind::Module {
                name,
                version,
                function: None,
            } => Ok(owned((name, version))),
            _ => Err(resource::BadResource {
                message: format!(
                    "{:?} is bound to {bound:?}, but lambda:invoke runs modules: wasm:NAME[@VERSION]",
                    crate::path::clip(text)
                ),
                not_yet: false,
            }),
        }
    }

    pub(super) fn http_invoke(&mut self, at: &At<'_, 't>) -> Option<(StepTarget, Service)> {
        let mut connection = None;
        if let Some(given) = parameters(at) {
            self.service_fields(&given, "http:invoke", HTTP_FIELDS);
            for name in ["ApiEndpoint", "Method"] {
                match self.given(&given, name) {
                    Given::Absent => {
                        self.required(&given, "an http:invoke Task's parameters", name);
                    }
                    Given::Literal(field, _) if name == "Method" => {
                        call::method(self.report, &field);
                    }
                    Given::Literal(field, _) => call::url(self.report, &field),
                    Given::Data => {}
                }
            }
            if let Some(authentication) = given.get("Authentication")
                && self.is_object(&authentication)
                && let Given::Literal(_, arn) = self.given(&authentication, "ConnectionArn")
            {
                connection = Some(Arc::from(connection_name(arn)));
            }
        } else if at.get("Arguments").is_none() {
            self.required(at, "an http:invoke Task", "Parameters")?;
        }
        Some((StepTarget::Http, Service::HttpInvoke { connection }))
    }

    /// A parameter `name` or `name.$`.
    fn given<'c>(&mut self, at: &'c At<'_, 't>, name: &str) -> Given<'c, 't> {
        if let Some(field) = at.get(name) {
            return match self.text(&field) {
                Some(text) if computed(text) => Given::Data,
                Some(text) => Given::Literal(field, text),
                None => Given::Data,
            };
        }
        match at.get(&format!("{name}.$")) {
            Some(_) => Given::Data,
            None => Given::Absent,
        }
    }

    /// Reports parameters that the service does not have.
    fn service_fields(&mut self, at: &At<'_, 't>, service: &str, known: &[&str]) {
        for member in at.members() {
            let name = member.name.strip_suffix(".$").unwrap_or(&member.name);
            if known.contains(&name) {
                continue;
            }
            let hint = crate::suggest::hint(name, known.iter().copied())
                .unwrap_or_else(|| format!("its parameters are {}", known.join(", ")));
            self.report.error_hint(
                &at.member_name(member),
                code::UNKNOWN_FIELD,
                format!(
                    "{service} has no parameter {:?}",
                    crate::path::clip(&member.name)
                ),
                Some(hint),
            );
        }
    }
}

/// How Lambda calls the newest version.
const LATEST: &str = "$LATEST";

/// `NAME` of `arn:aws:events:REGION:ACCOUNT:connection/NAME/ID`; another text is the name itself.
fn connection_name(arn: &str) -> &str {
    match arn.split_once(":connection/") {
        Some((_, rest)) => rest.split('/').next().unwrap_or(rest),
        None => arn,
    }
}

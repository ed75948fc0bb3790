//! The parameters of AWS service integrations, as far as they are literal:
//! `lambda:invoke` and `http:invoke`.
//!
//! Refuses to judge what comes from the data: that is the interpreter's, when an attempt begins.

use std::sync::Arc;

use stepwell_types::StepTarget;

use super::Compiler;
use super::task::Runs;
use crate::call;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::expression::QueryLanguage;
use crate::program::Service;
use crate::resource::{self, FOR_A_FUNCTION, ResourceKind, Target, UNBOUND};
use crate::stand_in::stand_in;

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

/// How `http:invoke` writes arrays in a body that is URL-encoded.
const ARRAY_FORMATS: &[&str] = &["INDICES", "REPEAT", "COMMAS", "BRACKETS", "NONE"];

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
    /// `token`: the task ends by its token.
    pub(super) fn lambda_invoke(&mut self, at: &At<'_, 't>, token: bool) -> Option<Runs> {
        let given = parameters(at);
        if given.is_none() && at.get("Arguments").is_none() {
            self.required(at, "a lambda:invoke Task", "Parameters")?;
        }
        let Some(given) = given else {
            self.whole(at)?;
            return Some(self.any_function(token));
        };
        self.service_fields(&given, "lambda:invoke", LAMBDA_FIELDS);
        self.no_effect(&given, "ClientContext", "a module gets no client context");
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
        match self.given(&given, "FunctionName") {
            Given::Data => Some(self.any_function(token)),
            Given::Absent => {
                self.required(&given, "a lambda:invoke Task's parameters", "FunctionName");
                None
            }
            Given::Literal(place, text) => {
                let qualifier = self.qualifier(&given);
                self.function(&place, text, qualifier, token)
            }
        }
    }

    /// The modules of now, of which the data names one.
    fn any_function(&self, wait_for_token: bool) -> Runs {
        let wasm = |(name, digest): (Arc<str>, _)| {
            let target = StepTarget::Wasm {
                name: Arc::clone(&name),
                digest,
                function: None,
            };
            (name, target)
        };
        Runs {
            target: StepTarget::Chosen,
            service: Service::Invoke {
                functions: self.resolve.modules().into_iter().map(wasm).collect(),
                version: Arc::from(LATEST),
            },
            stand_in: None,
            wait_for_token,
        }
    }

    /// The version that goes with a literal `FunctionName`.
    fn qualifier(&mut self, given: &At<'_, 't>) -> Option<&'t str> {
        match self.given(given, "Qualifier") {
            Given::Literal(place, text) => match resource::version(text) {
                Ok(version) => version,
                Err(bad) => {
                    self.report.error(&place, code::BAD_VALUE, bad.message);
                    None
                }
            },
            Given::Data => {
                let written = given.get("Qualifier");
                let written = written.filter(|q| matches!(q.node.tree, Tree::Text(_)));
                if let Some(place) = written.or_else(|| given.get("Qualifier.$")) {
                    self.report.error_hint(
                        &place,
                        code::NOT_SUPPORTED,
                        "a Qualifier cannot come from the data: the version is bound when the flow is published".to_owned(),
                        Some("write the version, or a Task for each behind a Choice".to_owned()),
                    );
                }
                None
            }
            Given::Absent => None,
        }
    }

    /// What a function's name or ARN means: what it is bound to, or the module of that name.
    fn function(
        &mut self,
        place: &At<'_, 't>,
        text: &str,
        qualifier: Option<&str>,
        token: bool,
    ) -> Option<Runs> {
        let bound = self.resolve.binding(text);
        let mut runs = Runs {
            target: StepTarget::Callback,
            service: Service::Invoke {
                functions: Vec::new(),
                version: Arc::from(qualifier.unwrap_or(LATEST)),
            },
            stand_in: None,
            wait_for_token: token,
        };
        let module = match &bound {
            None => resource::function(text).map(|(name, version)| (name, version, None)),
            Some(Target::Resource(bound)) => match resource::parse(bound).map(|r| r.kind) {
                Ok(ResourceKind::Module {
                    name,
                    version,
                    function,
                }) => Ok((name, version, function)),
                Ok(ResourceKind::Activity(name)) => {
                    runs.target = StepTarget::Activity { name: name.into() };
                    runs.wait_for_token = true;
                    return Some(runs);
                }
                Ok(ResourceKind::Callback) => {
                    runs.wait_for_token = true;
                    return Some(runs);
                }
                Ok(_) => Err(resource::BadResource {
                    message: format!(
                        "{:?} is bound to {bound:?}, which is no function: it takes a request of its own",
                        crate::path::clip(text)
                    ),
                    not_yet: false,
                }),
                Err(bad) => Err(bad),
            },
            Some(target) => {
                let (target, stand_in) = stand_in(place, target, token, self.report, self.resolve)?;
                runs.target = target;
                runs.stand_in = Some(stand_in);
                return Some(runs);
            }
        };
        match module {
            Ok((name, version, function)) => {
                let version = version.or(qualifier);
                runs.target = self.module(place, name, version, function)?;
                if let Service::Invoke { version: told, .. } = &mut runs.service {
                    *told = Arc::from(version.unwrap_or(LATEST));
                }
                Some(runs)
            }
            Err(bad) => {
                let unfilled = crate::substitute::unfilled(text);
                let hint = match unfilled {
                    Some(name) => Some(self.resolve.advice().set(name)),
                    None => bound.is_some().then(|| FOR_A_FUNCTION.to_owned()),
                };
                if unfilled.is_some() && self.resolve.binds_later() {
                    let message = format!("{}; publishing refuses it", bad.message);
                    self.report
                        .warning(place, code::BAD_RESOURCE, message, hint);
                    runs.target = self.module(place, UNBOUND, None, None)?;
                    return Some(runs);
                }
                self.report
                    .error_hint(place, code::BAD_RESOURCE, bad.message, hint);
                None
            }
        }
    }

    /// Warns of a parameter that the service takes there, and nothing here.
    fn no_effect(&mut self, given: &At<'_, 't>, name: &str, why: &str) {
        for member in given.members() {
            if member.name.strip_suffix(".$").unwrap_or(&member.name) == name {
                self.report.warning(
                    &given.member_name(member),
                    code::IGNORED_FIELD,
                    format!("{name} has no effect here: {why}"),
                    None,
                );
            }
        }
    }

    pub(super) fn http_invoke(&mut self, at: &At<'_, 't>) -> Option<(StepTarget, Service)> {
        let mut connection = None;
        if let Some(given) = parameters(at) {
            self.service_fields(&given, "http:invoke", HTTP_FIELDS);
            self.no_effect(
                &given,
                "InvocationConfig",
                "calls go as the server's configuration says",
            );
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
            if let Some(transform) = given.get("Transform") {
                self.literal_word(&transform, "RequestBodyEncoding", &["NONE", "URL_ENCODED"]);
                if let Some(options) = transform.get("RequestEncodingOptions") {
                    self.literal_word(&options, "ArrayFormat", ARRAY_FORMATS);
                }
            }
        } else {
            if at.get("Arguments").is_none() {
                self.required(at, "an http:invoke Task", "Parameters")?;
            }
            self.whole(at)?;
        }
        Some((StepTarget::Http, Service::HttpInvoke { connection }))
    }

    /// Reports parameters that are no object, and no expression that may yield one.
    fn whole(&mut self, at: &At<'_, 't>) -> Option<()> {
        let jsonata = self.language == QueryLanguage::Jsonata;
        let name = if jsonata { "Arguments" } else { "Parameters" };
        let Some(field) = at.get(name) else {
            // That it is of the other language was said.
            return Some(());
        };
        match &field.node.tree {
            Tree::Text(text) if jsonata && computed(text) => Some(()),
            _ => self.is_object(&field).then_some(()),
        }
    }

    /// A parameter that is one of a few words, as far as it is literal.
    fn literal_word(&mut self, at: &At<'_, 't>, name: &str, words: &[&str]) {
        if let Given::Literal(field, _) = self.given(at, name) {
            self.word(&field, words);
        }
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
pub(crate) fn connection_name(arn: &str) -> &str {
    match arn.split_once(":connection/") {
        Some((_, rest)) => rest.split('/').next().unwrap_or(rest),
        None => arn,
    }
}

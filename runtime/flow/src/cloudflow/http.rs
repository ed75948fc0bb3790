//! `HTTP:Request`: its Parameters become an [`stepwell_types::HttpCall`], and the answer
//! `{Header, Code, Body}`.
//!
//! Refuses to judge what comes from the data: that is the bridge's.

use stepwell_types::limits::HTTP_TIMEOUT_MS_MAX;

use super::{BEFORE, Compiler};
use crate::call;
use crate::check;
use crate::diagnostic::code;
use crate::document::At;
use crate::expression::{Expression, Query, Segment, Template};
use crate::fdl::{self, Constructors, Fdl, Function, Place, Root};

const FIELDS: &[&str] = &[
    "url",
    "url.$",
    "method",
    "method.$",
    "body",
    "body.$",
    "headers",
    "headers.$",
];
const METHODS: [&str; 6] = ["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD"];
/// The header by which CloudFlow hands out a task's token.
const TOKEN_HEADER: &str = "X-FnF-Http-Callback-Task-Token";
impl<'t> Compiler<'_> {
    pub(super) fn http(
        &mut self,
        at: &At<'_, 't>,
        data: &mut Constructors,
        token: bool,
    ) -> Option<()> {
        let parameters = check::required(self.report, at, "the Action HTTP:Request", "Parameters")?;
        if !check::is_object(self.report, &parameters) {
            return None;
        }
        let owner = "the Parameters of HTTP:Request";
        check::known_fields(self.report, &parameters, owner, &[FIELDS]);
        for name in ["url", "method"] {
            let field = parameters.get(name);
            let dynamic = parameters.get(&format!("{name}.$"));
            match (name, field) {
                ("method", Some(field)) => {
                    check::word(self.report, &field, &METHODS);
                }
                (_, Some(field)) => {
                    check::text(self.report, &field);
                    call::url(self.report, &field);
                }
                (_, None) if dynamic.is_none() => {
                    check::required(self.report, &parameters, owner, name);
                }
                _ => {}
            }
        }
        if let Some(headers) = parameters.get("headers") {
            check::is_object(self.report, &headers);
            call::headers(self.report, &headers, &|name, _| name.ends_with(".$"));
        }
        let call = fdl::template(&parameters, BEFORE, self.report, &mut self.notes);
        let mut fields = fdl::fields(call);
        if token {
            with_token(&mut fields);
        } else {
            data.result = Some(fdl::rearranged([
                ("Header".into(), "$.headers".to_owned()),
                ("Code".into(), "$.status".to_owned()),
                ("Body".into(), "$.body".to_owned()),
            ]));
            self.notes.once(
                "http",
                self.report,
                &parameters,
                "a status from 400 fails the task with FnF.Http.StatusCode.<status>; CloudFlow's documents don't say whether it does there",
            );
        }
        fields.push((
            "timeout_ms".into(),
            Template::Literal(HTTP_TIMEOUT_MS_MAX.into()),
        ));
        data.arguments = Some(Template::Object(fields));
        Some(())
    }
}

impl<'t> Compiler<'_> {
    /// Reports a `Timeout` that the call does not have time for.
    pub(super) fn http_timeout(&mut self, at: &At<'_, 't>, seconds: Option<&Expression>) {
        let most = HTTP_TIMEOUT_MS_MAX / 1_000;
        let Some(Expression::Literal(seconds)) = seconds else {
            return;
        };
        if seconds.as_u64().is_some_and(|s| (1..=most).contains(&s)) {
            return;
        }
        self.report.warning(
            at,
            code::DIFFERS,
            format!(
                "an HTTP call ends here after {most} seconds at the latest, with FnF.TaskTimeout"
            ),
            Some("for work that takes longer use TaskMode: WaitForCustomCallback".to_owned()),
        );
    }
}

/// Puts the token's header beside those that the definition gives.
fn with_token(fields: &mut Vec<(Box<str>, Template)>) {
    let place = Place {
        source: "$Context.Current.TaskToken".into(),
        root: Root::Context,
        query: Query::Definite(vec![
            Segment::Name("Current".into()),
            Segment::Name("TaskToken".into()),
        ]),
    };
    let found = fields.iter().position(|(name, _)| **name == *"headers");
    let given = found.map(|i| fields.remove(i).1);
    let headers = match given {
        None => Template::Object(vec![header(place)]),
        // Headers from the data come first; the bridge refuses what is no object.
        Some(Template::Expression(Expression::Fdl(given))) => {
            let token = Fdl::Field(TOKEN_HEADER.into(), Box::new(Fdl::Path(place)));
            Template::Expression(Expression::Fdl(Fdl::Call {
                function: Function::JsonMerge,
                arguments: vec![given, token],
            }))
        }
        Some(given) => {
            let mut all = fdl::fields(given);
            all.push(header(place));
            Template::Object(all)
        }
    };
    fields.push(("headers".into(), headers));
}

fn header(place: Place) -> (Box<str>, Template) {
    let token = Expression::Fdl(Fdl::Path(place));
    (TOKEN_HEADER.into(), Template::Expression(token))
}

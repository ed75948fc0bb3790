//! What Tasks name of secrets, connections, images, networks and machines.
//!
//! Refuses hosts and whatever comes from the data: of those the call itself is judged.

use stepwell_types::{Grants, StepTarget, image_fits};

use super::{Given, arguments};
use crate::asl::connection_name;
use crate::diagnostic::{DIAGNOSTICS_MAX, Diagnostic, Report, Severity, code};
use crate::document::{self, At, Position, Tree};
use crate::program::{Kind, Program, Service, StandIn, State, Task};

/// Most characters of a name that are shown.
const SHOWN_CHARS: usize = 64;

/// Warnings about what Tasks of this flow name and cannot have: neither its manifest, or that it
/// has none, nor the server gives it. `has_secret` says whether the server has a secret.
/// # Errors
/// Those of `has_secret`.
pub fn out_of_reach<E>(
    definition: &str,
    program: &Program,
    grants: Option<&Grants>,
    has_secret: impl Fn(&str) -> Result<bool, E>,
) -> Result<Vec<Diagnostic>, E> {
    let mut found = Vec::new();
    for named in named(program) {
        if !named.granted(grants) {
            found.push((named.not_granted(grants.is_some()), named));
        } else if named.what == What::Secret && !has_secret(named.name)? {
            found.push((named.no_such_secret(), named));
        }
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let root = document::parse(definition, &mut Report::default());
    let warning = |((message, hint), named): ((String, String), Named<'_>)| {
        let (what, _) = named.what.words();
        let at = root.as_ref();
        let at = at.and_then(|root| place(&At::root(root), what, named.name));
        // What a substitution fills in stands nowhere.
        let (pointer, at) = at.unwrap_or((String::new(), Position::START));
        Diagnostic {
            code: code::OUT_OF_REACH,
            severity: Severity::Warning,
            pointer,
            line: at.line,
            column: at.column,
            message,
            hint: Some(hint),
        }
    };
    Ok(found.into_iter().map(warning).collect())
}

/// The kinds of what a Task names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Secret,
    Connection,
    Image,
    Network,
    Machine,
}

/// Something outside that a definition names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Named<'a> {
    what: What,
    name: &'a str,
    /// The first state that names it.
    state: &'a str,
}

/// What Tasks of this flow name, each once.
fn named(program: &Program) -> Vec<Named<'_>> {
    let mut all: Vec<Named<'_>> = Vec::new();
    for state in &program.states {
        let Kind::Task(task) = &state.kind else {
            continue;
        };
        for (what, name) in of_task(state, task) {
            let known = all.iter().any(|n| n.what == what && n.name == name);
            if !known && all.len() < DIAGNOSTICS_MAX {
                let state: &str = &state.name;
                all.push(Named { what, name, state });
            }
        }
    }
    all
}

fn of_task<'a>(state: &'a State, task: &'a Task) -> Vec<(What, &'a str)> {
    let member = |names: &[&str]| match &task.stand_in {
        Some(StandIn::Call(fields)) => {
            let found = names.iter().find_map(|name| fields.get(*name));
            found.map(Given::Value)
        }
        _ => arguments(state)?.member(names),
    };
    let text = |names: &[&str]| member(names).and_then(Given::own_text);
    let found = match task.target {
        StepTarget::Http => {
            let proof = member(&["authentication", "Authentication"]);
            let lent = match &task.service {
                Service::HttpInvoke { connection } => connection.as_deref(),
                _ => text(&["connection", "Connection"]),
            };
            [
                (
                    What::Secret,
                    proof.and_then(|proof| proof.text(&["secret"])),
                ),
                (What::Connection, lent),
            ]
        }
        StepTarget::Container => [
            (What::Image, text(&["image", "Image"])),
            (What::Network, text(&["network", "Network"])),
        ],
        StepTarget::Machine => [
            (What::Machine, text(&["machine", "Machine"])),
            (What::Machine, None),
        ],
        _ => return Vec::new(),
    };
    let found = found.into_iter();
    found
        .filter_map(|(what, name)| Some((what, name?)))
        .collect()
}

impl What {
    /// As people read it, and as manifests list it.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            What::Secret => ("secret", "secrets"),
            What::Connection => ("connection", "connections"),
            What::Image => ("image", "images"),
            What::Network => ("network", "networks"),
            What::Machine => ("machine", "machines"),
        }
    }
}

impl Named<'_> {
    /// Whether a flow with this manifest, or without one, may use it as far as manifests say.
    /// Without one nobody gets a secret, and all else is for the server's configuration to say.
    fn granted(&self, grants: Option<&Grants>) -> bool {
        let Some(grants) = grants else {
            return self.what != What::Secret;
        };
        let list = match self.what {
            What::Secret => &grants.secrets,
            What::Connection => &grants.connections,
            What::Image => &grants.images,
            What::Network => &grants.networks,
            What::Machine => &grants.machines,
        };
        list.iter().any(|grant| match self.what {
            What::Image => image_fits(grant, self.name),
            _ => **grant == *self.name,
        })
    }

    /// That no manifest gives it, and what to do.
    fn not_granted(&self, manifest: bool) -> (String, String) {
        let (what, list) = self.what.words();
        let (name, state) = (self.shown(), self.state);
        let message = match manifest {
            true => format!("the flow's manifest does not grant the {what} {name:?}"),
            false => format!("the flow has no manifest, and needs one for the {what} {name:?}"),
        };
        let hint = format!(
            "list it under `{list}` of a manifest and publish with --grants FILE; until then state {state} fails with Stepwell.NotGranted"
        );
        (message, hint)
    }

    /// That the server does not have it, and what to do.
    fn no_such_secret(&self) -> (String, String) {
        let (name, state) = (self.shown(), self.state);
        let message = format!("the server has no secret {name:?}");
        let hint = format!(
            "`stepwell secret set {name}` makes it; until then state {state} fails with Stepwell.SecretUnknown"
        );
        (message, hint)
    }

    fn shown(&self) -> String {
        self.name.chars().take(SHOWN_CHARS).collect()
    }
}

/// Where a field of this name, written small or with a capital, has this text.
fn place(at: &At<'_, '_>, field: &str, name: &str) -> Option<(String, Position)> {
    for member in at.members() {
        let below = at.member(member);
        let text = match &member.value.tree {
            Tree::Text(text) => &**text,
            _ => "",
        };
        let by_arn = || &*member.name == "ConnectionArn" && connection_name(text) == name;
        if text == name && member.name.eq_ignore_ascii_case(field) || by_arn() {
            return Some((below.pointer.to_string(), below.position()));
        }
        if let Some(found) = place(&below, field, name) {
            return Some(found);
        }
    }
    let mut elements = at.elements().iter().enumerate();
    elements.find_map(|(index, node)| place(&at.element(index, node), field, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::AnyModule;

    fn program(flow: &str) -> Program {
        let checked = crate::compile_filled(flow, &Default::default(), &AnyModule).unwrap();
        let found = checked.program;
        found.unwrap_or_else(|| panic!("{:?}", checked.diagnostics))
    }

    fn task(resource: &str, parameters: &str) -> String {
        format!(
            r#"{{"StartAt": "T", "States": {{
  "T": {{"Type": "Task", "Resource": "{resource}", "Next": "U", "Parameters": {parameters}}},
  "U": {{"Type": "Task", "Resource": "{resource}", "End": true, "Parameters": {parameters}}}
}}}}"#
        )
    }

    #[track_caller]
    fn check(flow: &str, expected: &[(What, &str)]) {
        let program = program(flow);
        let found = named(&program);
        assert!(found.iter().all(|n| n.state == "T"), "{found:?}");
        let found: Vec<_> = found.iter().map(|n| (n.what, n.name)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_tasks_name_is_found_once_and_what_the_data_names_is_not() {
        let call = r#"{"url": "https://a.example", "authentication": {"type": "bearer", "secret": "pin"}, "connection": "shop"}"#;
        let both = [(What::Secret, "pin"), (What::Connection, "shop")];
        check(&task("http:request", call), &both);
        let from_data = r#"{"url": "https://a.example", "authentication": {"type": "bearer", "secret.$": "$.s"}}"#;
        check(&task("http:request", from_data), &[]);
        let job = r#"{"image": "i:1", "network": "lab"}"#;
        let both = [(What::Image, "i:1"), (What::Network, "lab")];
        check(&task("container:run", job), &both);
        let machine = r#"{"machine": "worker", "command": ["true"]}"#;
        check(&task("vm:run", machine), &[(What::Machine, "worker")]);
        check(&task("wasm:m", call), &[]);
        let jsonata = r#"{"QueryLanguage": "JSONata", "StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "http:request", "End": true,
            "Arguments": {"url": "{% $states.input.url %}", "authentication": {"type": "bearer", "secret": "pin"}}}}}"#;
        check(jsonata, &[(What::Secret, "pin")]);
    }

    #[test]
    fn a_warning_points_at_the_name() {
        let check = |resource: &str, parameters: &str, expected: &str| {
            let flow = task(resource, parameters);
            let program = program(&flow);
            let told = out_of_reach(&flow, &program, None, |_| Ok::<_, ()>(true)).unwrap();
            let places: Vec<_> = told.iter().map(|d| &*d.pointer).collect();
            assert_eq!(places, [expected]);
            assert!(told[0].line > 1);
        };
        let call = r#"{"url": "https://a.example", "connection": "shop"}"#;
        check("http:request", call, "/States/T/Parameters/connection");
        let invoke = r#"{"ApiEndpoint": "https://a.example", "Method": "GET",
            "Authentication": {"ConnectionArn": "arn:aws:events:r:1:connection/shop/0a"}}"#;
        check(
            "arn:aws:states:::http:invoke",
            invoke,
            "/States/T/Parameters/Authentication/ConnectionArn",
        );
    }

    #[test]
    fn manifests_give_what_they_list() {
        let of = |what, name| Named {
            what,
            name,
            state: "T",
        };
        let grants = r#"{"secrets": ["pin"], "images": ["i:*"], "networks": ["lab"], "machines": ["m"], "connections": ["c"]}"#;
        let grants: Grants = serde_json::from_str(grants).unwrap();
        for (what, name) in [
            (What::Secret, "pin"),
            (What::Image, "i:1"),
            (What::Network, "lab"),
            (What::Machine, "m"),
            (What::Connection, "c"),
        ] {
            assert!(of(what, name).granted(Some(&grants)), "{what:?}");
            assert!(!of(what, "other").granted(Some(&grants)), "{what:?}");
            assert_eq!(of(what, name).granted(None), what != What::Secret);
        }
    }

    #[test]
    fn a_warning_stands_where_the_name_does() {
        let flow = task(
            "http:request",
            r#"{"url": "https://a.example", "authentication": {"type": "bearer", "secret": "pin"}}"#,
        );
        let program = program(&flow);
        let told = |definition: &str, grants: Option<&str>, has: bool| {
            let grants: Option<Grants> = grants.map(|text| serde_json::from_str(text).unwrap());
            let has = |name: &str| Ok::<_, ()>(has && name == "pin");
            out_of_reach(definition, &program, grants.as_ref(), has).unwrap()
        };
        let given = Some(r#"{"secrets": ["pin"]}"#);
        assert!(told(&flow, given, true).is_empty());
        for (grants, message) in [
            (
                None,
                "the flow has no manifest, and needs one for the secret \"pin\"",
            ),
            (
                Some("{}"),
                "the flow's manifest does not grant the secret \"pin\"",
            ),
            (given, "the server has no secret \"pin\""),
        ] {
            let warnings = told(&flow, grants, false);
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            let warning = &warnings[0];
            assert_eq!(
                (warning.code, warning.severity),
                (code::OUT_OF_REACH, Severity::Warning)
            );
            let place = "/States/T/Parameters/authentication/secret";
            assert_eq!((warning.pointer.as_str(), warning.line), (place, 2));
            assert_eq!(warning.message, message);
        }
        let elsewhere = told("{}", None, true);
        assert_eq!((elsewhere[0].pointer.as_str(), elsewhere[0].line), ("", 1));
    }
}

//! Function Compute's resource names, and the module that each means here.
//!
//! Refuses to look anything up itself: that is the caller's [`Resolve`].

use std::sync::Arc;

use stepwell_types::StepTarget;

use super::Binding;
use crate::diagnostic::{Report, code};
use crate::document::At;
use crate::path::clip;
use crate::program::StandIn;
use crate::resource::{FOR_A_FUNCTION, Resolve, UNBOUND};

const FORM: &str = "a function is named acs:fc:REGION:ACCOUNT:functions/NAME[/QUALIFIER]";

/// What runs for a function's resource name: the module of the function's name. The
/// qualifier is its version, and `LATEST`, or none, the newest. What the resource map
/// binds the whole name to comes first. `token`: the task ends by its token.
pub(crate) fn function(
    at: &At<'_, '_>,
    text: &str,
    token: bool,
    report: &mut Report,
    resolve: &dyn Resolve,
) -> Option<(StepTarget, Option<StandIn>)> {
    match super::binding(at, text, token, report, resolve) {
        None => {}
        Some(Some(Binding::Target(target))) => return Some((target, None)),
        Some(Some(Binding::StandIn(target, stand_in))) => return Some((target, Some(stand_in))),
        Some(Some(Binding::Http | Binding::Start)) => {
            report.error_hint(
                at,
                code::BAD_RESOURCE,
                format!(
                    "the resource map binds {:?} to what is no function: it takes a request of its own",
                    clip(text)
                ),
                Some(FOR_A_FUNCTION.to_owned()),
            );
            return None;
        }
        Some(None) => return None,
    }
    let Some((service, name, version)) = take_apart(text) else {
        report.error_hint(
            at,
            code::BAD_RESOURCE,
            format!("{:?} names no function", clip(text)),
            Some(FORM.to_owned()),
        );
        return None;
    };
    if let Some(service) = service {
        report.warning(
            at,
            code::DIFFERS,
            format!("the service {service:?} is left out: the function is the module {name:?}, whichever service it was in"),
            None,
        );
    }
    match resolve.module(name, version, None) {
        Ok(digest) => {
            let target = StepTarget::Wasm {
                name: Arc::from(name),
                digest,
                function: None,
            };
            Some((target, None))
        }
        Err(unresolved) => {
            let hint = crate::resource::available(name, &unresolved.available);
            report.error_hint(at, code::UNKNOWN_MODULE, unresolved.message, hint);
            None
        }
    }
}

/// Refuses what nothing here carries out: `what` is wrong with it, and `hint` what to do. `later`: it
/// is a service's name; where it is not known what those are bound to, what stands in its place.
pub(crate) fn unbound(
    at: &At<'_, '_>,
    (what, hint): (String, String),
    later: bool,
    report: &mut Report,
    resolve: &dyn Resolve,
) -> Option<StepTarget> {
    if !(later && resolve.binds_later()) {
        report.error_hint(at, code::BAD_RESOURCE, what, Some(hint));
        return None;
    }
    let what = format!("{what}; publishing refuses it");
    report.warning(at, code::BAD_RESOURCE, what, Some(hint));
    Some(StepTarget::Wasm {
        name: UNBOUND.into(),
        digest: resolve.module(UNBOUND, None, None).ok()?,
        function: None,
    })
}

/// Service, function and version.
fn take_apart(text: &str) -> Option<(Option<&str>, &str, Option<&str>)> {
    let mut parts = text.splitn(5, ':');
    if (parts.next(), parts.next()) != (Some("acs"), Some("fc")) {
        return None;
    }
    let path = parts.nth(2)?;
    let mut parts = path.split('/');
    let (service, name, qualifier) = match parts.next()? {
        "functions" => (None, parts.next()?, parts.next()),
        "services" => {
            let service = parts.next()?;
            let (service, qualifier) = match service.split_once('.') {
                Some((service, qualifier)) => (service, Some(qualifier)),
                None => (service, None),
            };
            if parts.next() != Some("functions") {
                return None;
            }
            (Some(service), parts.next()?, qualifier)
        }
        _ => return None,
    };
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fine = |text: &str| !text.is_empty() && text.len() <= 128 && text.chars().all(word);
    if parts.next().is_some() || !fine(name) || qualifier.is_some_and(|q| !fine(q)) {
        return None;
    }
    Some((service, name, qualifier.filter(|q| *q != "LATEST")))
}

#[cfg(test)]
mod tests {
    use super::take_apart;

    #[test]
    fn forms() {
        let check = |text: &str, expected: Option<(Option<&str>, &str, Option<&str>)>| {
            assert_eq!(take_apart(text), expected, "{text}");
        };
        check(
            "acs:fc:cn-hangzhou:123:functions/f",
            Some((None, "f", None)),
        );
        check(
            "acs:fc:{region}:{accountID}:functions/f/LATEST",
            Some((None, "f", None)),
        );
        check(
            "acs:fc:r:1:functions/f/prod",
            Some((None, "f", Some("prod"))),
        );
        check(
            "acs:fc:::services/s/functions/f",
            Some((Some("s"), "f", None)),
        );
        check(
            "acs:fc:::services/s.2/functions/f",
            Some((Some("s"), "f", Some("2"))),
        );
        check("acs:fc:r:1:functions/f/", None);
        check("acs:fc:r:1:functions/", None);
        check("acs:fc:r:1:functions/f/a/b", None);
        check("acs:fc:r:1:services/s/f", None);
        check("acs:mns:::/topics/t/messages", None);
        check("arn:aws:lambda:r:1:function:f", None);
        check("acs:fc:r:1:functions/a b", None);
        check("", None);
    }
}

//! `state …`: what steps keep in namespaces.

use reqwest::Method;

use super::commands::{done, pages, whole};
use super::{Remote, object, parse, show};
use crate::args::State;
use crate::exit::{Exit, Trouble};
use crate::output;

/// `state …`
pub fn state(remote: &Remote, command: State) -> Result<Exit, Trouble> {
    match command {
        State::Ls { namespace: None } => {
            let list = pages(remote, "namespaces", || remote.get(&["namespaces"]))?;
            whole(remote, "namespaces", list, show::namespaces)
        }
        State::Ls {
            namespace: Some(namespace),
        } => {
            let begin = || remote.get(&["namespaces", &namespace, "keys"]);
            let list = pages(remote, "keys", begin)?;
            whole(remote, "keys", list, |keys| {
                for key in keys.iter().filter_map(|key| key.as_str()) {
                    output::print(&key.escape_debug().to_string());
                }
            })
        }
        State::Get {
            namespace,
            key,
            file,
        } => {
            let request = remote.get(&["namespaces", &namespace, "value"]);
            object::download(remote, request.query(&[("key", &key)]), file.as_deref())
        }
        State::Rm { namespace, key } => {
            let request = remote.request(Method::DELETE, &["namespaces", &namespace, "value"]);
            remote.nothing(request.query(&[("key", &key)]))?;
            done(remote, &format!("key {key} of {namespace} is gone"))
        }
        State::Clear { namespace } => {
            let request = remote.request(Method::DELETE, &["namespaces", &namespace]);
            let text = remote.text(request, &["deleted"])?;
            if remote.json {
                output::print_json(&text);
                return Ok(Exit::Ok);
            }
            let count = output::field(&parse(&text)?, "deleted").unwrap_or_default();
            output::print(&format!("{count} key(s) of {namespace} are gone"));
            Ok(Exit::Ok)
        }
    }
}

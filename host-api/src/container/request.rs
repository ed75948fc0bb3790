//! From a call to a checked run: what is not granted goes no further.
//!
//! Refuses images and networks that the configuration does not name.

use stepwell_types::{ContainerCall, Failure, Pull, image_fits};

use super::ContainerOptions;
use crate::job::program::{self, Ceilings, Kind, Program};

/// Memory of a run if it doesn't say, in MiB.
const MEMORY_MIB: u64 = 256;
/// Least memory: the engines take no less.
const MEMORY_MIB_MIN: u64 = 6;
/// Processes and threads of a run if it doesn't say.
const PIDS: u64 = 128;
/// Longest image name, in bytes.
const IMAGE_BYTES_MAX: usize = 512;

/// A checked run.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) program: Program,
    pub(crate) image: String,
    pub(crate) command: Option<Vec<String>>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) user: Option<String>,
    pub(crate) network: Option<String>,
    pub(crate) memory_bytes: i64,
    pub(crate) nano_cpus: i64,
    pub(crate) pids: i64,
    pub(crate) pull: Pull,
}

const KIND: Kind = Kind::Container;

/// Checks a call against what is granted.
/// # Errors
/// `Stepwell.ContainerInvalidRequest`, `Stepwell.ContainerNotGranted`, `Stepwell.ContainerPathRefused`.
pub(crate) fn check(call: ContainerCall, options: &ContainerOptions) -> Result<Checked, Failure> {
    image(&call.image)?;
    granted("image", &call.image, &options.images)?;
    if let Some(network) = &call.network {
        granted("network", network, &options.networks)?;
    }
    for words in [&call.command, &call.entrypoint].into_iter().flatten() {
        program::arguments(KIND, words)?;
    }
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    if let Some(user) = &call.user
        && (user.is_empty() || user.len() > 128 || !user.chars().all(word))
    {
        return Err(KIND.invalid("user must be USER or USER:GROUP"));
    }
    let within = |name: &str, value: Option<u64>, default: u64, min: u64, max: u64| {
        let value = value.unwrap_or(default.min(max));
        match (min..=max).contains(&value) {
            true => Ok(i64::try_from(value).unwrap_or(i64::MAX)),
            false => Err(KIND.invalid(format!(
                "{name} must be {min} to {max}, the most that this server grants"
            ))),
        }
    };
    let (mib_max, pids_max) = (options.memory_mib_max, options.pids_max);
    let memory = within(
        "memory_mib",
        call.memory_mib,
        MEMORY_MIB,
        MEMORY_MIB_MIN,
        mib_max,
    )?;
    let pids = within("pids", call.pids, PIDS, 1, pids_max)?;
    let cpus = call.cpus.unwrap_or(options.cpus_max.min(1.0));
    if !(0.01..=options.cpus_max).contains(&cpus) {
        return Err(KIND.invalid(format!(
            "cpus must be 0.01 to {}, the most that this server grants",
            options.cpus_max
        )));
    }
    let ceilings = Ceilings {
        timeout_ms: options.timeout_ms_max,
        stdout_bytes: options.stdout_bytes_max,
    };
    Ok(Checked {
        program: Program::check(KIND, call.program, ceilings, false)?,
        image: call.image,
        command: call.command,
        entrypoint: call.entrypoint,
        user: call.user,
        network: call.network,
        memory_bytes: memory.saturating_mul(1 << 20),
        #[allow(
            clippy::cast_possible_truncation,
            reason = "at most the configured processors"
        )]
        nano_cpus: (cpus * 1e9) as i64,
        pids,
        pull: call.pull,
    })
}

/// A reference as registries spell it: nothing in it can lead elsewhere in a request's path.
fn image(name: &str) -> Result<(), Failure> {
    let word = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let odd = |part: &str| part.is_empty() || part.chars().all(|c| c == '.');
    let fine = name.len() <= IMAGE_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(word)
        && !name.split('/').any(odd);
    match fine {
        true => Ok(()),
        false => Err(KIND.invalid("image must be [REGISTRY/]NAME[:TAG] or NAME@sha256:DIGEST")),
    }
}

/// Whether one of the grants fits.
fn granted(what: &str, name: &str, grants: &[String]) -> Result<(), Failure> {
    if grants.iter().any(|grant| image_fits(grant, name)) {
        return Ok(());
    }
    let shown: String = name.chars().take(200).collect();
    Err(KIND.failure(
        "NotGranted",
        format!("the {what} `{shown}` is not granted: the server's [containers] {what}s must name it as it is spelt here"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn options() -> ContainerOptions {
        ContainerOptions {
            images: vec!["localhost/job".into(), "docker.io/library/alpine:*".into()],
            networks: vec!["lab".into()],
            ..ContainerOptions::default()
        }
    }

    #[track_caller]
    fn refused(change: Value, error: &str) {
        let mut call = json!({"image": "localhost/job"});
        for (name, value) in change.as_object().expect("an object") {
            call[name] = value.clone();
        }
        let call = serde_json::from_value(call.clone()).expect("a call");
        let failure = check(call, &options()).expect_err("refused");
        assert_eq!(&*failure.error, format!("Stepwell.Container{error}"));
    }

    #[test]
    fn what_is_not_granted_is_refused() {
        for image in [
            "localhost/job:latest",
            "localhost/job2",
            "docker.io/library/alpin:3",
            "alpine:3",
        ] {
            refused(json!({"image": image}), "NotGranted");
        }
        for network in ["bridge", "host", "lab2", "container:other", ""] {
            refused(json!({"network": network}), "NotGranted");
        }
    }

    #[test]
    fn what_could_mean_something_else_is_refused() {
        for image in [
            "",
            "../x",
            "localhost/../job",
            "localhost/job?x",
            "a b",
            "a%2fb",
            "-v",
            "a//b",
            "job\n",
        ] {
            refused(json!({"image": image}), "InvalidRequest");
        }
        refused(json!({"command": ["a\u{0}b"]}), "InvalidRequest");
        refused(json!({"user": "root -v /:/x"}), "InvalidRequest");
        refused(json!({"environment": {"A=B": "c"}}), "InvalidRequest");
        refused(json!({"files": [{"path": "/a"}]}), "InvalidRequest");
        refused(
            json!({"files": [{"path": "/a/../../b", "content": ""}]}),
            "PathRefused",
        );
        refused(
            json!({"outputs": [{"path": "/", "bucket": "b"}]}),
            "PathRefused",
        );
        refused(json!({"working_directory": "/a/.."}), "PathRefused");
    }

    #[test]
    fn no_run_gets_more_than_the_server_grants() {
        for field in ["memory_mib", "pids", "timeout_ms", "stdout_bytes_max"] {
            refused(json!({field: 1u64 << 40}), "InvalidRequest");
            refused(json!({field: 0}), "InvalidRequest");
        }
        refused(json!({"cpus": 1e9}), "InvalidRequest");
        refused(json!({"cpus": -1}), "InvalidRequest");
    }
}

//! The guest's door to containers.
//!
//! Source: `wit/container@1.0.0/container.wit`.

use stepwell_types::{ContainerCall, Pull};

use crate::bindings::stepwell::container::containers::{self, Ended, Error, Request};
use crate::host::Host;
use crate::job::guest::{self, Carried, Common, Why};

impl containers::Host for Host {
    async fn run(&mut self, request: Request) -> Result<Ended, Error> {
        self.io().waits.step_aside().await;
        let outside = self.outside();
        // Numbered here, in the order in which the guest calls.
        let call = outside.journal.call();
        let (bridge, grants) = (
            outside.bridges().containers.clone(),
            outside.grants().cloned(),
        );
        let (wanted, carried) = wanted(request);
        let done = bridge.call(call, grants.as_deref(), wanted, carried).await;
        match done.as_ref().map(guest::end) {
            Ok(Some(end)) => Ok(Ended {
                exit_code: end.exit_code,
                stdout: end.stdout,
                stderr: end.stderr,
            }),
            Ok(None) => Err(Error::Failed("the recorded end cannot be read".to_owned())),
            Err(failure) => {
                let (why, text) = guest::why(failure);
                Err(match why {
                    Why::NotGranted => Error::NotGranted(text),
                    Why::Invalid => Error::Invalid(text),
                    Why::TimedOut => Error::TimedOut(text),
                    Why::Unavailable => Error::Unavailable(text),
                    Why::Failed => Error::Failed(text),
                })
            }
        }
    }
}

fn wanted(request: Request) -> (ContainerCall, Carried) {
    let carried = Carried {
        input: request.input,
        files: request
            .files
            .into_iter()
            .map(|file| (file.path, file.content))
            .collect(),
    };
    let program = carried.call(Common {
        environment: request.environment,
        working_directory: request.working_directory,
        timeout_ms: request.timeout_ms,
        stdout_bytes_max: request.stdout_bytes_max,
    });
    let call = ContainerCall {
        image: request.image,
        command: request.command,
        entrypoint: request.entrypoint,
        user: request.user,
        network: request.network,
        memory_mib: request.memory_mib,
        cpus: request.cpus,
        pids: request.pids,
        pull: match request.pull {
            containers::Pull::Never => Pull::Never,
            containers::Pull::Missing => Pull::Missing,
            containers::Pull::Always => Pull::Always,
        },
        program,
    };
    (call, carried)
}

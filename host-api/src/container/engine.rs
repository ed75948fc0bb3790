//! The engine's API, as the bridge needs it: Docker's, which Podman speaks too.
//!
//! Refuses mounts, privileges and published ports: a container gets copies of files, and
//! what its image holds.

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error as Trouble;
use bollard::models::{
    ContainerCreateBody, ContainerStateStatusEnum, HostConfig, HostConfigLogConfig,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, CreateImageOptionsBuilder,
    DownloadFromContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder,
    StartContainerOptions, UploadToContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::request::Checked;
use crate::job::Fault;

/// Seconds that the engine may take to answer anything but a wait.
const ANSWER_SECONDS: u64 = 120;
/// Seconds that it may take to tell what it has.
const LOOK_SECONDS: u64 = 20;

/// How often an engine is asked again that lost a program from sight while it looked at it.
const LOOKS_MAX: u32 = 20;
/// Between two of these looks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Bound of a container's output on the engine's disk: more than all that may be written
/// before it is killed, however short its lines are.
const LOG_BYTES_MAX: &str = "1g";

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Created,
    Running,
    /// Podman's moment between a program's end and its record.
    Ending,
    Ended {
        exit_code: i64,
        out_of_memory: bool,
    },
}

/// One container as the engine lists it.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) labels: HashMap<String, String>,
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Fault {
        match trouble {
            Trouble::DockerResponseServerError {
                status_code,
                message,
            } => Fault::Refused {
                status: status_code,
                message,
            },
            other => Fault::Unreachable(chain(&other)),
        }
    }
}

/// An engine that refuses something answers.
fn note<T>(heard: &Mutex<Option<Instant>>, answer: &Result<T, Trouble>) {
    let answered = matches!(
        answer,
        // A word of its own that is not known here is one, too.
        Ok(_) | Err(Trouble::DockerResponseServerError { .. } | Trouble::JsonDataError { .. })
    );
    if answered {
        *heard.lock() = Some(Instant::now());
    }
}

/// Podman looks at a running program's `/proc`. Where that ends in this very moment, it answers with the
/// system's word for it (`read /proc/7/cgroup: no such process`), and a moment later as it should.
fn ended_meanwhile(trouble: &Trouble) -> bool {
    matches!(
        trouble,
        Trouble::DockerResponseServerError { status_code: 500, message }
            if message.contains("/proc/") && message.contains("no such process")
    )
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(at) = source {
        text.push_str(": ");
        text.push_str(&at.to_string());
        source = at.source();
    }
    text
}

/// A way to the engine, for one job or one look.
#[derive(Debug)]
pub(crate) struct Engine {
    socket: PathBuf,
    /// When it last answered.
    heard: Arc<Mutex<Option<Instant>>>,
}

/// A container's standard input.
pub(crate) type Input = Pin<Box<dyn AsyncWrite + Send>>;
/// What a container writes, as it comes.
pub(crate) type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Trouble>> + Send>>;

impl Engine {
    pub(crate) fn new(socket: PathBuf) -> Engine {
        Engine {
            socket,
            heard: Arc::default(),
        }
    }

    /// Costs a look at the socket file; each call connects anew.
    fn docker(&self) -> Result<Docker, Fault> {
        self.docker_within(ANSWER_SECONDS)
    }

    fn docker_within(&self, seconds: u64) -> Result<Docker, Fault> {
        let socket = self.socket.to_string_lossy();
        Ok(Docker::connect_with_unix(
            &socket,
            seconds,
            API_DEFAULT_VERSION,
        )?)
    }

    /// When it last answered, if it ever did.
    pub(crate) fn heard(&self) -> Option<Instant> {
        *self.heard.lock()
    }

    /// Notes that it answers, if it does: with a refusal, too.
    fn hear<T>(&self, answer: Result<T, Trouble>) -> Result<T, Trouble> {
        note(&self.heard, &answer);
        answer
    }

    /// Asks what the engine has, again where a program ended while it looked.
    async fn look<T, F>(&self, ask: impl Fn() -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        for _ in 1..LOOKS_MAX {
            match self.hear(ask().await) {
                Err(trouble) if ended_meanwhile(&trouble) => tokio::time::sleep(LOOK_PAUSE).await,
                answer => return answer,
            }
        }
        self.hear(ask().await)
    }

    /// The container of this name, if there is one.
    pub(crate) async fn stage(&self, name: &str) -> Result<Option<Stage>, Fault> {
        let docker = self.docker_within(LOOK_SECONDS)?;
        let inspect = || docker.inspect_container(name, None::<InspectContainerOptions>);
        let about = match self.look(inspect).await {
            Ok(about) => about,
            Err(Trouble::DockerResponseServerError {
                status_code: 404, ..
            }) => return Ok(None),
            // Docker has no such state, so the client knows none.
            Err(Trouble::JsonDataError { message, .. }) if message.contains("`stopped`") => {
                return Ok(Some(Stage::Ending));
            }
            Err(e) => return Err(e.into()),
        };
        let state = about.state.unwrap_or_default();
        Ok(Some(match state.status {
            Some(ContainerStateStatusEnum::CREATED) => Stage::Created,
            _ if state.running == Some(true) => Stage::Running,
            _ => Stage::Ended {
                exit_code: state.exit_code.unwrap_or(-1),
                out_of_memory: state.oom_killed == Some(true),
            },
        }))
    }

    /// All containers with these labels, ended ones included.
    pub(crate) async fn list(&self, labels: &[String]) -> Result<Vec<Listed>, Fault> {
        let filters = HashMap::from([("label".to_owned(), labels.to_vec())]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let docker = self.docker_within(LOOK_SECONDS)?;
        let list = || docker.list_containers(Some(options.clone()));
        let all = self.look(list).await?;
        let listed = all.into_iter().filter_map(|one| {
            Some(Listed {
                id: one.id?,
                labels: one.labels.unwrap_or_default(),
            })
        });
        Ok(listed.collect())
    }

    /// Whether the image is on the engine's machine.
    pub(crate) async fn has_image(&self, image: &str) -> Result<bool, Fault> {
        let docker = self.docker_within(LOOK_SECONDS)?;
        match self.hear(docker.inspect_image(image).await) {
            Ok(_) => Ok(true),
            Err(Trouble::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Fetches an image.
    /// # Errors
    /// The registry's words, as a refusal.
    pub(crate) async fn pull(&self, image: &str) -> Result<(), Fault> {
        // Without a tag the API would fetch all of them.
        let last = image.rsplit('/').next().unwrap_or_default();
        let whole = match last.contains([':', '@']) {
            true => image.to_owned(),
            false => format!("{image}:latest"),
        };
        let options = CreateImageOptionsBuilder::default()
            .from_image(&whole)
            .build();
        let docker = self.docker()?;
        let mut progress = docker.create_image(Some(options), None, None);
        while let Some(part) = progress.next().await {
            let part = self.hear(part);
            let refused = |message: String| Fault::Refused {
                status: 200,
                message,
            };
            match part {
                Ok(part) => {
                    let message = part.error_detail.and_then(|detail| detail.message);
                    if let Some(message) = message {
                        return Err(refused(message));
                    }
                }
                Err(Trouble::DockerStreamError { error }) => return Err(refused(error)),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Makes a container; it does not run yet.
    pub(crate) async fn create(
        &self,
        name: &str,
        run: &Checked,
        labels: HashMap<String, String>,
        capabilities: &[String],
    ) -> Result<(), Fault> {
        let program = &run.program;
        let variables = program.environment.iter();
        let has_input = program.input.is_some();
        let host = HostConfig {
            memory: Some(run.memory_bytes),
            memory_swap: Some(run.memory_bytes),
            nano_cpus: Some(run.nano_cpus),
            pids_limit: Some(run.pids),
            network_mode: Some(run.network.clone().unwrap_or_else(|| "none".to_owned())),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: (!capabilities.is_empty()).then(|| capabilities.to_vec()),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            // The one driver of both engines whose logs can be read again.
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(HashMap::from([(
                    "max-size".to_owned(),
                    LOG_BYTES_MAX.to_owned(),
                )])),
            }),
            ..HostConfig::default()
        };
        let body = ContainerCreateBody {
            image: Some(run.image.clone()),
            cmd: run.command.clone(),
            entrypoint: run.entrypoint.clone(),
            env: Some(variables.map(|(n, v)| format!("{n}={v}")).collect()),
            working_dir: run.program.working_directory.clone(),
            user: run.user.clone(),
            labels: Some(labels),
            open_stdin: Some(has_input),
            stdin_once: Some(has_input),
            attach_stdin: Some(has_input),
            tty: Some(false),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let made = self.docker()?.create_container(Some(options), body).await;
        self.hear(made)?;
        Ok(())
    }

    /// Opens standard input, before or after the start.
    pub(crate) async fn attach(&self, name: &str) -> Result<Input, Fault> {
        let options = AttachContainerOptionsBuilder::default()
            .stdin(true)
            .stream(true)
            .build();
        let attached = self.docker()?.attach_container(name, Some(options)).await;
        Ok(self.hear(attached)?.input)
    }

    /// Starts it; one that runs stays as it is.
    pub(crate) async fn start(&self, name: &str) -> Result<(), Fault> {
        let started = self
            .docker()?
            .start_container(name, None::<StartContainerOptions>)
            .await;
        match self.hear(started) {
            Err(Trouble::DockerResponseServerError {
                status_code: 304, ..
            }) => Ok(()),
            other => Ok(other?),
        }
    }

    pub(crate) async fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        let options = RenameContainerOptionsBuilder::default().name(to).build();
        let renamed = self.docker()?.rename_container(from, options).await;
        Ok(self.hear(renamed)?)
    }

    /// Its exit code, once it does not run.
    pub(crate) async fn wait(&self, name: &str) -> Result<i64, Fault> {
        let options = WaitContainerOptionsBuilder::default()
            .condition("not-running")
            .build();
        let docker = self.docker()?;
        let mut ends = docker.wait_container(name, Some(options));
        match ends.next().await {
            Some(Ok(ended)) => Ok(ended.status_code),
            // That is how the client tells any code but 0.
            Some(Err(Trouble::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(e)) => Err(e.into()),
            None => Err(Fault::Unreachable("the engine broke a wait off".to_owned())),
        }
    }

    /// All it has written so far; with `follow` also what comes, until it ends.
    pub(crate) fn output(&self, name: &str, follow: bool) -> Result<Output, Fault> {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .follow(follow)
            .build();
        let heard = Arc::clone(&self.heard);
        let pieces = self.docker()?.logs(name, Some(options));
        Ok(Box::pin(pieces.inspect(move |piece| note(&heard, piece))))
    }

    /// Unpacks an archive at its root.
    pub(crate) async fn upload(
        &self,
        name: &str,
        tar: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), Fault> {
        let options = UploadToContainerOptionsBuilder::default().path("/").build();
        let body = bollard::body_try_stream(tar);
        let docker = self.docker()?;
        let sent = docker.upload_to_container(name, Some(options), body).await;
        Ok(self.hear(sent)?)
    }

    /// A directory of it, as an archive.
    pub(crate) fn download(
        &self,
        name: &str,
        path: &str,
    ) -> Result<impl Stream<Item = std::io::Result<Bytes>> + Send + 'static, Fault> {
        let options = DownloadFromContainerOptionsBuilder::default()
            .path(path)
            .build();
        let stream = self.docker()?.download_from_container(name, Some(options));
        Ok(stream.map_err(|e| std::io::Error::other(chain(&e))))
    }

    /// Kills it if it runs, and removes it with its volumes. None there is as good.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), Fault> {
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        let removed = self.docker()?.remove_container(name, Some(options)).await;
        match self.hear(removed) {
            Err(Trouble::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(()),
            other => Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn refusal(status_code: u16, message: &str) -> Trouble {
        Trouble::DockerResponseServerError {
            status_code,
            message: message.to_owned(),
        }
    }

    /// Asks where the first `many` answers are this one: what comes of it, and how often it was asked.
    async fn asked(many: u32, status: u16, message: &str) -> (bool, u32) {
        let engine = Engine::new("/nowhere".into());
        let times = AtomicU32::new(0);
        let answered = engine.look(|| {
            let before = times.fetch_add(1, Ordering::Relaxed);
            let answer = (before >= many)
                .then_some(7)
                .ok_or_else(|| refusal(status, message));
            std::future::ready(answer)
        });
        (answered.await.is_ok(), times.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn an_engine_is_asked_again_where_a_program_ended_while_it_looked() {
        let lost = "read /proc/28006/cgroup: no such process";
        assert_eq!(asked(2, 500, lost).await, (true, 3));
        assert_eq!(asked(LOOKS_MAX, 500, lost).await, (false, LOOKS_MAX));
        // Any other word is an answer.
        assert_eq!(asked(1, 404, lost).await, (false, 1));
        assert_eq!(asked(1, 500, "no such process").await, (false, 1));
        assert_eq!(asked(1, 409, "it has that name").await, (false, 1));
    }
}

//! One run on a machine, from wherever it is to its end.
//!
//! Refuses to begin a program twice: the far side begins what has a directory, once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use russh::ChannelMsg;
use stepwell_types::{BridgeCall, Data, Digest, Failure, Timestamp};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::Inner;
use super::connection::{Answer, Connections, Way};
use super::request::Checked;
use super::script;
use crate::Journal;
use crate::gate::Boxed;
use crate::job::output::{self, Lines, STDERR_BYTES_MAX};
use crate::job::program::{Brought, Ended, Kind, STDERR_BYTES, Source};
use crate::job::{self, Fault, Job, archive};
use crate::journal::Call;

/// Most bytes of one look: its first line and a piece of standard error.
const LOOK_BYTES: usize = 80 << 10;

/// One run.
pub(super) struct Run {
    bridge: Arc<Inner>,
    place: Arc<Connections>,
    journal: Arc<Journal>,
    call: BridgeCall,
    begun: Notify,
    /// When it last told how the program does.
    heard: Mutex<Option<Instant>>,
    checked: Checked,
    key: String,
}

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is there, or not all of it.
    Missing,
    /// All is there, nothing has begun.
    Taken,
    Running,
    Ended(i64),
    /// It had begun, and is gone.
    Lost,
}

/// News of a run.
#[derive(Debug)]
struct Look {
    stage: Stage,
    stdout_bytes: u64,
    stderr_bytes: u64,
    began: Timestamp,
    stderr: Vec<u8>,
}

impl Run {
    pub(super) fn new(
        bridge: &Arc<Inner>,
        place: Arc<Connections>,
        call: &Call,
        request: Digest,
        checked: Checked,
    ) -> Run {
        let journal = Arc::clone(call.journal());
        let call = call.at_gate(request);
        Run {
            bridge: Arc::clone(bridge),
            place,
            journal,
            key: job::key(&call),
            call,
            begun: Notify::new(),
            heard: Mutex::default(),
            checked,
        }
    }

    /// Finds it or brings it there, and sees it to its end.
    async fn once(&self) -> Result<Data, Fault> {
        let mut look = self.look(u64::MAX).await?;
        if look.stage == Stage::Missing {
            self.end_earlier().await?;
            self.bring().await?;
            look = self.look(u64::MAX).await?;
        }
        if look.stage == Stage::Taken {
            self.start().await?;
        }
        let passed = self.now().since_ms(look.began);
        let left = self.checked.program.timeout_ms.saturating_sub(passed);
        let ended = tokio::time::timeout(Duration::from_millis(left), self.until_end()).await;
        let ended = ended.map_err(|_| self.checked.program.timed_out())??;
        let answer = self.checked.program.judge(&ended)?;
        for (n, output) in self.checked.program.outputs.iter().enumerate() {
            let way = self.place.begin(&self.command("fetch", n as u64)).await?;
            let tar = received(way);
            archive::unpack(Arc::clone(&self.bridge.objects), output.clone(), tar).await?;
        }
        Ok(answer)
    }

    /// What an earlier attempt of the same call left must not run beside this one.
    async fn end_earlier(&self) -> Result<(), Fault> {
        if self.call.by.attempt == 0 {
            return Ok(());
        }
        for other in super::list(&self.bridge, &self.place).await? {
            let same = (other.by.execution, other.by.entry, other.call)
                == (self.call.by.execution, self.call.by.entry, self.call.call);
            if same && other.by.attempt != self.call.by.attempt {
                super::clear(&self.bridge, &self.place, &job::key(&other)).await?;
            }
        }
        Ok(())
    }

    /// Brings all that it needs.
    async fn bring(&self) -> Result<(), Fault> {
        let program = &self.checked.program;
        let (absolute, relative): (Vec<_>, Vec<_>) = program
            .files
            .iter()
            .cloned()
            .partition(|file| file.path.starts_with('/'));
        if !absolute.is_empty() {
            self.send("root", absolute).await?;
        }
        let relative = relative.into_iter().map(|file| Brought {
            path: script::below_job(&file.path),
            from: file.from,
        });
        let own = |path: &str, bytes: Vec<u8>| Brought {
            path: path.to_owned(),
            from: Source::Content(bytes),
        };
        let directory = program.working_directory.as_deref();
        let run = script::run(program, &self.checked.command, directory);
        let supervise = script::supervise(program.stdout_bytes_max, STDERR_BYTES_MAX);
        // First what names it: whoever finds a part of it knows whose it is.
        let mut files = vec![own("request", self.call.request.to_string().into_bytes())];
        files.extend(relative);
        files.extend([
            own("run", run.into_bytes()),
            own("supervise", supervise.into_bytes()),
            own("input", program.input.clone().unwrap_or_default()),
            own("began", self.now().0.to_string().into_bytes()),
        ]);
        for (n, output) in program.outputs.iter().enumerate() {
            let path = match output.path.starts_with('/') {
                true => output.path.clone(),
                false => format!("./{}", output.path),
            };
            files.push(own(&format!("out{n}"), path.into_bytes()));
        }
        self.send("take", files).await
    }

    async fn send(&self, verb: &str, files: Vec<Brought>) -> Result<(), Fault> {
        let (trouble, told) = oneshot::channel();
        let objects = Arc::clone(&self.bridge.objects);
        let tar = archive::pack(objects, files, Vec::new(), trouble);
        let sent = self.exec(verb, 0, Some(tar), 0).await;
        // An object that cannot be read breaks the archive off: its own reason is the better one.
        if let Ok(failure) = told.await {
            return Err(failure.into());
        }
        match sent? {
            Answer {
                status: Some(0), ..
            } => Ok(()),
            answer => Err(self.refused("the files could not be brought there", &answer)),
        }
    }

    /// Begins it. That it had begun before is as good.
    async fn start(&self) -> Result<(), Fault> {
        let answer = self.exec("start", 0, nothing(), 0).await?;
        match answer.status {
            Some(0) => Ok(()),
            Some(4) => {
                Err(self.refused("the machine has no setsid (util-linux or busybox)", &answer))
            }
            _ => Err(self.refused("the program could not be begun", &answer)),
        }
    }

    /// Waits for its end and collects what it wrote.
    async fn until_end(&self) -> Result<Ended, Fault> {
        self.begun.notify_one();
        let logged = self.journal.asker().gate.logged(&self.call).await;
        let mut lines = Lines::new(&self.journal, &self.call, logged);
        let (mut seen, mut stderr) = (0, Vec::new());
        let max = self.checked.program.stdout_bytes_max;
        let exit_code = loop {
            let look = self.look(seen).await?;
            seen += look.stderr.len() as u64;
            lines.push(&look.stderr);
            lines.flush();
            stderr.extend_from_slice(&look.stderr);
            output::keep_end(&mut stderr, STDERR_BYTES);
            if look.stdout_bytes > max || look.stderr_bytes > STDERR_BYTES_MAX {
                let failure = self.checked.program.too_much_output(look.stdout_bytes);
                return Err(failure.into());
            }
            match look.stage {
                Stage::Ended(code) if seen >= look.stderr_bytes => break code,
                Stage::Ended(_) | Stage::Running => {}
                Stage::Taken | Stage::Missing | Stage::Lost => {
                    let cause = "the program is gone and left no exit code: the machine went down, or somebody removed it";
                    return Err(Kind::Machine.failure("Lost", cause).into());
                }
            }
        };
        lines.finish();
        let kept = usize::try_from(max).unwrap_or(usize::MAX);
        let answer = self.exec("out", max, nothing(), kept).await?;
        if answer.status != Some(0) {
            return Err(self.refused("its output cannot be read", &answer));
        }
        Ok(Ended {
            exit_code,
            out_of_memory: false,
            stdout: answer.stdout,
            stderr,
        })
    }

    /// News; waits some seconds for some while it runs. `seen`: bytes of standard error that
    /// are known; `u64::MAX`: don't wait.
    async fn look(&self, seen: u64) -> Result<Look, Fault> {
        let (verb, from, _idler) = match seen {
            u64::MAX => ("stage", 0, None),
            seen => ("look", seen, Some(self.place.idler().await?)),
        };
        let answer = self.exec(verb, from, nothing(), LOOK_BYTES).await?;
        let told = read_look(&answer.stdout);
        *self.heard() = told.is_some().then(Instant::now);
        told.ok_or_else(|| self.refused("it did not tell how the program does", &answer))
    }

    fn refused(&self, what: &str, answer: &Answer) -> Fault {
        let (machine, status) = (&self.checked.machine, answer.status.unwrap_or(255));
        let stderr = String::from_utf8_lossy(&answer.stderr);
        let cause = format!(
            "on machine {machine}: {what} (status {status}): {}",
            stderr.trim()
        );
        Kind::Machine.failure("Refused", cause).into()
    }

    fn command(&self, verb: &str, number: u64) -> String {
        script::command(verb, &self.bridge.options.instance, &self.key, number)
    }

    async fn exec(
        &self,
        verb: &str,
        number: u64,
        stdin: Option<impl Stream<Item = std::io::Result<Bytes>> + Send>,
        max: usize,
    ) -> Result<Answer, Fault> {
        let command = self.command(verb, number);
        self.place.exec(&command, stdin, max).await
    }

    fn heard(&self) -> MutexGuard<'_, Option<Instant>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        (self.bridge.clock)()
    }
}

/// No standard input.
pub(super) fn nothing() -> Option<futures_util::stream::Empty<std::io::Result<Bytes>>> {
    None
}

/// What a command writes, as a stream. Its exit status may come before the last of it.
fn received(way: Way) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let begin = Some((way, None));
    let pieces = futures_util::stream::unfold(begin, |state| async move {
        let (mut way, mut status) = state?;
        loop {
            match way.channel.wait().await {
                Some(ChannelMsg::Data { data }) => return Some((Ok(data), Some((way, status)))),
                Some(ChannelMsg::ExitStatus { exit_status }) => status = Some(exit_status),
                Some(_) => {}
                None => break,
            }
        }
        let why = match status {
            Some(0) => return None,
            Some(_) => "tar failed there",
            None => "the connection broke off",
        };
        Some((Err(std::io::Error::other(why)), None))
    });
    pieces.boxed()
}

/// `STAGE CODE STDOUT STDERR BEGAN`, a line's end, and a piece of standard error.
fn read_look(bytes: &[u8]) -> Option<Look> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let (line, rest) = bytes.split_at(end);
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let stage = words.next()?;
    let code = words.next()?.parse().ok()?;
    let stage = match stage {
        "gone" | "part" => Stage::Missing,
        "taken" => Stage::Taken,
        "running" => Stage::Running,
        "ended" => Stage::Ended(code),
        "lost" => Stage::Lost,
        _ => return None,
    };
    Some(Look {
        stage,
        stdout_bytes: words.next()?.parse().ok()?,
        stderr_bytes: words.next()?.parse().ok()?,
        began: Timestamp(words.next()?.parse().ok()?),
        stderr: rest.get(1..)?.to_vec(),
    })
}

impl Job for Run {
    fn carry_out(&self) -> Boxed<'_, Result<Data, Failure>> {
        Box::pin(async {
            let machine = &self.checked.machine;
            let named = |fault: Fault| match fault {
                Fault::Unreachable(reason) => {
                    let cause = format!("machine {machine} cannot be reached: {reason}");
                    Kind::Machine.failure("Unreachable", cause)
                }
                fault => fault.into_failure(Kind::Machine, "Refused"),
            };
            job::patiently(|| self.once(), || *self.heard(), named).await
        })
    }

    fn begun(&self) -> &Notify {
        &self.begun
    }

    fn clear(&self) -> Boxed<'_, Result<(), Failure>> {
        Box::pin(async {
            let cleared = super::clear(&self.bridge, &self.place, &self.key).await;
            cleared.map_err(|fault| fault.into_failure(Kind::Machine, "Refused"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_read() {
        let look = read_look(b"ended 3 10 2 17\nab").expect("a look");
        assert_eq!(look.stage, Stage::Ended(3));
        assert_eq!((look.stdout_bytes, look.stderr_bytes), (10, 2));
        assert_eq!((look.began, look.stderr), (Timestamp(17), b"ab".to_vec()));
        assert_eq!(
            read_look(b"gone 0 0 0 0\n").expect("a look").stage,
            Stage::Missing
        );
        for bad in [
            &b""[..],
            b"gone 0 0 0 0",
            b"odd 0 0 0 0\n",
            b"ended x 0 0 0\n",
            b"ended 0\n",
        ] {
            assert!(read_look(bad).is_none(), "{bad:?}");
        }
    }
}

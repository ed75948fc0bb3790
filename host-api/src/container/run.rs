//! One run of a container, from wherever it is to its end.
//!
//! Refuses to guess: a container that may have got half of its input is replaced by a new one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use stepwell_types::{BridgeCall, Data, Digest, Failure, Pull, Timestamp};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Notify, oneshot};

use super::Inner;
use super::engine::{Engine, Stage};
use super::request::Checked;
use crate::Journal;
use crate::gate::Boxed;
use crate::job::output::{self, Lines};
use crate::job::program::{Ended, Kind};
use crate::job::{self, Fault, Job, archive};
use crate::journal::Call;

/// Labels that say whose a container is.
pub(super) const INSTANCE: &str = "stepwell.instance";
pub(super) const EXECUTION: &str = "stepwell.execution";
pub(super) const ENTRY: &str = "stepwell.entry";
pub(super) const ATTEMPT: &str = "stepwell.attempt";
pub(super) const CALL: &str = "stepwell.call";
pub(super) const REQUEST: &str = "stepwell.request";
const BEGAN: &str = "stepwell.began-ms";
const FLOW: &str = "stepwell.flow";
const STATE: &str = "stepwell.state";
pub(super) const IMAGE: &str = "stepwell.image";

/// Between two looks at a container that is about to end.
const PAUSE: Duration = Duration::from_millis(100);
/// How long an engine that says nothing of a program is believed to see to it.
const WAIT: Duration = Duration::from_secs(15);

/// One run.
pub(super) struct Run {
    bridge: Arc<Inner>,
    engine: Engine,
    journal: Arc<Journal>,
    call: BridgeCall,
    begun: Notify,
    checked: Checked,
    labels: HashMap<String, String>,
    /// Until it has all of its input, if it gets any; else all the time.
    name: String,
    /// From when it has all of its input: a crash later leaves it as it is.
    fed: String,
}

impl Run {
    pub(super) fn new(
        bridge: &Arc<Inner>,
        engine: Engine,
        call: &Call,
        request: Digest,
        checked: Checked,
    ) -> Run {
        let journal = Arc::clone(call.journal());
        let asker = journal.asker();
        let call = call.at_gate(request);
        let name = format!("stepwell-{}", job::key(&call));
        let labels = [
            (INSTANCE, bridge.options.instance.clone()),
            (EXECUTION, call.by.execution.to_string()),
            (ENTRY, call.by.entry.0.to_string()),
            (ATTEMPT, call.by.attempt.to_string()),
            (CALL, call.call.to_string()),
            (REQUEST, call.request.to_string()),
            (FLOW, asker.request.flow.to_string()),
            (STATE, asker.request.state.to_string()),
            (IMAGE, checked.image.clone()),
        ];
        Run {
            bridge: Arc::clone(bridge),
            engine,
            journal,
            call,
            begun: Notify::new(),
            checked,
            labels: labels.map(|(n, v)| (n.to_owned(), v)).into(),
            fed: format!("{name}-fed"),
            name,
        }
    }

    /// Finds it or makes it, and sees it to its end.
    async fn once(&self) -> Result<Data, Fault> {
        let has_input = self.checked.program.input.is_some();
        if has_input && self.engine.stage(&self.fed).await?.is_some() {
            return self.in_time(&self.fed, false).await;
        }
        match self.engine.stage(&self.name).await? {
            Some(Stage::Created) => self.fill().await?,
            Some(Stage::Running | Stage::Ending | Stage::Ended { .. }) if !has_input => {
                return self.in_time(&self.name, false).await;
            }
            found => {
                if found.is_some() {
                    // It runs or ran, and nobody knows whether it had all of its input.
                    self.engine.remove(&self.name).await?;
                }
                self.make().await?;
                self.fill().await?;
            }
        }
        self.in_time(&self.name, true).await
    }

    async fn make(&self) -> Result<(), Fault> {
        self.end_earlier().await?;
        self.fetch().await?;
        let mut labels = self.labels.clone();
        labels.insert(BEGAN.to_owned(), self.now().0.to_string());
        let capabilities = &self.bridge.options.capabilities;
        let made = self
            .engine
            .create(&self.name, &self.checked, labels, capabilities)
            .await;
        match made {
            // It was removed a moment ago.
            Err(Fault::Refused { status: 404, .. }) => Err(self.missing().into()),
            other => other,
        }
    }

    /// What an earlier attempt of the same call left must not run beside this one.
    async fn end_earlier(&self) -> Result<(), Fault> {
        if self.call.by.attempt == 0 {
            return Ok(());
        }
        let same = [INSTANCE, EXECUTION, ENTRY, CALL];
        let same = same.map(|name| format!("{name}={}", self.labels[name]));
        for listed in self.engine.list(&same).await? {
            if listed.labels.get(ATTEMPT) != self.labels.get(ATTEMPT) {
                self.engine.remove(&listed.id).await?;
            }
        }
        Ok(())
    }

    async fn fetch(&self) -> Result<(), Fault> {
        let image = &self.checked.image;
        let wanted = match self.checked.pull {
            Pull::Always => true,
            Pull::Missing | Pull::Never => !self.engine.has_image(image).await?,
        };
        if !wanted {
            return Ok(());
        }
        if self.checked.pull == Pull::Never {
            return Err(self.missing().into());
        }
        let failed = |why: String| {
            let cause = format!("the image {image} could not be fetched: {why}");
            Fault::Failed(Kind::Container.failure("PullFailed", cause))
        };
        let ms = self.bridge.options.pull_timeout_ms;
        match tokio::time::timeout(Duration::from_millis(ms), self.engine.pull(image)).await {
            Err(_) => Err(failed(format!(
                "it took longer than {ms} ms ([containers] pull_timeout_ms)"
            ))),
            Ok(Err(Fault::Refused { message, .. })) => Err(failed(message)),
            Ok(other) => other,
        }
    }

    fn missing(&self) -> Failure {
        let image = &self.checked.image;
        Kind::Container.failure(
            "ImageMissing",
            format!(
                "the engine has no image {image}; bring it there, or let the call fetch it (`pull`)"
            ),
        )
    }

    /// Puts its files and output directories into a container that has not begun.
    async fn fill(&self) -> Result<(), Fault> {
        let program = &self.checked.program;
        if program.files.is_empty() && program.outputs.is_empty() {
            return Ok(());
        }
        let directories = program.outputs.iter().map(|out| out.path.clone());
        let (trouble, told) = oneshot::channel();
        let tar = archive::pack(
            Arc::clone(&self.bridge.objects),
            program.files.clone(),
            directories.collect(),
            trouble,
        );
        let sent = self.engine.upload(&self.name, tar).await;
        // An object that cannot be read breaks the archive off: its own reason is the better one.
        match told.await {
            Ok(failure) => Err(failure.into()),
            Err(_) => sent,
        }
    }

    /// Sees it to its end, or to that of its time, which began when it was made.
    async fn in_time(&self, name: &str, begin: bool) -> Result<Data, Fault> {
        let began = self.began().await?;
        let passed = began.map_or(0, |began| self.now().since_ms(began));
        let left = self.checked.program.timeout_ms.saturating_sub(passed);
        let work = async {
            let name = if begin { self.begin().await? } else { name };
            self.until_end(name).await
        };
        let ended = tokio::time::timeout(Duration::from_millis(left), work).await;
        let (name, ended) = match ended {
            Ok(ended) => ended?,
            Err(_) => return Err(self.checked.program.timed_out().into()),
        };
        let answer = self.checked.program.judge(&ended)?;
        for output in &self.checked.program.outputs {
            let tar = self.engine.download(name, &output.path)?;
            archive::unpack(Arc::clone(&self.bridge.objects), output.clone(), tar).await?;
        }
        Ok(answer)
    }

    /// Starts it and hands it its input. Gives the name that it has then.
    async fn begin(&self) -> Result<&str, Fault> {
        let refused = |fault: Fault| match fault {
            Fault::Unreachable(_) => fault,
            other => Fault::Failed(other.into_failure(Kind::Container, "StartFailed")),
        };
        let Some(bytes) = &self.checked.program.input else {
            self.engine.start(&self.name).await.map_err(refused)?;
            return Ok(&self.name);
        };
        let mut input = self.engine.attach(&self.name).await.map_err(refused)?;
        self.engine.start(&self.name).await.map_err(refused)?;
        let feed = async {
            input.write_all(bytes).await?;
            input.shutdown().await
        };
        // A program may end without having read everything.
        let fed = tokio::select! {
            fed = feed => fed,
            ended = self.ended(&self.name) => ended.map(|_| Ok(()))?,
        };
        if let Err(e) = fed
            && self.engine.stage(&self.name).await? == Some(Stage::Running)
        {
            return Err(Fault::Unreachable(format!("its input broke off: {e}")));
        }
        self.engine.rename(&self.name, &self.fed).await?;
        Ok(&self.fed)
    }

    /// Waits for its end and collects what it wrote.
    async fn until_end<'n>(&self, name: &'n str) -> Result<(&'n str, Ended), Fault> {
        self.begun.notify_one();
        let logged = self.journal.asker().gate.logged(&self.call).await;
        let mut lines = Lines::new(&self.journal, &self.call, logged);
        let max = self.checked.program.stdout_bytes_max;
        let stage = {
            let follow = async {
                let output = self.engine.output(name, true)?;
                let followed = output::collect(output, max, &mut lines).await;
                followed.map_err(|e| self.broke(e))?;
                // All that it wrote was seen; its end is seen by the other.
                std::future::pending::<Result<Stage, Fault>>().await
            };
            tokio::select! {
                biased;
                ended = self.ended(name) => ended?,
                broken = follow => broken?,
            }
        };
        let Stage::Ended {
            exit_code,
            out_of_memory,
        } = stage
        else {
            return Err(Fault::Unreachable("its end is not recorded".to_owned()));
        };
        // From the beginning: what was followed may lack the last words.
        let output = self.engine.output(name, false)?;
        let collected = output::collect(output, max, &mut lines).await;
        let (stdout, stderr) = collected.map_err(|e| self.broke(e))?;
        let ended = Ended {
            exit_code,
            out_of_memory,
            stdout,
            stderr,
        };
        Ok((name, ended))
    }

    fn broke(&self, e: output::Broken) -> Fault {
        match e {
            output::Broken::TooMuch(stdout_bytes) => {
                self.checked.program.too_much_output(stdout_bytes).into()
            }
            output::Broken::Stream(e) => Fault::Unreachable(e),
        }
    }

    /// Waits until it has ended.
    async fn ended(&self, name: &str) -> Result<Stage, Fault> {
        let mut told = None;
        loop {
            match (self.engine.stage(name).await?, told) {
                (Some(ended @ Stage::Ended { .. }), _) => return Ok(ended),
                // The engine has told its code, and keeps no better record: what should have
                // written one has failed.
                (Some(Stage::Ending), Some(exit_code)) => {
                    return Ok(Stage::Ended {
                        exit_code,
                        out_of_memory: false,
                    });
                }
                (Some(_), _) => {}
                (None, _) => {
                    let cause = "somebody removed the container while it ran";
                    return Err(Kind::Container.failure("Lost", cause).into());
                }
            }
            // An engine that hangs says nothing either: it is asked again and again.
            if let Ok(ended) = tokio::time::timeout(WAIT, self.engine.wait(name)).await {
                told = Some(ended?);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// When it was made.
    async fn began(&self) -> Result<Option<Timestamp>, Fault> {
        let own = [INSTANCE, EXECUTION, ENTRY, ATTEMPT, CALL];
        let own = own.map(|name| format!("{name}={}", self.labels[name]));
        let listed = self.engine.list(&own).await?;
        let began = listed.first().and_then(|one| one.labels.get(BEGAN));
        Ok(began.and_then(|ms| ms.parse().ok()).map(Timestamp))
    }

    fn now(&self) -> Timestamp {
        (self.bridge.clock)()
    }
}

impl Job for Run {
    fn carry_out(&self) -> Boxed<'_, Result<Data, Failure>> {
        Box::pin(async {
            let named = |fault: Fault| fault.into_failure(Kind::Container, "EngineRefused");
            job::patiently(|| self.once(), || self.engine.heard(), named).await
        })
    }

    fn begun(&self) -> &Notify {
        &self.begun
    }

    fn clear(&self) -> Boxed<'_, Result<(), Failure>> {
        Box::pin(async {
            for name in [&self.name, &self.fed] {
                let removed = self.engine.remove(name).await;
                removed.map_err(|e| e.into_failure(Kind::Container, "EngineRefused"))?;
            }
            Ok(())
        })
    }
}

//! The load: clients that start cases, attend them, answer tokens, and note what they saw.
//!
//! Refuses to give up on an accepted execution: it asks until the server is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Answer, Api, Told};
use super::plan::{self, Again, Case, Kind, Manner};
use super::receiver::{Door, Receiver};
use super::report::{Report, Rule};
use super::seen::Seen;

/// Longest life of one execution, kills included.
const LIFE: Duration = Duration::from_secs(180);

/// What all clients of a run share.
#[derive(Debug)]
pub struct Load {
    /// Decides every case.
    pub seed: u64,
    /// The way to the server.
    pub api: Api,
    /// The outside world.
    pub receiver: Receiver,
    /// What was seen.
    pub seen: Seen,
    /// What was wrong.
    pub report: Report,
    next: AtomicU64,
    stop: AtomicBool,
}

impl Load {
    /// A load that has not begun.
    #[must_use]
    pub fn new(seed: u64, api: Api, receiver: Receiver) -> Arc<Load> {
        Arc::new(Load {
            seed,
            api,
            receiver,
            seen: Seen::default(),
            report: Report::default(),
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        })
    }

    /// Waits until the clients have begun all that a run is to show. A busy machine may have killed as often as
    /// it should before they came to it.
    pub async fn begun(&self) {
        let enough = plan::enough(self.seed);
        while self.next.load(Ordering::Relaxed) < enough {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Tells the clients to begin nothing more.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// One client: a case after another until it is told to stop.
    pub async fn client(self: Arc<Load>) {
        while !self.stop.load(Ordering::Acquire) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let case = Case::draw(self.seed, number);
            if let Err(error) = self.attend(&case).await {
                let text = format!("case {number} ({}): {error:#}", case.flow());
                self.report.breach(Rule::Protocol, text);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    async fn attend(&self, case: &Case) -> Result<()> {
        let Some(id) = self.start(case).await? else {
            return Ok(());
        };
        match case.manner {
            Manner::Leave => Ok(()),
            Manner::Wait | Manner::Poll => self.drive(case, &id).await,
            Manner::Tail => {
                let (driven, ()) = tokio::join!(self.drive(case, &id), self.tail(&id));
                driven
            }
        }
    }

    /// Starts a case; `None`: nobody knows whether it was taken.
    async fn start(&self, case: &Case) -> Result<Option<String>> {
        let urls = [Door::Wide, Door::Narrow, Door::Slow].map(|door| self.receiver.door_url(door));
        let urls = urls.each_ref().map(String::as_str);
        let input = case.input(&soon(case.delay_ms)?, urls);
        let mut path = format!("/v1/flows/{}/executions", case.flow());
        let wait = if case.manner == Manner::Wait && !case.asks() && !case.is_cancelled() {
            "wait=5"
        } else {
            ""
        };
        if !case.named {
            path = format!("{path}?{wait}");
            let path = path.trim_end_matches('?');
            let Some(answer) = self.start_once(path, &input).await? else {
                self.seen.notes().unsure.push(case.number);
                self.report.count("starts that nobody answered", 1);
                return Ok(None);
            };
            return self.started(case, &answer, true).map(Some);
        }
        let named = format!("{path}?name={}", case.name());
        path = if wait.is_empty() {
            named.clone()
        } else {
            format!("{named}&{wait}")
        };
        let (answer, unsure) = self.api.insist(Method::POST, &path, Some(&input)).await?;
        let id = self.started(case, &answer, !unsure)?;
        match case.start_again {
            Again::Not => {}
            Again::Same => {
                let (answer, _) = self.api.insist(Method::POST, &named, Some(&input)).await?;
                let again = self.started(case, &answer, false)?;
                self.report.count("starts repeated", 1);
                self.report.check(
                    again == id && answer.body["new"] == false,
                    Rule::Accepted,
                    || format!("{id} was started again under its name: {}", answer.body),
                );
            }
            Again::Other => {
                let other = json!({ "another": "input" });
                let (answer, _) = self.api.insist(Method::POST, &named, Some(&other)).await?;
                self.report.check(answer.status == 409, Rule::Accepted, || {
                    format!("{id}: another input under its name: {answer:?}")
                });
            }
        }
        Ok(Some(id))
    }

    /// Starts an execution that has no name, so that it must not be asked for twice.
    async fn start_once(&self, path: &str, input: &Value) -> Result<Option<Answer>> {
        let begun = Instant::now();
        while begun.elapsed() < LIFE {
            match self.api.ask(Method::POST, path, Some(input)).await? {
                Told::Answer(answer) if !matches!(answer.status, 429 | 503) => {
                    return Ok(Some(answer));
                }
                Told::Answer(_) | Told::Away => {}
                Told::Unknown => return Ok(None),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("the server was away for {LIFE:?}")
    }

    /// Takes in the answer to a start.
    fn started(&self, case: &Case, answer: &Answer, first: bool) -> Result<String> {
        if answer.status == 404 {
            self.report
                .breach(Rule::Accepted, "a published flow is gone");
        }
        let id = match (answer.status, answer.body["id"].as_str()) {
            (200 | 202, Some(id)) => id.to_owned(),
            _ => bail!("a start was answered {} {}", answer.status, answer.body),
        };
        let accepted = self.seen.accept(&id, case.number);
        if let Err(text) = accepted {
            self.report.breach(Rule::Accepted, text);
        }
        self.report.check(
            !first || answer.body["new"] != false,
            Rule::Accepted,
            || format!("{id}: the first start of its name found it there"),
        );
        if answer.status == 200 {
            self.show(&id, &answer.body);
        }
        Ok(id)
    }

    /// Attends an execution until it has ended.
    async fn drive(&self, case: &Case, id: &str) -> Result<()> {
        let begun = Instant::now();
        let mut told = !case.asks() && !case.is_cancelled();
        loop {
            let wait = if case.manner == Manner::Wait && told {
                "?wait=5"
            } else {
                ""
            };
            let answer = self.api.get(&format!("/v1/executions/{id}{wait}")).await?;
            if answer.status != 200 {
                self.report
                    .breach(Rule::Accepted, format!("{id} is lost: {answer:?}"));
                return Ok(());
            }
            self.show(id, &answer.body);
            if answer.body["status"] != "RUNNING" {
                return Ok(());
            }
            if answer.body["waiting"][0].is_object() {
                self.report.count("executions seen to wait for a turn", 1);
            }
            if !answer.body["parked"].is_null() || begun.elapsed() > LIFE {
                self.report
                    .breach(Rule::Ended, format!("{id} does not end: {}", answer.body));
                return Ok(());
            }
            if !told {
                told = match case.is_cancelled() {
                    true => self.cancel(case, id).await?,
                    false => self.answer(case, id).await?,
                };
            }
            if case.manner == Manner::Poll {
                self.look(id).await?;
            }
            tokio::time::sleep(Duration::from_millis(if told { 40 } else { 15 })).await;
        }
    }

    fn show(&self, id: &str, shown: &Value) {
        if let Err(text) = self.seen.show(id, shown) {
            self.report.breach(Rule::Ended, text);
        }
    }

    async fn cancel(&self, case: &Case, id: &str) -> Result<bool> {
        let why = json!({ "error": "Crash.Cancelled", "cause": format!("case {}", case.number) });
        let path = format!("/v1/executions/{id}/cancel");
        let (answer, unsure) = self.api.insist(Method::POST, &path, Some(&why)).await?;
        match answer.status {
            200 => self.seen.notes().cancels.push(id.to_owned()),
            // The try before this one did it.
            409 if unsure => {}
            _ => self
                .report
                .breach(Rule::Accepted, format!("{id}: cancel: {answer:?}")),
        }
        Ok(true)
    }

    /// Answers the token, if there is one yet.
    async fn answer(&self, case: &Case, id: &str) -> Result<bool> {
        let Some(token) = self.token(case, id).await? else {
            return Ok(false);
        };
        let say = |verb: &'static str, body: Option<Value>| {
            let path = format!("/v1/tasks/{token}/{verb}");
            async move { self.api.insist(Method::POST, &path, body.as_ref()).await }
        };
        if case.number.is_multiple_of(4) {
            let (answer, _) = say("heartbeat", None).await?;
            self.report.check(answer.status == 204, Rule::Token, || {
                format!("{id}: heartbeat of a token that waits: {answer:?}")
            });
        }
        let (answer, _) = say("succeed", Some(case.answer())).await?;
        if answer.status != 204 {
            self.report.breach(
                Rule::Token,
                format!("{id}: a token that was handed out: {answer:?}"),
            );
            return Ok(true);
        }
        let answered = (id.to_owned(), token.clone(), case.answer());
        self.seen.notes().answers.push(answered);
        let (again, expected) = match case.answer_again {
            Again::Not => return Ok(true),
            Again::Same => (case.answer(), 204),
            Again::Other => (json!({ "value": -1 }), 409),
        };
        let (answer, _) = say("succeed", Some(again)).await?;
        self.report.count("answers repeated", 1);
        self.report
            .check(answer.status == expected, Rule::Token, || {
                format!(
                    "{id}: the second answer ({:?}): {answer:?}",
                    case.answer_again
                )
            });
        Ok(true)
    }

    async fn token(&self, case: &Case, id: &str) -> Result<Option<String>> {
        if case.kind == Kind::Notify {
            let token = self.receiver.token(case.number);
            if let Some(token) = &token {
                let seen = (id.to_owned(), "Notify".to_owned(), token.clone());
                self.seen.notes().tokens.push(seen);
            }
            return Ok(token);
        }
        let answer = self.api.get(&format!("/v1/executions/{id}/tasks")).await?;
        if answer.status != 200 {
            self.report
                .breach(Rule::Token, format!("{id}: its tasks: {answer:?}"));
            return Ok(None);
        }
        let mut found = None;
        for task in answer.body["tasks"].as_array().into_iter().flatten() {
            let text = |name: &str| task[name].as_str().map(str::to_owned);
            let token = text("token").context("a task without a token")?;
            let state = text("state").context("a task without a state")?;
            self.seen
                .notes()
                .tokens
                .push((id.to_owned(), state, token.clone()));
            found = Some(token);
        }
        Ok(found)
    }

    /// Reads on in the history.
    async fn look(&self, id: &str) -> Result<()> {
        let after = self.seen.last_event(id);
        let answer = self
            .api
            .get(&format!(
                "/v1/executions/{id}/history?after={after}&limit=50"
            ))
            .await?;
        self.report.check(answer.status == 200, Rule::Seen, || {
            format!("{id}: its history: {answer:?}")
        });
        for event in answer.body["events"].as_array().into_iter().flatten() {
            let number = event["id"].as_u64().context("an event without a number")?;
            self.note(id, number, event.clone());
        }
        Ok(())
    }

    /// Follows the live tail to the execution's end, over every death of the server.
    async fn tail(&self, id: &str) {
        let begun = Instant::now();
        while begun.elapsed() < LIFE {
            let after = self.seen.last_event(id);
            let note = |number: u64, text: &str| match serde_json::from_str(text) {
                Ok(event) => self.note(id, number, event),
                Err(_) => self
                    .report
                    .breach(Rule::Protocol, format!("{id}: a tail of {text}")),
            };
            self.report.count("tails", 1);
            let told = self.api.tail(id, after, note);
            match tokio::time::timeout(LIFE, told).await {
                // Whoever attends the execution says if it is gone.
                Ok(Ok(true) | Err(404)) => return,
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(_) => break,
            }
        }
        let last = self.seen.last_event(id);
        self.report.breach(
            Rule::Seen,
            format!("{id}: the tail did not end after event {last}"),
        );
    }

    fn note(&self, id: &str, number: u64, event: Value) {
        if let Err(text) = self.seen.event(id, number, event) {
            self.report.breach(Rule::Seen, text);
        }
    }
}

/// This moment and some milliseconds, as RFC 3339.
fn soon(ms: u64) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let ms = i64::try_from(now.as_millis())? + i64::try_from(ms * 10)?;
    Ok(jiff::Timestamp::from_millisecond(ms)?.to_string())
}

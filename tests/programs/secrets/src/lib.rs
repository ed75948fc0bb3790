//! Reads the secrets that its input names, uses them, and lets them slip where it is told to.

use serde::Deserialize;
use stepwell_guest::http::Request;
use stepwell_guest::{Context, Failure, info, secrets};

#[derive(Deserialize)]
struct Input {
    read: Vec<String>,
    /// A call that is under way while it reads; its answer is waited for at the end.
    #[serde(default)]
    during: Option<String>,
    /// Sends the last one there, as a bearer token.
    #[serde(default)]
    call: Option<String>,
    /// What that call sends; then its answer counts, and not its status.
    #[serde(default)]
    body: Option<String>,
    /// Where the last one slips out: `log`, `output`, `failure` or `panic`.
    #[serde(default)]
    slip: Option<String>,
}

fn read(_: &Context, input: Input) -> Result<Vec<String>, Failure> {
    let during = input.during.as_ref();
    let during = during.map(|url| Request::post(url).start()).transpose()?;
    let mut lengths = Vec::new();
    let mut last = String::new();
    for name in &input.read {
        last = secrets::text(name)?;
        lengths.push(last.len().to_string());
    }
    if let Some(url) = &input.call {
        let request = Request::post(url).header("authorization", &format!("Bearer {last}"));
        lengths.push(match &input.body {
            Some(body) => request.body(body.as_str()).send()?.ok()?.text()?,
            None => request.send()?.status.to_string(),
        });
    }
    if let Some(during) = during {
        lengths.push(during.wait()?.text()?);
    }
    match input.slip.as_deref() {
        Some("log") => info!("the secret is {last}"),
        Some("output") => lengths.push(last),
        Some("failure") => return Err(Failure::new("Slip", format!("refused: {last}"))),
        Some("panic") => panic!("no luck with {last}"),
        _ => {}
    }
    Ok(lengths)
}

stepwell_guest::step!(read);

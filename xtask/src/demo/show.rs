//! What the demo prints. Refuses to print what a person cannot read: long strings
//! are cut.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::receiver::Call;
use super::serve::Server;

/// Longest string that is printed whole, in characters.
const STRING_MAX: usize = 100;
/// Longest value on one line, in characters.
const LINE_MAX: usize = 110;

/// A line that ends with the seconds since `begun`.
pub fn seconds(text: &str, begun: Instant) {
    println!("{text} {:.1} s", begun.elapsed().as_secs_f64());
}

/// The head of an example.
pub fn title(title: &str, name: &str) {
    println!("\n=== {title}  (examples/{name})");
}

/// A task that waited, and what it is told.
pub fn answered(task: &Value, answer: &str) {
    let state = task.get("state").and_then(Value::as_str).unwrap_or("?");
    println!("\n  {state} waits for a person; told by its token: {answer}");
}

/// How one execution ended.
pub fn result(title: &str, id: &str, execution: &Value, calls: &[Call], took: Duration) {
    let number = |name: &str| execution.get(name).and_then(Value::as_u64).unwrap_or(0);
    let text = |name: &str| execution.get(name).and_then(Value::as_str).unwrap_or("");
    println!("\n  {title}");
    println!(
        "    {} in {:.0} ms, {} transitions, {} fuel  ({id})",
        text("status"),
        took.as_secs_f64() * 1e3,
        number("transitions"),
        thousands(number("fuel"))
    );
    match execution.get("output") {
        Some(output) => lines("output", output),
        None => println!("    error {}: {}", text("error"), cut(text("cause"))),
    }
    for call in calls {
        let key = call.idempotency_key.as_deref().unwrap_or("none");
        println!(
            "    receiver got {} ({} bytes, idempotency key {key})",
            call.target, call.bytes
        );
    }
}

/// Where to go from here.
pub fn next_steps(server: &Server, receiver: SocketAddr) {
    let url = format!("http://{}", server.address);
    println!(
        "\nStepwell stays up at {url} until Ctrl-C. In another terminal:\n\n  \
         export STEPWELL_URL={url}\n  \
         curl -X POST '{url}/t/photos?notify=http://{receiver}/mine' -H 'content-type: image/png' \\\n    \
         --data-binary @examples/photo-pipeline/photos/astronaut.png\n  \
         curl -X POST {url}/t/claims -H 'content-type: application/json' --data @examples/approval/inputs/large.json\n  \
         {program} list\n  \
         {program} tasks ID        # the token of a claim that waits\n  \
         {program} token succeed TOKEN --output '{{\"approved\": true, \"by\": \"you\"}}'\n  \
         {program} describe ID\n  \
         {program} history ID\n\n  \
         kill -9 {process}        # the server; then again, on the same store:\n  \
         {program} serve --config {configuration}\n",
        program = super::stepwell().display(),
        process = server.process(),
        configuration = server.configuration().display()
    );
}

/// A value, an object's members on a line each.
fn lines(name: &str, value: &Value) {
    let whole = shortened(value).to_string();
    match value {
        Value::Object(members) if whole.chars().count() > LINE_MAX => {
            println!("    {name}");
            for (name, value) in members {
                println!("      {name}: {}", shortened(value));
            }
        }
        _ => println!("    {name} {whole}"),
    }
}

/// The value with its long strings cut.
fn shortened(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(cut(text)),
        Value::Array(items) => items.iter().map(shortened).collect(),
        Value::Object(members) => {
            let members = members.iter();
            Value::Object(members.map(|(n, v)| (n.clone(), shortened(v))).collect())
        }
        other => other.clone(),
    }
}

fn cut(text: &str) -> String {
    let count = text.chars().count();
    if count <= STRING_MAX {
        return text.to_owned();
    }
    let start: String = text.chars().take(24).collect();
    format!("{start}… ({} characters)", thousands(count as u64))
}

/// A number with a comma at every third digit.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_strings_are_readable() {
        let check = |number: u64, text: &str| assert_eq!(thousands(number), text);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(1_234_567, "1,234,567");
        assert_eq!(cut(&"é".repeat(100)), "é".repeat(100));
        assert_eq!(
            cut(&"é".repeat(1_000)),
            format!("{}… (1,000 characters)", "é".repeat(24))
        );
    }
}

//! Runs the programs that its input lists, in containers and on machines, one after another.

use serde::{Deserialize, Serialize};
use stepwell_guest::{Context, Failure, container, machine, secrets};

#[derive(Deserialize)]
struct Job {
    /// An image, or else a machine.
    image: Option<String>,
    #[serde(default)]
    machine: String,
    command: Vec<String>,
    input: Option<String>,
    /// Path and content.
    file: Option<(String, String)>,
    variable: Option<(String, String)>,
    /// A variable, and the secret that is its value.
    secret: Option<(String, String)>,
    timeout_ms: Option<u64>,
}

#[derive(Serialize)]
struct Answer {
    exit_code: i64,
    stdout: String,
    stderr: String,
}

fn jobs(_: &Context, jobs: Vec<Job>) -> Result<Vec<Answer>, Failure> {
    jobs.into_iter().map(run).collect()
}

fn run(job: Job) -> Result<Answer, Failure> {
    let input = job.input.map(String::into_bytes);
    let mut environment: Vec<(String, String)> = job.variable.into_iter().collect();
    if let Some((name, secret)) = job.secret {
        environment.push((name, secrets::text(&secret)?));
    }
    let (exit_code, stdout, stderr) = match job.image {
        Some(image) => {
            let mut request = container::request(&image);
            request.command = Some(job.command);
            request.input = input;
            request.environment = environment;
            request.timeout_ms = job.timeout_ms;
            request.files = job
                .file
                .into_iter()
                .map(|(path, content)| container::File {
                    path,
                    content: content.into_bytes(),
                })
                .collect();
            let ended = container::run(&request)?;
            (ended.exit_code, ended.stdout, ended.stderr)
        }
        None => {
            let command: Vec<&str> = job.command.iter().map(String::as_str).collect();
            let mut request = machine::request(&job.machine, &command);
            request.input = input;
            request.environment = environment;
            request.timeout_ms = job.timeout_ms;
            request.files = job
                .file
                .into_iter()
                .map(|(path, content)| machine::File {
                    path,
                    content: content.into_bytes(),
                })
                .collect();
            let ended = machine::run(&request)?;
            (ended.exit_code, ended.stdout, ended.stderr)
        }
    };
    Ok(Answer {
        exit_code,
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr,
    })
}

stepwell_guest::step!(jobs);

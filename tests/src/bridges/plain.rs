//! Plain HTTP/1.1 on the loopback, for the suites' own servers: one reads requests, and says
//! what each is answered.
//!
//! Refuses chunked bodies.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::Result;

/// What came.
#[derive(Debug)]
pub struct Request {
    /// The path, with its query.
    pub path: String,
    /// Names in lower case, and values.
    headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

impl Request {
    /// The value of a header, the last one where there are several; empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().rev().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value)
    }
}

/// What it is answered.
#[derive(Debug)]
pub struct Answer {
    /// The status with its words, and further headers behind `\r\n` each.
    pub head: String,
    /// The body.
    pub text: String,
}

/// Listens on a free port, and answers each request of each connection on a thread of its own.
///
/// # Errors
/// There is no free port.
pub fn listen(answer: impl Fn(Request) -> Answer + Clone + Send + 'static) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            // A connection of a killed server breaks off: that is the test.
            std::thread::spawn(move || converse(stream, answer));
        }
    });
    Ok(address)
}

fn converse(stream: TcpStream, answer: impl Fn(Request) -> Answer) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    while let Some(request) = read(&mut input)? {
        let Answer { head, text } = answer(request);
        let length = text.len();
        write!(
            out,
            "HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{text}"
        )?;
    }
    Ok(())
}

/// `None`: nobody asks any more.
fn read(input: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        input.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request {
        path: line.split(' ').nth(1).unwrap_or_default().to_owned(),
        headers,
        body: String::new(),
    };
    let mut body = vec![0; request.header("content-length").parse().unwrap_or(0)];
    input.read_exact(&mut body)?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(request))
}

//! A real HTTP server on loopback that remembers what came.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub line: String,
    pub key: Option<String>,
    pub body: usize,
}

#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Receiver {
    pub fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let receiver = Receiver {
            address: listener.local_addr().expect("an address"),
            seen: Arc::default(),
        };
        let shared = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = shared.clone();
                let stream = stream.expect("a connection");
                // A client that went away is no failure of the test.
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        receiver
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("seen").clone()
    }

    pub fn count(&self) -> usize {
        self.seen().len()
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut out = stream.try_clone()?;
        let mut input = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let (mut key, mut length, mut chunked) = (None, 0, false);
            loop {
                let mut header = String::new();
                input.read_line(&mut header)?;
                let Some((name, value)) = header.trim().split_once(':') else {
                    break;
                };
                match name.to_ascii_lowercase().as_str() {
                    "idempotency-key" => key = Some(value.trim().to_owned()),
                    "content-length" => length = value.trim().parse().unwrap_or(0),
                    "transfer-encoding" => chunked = value.trim() == "chunked",
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            input.read_exact(&mut body)?;
            if chunked {
                body = pieces(&mut input)?;
            }
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let line = line.trim().to_owned();
            let count = {
                let mut seen = self.seen.lock().expect("seen");
                seen.push(Seen {
                    line,
                    key,
                    body: body.len(),
                });
                seen.len()
            };
            answer(&mut out, &path, &body, count)?;
        }
    }
}

/// A chunked body, without trailers.
fn pieces(input: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16)
            .map_err(|e| std::io::Error::other(format!("{line:?}: {e}")))?;
        let mut piece = vec![0; length + 2];
        input.read_exact(&mut piece)?;
        if length == 0 {
            return Ok(body);
        }
        body.extend(&piece[..length]);
    }
}

fn whole(out: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(
        out,
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n"
    )?;
    out.write_all(body)
}

fn piece(out: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    write!(out, "{:x}\r\n", body.len())?;
    out.write_all(body)?;
    out.write_all(b"\r\n")?;
    out.flush()
}

fn answer(out: &mut TcpStream, path: &str, body: &[u8], count: usize) -> std::io::Result<()> {
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    match path {
        "/count" => whole(out, "200 OK", "", count.to_string().as_bytes()),
        "/echo" => whole(out, "200 OK", "content-type: text/plain\r\n", body),
        "/missing" => whole(out, "404 Not Found", "", b"nothing here"),
        "/away" => whole(out, "302 Found", "location: http://127.0.0.1:1/\r\n", b""),
        "/pieces" => {
            out.write_all(CHUNKED)?;
            for letter in b"abc" {
                piece(out, &[*letter; 10])?;
                std::thread::sleep(Duration::from_millis(30));
            }
            piece(out, b"")
        }
        "/large" => whole(out, "200 OK", "", &vec![b'x'; 300_000]),
        "/too-large" => whole(out, "200 OK", "", &vec![b'x'; 3 << 20]),
        "/cut" => {
            out.write_all(CHUNKED)?;
            piece(out, b"half")?;
            out.shutdown(std::net::Shutdown::Both)
        }
        "/never" => {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        _ => whole(out, "200 OK", "", b"{}"),
    }
}

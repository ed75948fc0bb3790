//! How much memory large responses take on their way to an output.
#![allow(unsafe_code, reason = "an allocator that counts is a global one")]

#[path = "http/asked.rs"]
mod asked;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use stepwell_host_api::{HttpBridge, HttpOptions, Journal, LimitOptions, OpenGate, answer};
use stepwell_types::StepRequest;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; counting touches nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Small numbers: as values each takes 32 bytes, as text two.
const NUMBERS: usize = 1_900_544;

/// Each measures all that is allocated: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn bridge(options: HttpOptions) -> HttpBridge {
    asked::limited(options, LimitOptions::default())
}

fn request(address: SocketAddr) -> StepRequest {
    asked::request(&format!(
        r#"{{"url":"http://{address}/","response_bytes_max":16777216,"timeout_ms":600000}}"#
    ))
}

fn journal(request: StepRequest) -> Arc<Journal> {
    asked::journal(Arc::new(OpenGate), request)
}

#[test]
fn a_json_response_takes_a_few_times_its_bytes() {
    let _alone = ALONE.lock().expect("the other one went well");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        let _ = stream.read(&mut [0; 4096]).expect("a request");
        let length = 2 * NUMBERS + 1;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n["
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let part = b"1,".repeat(4096);
        for _ in 0..NUMBERS / 4096 - 1 {
            stream.write_all(&part).expect("sent");
        }
        stream.write_all(&part[..part.len() - 1]).expect("sent");
        stream.write_all(b"]").expect("sent");
    });
    let options = HttpOptions {
        allow: vec![address.to_string()],
        ..HttpOptions::default()
    };
    let bridge = bridge(options);
    let request = request(address);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let outcome = runtime.block_on(bridge.run(&journal(request)));
    let recorded = answer::encode(&outcome.result);
    let peak = PEAK.load(Ordering::Relaxed) - before;
    let output = outcome.result.expect("an output");
    let bytes = 2 * NUMBERS;
    assert!(output.len_bytes() > bytes, "{}", output.len_bytes());
    assert!(recorded.len() < output.len_bytes() + 100);
    println!("a body of {bytes} bytes took {peak} at most");
    assert!(peak < 6 * bytes, "{peak} bytes for {bytes}");
}

const ANSWERS: usize = 32;
const ANSWER_BYTES: usize = 4 << 20;

/// Sends all of a long answer but its last byte, which comes when the gate is open.
fn long(mut stream: TcpStream, announced: bool, open: &Mutex<()>) {
    static PIECE: [u8; 64 << 10] = [b'a'; 64 << 10];
    let _ = stream.read(&mut [0; 4096]).expect("a request");
    let head = match announced {
        true => format!("content-length: {ANSWER_BYTES}\r\n\r\n"),
        false => "connection: close\r\n\r\n".to_owned(),
    };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n{head}");
    stream.write_all(head.as_bytes()).expect("sent");
    let mut left = ANSWER_BYTES - 1;
    while left > 0 {
        let piece = &PIECE[..PIECE.len().min(left)];
        stream.write_all(piece).expect("sent");
        left -= piece.len();
    }
    drop(open.lock().expect("open"));
    stream.write_all(b"a").expect("sent");
}

/// The most memory that many long answers took, whose ends came late and together.
fn peak_of_many(announced: bool) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    let shut: &'static Mutex<()> = Box::leak(Box::default());
    let held = shut.lock().expect("shut");
    std::thread::spawn(move || {
        for stream in listener.incoming().take(ANSWERS) {
            let stream = stream.expect("a caller");
            std::thread::spawn(move || long(stream, announced, shut));
        }
    });
    let bridge = bridge(HttpOptions {
        allow: vec![address.to_string()],
        answers_bytes_max: 8 << 20,
        ..HttpOptions::default()
    });
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    let call = async || {
        let request = request(address);
        let outcome = bridge.run(&journal(request)).await;
        outcome
            .result
            .map(|data| data.len_bytes())
            .expect("an output")
    };
    let all = futures_util::future::join_all((0..ANSWERS).map(|_| call()));
    let open = async {
        // All that may come has come by then.
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        drop(held);
    };
    let (outputs, ()) = runtime.block_on(async { tokio::join!(all, open) });
    assert!(outputs.iter().all(|bytes| *bytes > ANSWER_BYTES));
    PEAK.load(Ordering::Relaxed) - before
}

#[test]
fn answers_of_many_calls_together_take_no_more_than_their_room() {
    let _alone = ALONE.lock().expect("the other one went well");
    for announced in [true, false] {
        let peak = peak_of_many(announced);
        println!("announced: {announced}, {peak} bytes at most");
        // Room for two, one beyond, what becomes of one, and what each connection has read ahead.
        assert!(peak < 20 * ANSWER_BYTES, "announced: {announced}, {peak}");
    }
}

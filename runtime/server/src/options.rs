//! What the HTTP door is told at start.

use std::net::SocketAddr;
use std::time::Duration;

use stepwell_buckets::Buckets;
use stepwell_types::limits::MODULE_BYTES_MAX;
use tokio_util::sync::CancellationToken;

use crate::wire::trace::StepLimits;
use crate::{Error, Token};

/// Settings of [`crate::app`].
#[derive(Debug, Clone)]
pub struct Options {
    /// Needed for everything but health and readiness. `None`: only requests
    /// that come from this machine, and not from other web sites, are answered.
    pub token: Option<Token>,
    /// Largest module that may be uploaded, in bytes. Default 100 MiB.
    pub upload_bytes_max: u64,
    /// Longest `wait` that a caller may ask for. Default 900 s.
    pub wait_max: Duration,
    /// How long a synchronous endpoint holds its caller before it answers 202. Default 60 s.
    pub trigger_wait: Duration,
    /// How long the server waits for the next bytes of a body. Default 30 s.
    pub body_idle: Duration,
    /// How long a whole body may take to come. Default 300 s.
    pub body_total: Duration,
    /// Bytes of unfinished bodies in memory at once, without the first 4 KiB of each.
    /// Default 256 MiB.
    pub bodies_bytes_max: usize,
    /// Bytes of answers above 64 KiB in memory at once, until they are sent. Default 256 MiB.
    pub answers_bytes_max: usize,
    /// Cancelled when the server stops: live tails and long waits end then.
    pub stop: CancellationToken,
    /// Where objects are. Default: nowhere.
    pub buckets: Buckets,
    /// What an attempt of a step may use, for whoever runs one again elsewhere. Default: not told.
    pub step_limits: Option<StepLimits>,
    /// Begins every request id of this process, so that ids of two runs differ.
    pub request_seed: u32,
}

impl Options {
    /// The defaults, without a token.
    #[must_use]
    pub fn new(request_seed: u32) -> Options {
        Options {
            token: None,
            upload_bytes_max: MODULE_BYTES_MAX,
            wait_max: Duration::from_secs(900),
            trigger_wait: Duration::from_secs(60),
            body_idle: Duration::from_secs(30),
            body_total: Duration::from_secs(300),
            bodies_bytes_max: 256 << 20,
            answers_bytes_max: 256 << 20,
            stop: CancellationToken::new(),
            buckets: Buckets::none(),
            step_limits: None,
            request_seed,
        }
    }

    /// Refuses an address that other machines reach while there is no token.
    /// # Errors
    /// `API0011`.
    pub fn check(&self, addr: SocketAddr) -> Result<(), Error> {
        if self.token.is_none() && !addr.ip().to_canonical().is_loopback() {
            return Err(Error::OpenBind(addr));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(addr: &str, token: bool, want: bool) {
        let options = Options {
            token: token.then(|| Token::new("correct-horse").unwrap()),
            ..Options::new(0)
        };
        let got = options.check(addr.parse().unwrap()).is_ok();
        assert_eq!(got, want, "{addr} token {token}");
    }

    #[test]
    fn an_open_address_needs_a_token() {
        for addr in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            check(addr, false, false);
            check(addr, true, true);
        }
        for addr in [
            "127.0.0.1:1",
            "127.8.8.8:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            check(addr, false, true);
        }
    }
}

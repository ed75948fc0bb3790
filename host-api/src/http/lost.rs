//! How a guest's call was lost: what the guest is told, and what people are.
//!
//! Refuses to guess: what has no code of its own is a broken protocol.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepwell_types::Failure;
use wasmtime_wasi_http::Error as Wire;

use super::send;

/// A call that brought no answer, or a part of one: what the guest is told, and what people are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lost {
    pub(crate) told: Told,
    pub(crate) failure: Failure,
}

/// Which of `wasi:http`'s error codes a guest gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Told {
    Denied,
    Prohibited,
    Invalid,
    RequestTooLarge(u64),
    ResponseTooLarge(u64),
    Dns,
    Refused,
    ConnectTimeout,
    Timeout,
    PieceTimeout,
    Tls,
    Incomplete,
    Protocol,
    Internal,
    Unavailable,
    Certificate,
    WriteTimeout,
}

impl Lost {
    pub(super) fn new(told: Told, error: &'static str, cause: impl Into<Arc<str>>) -> Lost {
        Lost {
            told,
            failure: Failure::new(error, cause),
        }
    }

    pub(crate) fn denied(failure: Failure) -> Lost {
        Lost {
            told: Told::Denied,
            failure,
        }
    }

    pub(crate) fn prohibited(failure: Failure) -> Lost {
        Lost {
            told: Told::Prohibited,
            failure,
        }
    }

    /// There was no turn to be had.
    pub(super) fn unavailable(failure: Failure) -> Lost {
        Lost {
            told: Told::Unavailable,
            failure,
        }
    }

    pub(crate) fn invalid(failure: Failure) -> Lost {
        Lost {
            told: Told::Invalid,
            failure,
        }
    }

    pub(crate) fn protocol(cause: &'static str) -> Lost {
        Lost::new(Told::Protocol, "States.Http.Socket", cause)
    }

    pub(crate) fn request_too_large(bytes: u64, max: u64) -> Lost {
        let cause = format!("the body has {bytes} bytes, the limit is {max}");
        Lost::new(
            Told::RequestTooLarge(bytes),
            "Stepwell.HttpInvalidRequest",
            cause,
        )
    }

    pub(super) fn response_too_large(max: u64) -> Lost {
        let cause = format!("the response is over the limit of {max} bytes");
        Lost::new(
            Told::ResponseTooLarge(max),
            "Stepwell.HttpResponseTooLarge",
            cause,
        )
    }

    pub(super) fn write_timeout(after: Duration) -> Lost {
        Lost::timeout(Told::WriteTimeout, "a piece of the request", after)
    }

    pub(super) fn timeout(told: Told, what: &str, after: Duration) -> Lost {
        let cause = format!("{what} took longer than {} ms", after.as_millis());
        Lost::new(told, "States.Timeout", cause)
    }

    /// What the client said.
    pub(crate) fn of(error: reqwest::Error) -> Lost {
        let told = told(&error);
        let failure = send::failure(error);
        if &*failure.error == "Stepwell.HttpDenied" {
            return Lost::prohibited(failure);
        }
        Lost { told, failure }
    }
}

fn told(error: &reqwest::Error) -> Told {
    match send::tls(error) {
        Some(rustls::Error::InvalidCertificate(_)) => return Told::Certificate,
        Some(_) => return Told::Tls,
        None => {}
    }
    let mut text = String::new();
    for at in send::causes(error) {
        let io = at.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
            return Told::Refused;
        }
        text = at.to_string();
    }
    match () {
        () if error.is_timeout() && error.is_connect() => Told::ConnectTimeout,
        () if error.is_timeout() => Told::Timeout,
        () if text.contains("failed to lookup address") => Told::Dns,
        () if error.is_body() || error.is_decode() => Told::Incomplete,
        () => Told::Protocol,
    }
}

impl From<Lost> for Wire {
    fn from(lost: Lost) -> Wire {
        match lost.told {
            Told::Denied => Wire::HttpRequestDenied,
            Told::Prohibited => Wire::DestinationIpProhibited,
            Told::Invalid => Wire::HttpRequestUriInvalid,
            Told::RequestTooLarge(bytes) => Wire::HttpRequestBodySize(Some(bytes)),
            Told::ResponseTooLarge(max) => Wire::HttpResponseBodySize(Some(max)),
            Told::Dns => Wire::DnsError {
                rcode: None,
                info_code: None,
            },
            Told::Refused => Wire::ConnectionRefused,
            Told::ConnectTimeout => Wire::ConnectionTimeout,
            Told::Timeout => Wire::HttpResponseTimeout,
            Told::PieceTimeout => Wire::ConnectionReadTimeout,
            Told::WriteTimeout => Wire::ConnectionWriteTimeout,
            Told::Tls => Wire::TlsProtocolError,
            Told::Certificate => Wire::TlsCertificateError,
            Told::Incomplete => Wire::HttpResponseIncomplete,
            Told::Protocol => Wire::HttpProtocolError,
            Told::Unavailable if &*lost.failure.error == "Stepwell.TooManyWaiting" => {
                Wire::ConnectionLimitReached
            }
            Told::Unavailable => Wire::DestinationUnavailable,
            Told::Internal => Wire::InternalError(Some(lost.failure.cause.to_string())),
        }
    }
}

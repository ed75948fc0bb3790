//! What guests make of requests, as the attempt's account knows it: headers, addresses and bodies, from
//! when they are made until they are sent and passed on, or dropped.
//!
//! Refuses nothing itself: what is too much ends the attempt.

use std::collections::HashMap;

use http::HeaderMap;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime::{Result, StoreContextMut, bail};
use wasmtime_wasi::p2::DynOutputStream;
use wasmtime_wasi_http::p2::HeaderResult;
use wasmtime_wasi_http::p2::bindings::http::types::{self, HeaderError, Method, Scheme};
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;
use wasmtime_wasi_http::{FieldMap, WasiHttpCtxView};

use crate::account::{Account, Counted, Held};
use crate::host::HostView;
use crate::waits::WASI;

/// What one header takes beside its bytes.
const HEADER_BYTES: usize = 72;
/// Weights among which one looks for those that are of nothing any more.
const WEIGHTS: usize = 256;

/// What headers and requests weigh, by their number in the table: a request has that of the headers
/// that it was made of.
#[derive(Default)]
pub(crate) struct Weights(HashMap<u32, Held>);

impl Weights {
    /// What has this number weighs now what it does.
    pub(crate) fn weigh(
        &mut self,
        rep: u32,
        table: &ResourceTable,
        account: &Account,
    ) -> Result<()> {
        if self.0.len() > WEIGHTS {
            self.0.retain(|rep, _| weight(*rep, table).is_some());
        }
        let held = self.0.entry(rep).or_insert_with(|| account.open());
        held.clear();
        match held.more(weight(rep, table).unwrap_or(0)) {
            Ok(()) => Ok(()),
            Err(failure) => bail!("{}", failure.cause),
        }
    }
}

/// `None`: it is neither headers nor a request.
fn weight(rep: u32, table: &ResourceTable) -> Option<usize> {
    let headers = |all: &HeaderMap| {
        let one = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            name.as_str().len() + value.len() + HEADER_BYTES
        };
        all.iter().map(one).sum::<usize>()
    };
    if let Ok(fields) = table.get(&Resource::<FieldMap>::new_borrow(rep)) {
        return Some(headers(fields));
    }
    let request = table.get(&Resource::<HostOutgoingRequest>::new_borrow(rep));
    let request = request.ok()?;
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let method = match &request.method {
        Method::Other(text) => text.len(),
        _ => 0,
    };
    let scheme = match &request.scheme {
        Some(Scheme::Other(text)) => text.len(),
        _ => 0,
    };
    let place = text(&request.authority) + text(&request.path_with_query);
    Some(headers(&request.headers) + method + scheme + place)
}

/// Does it, and weighs what has changed.
fn weighed<T: HostView, R>(
    mut store: StoreContextMut<'_, T>,
    rep: u32,
    work: impl FnOnce(&mut WasiHttpCtxView<'_>) -> Result<R>,
) -> Result<(R,)> {
    let host = store.data_mut().host();
    let done = work(&mut host.http())?;
    host.weigh(rep)?;
    Ok((done,))
}

/// As the guest is told it.
fn told<R>(done: HeaderResult<R>) -> Result<Result<R, HeaderError>> {
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(e) => Ok(Err(e.downcast()?)),
    }
}

type Fields = Resource<FieldMap>;
type Request = Resource<HostOutgoingRequest>;

/// Replaces what makes something that is kept. The linker must allow shadowing.
pub(crate) fn link<T: HostView>(linker: &mut Linker<T>) -> Result<()> {
    let mut known = linker.instance(&format!("wasi:http/types@{WASI}"))?;
    known.func_wrap(
        "[static]fields.from-list",
        |mut store: StoreContextMut<'_, T>, (list,): (Vec<(String, Vec<u8>)>,)| {
            let host = store.data_mut().host();
            let made = told(types::HostFields::from_list(&mut host.http(), list))?;
            if let Ok(fields) = &made {
                host.weigh(fields.rep())?;
            }
            Ok((made,))
        },
    )?;
    known.func_wrap(
        "[method]fields.clone",
        |mut store: StoreContextMut<'_, T>, (fields,): (Fields,)| {
            let host = store.data_mut().host();
            let made = types::HostFields::clone(&mut host.http(), fields)?;
            host.weigh(made.rep())?;
            Ok((made,))
        },
    )?;
    known.func_wrap(
        "[method]fields.append",
        |store: StoreContextMut<'_, T>, (fields, name, value): (Fields, String, Vec<u8>)| {
            weighed(store, fields.rep(), |http| {
                told(types::HostFields::append(http, fields, name, value))
            })
        },
    )?;
    known.func_wrap(
        "[method]fields.set",
        |store: StoreContextMut<'_, T>, (fields, name, values): (Fields, String, Vec<Vec<u8>>)| {
            weighed(store, fields.rep(), |http| {
                told(types::HostFields::set(http, fields, name, values))
            })
        },
    )?;
    known.func_wrap(
        "[method]outgoing-request.set-method",
        |store: StoreContextMut<'_, T>, (request, method): (Request, Method)| {
            weighed(store, request.rep(), |http| {
                types::HostOutgoingRequest::set_method(http, request, method)
            })
        },
    )?;
    known.func_wrap(
        "[method]outgoing-request.set-scheme",
        |store: StoreContextMut<'_, T>, (request, scheme): (Request, Option<Scheme>)| {
            weighed(store, request.rep(), |http| {
                types::HostOutgoingRequest::set_scheme(http, request, scheme)
            })
        },
    )?;
    known.func_wrap(
        "[method]outgoing-request.set-authority",
        |store: StoreContextMut<'_, T>, (request, text): (Request, Option<String>)| {
            weighed(store, request.rep(), |http| {
                types::HostOutgoingRequest::set_authority(http, request, text)
            })
        },
    )?;
    known.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |store: StoreContextMut<'_, T>, (request, text): (Request, Option<String>)| {
            weighed(store, request.rep(), |http| {
                types::HostOutgoingRequest::set_path_with_query(http, request, text)
            })
        },
    )?;
    known.func_wrap(
        "[method]outgoing-body.write",
        |mut store: StoreContextMut<'_, T>, (body,): (Resource<HostOutgoingBody>,)| {
            let host = store.data_mut().host();
            let account = host.account();
            let made = types::HostOutgoingBody::write(&mut host.http(), body)?;
            if let Ok(stream) = &made {
                let stream: &mut DynOutputStream = host.table().get_mut(stream)?;
                let nothing: DynOutputStream = Box::new(wasmtime_wasi::p2::pipe::SinkOutputStream);
                let inner = std::mem::replace(stream, nothing);
                *stream = Box::new(Counted { inner, account });
            }
            Ok((made,))
        },
    )
}

/// What [`link`] replaces.
pub(crate) const REPLACED: [&str; 9] = [
    "[static]fields.from-list",
    "[method]fields.clone",
    "[method]fields.append",
    "[method]fields.set",
    "[method]outgoing-request.set-method",
    "[method]outgoing-request.set-scheme",
    "[method]outgoing-request.set-authority",
    "[method]outgoing-request.set-path-with-query",
    "[method]outgoing-body.write",
];

//! What guests make of requests, as the attempt's account knows it: headers, addresses and bodies, from
//! when they are made until they are sent and passed on, or dropped.
//!
//! Refuses nothing itself: what is too much ends the attempt.

use std::collections::HashMap;

use http::HeaderMap;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceTable, ResourceType};
use wasmtime::{Result, StoreContextMut, bail};
use wasmtime_wasi::p2::DynOutputStream;
use wasmtime_wasi_http::p2::HeaderResult;
use wasmtime_wasi_http::p2::bindings::http::types::{self, HeaderError, Method, Scheme};
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::p2::types::{
    HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse,
};
use wasmtime_wasi_http::{FieldMap, WasiHttpCtxView};

use crate::account::{Account, Counted, Held};
use crate::host::HostView;
use crate::waits::WASI;

/// What one header takes beside its bytes.
const HEADER_BYTES: usize = 72;

/// What headers, requests and responses weigh, by their number in the table. A number goes with what has
/// it: the table gives it out again at once.
#[derive(Default)]
pub(crate) struct Weights {
    by_number: HashMap<u32, Held>,
    /// Of trailers that bodies took: nobody hears when these are sent.
    taken: Vec<Held>,
}

impl Weights {
    /// What has this number weighs now what it does.
    pub(crate) fn weigh(
        &mut self,
        rep: u32,
        table: &ResourceTable,
        account: &Account,
    ) -> Result<()> {
        let held = self.by_number.entry(rep).or_insert_with(|| account.open());
        held.clear();
        match held.more(weight(rep, table).unwrap_or(0)) {
            Ok(()) => Ok(()),
            Err(failure) => bail!("{}", failure.cause),
        }
    }

    /// What had this number is gone.
    pub(crate) fn forget(&mut self, rep: u32) {
        self.by_number.remove(&rep);
    }

    /// What has this number goes into a body, which keeps it until the attempt's end.
    pub(crate) fn give(&mut self, rep: u32) {
        self.taken.extend(self.by_number.remove(&rep));
    }
}

/// `None`: it is none of what is weighed.
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
    if let Ok(response) = table.get(&Resource::<HostOutgoingResponse>::new_borrow(rep)) {
        return Some(headers(&response.headers));
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

/// Makes something of headers, which are gone then.
fn made_of<T: HostView, R: 'static>(
    mut store: StoreContextMut<'_, T>,
    fields: Fields,
    make: impl FnOnce(&mut WasiHttpCtxView<'_>, Fields) -> Result<Resource<R>>,
) -> Result<(Resource<R>,)> {
    let host = store.data_mut().host();
    host.forget(fields.rep());
    let made = make(&mut host.http(), fields)?;
    host.weigh(made.rep())?;
    Ok((made,))
}

/// Headers of something else, which share its memory and keep it.
fn shared<T: HostView>(
    mut store: StoreContextMut<'_, T>,
    of: impl FnOnce(&mut WasiHttpCtxView<'_>) -> Result<Fields>,
) -> Result<(Fields,)> {
    let host = store.data_mut().host();
    let made = of(&mut host.http())?;
    host.weigh(made.rep())?;
    Ok((made,))
}

type Fields = Resource<FieldMap>;
type Request = Resource<HostOutgoingRequest>;
type Response = Resource<HostOutgoingResponse>;

/// Replaces what makes something that is kept, and what ends it. The linker must allow shadowing.
pub(crate) fn link<T: HostView>(linker: &mut Linker<T>) -> Result<()> {
    let mut known = linker.instance(&format!("wasi:http/types@{WASI}"))?;
    ends(&mut known)?;
    known.func_wrap(
        "[constructor]fields",
        |store: StoreContextMut<'_, T>, ()| shared(store, |http| types::HostFields::new(http)),
    )?;
    known.func_wrap(
        "[constructor]outgoing-request",
        |store: StoreContextMut<'_, T>, (fields,): (Fields,)| {
            made_of(store, fields, |http, fields| {
                types::HostOutgoingRequest::new(http, fields)
            })
        },
    )?;
    known.func_wrap(
        "[constructor]outgoing-response",
        |store: StoreContextMut<'_, T>, (fields,): (Fields,)| {
            made_of(store, fields, |http, fields| {
                types::HostOutgoingResponse::new(http, fields)
            })
        },
    )?;
    known.func_wrap(
        "[method]outgoing-request.headers",
        |store: StoreContextMut<'_, T>, (of,): (Request,)| {
            shared(store, |http| types::HostOutgoingRequest::headers(http, of))
        },
    )?;
    known.func_wrap(
        "[method]outgoing-response.headers",
        |store: StoreContextMut<'_, T>, (of,): (Response,)| {
            shared(store, |http| types::HostOutgoingResponse::headers(http, of))
        },
    )?;
    known.func_wrap(
        "[method]incoming-response.headers",
        |store: StoreContextMut<'_, T>, (of,): (Resource<HostIncomingResponse>,)| {
            shared(store, |http| types::HostIncomingResponse::headers(http, of))
        },
    )?;
    known.func_wrap(
        "[method]fields.delete",
        |store: StoreContextMut<'_, T>, (fields, name): (Fields, String)| {
            weighed(store, fields.rep(), |http| {
                told(types::HostFields::delete(http, fields, name))
            })
        },
    )?;
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

/// What takes one of these away.
fn ends<T: HostView>(known: &mut LinkerInstance<'_, T>) -> Result<()> {
    known.resource(
        "fields",
        ResourceType::host::<FieldMap>(),
        |mut store: StoreContextMut<'_, T>, rep| {
            let host = store.data_mut().host();
            host.forget(rep);
            types::HostFields::drop(&mut host.http(), Resource::new_own(rep))
        },
    )?;
    known.resource(
        "outgoing-request",
        ResourceType::host::<HostOutgoingRequest>(),
        |mut store: StoreContextMut<'_, T>, rep| {
            let host = store.data_mut().host();
            host.forget(rep);
            types::HostOutgoingRequest::drop(&mut host.http(), Resource::new_own(rep))
        },
    )?;
    known.resource(
        "outgoing-response",
        ResourceType::host::<HostOutgoingResponse>(),
        |mut store: StoreContextMut<'_, T>, rep| {
            let host = store.data_mut().host();
            host.forget(rep);
            types::HostOutgoingResponse::drop(&mut host.http(), Resource::new_own(rep))
        },
    )?;
    type Last = (Resource<HostOutgoingBody>, Option<Fields>);
    known.func_wrap(
        "[static]outgoing-body.finish",
        |mut store: StoreContextMut<'_, T>, (body, trailers): Last| {
            let host = store.data_mut().host();
            if let Some(trailers) = &trailers {
                host.give(trailers.rep());
            }
            let done = types::HostOutgoingBody::finish(&mut host.http(), body, trailers);
            Ok((match done {
                Ok(()) => Ok(()),
                Err(e) => Err(e.downcast()?),
            },))
        },
    )
}

/// What [`link`] replaces.
pub(crate) const REPLACED: [&str; 20] = [
    "fields",
    "outgoing-request",
    "outgoing-response",
    "[constructor]fields",
    "[constructor]outgoing-request",
    "[constructor]outgoing-response",
    "[method]outgoing-request.headers",
    "[method]outgoing-response.headers",
    "[method]incoming-response.headers",
    "[method]fields.delete",
    "[static]outgoing-body.finish",
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

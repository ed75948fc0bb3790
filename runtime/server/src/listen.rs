//! Listening sockets: several on one address, so that each loop accepts for itself.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::Error;

/// Connections that wait to be accepted, per socket.
const BACKLOG: i32 = 1024;

/// Opens `count` listeners on one address; the kernel spreads connections over them.
///
/// Port 0 picks a free port, the same for all.
/// # Errors
/// `API0012`, also when another process listens there already.
pub fn listen(addr: SocketAddr, count: usize) -> Result<Vec<TcpListener>, Error> {
    let failed = |addr: SocketAddr| {
        move |e: std::io::Error| Error::Listen {
            addr,
            reason: e.to_string(),
        }
    };
    // Shared listening would also join another server of the same user in silence:
    // a socket that does not share finds it.
    drop(open(addr, false).map_err(failed(addr))?);
    let first = open(addr, true).map_err(failed(addr))?;
    let addr = first.local_addr().map_err(failed(addr))?;
    let mut all = vec![first];
    while all.len() < count {
        all.push(open(addr, true).map_err(failed(addr))?);
    }
    Ok(all)
}

fn open(addr: SocketAddr, shared: bool) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for old connections to time out.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_for_all_and_none_for_others() {
        let any = "127.0.0.1:0".parse().unwrap();
        let all = listen(any, 3).unwrap();
        let addr = all[0].local_addr().unwrap();
        assert_eq!(all.len(), 3);
        for one in &all {
            assert_eq!(one.local_addr().unwrap(), addr);
        }
        let again = listen(addr, 1);
        assert!(matches!(again, Err(Error::Listen { .. })), "{again:?}");
        drop(all);
        assert!(listen(addr, 1).is_ok());
    }
}

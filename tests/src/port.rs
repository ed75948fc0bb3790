//! A port on loopback that is one test's own, also while nobody listens there.
//!
//! Refuses to trust a port that was merely free: the system draws ports, and gives one away again to anybody
//! as soon as it is nobody's.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::net::TcpSocket;

/// A port that nobody is given as long as this lives. Who was told of it may listen there.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    /// Bound, and it does not listen: a connection is refused until somebody else does.
    _held: TcpSocket,
}

impl Port {
    /// One of those that are free.
    ///
    /// # Errors
    /// There is none.
    pub fn new() -> Result<Port> {
        let held = TcpSocket::new_v4()?;
        // Together they let another process bind it too, which sets the first, and nobody be given it.
        held.set_reuseaddr(true)?;
        held.set_reuseport(true)?;
        held.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Port {
            address: held.local_addr()?,
            _held: held,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_held_port_is_nobodys_and_can_be_listened_at_again_and_again() {
        let port = Port::new().unwrap();
        assert!(TcpStream::connect(port.address()).is_err());
        // The system's own choice is another one, as often as it has to choose.
        let others: Vec<TcpListener> = (0..500)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
            .collect();
        let taken = |l: &TcpListener| l.local_addr().unwrap() == port.address();
        assert!(!others.iter().any(taken));
        for _ in 0..3 {
            let listener = TcpListener::bind(port.address()).unwrap();
            assert!(TcpStream::connect(port.address()).is_ok());
            drop(listener);
            assert!(TcpStream::connect(port.address()).is_err());
        }
    }
}

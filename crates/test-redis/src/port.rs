use std::net::Ipv4Addr;

use tokio::net::TcpSocket;

/// A reserved port of loopback: bound, and never listening. A program that sets `SO_REUSEADDR` can listen on it all the same
/// (socket(7)), as Redis does.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) port: u16,
    _socket: TcpSocket,
}

impl Claim {
    pub(crate) fn any() -> Self {
        let socket = reusable(0);
        Self { port: socket.local_addr().unwrap().port(), _socket: socket }
    }
}

/// A socket on this port that others can share.
pub(crate) fn reusable(port: u16) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, port).into()).unwrap();
    socket
}

//! A SOCKS 5 proxy (RFC 1928) that leads one client to one server, whatever it asks for.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

pub struct SocksProxy {
    address: SocketAddr,
    thread: JoinHandle<String>,
}

impl SocksProxy {
    pub fn start(leads_to: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let host = greet(&mut client);
            let server = TcpStream::connect(leads_to).unwrap();
            relay(&client, &server);
            host
        });
        Self { address, thread }
    }

    /// With the name left for the proxy to resolve.
    pub fn url(&self) -> String {
        format!("socks5h://{}", self.address)
    }

    /// The host name that the client gave.
    pub fn asked_for(self) -> String {
        self.thread.join().unwrap()
    }
}

/// No authentication, one CONNECT to a name.
fn greet(client: &mut TcpStream) -> String {
    let [version, methods] = take(client);
    assert_eq!(version, 5);
    io::copy(&mut client.take(methods.into()), &mut io::sink()).unwrap();
    client.write_all(&[5, 0]).unwrap();
    let [5, 1, 0, 3, length] = take(client) else {
        panic!("not a CONNECT to a name")
    };
    let mut name = vec![0; length.into()];
    client.read_exact(&mut name).unwrap();
    let _port: [u8; 2] = take(client);
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
    String::from_utf8(name).unwrap()
}

fn take<const N: usize>(client: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).unwrap();
    bytes
}

fn relay(mut client: &TcpStream, mut server: &TcpStream) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Ends when the client has gone; the server then needs to hear of it.
            let _ = io::copy(&mut &*client, &mut &*server);
            let _ = server.shutdown(std::net::Shutdown::Write);
        });
        let _ = io::copy(&mut server, &mut client);
        let _ = client.shutdown(std::net::Shutdown::Both);
    });
}

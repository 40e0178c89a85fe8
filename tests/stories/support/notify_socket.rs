//! A service manager that is told how the daemon is: a real `NOTIFY_SOCKET`.

use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};

use super::node::Node;

pub struct NotifySocket(Arc<Mutex<Vec<String>>>);

impl NotifySocket {
    /// From its next start on the daemon is told of it, and of a watchdog of `microseconds` if that
    /// isn't 0.
    pub fn of(node: &mut Node, microseconds: u32) -> Self {
        let path = node.beside("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        std::thread::spawn(move || {
            let mut datagram = [0; 4096];
            while let Ok(length) = socket.recv(&mut datagram) {
                let text = std::str::from_utf8(&datagram[..length]).unwrap();
                heard.lock().unwrap().push(text.to_owned());
            }
        });
        // A limit of 0 is none.
        node.before = format!(
            "export NOTIFY_SOCKET={} WATCHDOG_USEC={microseconds} WATCHDOG_PID=$$",
            path.display()
        );
        Self(told)
    }

    /// What was told so far, in order.
    pub fn told(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

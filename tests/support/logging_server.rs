//! A server of somebody else's that tells on standard error what it does.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// The running server; killed when dropped.
pub struct Speaking(Child);

impl Speaking {
    /// Starts it; gives the first line that holds `text` too, if it ever says so.
    pub fn start(command: &mut Command, text: &str) -> (Self, Option<String>) {
        let mut process = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let found = said
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains(text));
        // It speaks of every connection, and would stop if nobody listened.
        std::thread::spawn(move || said.for_each(drop));
        (Self(process), found)
    }
}

impl Drop for Speaking {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

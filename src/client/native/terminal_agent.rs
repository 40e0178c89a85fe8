//! Where polkit can ask for a password: at the terminal at which the command was given.

use std::io::IsTerminal as _;
use std::process::Stdio;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

/// polkit's own agent for terminals, which asks on behalf of this process; ends when dropped.
pub(super) struct TerminalAgent(#[expect(dead_code, reason = "ended when dropped")] Child);

impl TerminalAgent {
    /// Starts it, unless there is no terminal or no polkit; an agent of the session, a desktop's, asks then. Returns once
    /// polkit knows of it.
    pub(super) async fn start() -> Option<Self> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        let mut agent = Command::new("pkttyagent")
            // It asks at the terminal itself, and closes its output once polkit knows of it.
            .args(["--notify-fd", "1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        // Its end, too, ends the wait.
        let _ = agent.stdout.take()?.read_to_end(&mut Vec::new()).await;
        Some(Self(agent))
    }
}

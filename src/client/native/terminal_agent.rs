//! Agent by which polkit asks for a password at the terminal of the command.

use std::io::IsTerminal as _;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Time that the agent gets to restore the terminal.
const PATIENCE: Duration = Duration::from_secs(2);

/// polkit's own agent for terminals, which asks on behalf of this process.
pub(super) struct TerminalAgent(Child);

impl TerminalAgent {
    /// Starts it, unless there is no terminal or no polkit; an agent of the session, a desktop's,
    /// asks then. Returns once polkit knows of it.
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

    /// Ends it. It may still be waiting for a password: if killed, it would leave the terminal
    /// without echo.
    pub(super) async fn end(mut self) {
        if let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
            let _ = timeout(PATIENCE, self.0.wait()).await;
        }
    }
}

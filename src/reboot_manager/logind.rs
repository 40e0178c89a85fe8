//! logind: the reboot, what inhibits it, and who is logged in.

use std::fs::OpenOptions;
use std::io::Write as _;

use zbus::{Connection, OwnedObjectPath};

use super::event::RebootAnswer;
use crate::host::Host;
use crate::printable::printable;

/// "Heed inhibitor locks, although root asks": `SD_LOGIND_ROOT_CHECK_INHIBITORS`.
const HEED_INHIBITORS: u64 = 1;
/// Locks that are named.
const MOST_SHOWN: usize = 4;

/// What, who, why, mode, user, process.
type Inhibitor = (String, String, String, String, u32, u32);
/// Id, user, user's name, seat, object.
type SessionRow = (String, u32, String, String, OwnedObjectPath);

#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1"
)]
trait LoginManager {
    fn reboot(&self, interactive: bool) -> zbus::Result<()>;
    fn reboot_with_flags(&self, flags: u64) -> zbus::Result<()>;
    fn list_inhibitors(&self) -> zbus::Result<Vec<Inhibitor>>;
    fn list_sessions(&self) -> zbus::Result<Vec<SessionRow>>;
}

#[zbus::proxy(
    interface = "org.freedesktop.login1.Session",
    default_service = "org.freedesktop.login1"
)]
trait Session {
    #[zbus(property(emits_changed_signal = "false"), name = "TTY")]
    fn tty(&self) -> zbus::Result<String>;
}

/// Locks of others that stand in the way of a reboot, in words.
pub(super) async fn inhibitors(connection: &Connection) -> zbus::Result<Option<String>> {
    let manager = LoginManagerProxy::new(connection).await?;
    let inhibitors = manager.list_inhibitors().await?;
    let blocking = inhibitors.iter().filter(|(what, _, _, mode, ..)| {
        what.split(':').any(|what| what == "shutdown") && mode.starts_with("block")
    });
    let named: Vec<_> = blocking
        .take(MOST_SHOWN)
        .map(|(_, who, why, ..)| format!("{who} ({why})"))
        .collect();
    Ok((!named.is_empty()).then(|| printable(&named.join(", ")).into_owned()))
}

/// Asks for a reboot, unless a lock was taken in between.
pub(super) async fn reboot(connection: &Connection) -> RebootAnswer {
    match ask_to_reboot(connection).await {
        Ok(()) => RebootAnswer::Ordered,
        Err(error) if is_refusal(&error) => RebootAnswer::Refused(error.to_string()),
        Err(error) => RebootAnswer::Lost(error.to_string()),
    }
}

/// Whether logind itself has said no. Nothing else tells what it did: it may have gone, or be slow.
fn is_refusal(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::MethodError(..) => true,
        zbus::Error::FDO(error) => !matches!(
            **error,
            zbus::fdo::Error::NoReply(_) | zbus::fdo::Error::Disconnected(_)
        ),
        _ => false,
    }
}

async fn ask_to_reboot(connection: &Connection) -> zbus::Result<()> {
    let manager = LoginManagerProxy::new(connection).await?;
    match manager.reboot_with_flags(HEED_INHIBITORS).await {
        // Before systemd 249.
        Err(zbus::Error::MethodError(name, ..))
            if name.as_str() == "org.freedesktop.DBus.Error.UnknownMethod" =>
        {
            manager.reboot(false).await
        }
        Err(zbus::Error::FDO(error)) if matches!(*error, zbus::fdo::Error::UnknownMethod(_)) => {
            manager.reboot(false).await
        }
        answer => answer,
    }
}

/// Writes to the terminals of those who are logged in; how many there are.
pub(super) async fn tell_users(connection: &Connection, host: &Host, message: &str) -> zbus::Result<usize> {
    let manager = LoginManagerProxy::new(connection).await?;
    let mut told = 0;
    for (_, _, _, _, path) in manager.list_sessions().await? {
        let session = SessionProxy::builder(connection).path(path).build().await?;
        let Ok(tty) = session.tty().await else { continue };
        let is_plain = tty
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
        if tty.is_empty() || !is_plain {
            continue;
        }
        told += 1;
        write_to(host, &tty, message);
    }
    Ok(told)
}

/// A terminal that can't be written to, or hangs, is skipped without an error.
fn write_to(host: &Host, tty: &str, message: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY;
    let opened = OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits())
        .open(host.path(&format!("/dev/{tty}")));
    let head = "Broadcast message from update_reboot_manager:";
    let text = format!(
        "\r{:79}\r\n{head:79.79}\u{7}\u{7}\r\n{message:79.79}\r\n\r{:79}\r\n",
        " ", " "
    );
    let written = opened.and_then(|mut terminal| terminal.write_all(text.as_bytes()));
    if let Err(error) = written {
        tracing::info!(%error, "{tty} can't be written to");
    }
}

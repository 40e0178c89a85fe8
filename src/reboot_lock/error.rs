//! Failures of a lock's server.

use crate::net::{ClientTlsError, NetError, UrlFault};

use super::semaphore::Refusal;

/// Failure of a lock's server. Texts name servers without passwords.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// None of the endpoints answers.
    #[error("{url} does not answer")]
    NoAnswer {
        /// The last that was asked.
        url: String,
        /// The failure below.
        source: Box<NetError>,
    },
    /// The answer takes too long, or its end does.
    #[error("{url} gave no whole answer in {seconds} s")]
    Endless {
        /// URL of the endpoint that was asked, without its password.
        url: String,
        /// The time limit of one answer, in seconds.
        seconds: u64,
    },
    /// An answer of absurd length.
    #[error("{url} answered with more than {most} bytes")]
    TooLong {
        /// URL of the endpoint that was asked, without its password.
        url: String,
        /// Bytes that an answer may have.
        most: usize,
    },
    /// A status that means no good.
    #[error("{url} answered with HTTP status {status}: {said}")]
    Status {
        /// URL of the endpoint that was asked, without its password.
        url: String,
        /// HTTP status, 100 to 999.
        status: u16,
        /// The beginning of the answer.
        said: String,
    },
    /// An answer that isn't understood.
    #[error("{url} answered with what isn't understood: {why}")]
    Nonsense {
        /// URL of the endpoint that was asked, without its password.
        url: String,
        /// The first thing that is wrong.
        why: String,
    },
    /// The API is switched off, or gone.
    #[error(
        "the etcd at {url} has no v2 API: start it with --enable-v2, or set REBOOT_ETCD_API=v3 on all nodes of the group"
    )]
    NoV2 {
        /// URL of the endpoint that was asked, without its password.
        url: String,
    },
    /// It has users, and was told none, or by a certificate.
    #[error(
        "the etcd at {url} wants a user: set LOCKSMITHD_ETCD_USERNAME and LOCKSMITHD_ETCD_PASSWORD. In API v3 a client certificate \
         says none, and must have no common name (CN)"
    )]
    NoUser {
        /// URL of the endpoint that was asked, without its password.
        url: String,
    },
    /// Others write all the time.
    #[error("the lock changed {0} times while it was to be changed")]
    Raced(u32),
    /// What the lock's rules forbid.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Not an operation of this server.
    #[error("a FleetLock server can't be asked to {0}")]
    NotOffered(&'static str),
}

/// Fault of the settings of a lock. Some texts end where their cause begins: told with it.
#[derive(Debug, thiserror::Error)]
pub enum SettingsFault {
    /// A configuration file can't be read.
    #[error(transparent)]
    Unreadable(#[from] crate::host::Unreadable),
    /// A word that is none of the strategies.
    #[error("REBOOT_STRATEGY={0} is none of reboot, etcd-lock, fleet-lock and off")]
    Strategy(String),
    /// A word that is no API.
    #[error("REBOOT_ETCD_API={0} is neither v2 nor v3")]
    Api(String),
    /// A word that says nothing about rollbacks.
    #[error("AFTER_ROLLBACK={0} is neither hold nor release")]
    AfterRollback(String),
    /// A setting that systemd gives to locksmith, and to nobody else.
    #[error(
        "{key} stands in {path}, where it counts for locksmithd alone: put it into /etc/flatcar/update.conf, or into a drop-in of \
         update-reboot-manager.service; {key}= if it is to count no more"
    )]
    LeftToLocksmith {
        /// Name of the setting.
        key: String,
        /// The unit or the drop-in.
        path: String,
    },
    /// A setting that is needed is not there.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// A group that `FleetLock` doesn't know.
    #[error("FLEET_LOCK_GROUP={0} is not made of letters, digits, dots and hyphens")]
    Group(String),
    /// A URL that is none.
    #[error("{key}")]
    Url {
        /// Name of the setting in the configuration.
        key: &'static str,
        /// The fault of its value.
        source: UrlFault,
    },
    /// A certificate or a key.
    #[error("{path}")]
    Tls {
        /// The file, or the certificate's and the key's.
        path: String,
        /// The fault of it.
        source: ClientTlsError,
    },
    /// The node has no id to lock with.
    #[error("/etc/machine-id: {0}")]
    MachineId(String),
    /// A number that is none, or too large.
    #[error("{key}={value} is no number of seconds up to 86400")]
    Number {
        /// Name of the setting in the configuration.
        key: &'static str,
        /// Value of the setting.
        value: String,
    },
}

//! The status in the words of the original's interface, `com.coreos.update1.Manager`.

/// The engine's operation, as `com.coreos.update1.Manager` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Nothing is under way.
    Idle,
    /// Asking the Omaha server.
    CheckingForUpdate,
    /// An offer was taken; the download has not begun.
    UpdateAvailable,
    /// Downloading and writing the payload.
    Downloading,
    /// Verifying, running the postinst, committing.
    Finalizing,
    /// The other slot boots next.
    UpdatedNeedReboot,
    /// Telling the server about a failure.
    ReportingErrorEvent,
}

impl Operation {
    /// The string on the bus.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "UPDATE_STATUS_IDLE",
            Self::CheckingForUpdate => "UPDATE_STATUS_CHECKING_FOR_UPDATE",
            Self::UpdateAvailable => "UPDATE_STATUS_UPDATE_AVAILABLE",
            Self::Downloading => "UPDATE_STATUS_DOWNLOADING",
            Self::Finalizing => "UPDATE_STATUS_FINALIZING",
            Self::UpdatedNeedReboot => "UPDATE_STATUS_UPDATED_NEED_REBOOT",
            Self::ReportingErrorEvent => "UPDATE_STATUS_REPORTING_ERROR_EVENT",
        }
    }
}

/// The five fields of `GetStatus` and `StatusUpdate`.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Unix time, seconds, of the last successful update check; 0 after a start.
    pub last_checked_time: i64,
    /// Fraction of the payload's bytes that have come, 0 to 1.
    pub progress: f64,
    /// The engine's operation.
    pub operation: Operation,
    /// Version of the offer, `0.0.0` if none.
    pub new_version: String,
    /// Size of the offer's payload in bytes, 0 if none.
    pub new_size: i64,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            last_checked_time: 0,
            progress: 0.0,
            operation: Operation::Idle,
            new_version: "0.0.0".to_owned(),
            new_size: 0,
        }
    }
}

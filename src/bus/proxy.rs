//! The client's side of the interface.

use super::Status;

/// The five fields as they travel: D-Bus types `x d s s x`. Reboot managers stop working on any other.
pub type StatusFields = (i64, f64, String, String, i64);

impl From<Status> for StatusFields {
    fn from(status: Status) -> Self {
        (
            status.last_checked_time,
            status.progress,
            status.operation.as_str().to_owned(),
            status.new_version,
            status.new_size,
        )
    }
}

/// `com.coreos.update1.Manager`, as its clients see it.
#[zbus::proxy(
    interface = "com.coreos.update1.Manager",
    default_service = "com.coreos.update1",
    default_path = "/com/coreos/update1"
)]
pub trait Manager {
    /// The status now.
    fn get_status(&self) -> zbus::Result<StatusFields>;

    /// Back to idle after an update that waits for its reboot; an error while busy.
    fn reset_status(&self) -> zbus::Result<()>;

    /// Check now, and install what is offered.
    fn attempt_update(&self) -> zbus::Result<()>;

    /// Every change of the status.
    #[zbus(signal)]
    fn status_update(
        &self,
        last_checked_time: i64,
        progress: f64,
        current_operation: String,
        new_version: String,
        new_size: i64,
    ) -> zbus::Result<()>;
}

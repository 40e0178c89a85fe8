//! The identity of a node, as every request tells it.

/// What every request says about the machine and the image it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The application asked about.
    pub app_id: String,
    /// The running version.
    pub version: String,
    /// The channel followed.
    pub track: String,
    /// Boot id in braces: `{14304914-…}`.
    pub boot_id: String,
    /// OEM, may be empty.
    pub oem: String,
    /// OEM's version, may be empty.
    pub oem_version: String,
    /// The first version ever seen on this machine.
    pub aleph_version: String,
    /// Machine id, 32 hexadecimal digits.
    pub machine_id: String,
    /// An operator's name for the machine, any text.
    pub machine_alias: String,
    /// Board, such as `amd64-usr`.
    pub board: String,
    /// Machine as `uname -m` tells it, such as `x86_64`.
    pub machine: String,
}

/// What the machine itself tells, beside the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineIdentity {
    /// Boot id as the kernel tells it, without braces.
    pub boot_id: String,
    /// Contents of `/etc/machine-id`, trimmed.
    pub machine_id: String,
    /// Machine as `uname -m` tells it.
    pub machine: String,
    /// The first version ever seen on this machine.
    pub aleph_version: String,
}

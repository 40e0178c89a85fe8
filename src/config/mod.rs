//! Configuration: the `KEY=value` files of the image and of the operator.
//!
//! Pure: [`Config::load`] is given a way to read a file and reads nothing itself. It is called anew for
//! every use (each check, ping and attempt), so that an edit or a bind mount counts without a restart.
//!
//! ```text
//! /etc/flatcar/update.conf  ─┐
//! /usr/share/flatcar/update.conf ─┤ the first file that holds the key wins, even with an empty value
//! /usr/share/flatcar/release ─┘
//! /etc/oem-release, /usr/share/oem/oem-release     likewise, for ID and VERSION_ID
//! ```
//!
//! Unknown keys belong to others (reboot managers read the same files) and are left alone; a missing
//! file is an empty one. No value is refused here: what a wrong one breaks says so where it is used.

mod grammar;
mod health;
mod server;

pub use grammar::KeyValues;
pub use health::HealthSettings;
pub use server::{PUBLIC_SERVER, Server};

use crate::plan::Credentials;

/// Where update settings are looked up, first to last.
pub const UPDATE_FILES: [&str; 3] = [
    "/etc/flatcar/update.conf",
    "/usr/share/flatcar/update.conf",
    "/usr/share/flatcar/release",
];

/// Where the OEM's name is looked up, first to last.
pub const OEM_FILES: [&str; 2] = ["/etc/oem-release", "/usr/share/oem/oem-release"];

/// Application id of the operating system, unless `FLATCAR_RELEASE_APPID` says otherwise.
pub const DEFAULT_APP_ID: &str = "{e96281a6-d1af-4bde-9a0a-97b76e56dc57}";

/// Everything the daemon takes from the configuration files, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `FLATCAR_RELEASE_VERSION`: the running version; empty by default.
    pub version: String,
    /// `FLATCAR_RELEASE_BOARD`, such as `amd64-usr`; empty by default.
    pub board: String,
    /// `FLATCAR_RELEASE_APPID`, verbatim; [`DEFAULT_APP_ID`] by default.
    pub app_id: String,
    /// `GROUP`: the channel to follow; `stable` by default.
    pub group: String,
    /// `SERVER`: whom to ask; the public server by default.
    pub server: Server,
    /// `MACHINE_ALIAS`: an operator's name for this machine; empty by default.
    pub machine_alias: String,
    /// `PCR_POLICY_SERVER`: where a payload's PCR policy is posted; an empty value means nowhere.
    pub pcr_policy_server: Option<String>,
    /// `DOWNLOAD_USER` and `DOWNLOAD_PASSWORD`: for the payload's server; none without a user.
    pub credentials: Option<Credentials>,
    /// `REPLACE_WAITING_UPDATE`: whether a newer update may take the place of one that waits for its reboot.
    pub waiting_update: WaitingUpdate,
    /// `HEALTH_…`: what must hold before the running slot is marked good.
    pub health: HealthSettings,
    /// `ID` of the OEM; empty by default.
    pub oem_id: String,
    /// `VERSION_ID` of the OEM; empty by default.
    pub oem_version: String,
}

/// What becomes of an update that waits for its reboot when the server offers another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitingUpdate {
    /// It waits on. Reboot managers that have seen it once never look again, and rely on that.
    #[default]
    Stays,
    /// The other one is installed in its place.
    Replaceable,
}

impl WaitingUpdate {
    fn from_setting(setting: Option<&str>) -> Self {
        match setting {
            Some("yes" | "true" | "on" | "1") => Self::Replaceable,
            _ => Self::Stays,
        }
    }
}

impl Config {
    /// Reads the configuration through `read`, which answers with the contents of an absolute path of
    /// the host, or nothing if there is no such file. Bytes that are no UTF-8 are replaced, never fatal.
    pub fn load(read: impl Fn(&str) -> Option<Vec<u8>>) -> Self {
        let parse = |path: &str| read(path).map(|bytes| KeyValues::parse(&String::from_utf8_lossy(&bytes)));
        let update: Vec<_> = UPDATE_FILES.iter().filter_map(|path| parse(path)).collect();
        let oem: Vec<_> = OEM_FILES.iter().filter_map(|path| parse(path)).collect();
        Self::from_files(&update, &oem)
    }

    fn from_files(update: &[KeyValues], oem: &[KeyValues]) -> Self {
        let setting = |key| lookup(update, key);
        let or_empty = |value: Option<&str>| value.unwrap_or_default().to_owned();
        Self {
            version: or_empty(setting("FLATCAR_RELEASE_VERSION")),
            board: or_empty(setting("FLATCAR_RELEASE_BOARD")),
            app_id: setting("FLATCAR_RELEASE_APPID")
                .unwrap_or(DEFAULT_APP_ID)
                .to_owned(),
            group: setting("GROUP").unwrap_or("stable").to_owned(),
            server: Server::from_setting(setting("SERVER")),
            machine_alias: or_empty(setting("MACHINE_ALIAS")),
            pcr_policy_server: non_empty(setting("PCR_POLICY_SERVER")),
            credentials: non_empty(setting("DOWNLOAD_USER")).map(|user| Credentials {
                user,
                password: or_empty(setting("DOWNLOAD_PASSWORD")),
            }),
            waiting_update: WaitingUpdate::from_setting(setting("REPLACE_WAITING_UPDATE")),
            health: HealthSettings::read(setting),
            oem_id: or_empty(lookup(oem, "ID")),
            oem_version: or_empty(lookup(oem, "VERSION_ID")),
        }
    }
}

fn lookup<'a>(files: &'a [KeyValues], key: &str) -> Option<&'a str> {
    files.iter().find_map(|file| file.get(key))
}

fn non_empty(value: Option<&str>) -> Option<String> {
    value.filter(|value| !value.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests;

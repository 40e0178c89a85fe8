//! Configuration: the `KEY=value` files of the image and of the operator.
//!
//! Pure: [`Config::load`] is given a way to read a file and reads nothing itself. It is called anew
//! for every use (each check, ping and attempt), so that an edit or a bind mount counts without a
//! restart.
//!
//! ```text
//! /etc/flatcar/update.conf  ─┐
//! /usr/share/flatcar/update.conf ─┤ the first file that holds the key wins, even with an empty value
//! /usr/share/flatcar/release ─┘
//! /etc/oem-release, /usr/share/oem/oem-release     likewise, for ID and VERSION_ID
//! ```
//!
//! Every key stands once, in the table of [`SETTINGS`]: parser, the reference in
//! `docs/configuration.md` and what shows the configuration in force ([`effective`]) all use that.
//!
//! Unknown keys belong to others (reboot managers read the same files) and are left alone; a file
//! that is not there is an empty one. One that can't be read is an error: nobody knows what is set
//! in it. A number or word that can't be used is named, and its default counts. No text is refused
//! here: what a wrong one breaks says so where it is used.

mod extensions;
mod extra_partitions;
mod health;
mod lint;
mod load;
mod reference;
mod setting;
mod sources;
mod table;
mod trial_deadline;

use crate::host::Unreadable;
use crate::omaha::{MachineIdentity, NodeIdentity};
use crate::plan::{Credentials, ExtraPartition};

use sources::ConfigFiles;

pub use extensions::{ExtensionPattern, ExtensionSettings};
pub use extra_partitions::PartitionSetting;
pub use health::{HealthSettings, RegressionMode, UnitName};
pub use load::LoadSettings;
pub use reference::reference;
pub use setting::{Place, Setting, ValueKind};
pub use sources::{KeyValues, ValueOrigin};
pub use table::SETTINGS;
pub use trial_deadline::{TrialDeadlineFlaw, TrialDeadlineSettings, WatchdogChoice};

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
    pub server: ServerSetting,
    /// `MACHINE_ALIAS`: an operator's name for this machine; empty by default.
    pub machine_alias: String,
    /// `PCR_POLICY_SERVER`: where a payload's PCR policy is posted; an empty value means nowhere.
    pub pcr_policy_server: Option<String>,
    /// `DOWNLOAD_USER` and `DOWNLOAD_PASSWORD`: for the payload's server; none without a user.
    pub credentials: Option<Credentials>,
    /// `ACTIVATE`: when an installed update becomes the next to boot; at once by default.
    pub activation: Activation,
    /// `REPLACE_WAITING_UPDATE`: whether a newer update may take the place of one that waits for
    /// its reboot.
    pub waiting_update: WaitingUpdate,
    /// `REQUIRE_SIGNED_METADATA`: whether payloads are refused whose metadata no trusted key
    /// signed.
    pub signed_metadata: bool,
    /// `CONTENT_PAYLOADS`: whether an offer's content payload is tried before its payload.
    pub content_payloads: bool,
    /// `PARTITION_…`: extra partitions that payloads may bring; none by default.
    pub extra_partitions: Vec<ExtraPartition>,
    /// `EXTENSIONS…`: packages beside the payload that the daemon puts in place itself; none by
    /// default.
    pub extensions: ExtensionSettings,
    /// `HEALTH_…`: what must hold before the running slot is marked good.
    pub health: HealthSettings,
    /// `INSTALL_…` and `DOWNLOAD_LIMIT`: what an installation may take from the node.
    pub load: LoadSettings,
    /// `METRICS_FILE`: where metrics are written, an absolute path of the host; nowhere by default.
    pub metrics_file: Option<String>,
    /// `ID` of the OEM; empty by default.
    pub oem_id: String,
    /// `VERSION_ID` of the OEM; empty by default.
    pub oem_version: String,
    /// Settings that can't be used and have their default instead, as `KEY=value`.
    pub refused: Vec<String>,
    /// Warnings about lines that are almost settings, and about settings that contradict each
    /// other; each a sentence.
    pub lint: Vec<String>,
    /// Tells one content of the files from another.
    pub fingerprint: u64,
}

/// What makes an installed update the next to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Its installation.
    #[default]
    AtOnce,
    /// An orderly reboot.
    Reboot,
    /// An order of an operator or a program.
    Order,
}

impl Activation {
    fn read(sources: &ConfigFiles) -> Self {
        match sources.find(&table::ACTIVATE).value {
            "at-once" => Self::AtOnce,
            "reboot" => Self::Reboot,
            // What can't be used activates nothing by itself.
            _ => Self::Order,
        }
    }
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
    fn read(sources: &ConfigFiles) -> Self {
        if sources.is_on(&table::REPLACE_WAITING_UPDATE) {
            Self::Replaceable
        } else {
            Self::Stays
        }
    }
}

impl Config {
    /// Reads the configuration through `read`, which answers with the contents of an absolute path
    /// of the host, or nothing if there is no such file. Bytes that are no UTF-8 are replaced,
    /// never fatal.
    ///
    /// # Errors
    /// The first file that can't be read.
    pub fn load(read: impl Fn(&str) -> Result<Option<Vec<u8>>, Unreadable>) -> Result<Self, Unreadable> {
        let sources = ConfigFiles::read(&[Place::Update, Place::Oem], read)?;
        let (extra_partitions, refused) = extra_partitions::read(&sources);
        let health = HealthSettings::from_sources(&sources);
        let mut lint = sources.lint();
        lint.extend(health.lint());
        lint.extend(TrialDeadlineSettings::from_sources(&sources).lint());
        Ok(Self {
            version: sources.text(&table::VERSION),
            board: sources.text(&table::BOARD),
            app_id: sources.text(&table::APP_ID),
            group: sources.text(&table::GROUP),
            server: ServerSetting::from_setting(sources.find(&table::SERVER).value),
            machine_alias: sources.text(&table::MACHINE_ALIAS),
            pcr_policy_server: sources.non_empty(&table::PCR_POLICY_SERVER),
            credentials: sources.non_empty(&table::DOWNLOAD_USER).map(|user| {
                let password = sources.text(&table::DOWNLOAD_PASSWORD);
                Credentials::new(&user, &password)
            }),
            activation: Activation::read(&sources),
            waiting_update: WaitingUpdate::read(&sources),
            signed_metadata: sources.is_on(&table::REQUIRE_SIGNED_METADATA),
            content_payloads: sources.is_on(&table::CONTENT_PAYLOADS),
            extra_partitions,
            extensions: ExtensionSettings::read(&sources),
            health,
            load: LoadSettings::read(&sources),
            metrics_file: sources.non_empty(&table::METRICS_FILE),
            oem_id: sources.text(&table::OEM_ID),
            oem_version: sources.text(&table::OEM_VERSION),
            refused: [sources.refused(), refused].concat(),
            lint,
            fingerprint: sources.fingerprint(),
        })
    }

    /// The identity that update servers are told: the files' part and the machine's.
    #[must_use]
    pub fn identity(&self, machine: &MachineIdentity) -> NodeIdentity {
        NodeIdentity {
            app_id: self.app_id.clone(),
            version: self.version.clone(),
            track: self.group.clone(),
            boot_id: format!("{{{}}}", machine.boot_id),
            oem: self.oem_id.clone(),
            oem_version: self.oem_version.clone(),
            aleph_version: machine.aleph_version.clone(),
            machine_id: machine.machine_id.clone(),
            machine_alias: self.machine_alias.clone(),
            board: self.board.clone(),
            machine: machine.machine.clone(),
        }
    }

    /// Everything that operators should be told about what they wrote, each in a sentence.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let counts = |setting: &String| {
            let of = |known: &&&Setting| setting.split('=').next() == Some(known.key);
            match SETTINGS.iter().find(of) {
                Some(known) if known.otherwise != known.default => format!("{} counts", known.otherwise),
                _ => "the default counts".to_owned(),
            }
        };
        let refused = self.refused.iter();
        let refused = refused.map(|setting| format!("{setting} can't be used: {}", counts(setting)));
        refused.chain(self.lint.iter().cloned()).collect()
    }
}

/// A setting as it counts on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The key, as the table describes it.
    pub setting: &'static Setting,
    /// The value that counts; secrets in clear.
    pub value: String,
    /// The file that the value comes from, or why it is the default.
    pub origin: ValueOrigin,
}

/// Every setting as it counts, in the order of the reference; `read` as for [`Config::load`].
///
/// # Errors
/// As [`Config::load`].
pub fn effective(
    read: impl Fn(&str) -> Result<Option<Vec<u8>>, Unreadable>,
) -> Result<Vec<Effective>, Unreadable> {
    let sources = ConfigFiles::read(&[Place::Update, Place::Oem], read)?;
    let effective = |setting: &&'static Setting| {
        let found = sources.find(setting);
        Effective {
            setting,
            value: found.value.to_owned(),
            origin: found.origin,
        }
    };
    Ok(SETTINGS.iter().map(effective).collect())
}

/// Every `PARTITION_…` that a file holds, ascending; `read` as for [`Config::load`].
///
/// # Errors
/// As [`Config::load`].
pub fn partition_settings(
    read: impl Fn(&str) -> Result<Option<Vec<u8>>, Unreadable>,
) -> Result<Vec<PartitionSetting>, Unreadable> {
    Ok(extra_partitions::settings(&ConfigFiles::read(
        &[Place::Update],
        read,
    )?))
}

/// The server of the public releases, asked unless `SERVER` says otherwise.
pub const PUBLIC_SERVER: &str = "https://public.update.flatcar-linux.net/v1/update/";

/// The setting `SERVER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerSetting {
    /// `SERVER=disabled`: no update is ever looked for, and the running slot is still marked good.
    Disabled,
    /// Any other value, verbatim: the URL that requests are posted to.
    At(String),
}

impl ServerSetting {
    fn from_setting(value: &str) -> Self {
        match value {
            "disabled" => Self::Disabled,
            url => Self::At(url.to_owned()),
        }
    }

    /// Whether this is, letter by letter, the public server. Error codes reported from any other
    /// carry a flag that says so.
    #[must_use]
    pub fn is_public(&self) -> bool {
        matches!(self, Self::At(url) if url == PUBLIC_SERVER)
    }
}

#[cfg(test)]
mod tests;

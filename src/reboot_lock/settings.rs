//! Settings of the reboot manager's lock, as locksmith reads them: `update.conf`, then the environment.

use std::time::Duration;

use super::error::SettingsFault;
use super::etcd_v2::{EtcdV2, query_escaped};
use super::etcd_v3::EtcdV3;
use super::fleet_lock::{FleetLock, zincati_id};
use super::http::Endpoints;
use super::locksmith_unit::{UnitSetting, unit_settings};
use super::{Kind, Lock};
use crate::config::KeyValues;
use crate::host::{Host, Unreadable};
use crate::net::{ClientTls, Proxies, ServerUrl};

/// Where settings are looked up, first to last: the files that locksmith's unit reads.
const FILES: [&str; 2] = ["/etc/flatcar/update.conf", "/usr/share/flatcar/update.conf"];
/// Default endpoints of etcd: locksmith's.
const DEFAULT_ENDPOINTS: &str = "http://127.0.0.1:2379,http://127.0.0.1:4001";
/// For one answer of etcd.
const ETCD_LIMIT: Duration = Duration::from_secs(30);
/// For one answer of a `FleetLock` server, which drains the node before it answers.
const FLEET_LOCK_LIMIT: Duration = Duration::from_secs(30 * 60);

/// A key of the reboot manager.
#[derive(Debug)]
pub struct ManagerSetting {
    /// As it stands in the file.
    pub key: &'static str,
    /// The default.
    pub default: &'static str,
    /// Its effect, in Markdown.
    pub meaning: &'static str,
}

const fn setting(key: &'static str, default: &'static str, meaning: &'static str) -> ManagerSetting {
    ManagerSetting {
        key,
        default,
        meaning,
    }
}

/// Every key that the reboot manager reads.
pub const MANAGER_SETTINGS: &[ManagerSetting] = &[
    setting(
        "REBOOT_STRATEGY",
        "reboot",
        "`reboot`: without a lock; `etcd-lock`, `fleet-lock`: with one; `off`: the manager ends at once",
    ),
    setting(
        "REBOOT_WINDOW_START",
        "",
        "start of a window, as locksmith writes it: `23:00`, `Thu 23:00`; `LOCKSMITHD_REBOOT_WINDOW_START` comes first",
    ),
    setting(
        "REBOOT_WINDOW_LENGTH",
        "",
        "its length: `1h30m`; less than a day, with a day of the week less than a week; `LOCKSMITHD_REBOOT_WINDOW_LENGTH` comes first",
    ),
    setting(
        "REBOOT_WINDOWS",
        "",
        "further windows, separated by `;`: `Mon..Fri 22:00 4h; Sat,Sun 01:00 6h30m; 12:00 30m`",
    ),
    setting(
        "REBOOT_TIME_ZONE",
        "",
        "time zone of all windows: `Europe/Berlin`, `UTC`; the node's own by default",
    ),
    setting(
        "LOCKSMITHD_ENDPOINT",
        DEFAULT_ENDPOINTS,
        "URLs of etcd, separated by commas",
    ),
    setting(
        "REBOOT_ETCD_API",
        "v2",
        "`v2`: the lock that locksmith uses too; `v3`: etcd as it comes today. The same on all nodes of a group: they are two locks",
    ),
    setting(
        "LOCKSMITHD_ETCD_CAFILE",
        "",
        "authorities that etcd's certificate is trusted by, in place of the system's",
    ),
    setting(
        "LOCKSMITHD_ETCD_CERTFILE",
        "",
        "certificate that is shown to etcd",
    ),
    setting("LOCKSMITHD_ETCD_KEYFILE", "", "its key"),
    setting(
        "LOCKSMITHD_ETCD_USERNAME",
        "",
        "user of etcd; API v3 takes no user from a certificate",
    ),
    setting(
        "LOCKSMITHD_ETCD_PASSWORD",
        "",
        "its password; over http anybody on the way can read it",
    ),
    setting("LOCKSMITHD_GROUP", "", "group of nodes that share a lock in etcd"),
    setting("FLEET_LOCK_URL", "", "base URL of a FleetLock server"),
    setting(
        "FLEET_LOCK_GROUP",
        "default",
        "group of nodes there: letters, digits, dots, hyphens",
    ),
    setting(
        "FLEET_LOCK_ID",
        "",
        "id of this node there; Zincati's by default, without which poseidon's server finds no node",
    ),
    setting(
        "FLEET_LOCK_CAFILE",
        "",
        "authorities that its certificate is trusted by, in place of the system's",
    ),
    setting("FLEET_LOCK_CERTFILE", "", "certificate that is shown to it"),
    setting("FLEET_LOCK_KEYFILE", "", "its key"),
    setting(
        "AFTER_ROLLBACK",
        "hold",
        "`hold`: after a rollback the lock is kept, so that all others stay on what works; `release`: it is given back",
    ),
    setting(
        "REBOOT_USER_GRACE",
        "300",
        "seconds that logged-in users are given, 0 to 86400",
    ),
    setting(
        "REBOOT_METRICS_FILE",
        "",
        "where the manager writes metrics for Prometheus' textfile collector",
    ),
];

/// What the files and the environment hold.
#[derive(Debug)]
pub struct ManagerValues {
    files: Vec<KeyValues>,
    environment: fn(&str) -> Option<String>,
}

/// How a reboot is agreed upon with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Not at all.
    Reboot,
    /// By a semaphore in etcd.
    EtcdLock,
    /// By a `FleetLock` server.
    FleetLock,
    /// There is none.
    Off,
}

impl Strategy {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::EtcdLock => "etcd-lock",
            Self::FleetLock => "fleet-lock",
            Self::Off => "off",
        }
    }
}

impl ManagerValues {
    /// Reads the files of `host`, and our environment.
    ///
    /// # Errors
    /// If a file is there and can't be read.
    pub fn read(host: &Host) -> Result<Self, SettingsFault> {
        let mut files = Vec::new();
        for path in FILES {
            if let Some(text) = host.read(path)? {
                files.push(without_blanks(&String::from_utf8_lossy(&text)));
            }
        }
        Ok(Self {
            files,
            environment: |key| std::env::var(key).ok(),
        })
    }

    /// The value of `key`: of the first file that holds it, else of the environment; its default if that is empty.
    #[must_use]
    pub fn get(&self, key: &str) -> String {
        let known = MANAGER_SETTINGS.iter().find(|setting| setting.key == key);
        self.find(key)
            .unwrap_or_else(|| known.map_or("", |setting| setting.default).to_owned())
    }

    /// The same without a default.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<String> {
        let in_files = self.files.iter().find_map(|file| file.get(key));
        let value = in_files
            .map(str::to_owned)
            .or_else(|| (self.environment)(key))
            .unwrap_or_default();
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// `REBOOT_STRATEGY`.
    ///
    /// # Errors
    /// [`SettingsFault::Strategy`].
    pub fn strategy(&self) -> Result<Strategy, SettingsFault> {
        match self.get("REBOOT_STRATEGY").as_str() {
            "reboot" => Ok(Strategy::Reboot),
            "etcd-lock" => Ok(Strategy::EtcdLock),
            "fleet-lock" => Ok(Strategy::FleetLock),
            "off" => Ok(Strategy::Off),
            other => Err(SettingsFault::Strategy(other.to_owned())),
        }
    }

    /// Refuses settings that a drop-in gives to locksmith alone, unless they say nothing: no other lock and no other window
    /// than count here. Blocks.
    ///
    /// # Errors
    /// [`SettingsFault::LeftToLocksmith`] of the first, or a file can't be read.
    pub fn none_left_to_locksmith(&self, host: &Host, strategy: Strategy) -> Result<(), SettingsFault> {
        let known = [
            FILES[0],
            FILES[1],
            "/etc/coreos/update.conf",
            "/usr/share/coreos/update.conf",
        ];
        for UnitSetting { path, key, value } in unit_settings(host, &known)? {
            let is_of_window = key
                .strip_prefix("LOCKSMITHD_")
                .unwrap_or(&key)
                .starts_with("REBOOT_WINDOW_");
            let is_of_lock = strategy == Strategy::EtcdLock && key.starts_with("LOCKSMITHD_");
            let matters = is_of_window || is_of_lock || key == "REBOOT_STRATEGY";
            // What a file or our own environment sets is known here; so is what is the default anyway.
            let is_known = value.is_empty() || self.is_set(&key) || self.get(&key) == value;
            if matters && !is_known {
                return Err(SettingsFault::LeftToLocksmith { key, path });
            }
        }
        Ok(())
    }

    /// Whether a file or the environment holds `key`, were it empty.
    fn is_set(&self, key: &str) -> bool {
        self.files.iter().any(|file| file.get(key).is_some()) || (self.environment)(key).is_some()
    }

    /// The lock of `strategy`, for the node `host`. Blocks.
    ///
    /// # Errors
    /// [`SettingsFault`].
    pub fn lock(&self, host: &Host, strategy: Strategy) -> Result<Lock, SettingsFault> {
        match strategy {
            Strategy::Reboot | Strategy::Off => Ok(Lock::none()),
            Strategy::EtcdLock => self.etcd(host),
            Strategy::FleetLock => self.fleet_lock(host),
        }
    }

    fn etcd(&self, host: &Host) -> Result<Lock, SettingsFault> {
        let urls = endpoint_urls("LOCKSMITHD_ENDPOINT", &self.get("LOCKSMITHD_ENDPOINT"))?;
        let tls = self.tls(host, "LOCKSMITHD_ETCD")?;
        // As locksmith: straight.
        let endpoints = Endpoints::new(&urls, Proxies::default(), tls, ETCD_LIMIT);
        let key = key(&self.get("LOCKSMITHD_GROUP"));
        let login = self.find("LOCKSMITHD_ETCD_USERNAME").map(|user| {
            let password = self.get("LOCKSMITHD_ETCD_PASSWORD");
            (user, password)
        });
        let id = machine_id(host)?;
        match self.get("REBOOT_ETCD_API").as_str() {
            "v2" => Ok(Lock(
                Kind::EtcdV2(EtcdV2::new(endpoints, &key, login), id),
                format!("{key} in etcd's v2 API"),
            )),
            "v3" => Ok(Lock(
                Kind::EtcdV3(EtcdV3::new(endpoints, &key, login), id),
                format!("{key} in etcd's v3 API"),
            )),
            other => Err(SettingsFault::Api(other.to_owned())),
        }
    }

    fn fleet_lock(&self, host: &Host) -> Result<Lock, SettingsFault> {
        let url = self.find("FLEET_LOCK_URL");
        let urls = endpoint_urls(
            "FLEET_LOCK_URL",
            &url.ok_or(SettingsFault::Missing("FLEET_LOCK_URL"))?,
        )?;
        let group = self.get("FLEET_LOCK_GROUP");
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        if !group.bytes().all(fits) {
            return Err(SettingsFault::Group(group));
        }
        let id = if let Some(id) = self.find("FLEET_LOCK_ID") {
            id
        } else {
            let machine = machine_id(host)?;
            zincati_id(&machine).ok_or(SettingsFault::MachineId(machine))?
        };
        let tls = self.tls(host, "FLEET_LOCK")?;
        let endpoints = Endpoints::new(&urls, Proxies::from_env(), tls, FLEET_LOCK_LIMIT);
        // One by one: joined, only the first would be an address.
        let shown: Vec<String> = urls.iter().map(|url| crate::net::redact_url(url)).collect();
        let name = format!("group {group} at {}", shown.join(","));
        Ok(Lock(
            Kind::FleetLock(FleetLock::new(endpoints, &id, &group), id),
            name,
        ))
    }

    fn tls(&self, host: &Host, prefix: &str) -> Result<Option<ClientTls>, SettingsFault> {
        let path = |kind: &str| self.find(&format!("{prefix}_{kind}"));
        let read = |path: Option<String>| {
            let Some(path) = path else { return Ok(None) };
            let contents = host.read(&path)?;
            let missing = || Unreadable {
                source: std::io::ErrorKind::NotFound.into(),
                path,
            };
            contents.ok_or_else(missing).map(Some)
        };
        let (authorities, certificate, key) = (path("CAFILE"), path("CERTFILE"), path("KEYFILE"));
        let identity_files: Vec<String> = [&certificate, &key].into_iter().flatten().cloned().collect();
        let authorities_file = authorities.clone();
        if authorities.is_none() && identity_files.is_empty() {
            return Ok(None);
        }
        let (authorities, certificate, key) = (read(authorities)?, read(certificate)?, read(key)?);
        let identity = match (&certificate, &key) {
            (Some(certificate), Some(key)) => Some((certificate.as_slice(), key.as_slice())),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(SettingsFault::Missing(
                    "one of the client certificate and its key",
                ));
            }
        };
        let fault = |path| move |source| SettingsFault::Tls { path, source };
        // By themselves first: a fault is told of the file that has it.
        let tls = match authorities_file {
            Some(path) => Some(ClientTls::new(authorities.as_deref(), None).map_err(fault(path))?),
            None => None,
        };
        if identity.is_none() {
            return Ok(tls);
        }
        let tls = ClientTls::new(authorities.as_deref(), identity);
        tls.map(Some).map_err(fault(identity_files.join(", ")))
    }
}

/// The pairs of a file as systemd reads them for locksmith: without blanks around keys and values. With them a strategy would
/// go unnoticed, and its default asks for no lock.
fn without_blanks(text: &str) -> KeyValues {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let lines: Vec<String> = pairs
        .map(|(key, value)| format!("{}={}", key.trim(), value.trim()))
        .collect();
    KeyValues::parse(&lines.join("\n"))
}

/// URLs separated by commas.
fn endpoint_urls(key: &'static str, value: &str) -> Result<Vec<String>, SettingsFault> {
    let urls: Vec<String> = value
        .split(',')
        .map(|url| url.trim().to_owned())
        .filter(|url| !url.is_empty())
        .collect();
    for url in &urls {
        ServerUrl::parse(url).map_err(|source| SettingsFault::Url { key, source })?;
    }
    if urls.is_empty() {
        return Err(SettingsFault::Missing(key));
    }
    Ok(urls)
}

/// The key of a group, or of all nodes: with a slash first, the group escaped as Go escapes it in a query.
fn key(group: &str) -> String {
    const BASE: &str = "/coreos.com/updateengine/rebootlock";
    if group.is_empty() {
        return format!("{BASE}/semaphore");
    }
    format!("{BASE}/groups/{}/semaphore", query_escaped(group))
}

/// The machine's id, which holders are called by.
fn machine_id(host: &Host) -> Result<String, SettingsFault> {
    if let Some(warning) = host.machine_id_warning() {
        return Err(SettingsFault::MachineId(warning));
    }
    Ok(host.identity()?.machine_id)
}

/// The table of all keys, for `docs/reboots.md`.
#[must_use]
pub fn manager_reference() -> String {
    use std::fmt::Write as _;
    let mut text = "| key | default | |\n|---|---|---|".to_owned();
    for ManagerSetting {
        key,
        default,
        meaning,
    } in MANAGER_SETTINGS
    {
        let default = if default.is_empty() {
            String::new()
        } else {
            format!("`{default}`")
        };
        // Writing to a string can't fail.
        let _ = write!(text, "\n| `{key}` | {default} | {meaning} |");
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn blanks_around_keys_and_values_are_skipped_as_by_systemd() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let path = host.path(FILES[0]);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        for line in [
            "REBOOT_STRATEGY=etcd-lock",
            "REBOOT_STRATEGY = etcd-lock",
            "  REBOOT_STRATEGY=etcd-lock",
            "\tREBOOT_STRATEGY\t=\t\"etcd-lock\" \r",
            "REBOOT_STRATEGY= 'etcd-lock'",
        ] {
            std::fs::write(
                &path,
                format!("#REBOOT_STRATEGY=off\n{line}\n# REBOOT_STRATEGY=off\n"),
            )
            .unwrap();
            let values = ManagerValues::read(&host).unwrap();
            assert_eq!(values.strategy().unwrap(), Strategy::EtcdLock, "{line:?}");
        }
    }

    #[test]
    fn no_servers_password_is_in_the_locks_name() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let path = host.path(FILES[0]);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = "FLEET_LOCK_ID=a\nFLEET_LOCK_URL=http://u:secret@a,http://v:secret@b\n";
        std::fs::write(path, text).unwrap();
        let Lock(_, name) = ManagerValues::read(&host).unwrap().fleet_lock(&host).unwrap();
        assert!(name.contains("http://a") && name.ends_with("http://b"), "{name}");
        assert!(!name.contains("secret"), "{name}");
    }

    #[test]
    fn a_groups_key_is_locksmiths() {
        assert_eq!(key(""), "/coreos.com/updateengine/rebootlock/semaphore");
        assert_eq!(
            key("a b/c+d%e&f=g?h#ü"),
            "/coreos.com/updateengine/rebootlock/groups/a+b%2Fc%2Bd%25e%26f%3Dg%3Fh%23%C3%BC/semaphore"
        );
    }
}

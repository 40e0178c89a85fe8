//! Recordings of real systemd: what `vm-tests/histories/record` wrote, read back.

use std::collections::BTreeMap;
use std::sync::Arc;

use test_support::fixtures::filter;
use test_support::project;

/// A unit's properties as `systemctl show` prints them; an empty one isn't there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Unit(BTreeMap<String, String>);

impl Unit {
    /// The property, empty if it isn't there.
    pub(crate) fn get(&self, property: &str) -> &str {
        self.0.get(property).map_or("", String::as_str)
    }

    pub(crate) fn set(&mut self, property: &str, value: impl Into<String>) {
        self.0.insert(property.into(), value.into());
    }

    pub(crate) fn set_all(&mut self, properties: &[(&str, &str)]) {
        for (property, value) in properties {
            self.set(property, *value);
        }
    }

    pub(crate) fn is(&self, property: &str, value: &str) -> bool {
        self.get(property) == value
    }

    pub(crate) fn is_active(&self) -> bool {
        self.is("ActiveState", "active")
    }

    pub(crate) fn is_transient(&self) -> bool {
        self.is("Transient", "yes")
    }

    /// The path of the program.
    pub(crate) fn program(&self) -> &str {
        let path = self.get("ExecStart").strip_prefix("{ path=").unwrap_or_default();
        path.split(" ;").next().unwrap_or_default()
    }

    /// All of it.
    pub(crate) fn properties(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Whether an image brought its file.
    pub(crate) fn is_of_usr(&self) -> bool {
        let path = self.get("FragmentPath");
        path.starts_with("/usr/") || path.starts_with("/lib/")
    }

    /// Whether its file is in `/etc`.
    pub(crate) fn is_of_etc(&self) -> bool {
        self.get("FragmentPath").starts_with("/etc/systemd/")
    }
}

/// What is missing where a program should be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Missing {
    /// The program.
    Program,
    /// The interpreter at this path; the program is there.
    Interpreter(String),
}

/// A system extension or confext: `sysext` or `confext`, and its name.
pub(crate) type Extension = (String, String);

/// One moment of a machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// Such as `debian-12-good/d-updated-01-at-45s`.
    pub(crate) name: String,
    pub(crate) units: BTreeMap<String, Arc<Unit>>,
    /// The lines of `/proc/self/mountinfo`.
    pub(crate) mounts: Vec<String>,
    /// The lines of `/proc/net/route` below its heading.
    pub(crate) routes: Vec<String>,
    /// The lines of `/proc/net/ipv6_route`.
    pub(crate) routes_of_ipv6: Vec<String>,
    /// The lines of `/etc/fstab`.
    pub(crate) fstab: Vec<String>,
    /// Links below `/etc/systemd/system`, and what each points to.
    pub(crate) links: BTreeMap<String, String>,
    /// Programs that are not there, by path.
    pub(crate) missing: BTreeMap<String, Missing>,
    /// `systemctl is-system-running`.
    pub(crate) running: String,
    /// Seconds since the boot.
    pub(crate) uptime: u64,
    /// What lies in `/var/lib/extensions` and `/var/lib/confexts`.
    pub(crate) offered: Vec<Extension>,
}

impl Snapshot {
    /// What is merged, by the mount table.
    pub(crate) fn merged(&self) -> Vec<Extension> {
        let mut merged = Vec::new();
        for line in &self.mounts {
            let Some((_, options)) = line.split_once("lowerdir=") else {
                continue;
            };
            let lower = options.split(',').next().unwrap_or_default();
            for directory in lower.split(':') {
                let Some(rest) = directory.strip_prefix("/run/systemd/") else {
                    continue;
                };
                let parts: Vec<&str> = rest.split('/').collect();
                let kind = match parts[..] {
                    ["sysext", "extensions", ..] => "sysext",
                    ["sysext", "confexts", ..] => "confext",
                    _ => continue,
                };
                if let Some(name) = parts.get(2) {
                    merged.push((kind.to_owned(), (*name).to_owned()));
                }
            }
        }
        merged.sort();
        merged.dedup();
        merged
    }

    /// The unit, to change it.
    pub(crate) fn unit(&mut self, name: &str) -> &mut Unit {
        Arc::make_mut(self.units.entry(name.to_owned()).or_default())
    }

    pub(crate) fn has_default_route(&self) -> bool {
        self.routes
            .iter()
            .any(|line| line.split_whitespace().nth(1) == Some("00000000"))
            || self.routes_of_ipv6.iter().any(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                fields.len() == 10 && fields[1] == "00" && fields[9] != "lo"
            })
    }
}

/// One machine's snapshots, in the order of time.
pub(crate) fn machine(name: &str) -> Vec<Snapshot> {
    let file = project().join(format!("tests/fixtures/systemd-histories/{name}.txt.xz"));
    let text = filter("xz", ["-dc".as_ref(), file.as_os_str()], b"");
    let text = String::from_utf8(text).unwrap();
    text.split("== snapshot ")
        .skip(1)
        .map(|text| snapshot(name, text))
        .collect()
}

fn snapshot(machine: &str, text: &str) -> Snapshot {
    let mut sections = text.split("\n-- ");
    let mut head = sections.next().unwrap().lines();
    let heading = head.next().unwrap();
    let told: BTreeMap<&str, &str> = head.filter_map(|line| line.split_once('=')).collect();
    let uptime = told["uptime"].split('.').next().unwrap();
    let mut read = Snapshot {
        name: format!("{machine}/{heading}"),
        running: told["running"].to_owned(),
        uptime: uptime.parse().unwrap(),
        ..Snapshot::default()
    };
    for section in sections {
        let (title, body) = section.split_once('\n').unwrap_or((section, ""));
        let lines = || body.lines().filter(|line| !line.is_empty());
        match title {
            "units" | "units asked for by name" => read.units.extend(units(body)),
            "mountinfo" => read.mounts = lines().map(str::to_owned).collect(),
            "routes" => read.routes = lines().skip(1).map(str::to_owned).collect(),
            "routes of IPv6" => read.routes_of_ipv6 = lines().map(str::to_owned).collect(),
            "missing programs" => {
                read.missing = lines().map(|path| (path.into(), Missing::Program)).collect();
            }
            "fstab" => read.fstab = lines().map(str::to_owned).collect(),
            "links in /etc" => {
                let pairs = lines().filter_map(|line| line.split_once(' '));
                read.links = pairs.map(|(from, to)| (from.into(), to.into())).collect();
            }
            "extensions" => {
                for line in lines() {
                    if let ["offered", kind, name, ..] = line.split(' ').collect::<Vec<_>>()[..] {
                        read.offered.push((kind.to_owned(), name.to_owned()));
                    }
                }
            }
            _ => {}
        }
    }
    read
}

fn units(text: &str) -> BTreeMap<String, Arc<Unit>> {
    let mut units = BTreeMap::new();
    for block in text.split("\n\n") {
        let properties = block.lines().filter_map(|line| line.split_once('='));
        let unit = Unit(
            properties
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        );
        if !unit.is("Id", "") {
            units.insert(unit.get("Id").to_owned(), unit.into());
        }
    }
    units
}

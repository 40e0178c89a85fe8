//! A real polkit on a private bus. Takes root.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};

use futures_util::StreamExt as _;
use zbus::fdo::DBusProxy;

use test_support::bus::PrivateBus;

/// Where Debian's polkit is.
const POLKITD: &str = "/usr/lib/polkit-1/polkitd";
/// The actions that we ship.
const ACTIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dbus/org.updateengine.policy");
const NAME: &str = "org.freedesktop.PolicyKit1";

/// Killed when dropped.
pub struct Polkit(Child);

impl Polkit {
    /// Runs on `bus`, with our actions and no rules but `rules`, a program that polkit runs;
    /// returns once it is there.
    pub async fn start(bus: &PrivateBus, rules: &str) -> Self {
        let directory = bus.path("polkit");
        for (name, file, text) in [
            (
                "actions",
                "org.updateengine.policy",
                std::fs::read_to_string(ACTIONS).unwrap(),
            ),
            ("rules.d", "10-test.rules", rules.to_owned()),
        ] {
            let place = directory.join(name);
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join(file), text).unwrap();
        }
        // polkit reads them as a user of its own.
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();

        let client = bus.connect().await;
        let names = DBusProxy::new(&client).await.unwrap();
        let mut owners = names
            .receive_name_owner_changed_with_args(&[(0, NAME)])
            .await
            .unwrap();
        let script = format!(
            r#"cd "$0" && mount -t tmpfs tmpfs /etc/polkit-1 && mkdir /etc/polkit-1/rules.d
               mount --bind actions /usr/share/polkit-1/actions && mount --bind rules.d /usr/share/polkit-1/rules.d
               exec {POLKITD}"#
        );
        let polkit = bus
            .process("unshare")
            .args(["--mount", "sh", "-ec", &script])
            .arg(&directory)
            .stdout(std::fs::File::create(bus.path("polkit.log")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let polkit = Self(polkit);
        owners.next().await.unwrap();
        polkit
    }
}

impl Drop for Polkit {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! A node with an extension that brings docker, an application of the operator's, and a systemd.

use super::*;

/// A node with an extension that brings docker, an application of the operator's, and a systemd.
pub(super) struct Machine {
    pub(super) scene: Scene,
    pub(super) systemd: FakeSystemd,
}

impl Machine {
    pub(super) async fn new() -> Self {
        let scene = Scene::offering(&fixtures::payload("full.payload")).await;
        let systemd = FakeSystemd::start(&scene.bus).await;
        scene.configure("HEALTH_SETTLE=1\n");
        scene.node.write("/proc/uptime", b"700.00 0.00\n");
        scene.node.write(APP, b"[Service]\nExecStart=/usr/bin/app\n");
        let docker = format!("/var/lib/extensions/docker{DOCKER}");
        scene
            .node
            .write(&docker, b"[Service]\nExecStart=/usr/bin/dockerd\n");
        let machine = Self { scene, systemd };
        machine.boots();
        machine
    }

    /// What systemd does at each boot, all well.
    pub(super) fn boots(&self) {
        fs::create_dir_all(self.scene.node.path("/run/systemd/system")).unwrap();
        let table = include_str!("../../../fixtures/mountinfo/merged.txt");
        self.scene.node.write(TABLE, table.as_bytes());
        self.systemd.put("docker.service", FakeUnit::active(DOCKER));
        let app = FakeUnit {
            program: "/usr/bin/app".to_owned(),
            ..FakeUnit::active(APP)
        };
        self.systemd.put("app.service", app);
    }

    /// The new image doesn't merge the extension.
    pub(super) fn extension_is_lost(&self) {
        let table = include_str!("../../../fixtures/mountinfo/slot.txt");
        self.scene.node.write(TABLE, table.as_bytes());
        self.systemd.put("docker.service", FakeUnit::not_found());
    }

    /// A unit of the operator's fails.
    pub(super) fn application_ends_with(&self, exit_code: i32) {
        let failed = FakeUnit {
            active: "failed".to_owned(),
            sub: "failed",
            program: "/usr/bin/app".to_owned(),
            exit_code,
            ..FakeUnit::active(APP)
        };
        self.systemd.put("app.service", failed);
    }

    pub(super) fn recorded(&self) -> String {
        let record = fs::read(self.scene.node.path(BASELINE)).unwrap_or_default();
        String::from_utf8_lossy(&record).into_owned()
    }

    /// Records what is well in A, installs the update, and boots B; the daemon isn't started yet.
    pub(super) async fn update(&mut self) {
        let daemon = self.scene.boot(SlotName::A).await;
        eventually("what is well is recorded", || {
            let record = self.recorded();
            record.contains("docker.service") && record.contains("app.service")
        })
        .await;
        self.scene.attempt(NEED_REBOOT).await;
        daemon.stop();
        assert_eq!(self.scene.node.reboot(), SlotName::B);
        self.scene.node.run_version("2.0.0");
        self.boots();
    }

    pub(super) async fn kept(&mut self) -> Daemon {
        let daemon = self.scene.boot(SlotName::B).await;
        let attributes = || self.scene.node.disk.attributes(SlotName::B);
        eventually("marked good", || attributes() == (2, 0, 1)).await;
        assert!(!self.scene.node.path(REBOOT).exists());
        daemon
    }

    pub(super) async fn left(&mut self) -> Daemon {
        let daemon = self.scene.boot(SlotName::B).await;
        eventually("a reboot", || self.scene.node.path(REBOOT).exists()).await;
        assert_eq!(self.scene.node.disk.attributes(SlotName::B), (2, 0, 0));
        assert_eq!(self.scene.node.disk.attributes(SlotName::A), (1, 0, 1));
        daemon
    }

    pub(super) async fn shows(&self, command: &str) -> String {
        let mut client = self.scene.bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
        client.args(command.split(' '));
        let output = tokio::process::Command::from(client).output().await.unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(super) async fn eventually_shows(&self, command: &str, text: &str) {
        let wait = async {
            while !self.shows(command).await.contains(text) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
        assert!(
            waited.is_ok(),
            "{text:?} is not in:\n{}",
            self.shows(command).await
        );
    }
}

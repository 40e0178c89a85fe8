//! RAUC: its service on a bus of its own, and one installation after the other.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Contestant;
use crate::Outcome;
use crate::archives::Archive;
use crate::figures::Figures;
use crate::process::Process;
use crate::workplace::Workplace;
use crate::{meter, shell};

const PATIENCE: Duration = Duration::from_secs(10);

/// See the module. Both slots are files; the one written is the target that all contestants share.
pub struct Rauc {
    bundle: Archive,
    image: PathBuf,
    target: PathBuf,
    status: PathBuf,
    config: PathBuf,
    bus: Child,
    address: String,
    service: Child,
}

impl Rauc {
    pub fn start(place: &Workplace, bundle: &Archive, image: &Path) -> Outcome<Self> {
        let (bus, address) = bus(place)?;
        let (target, other) = (place.path("target.img"), place.path("other.img"));
        fs::File::create(&other)?.set_len(place.size)?;
        let (config, status) = (place.path("rauc.conf"), place.path("rauc.status"));
        let mounts = place.path("rauc.mounts");
        fs::create_dir_all(&mounts)?;
        let slot = |index: u32, path: &Path, name: &str| {
            format!(
                "[slot.rootfs.{index}]\ndevice={}\ntype=raw\nbootname={name}\n",
                path.display()
            )
        };
        fs::write(
            &config,
            format!(
                "[system]\ncompatible=bench\nbootloader=noop\nbundle-formats=plain\nmountprefix={}\n\
                 statusfile={}\n[keyring]\npath={}\n{}{}",
                mounts.display(),
                status.display(),
                place.path("cert.pem").display(),
                slot(0, &target, "A"),
                slot(1, &other, "B")
            ),
        )?;
        let service = Command::new("rauc")
            .arg("-c")
            .arg(&config)
            .args(["--override-boot-slot=B", "service"])
            .env("DBUS_SYSTEM_BUS_ADDRESS", &address)
            .stdout(Stdio::null())
            .stderr(fs::File::create(place.path("rauc.log"))?)
            .spawn()?;
        let rauc = Self {
            bundle: bundle.clone(),
            image: image.to_owned(),
            target,
            status,
            config,
            bus,
            address,
            service,
        };
        rauc.await_service()?;
        Ok(rauc)
    }

    fn await_service(&self) -> Outcome {
        let begun = Instant::now();
        while !self.client("status").status()?.success() {
            if begun.elapsed() > PATIENCE {
                return Err("rauc's service does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn client(&self, action: &str) -> Command {
        let mut client = Command::new("rauc");
        client
            .arg("-c")
            .arg(&self.config)
            .arg(action)
            .env("DBUS_SYSTEM_BUS_ADDRESS", &self.address)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        client
    }
}

/// A bus that lets everybody do everything.
fn bus(place: &Workplace) -> Outcome<(Child, String)> {
    let (config, socket) = (place.path("bus.conf"), place.path("bus"));
    fs::write(
        &config,
        format!(
            r#"<busconfig><type>system</type><auth>EXTERNAL</auth><listen>unix:path={}</listen>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>"#,
            socket.display()
        ),
    )?;
    let mut bus = Command::new("dbus-daemon")
        .arg(format!("--config-file={}", config.display()))
        .args(["--nofork", "--nopidfile", "--print-address=1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut address = String::new();
    let output = bus.stdout.take().ok_or("a bus without output")?;
    BufReader::new(output).read_line(&mut address)?;
    Ok((bus, address.trim().to_owned()))
}

impl Contestant for Rauc {
    fn name(&self) -> &'static str {
        "RAUC, zstd bundle"
    }

    fn download(&self) -> u64 {
        self.bundle.bytes
    }

    fn promise(&self) -> &'static str {
        "verifies before it writes, syncs; from a local file"
    }

    fn install(&mut self) -> Outcome<Figures> {
        // It leaves out what it has installed already.
        let _ = fs::remove_file(&self.status);
        let (target, process) = (self.target.clone(), Process(self.service.id()));
        let figures = meter::daemon(process, std::slice::from_ref(&target), || {
            let status = self.client("install").arg(&self.bundle.path).status()?;
            if !status.success() {
                return Err(format!("rauc install: {status}").into());
            }
            shell::run(&format!("sync {}", shell::word(&target)))
        })?;
        shell::run(&format!(
            "cmp {} {}",
            shell::word(&self.target),
            shell::word(&self.image)
        ))?;
        Ok(figures)
    }
}

impl Drop for Rauc {
    fn drop(&mut self) {
        for child in [&mut self.service, &mut self.bus] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

//! A node with the real daemon, and the server that it asks.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use test_support::bus::PrivateBus;
use test_support::flatcar_disk;

use super::archives::Archive;
use super::process::Process;
use super::workplace::Workplace;
use super::{Outcome, shell};

/// Longer than any installation here takes.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the node runs; payloads bring something newer.
const VERSION: &str = "1.0.0";

/// `update_payload serve`.
pub struct Server {
    process: Child,
    /// As nodes want it.
    url: String,
}

/// To whom the server offers its payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// To the node.
    Newer,
    /// To nobody: the node runs that version.
    Same,
}

impl Server {
    /// Serves `payload` to the node, and another file beside.
    pub fn start(place: &Workplace, payload: &Archive, package: Option<&Path>) -> Outcome<Self> {
        Self::offering(place, payload, package, Offer::Newer)
    }

    pub fn offering(
        place: &Workplace,
        payload: &Archive,
        package: Option<&Path>,
        offer: Offer,
    ) -> Outcome<Self> {
        Self::serving(place, payload, package.map(|path| ("package", path)), offer)
    }

    fn serving(
        place: &Workplace,
        payload: &Archive,
        package: Option<(&str, &Path)>,
        offer: Offer,
    ) -> Outcome<Self> {
        let version = if offer == Offer::Newer { "2.0.0" } else { VERSION };
        let mut serve = Command::new(place.program("update_payload")?);
        serve
            .args([
                "serve",
                "--version",
                version,
                "--listen",
                "127.0.0.1:0",
                "--payload",
            ])
            .arg(&payload.path);
        if let Some((name, path)) = package {
            serve.arg("--package").arg(format!("{name}={}", path.display()));
        }
        let log = File::create(place.path("server.log"))?;
        let mut process = serve.stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut told = String::new();
        let output = process.stdout.take().ok_or("a server without output")?;
        BufReader::new(output).read_line(&mut told)?;
        let url = told.split_once("SERVER=").ok_or("the server did not start")?.1;
        Ok(Self {
            process,
            url: url.trim().to_owned(),
        })
    }

    /// Serves `payload`, and beside it the content payload of the same image.
    pub fn with_content(place: &Workplace, payload: &Archive, content: &Path) -> Outcome<Self> {
        let package = Some(("update.content", content));
        Self::serving(place, payload, package, Offer::Newer)
    }

    /// As nodes want it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the other file is.
    pub fn package_url(&self) -> String {
        self.url.replace("/v1/update/", "/packages/package")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// See the module.
pub struct Node {
    root: PathBuf,
    disk: PathBuf,
    slot_b: u64,
    size: u64,
    programs: [PathBuf; 2],
    daemon: Option<Child>,
}

impl Node {
    /// A node as it was installed, with `old` in slot A, if that is there.
    pub fn install(place: &Workplace, server: &Server) -> Outcome<Self> {
        Self::configured(place, &server.url, "")
    }

    /// Likewise; it asks `url`, and has further settings.
    pub fn configured(place: &Workplace, url: &str, settings: &str) -> Outcome<Self> {
        let (root, disk) = (place.path("root"), place.path("disk.img"));
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        let files: [(&str, String); 6] = [
            (
                "etc/flatcar/update.conf",
                format!("GROUP=stable\nSERVER={url}\n{settings}"),
            ),
            ("etc/machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4\n".to_owned()),
            ("boot/flatcar/vmlinuz-a", "kernel\n".repeat(1000)),
            ("var/lib/update_engine/prefs/.keep", String::new()),
            (
                "usr/share/flatcar/release",
                format!("FLATCAR_RELEASE_VERSION={VERSION}\n"),
            ),
            (
                "usr/share/update_engine/update-payload-key.pub.pem",
                fs::read_to_string(place.path("key.pub.pem"))?,
            ),
        ];
        for (name, content) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&root))?;
            fs::write(path, content)?;
        }
        fs::create_dir_all(root.join("run"))?;
        std::os::unix::fs::symlink("../run", root.join("var/run"))?;
        let fresh = !disk.exists();
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&disk)?;
        let slots @ [_, slot_b] = flatcar_disk::partition(&file, place.size >> 20)?;
        if fresh {
            // As on a disk in use: nothing of it is a hole.
            for slot in slots {
                fill(&file, slot, &place.path("old.img"))?;
            }
        }
        file.sync_all()?;
        Ok(Self {
            root,
            disk,
            slot_b,
            size: place.size,
            programs: [
                place.program("update_engine")?,
                place.program("update_engine_client")?,
            ],
            daemon: None,
        })
    }

    /// Starts the daemon, and waits until it listens; the seconds that took.
    pub fn start(&mut self) -> Outcome<Duration> {
        let begun = Instant::now();
        let mut daemon = self.daemon()?;
        self.daemon = Some(daemon.arg("--bus_peer").arg(self.socket()).spawn()?);
        while UnixStream::connect(self.socket()).is_err() {
            if begun.elapsed() > PATIENCE {
                return Err(self.failure("the daemon does not listen").into());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(begun.elapsed())
    }

    /// Starts the daemon on `bus`.
    pub fn start_on(&mut self, bus: &PrivateBus) -> Outcome {
        let mut daemon = self.daemon()?;
        let address = bus.address();
        self.daemon = Some(daemon.env("DBUS_SYSTEM_BUS_ADDRESS", address).spawn()?);
        Ok(())
    }

    /// The daemon, as it is about to be started.
    fn daemon(&self) -> Outcome<Command> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let [daemon, _] = &self.programs;
        let mut daemon = Command::new(daemon);
        daemon
            .args([
                "-foreground",
                "-logtostderr",
                "--skip-postinst",
                "--running-slot",
                "A",
                "--root",
            ])
            .arg(&self.root)
            .arg("--disk")
            .arg(&self.disk)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Ok(daemon)
    }

    /// The directory that stands for `/`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The daemon.
    pub fn process(&self) -> Process {
        Process(self.daemon.as_ref().map_or(0, Child::id))
    }

    /// The files whose page cache is the daemon's: the disk, and its state.
    pub fn files(&self) -> Vec<PathBuf> {
        vec![self.disk.clone(), self.root.join("boot/flatcar/vmlinuz-a")]
    }

    /// Has the daemon check, and waits for the end of what follows; `ends` is the status that it
    /// must end in.
    pub fn check(&self, ends: &str) -> Outcome {
        let mut watch = self.client("-watch_for_updates").stderr(Stdio::piped()).spawn()?;
        let told = BufReader::new(watch.stderr.take().ok_or("a client without output")?);
        let mut told = told.lines();
        // It has said so once it listens.
        told.next().transpose()?;
        std::thread::sleep(Duration::from_millis(100));
        let status = self.client("-check_for_update").stderr(Stdio::null()).status()?;
        if !status.success() {
            return Err(self.failure("the check was refused").into());
        }
        let mut last = String::new();
        for line in told {
            let line = line?;
            if let Some((_, operation)) = line.split_once("current_operation: ") {
                operation.trim().clone_into(&mut last);
                if last.ends_with("IDLE") || last.ends_with("NEED_REBOOT") {
                    break;
                }
            }
        }
        watch.kill()?;
        watch.wait()?;
        if last.ends_with(ends) {
            return Ok(());
        }
        Err(self.failure(&format!("it ended in {last:?}")).into())
    }

    /// Compares slot B with `image`.
    pub fn expect_slot_b(&self, image: &Path) -> Outcome {
        shell::run(&format!(
            "cmp --ignore-initial={}:0 --bytes={} {} {}",
            self.slot_b,
            self.size,
            shell::word(&self.disk),
            shell::word(&image)
        ))
    }

    /// Stops the daemon as systemd does.
    pub fn stop(&mut self) -> Outcome {
        if let Some(mut daemon) = self.daemon.take() {
            kill(Pid::from_raw(daemon.id().try_into()?), Signal::SIGTERM)?;
            daemon.wait()?;
        }
        Ok(())
    }

    fn client(&self, action: &str) -> Command {
        let [_, client] = &self.programs;
        let mut client = Command::new(client);
        client
            .arg(action)
            .arg("-bus_peer")
            .arg(self.socket())
            .stdout(Stdio::null());
        client
    }

    /// Short: a socket's path may not be long.
    fn socket(&self) -> PathBuf {
        self.root.with_file_name("daemon.socket")
    }

    fn log(&self) -> PathBuf {
        self.root.with_file_name("daemon.log")
    }

    fn failure(&self, what: &str) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("{what}:\n{}", lines[lines.len().saturating_sub(10)..].join("\n"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn fill(disk: &File, mut at: u64, image: &Path) -> Outcome {
    let mut image = File::open(image)?;
    let mut piece = vec![0; 1 << 20];
    loop {
        let count = image.read(&mut piece)?;
        if count == 0 {
            return Ok(());
        }
        disk.write_all_at(&piece[..count], at)?;
        at += count as u64;
    }
}

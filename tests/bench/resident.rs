//! Daemon and reboot manager at rest.

use std::fs;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use test_support::bus::{Accounts, PrivateBus};

use super::archives::Archives;
use super::figures::seconds;
use super::node::{Node, Offer, Server};
use super::process::Process;
use super::workplace::Workplace;
use super::{Outcome, shell};

/// How long each is watched doing nothing.
const WATCH: Duration = Duration::from_secs(10);

/// How often what is short is repeated; the median counts.
const TIMES: usize = 5;

#[derive(Debug, Clone, Serialize)]
pub struct Resident {
    /// Seconds from its start until it listens.
    pub start: f64,
    /// Seconds for a check that offers nothing.
    pub check: f64,
    /// Resident size in KiB: started, and after an update.
    pub idle_kib: u64,
    pub idle_after_kib: u64,
    /// How often its threads wake up in a minute.
    pub wakeups: u64,
    /// Of the stripped program, in bytes.
    pub binary: u64,
    /// The reboot manager.
    pub manager: ManagerAtRest,
}

#[derive(Debug, Clone, Serialize)]
pub struct ManagerAtRest {
    /// Resident size in KiB, once no reboot is wanted.
    pub idle_kib: u64,
    /// How often its threads wake up in a minute.
    pub wakeups: u64,
    /// Of the stripped program, in bytes.
    pub binary: u64,
}

pub fn measure(place: &Workplace, archives: &Archives) -> Outcome<Resident> {
    println!("the daemon at rest");
    let (starts, checks) = short(place, archives)?;
    let server = Server::start(place, &archives.v2, None)?;
    let mut node = Node::install(place, &server)?;
    node.start()?;
    thread::sleep(Duration::from_secs(1));
    let idle_kib = node.process().resident()?;
    let before = node.process().sleeps()?;
    thread::sleep(WATCH);
    let woken = node.process().sleeps()?.saturating_sub(before);
    node.check("NEED_REBOOT")?;
    thread::sleep(Duration::from_secs(2));
    let idle_after_kib = node.process().resident()?;
    node.stop()?;
    Ok(Resident {
        start: middle(starts),
        check: middle(checks),
        idle_kib,
        idle_after_kib,
        wakeups: woken * 60 / WATCH.as_secs(),
        binary: stripped(place, "update_engine")?,
        manager: manager(place, archives)?,
    })
}

fn manager(place: &Workplace, archives: &Archives) -> Outcome<ManagerAtRest> {
    const PROGRAM: &str = "update_reboot_manager";
    println!("the reboot manager at rest");
    let server = Server::offering(place, &archives.v2, None, Offer::Same)?;
    let bus = PrivateBus::start(Accounts::Ours);
    let mut node = Node::install(place, &server)?;
    node.start_on(&bus)?;
    let program = place.program(PROGRAM)?;
    let mut manager = bus.process(&program.to_string_lossy());
    manager.arg("-root").arg(node.root()).stderr(Stdio::null());
    let manager = Running(manager.spawn()?);
    let process = Process(manager.0.id());
    let status = node.root().join("run/update-reboot-manager/status.json");
    let begun = Instant::now();
    while !fs::read_to_string(&status).is_ok_and(|status| status.contains("\"idle\"")) {
        if begun.elapsed() > WATCH {
            return Err("the reboot manager is not idle".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_secs(1));
    let before = process.sleeps()?;
    thread::sleep(WATCH);
    let woken = process.sleeps()?.saturating_sub(before);
    Ok(ManagerAtRest {
        idle_kib: process.resident()?,
        wakeups: woken * 60 / WATCH.as_secs(),
        binary: stripped(place, PROGRAM)?,
    })
}

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn short(place: &Workplace, archives: &Archives) -> Outcome<(Vec<f64>, Vec<f64>)> {
    let server = Server::offering(place, &archives.v2, None, Offer::Same)?;
    let (mut starts, mut checks) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let mut node = Node::install(place, &server)?;
        starts.push(seconds(node.start()?));
        let begun = Instant::now();
        node.check("IDLE")?;
        checks.push(seconds(begun.elapsed()));
        node.stop()?;
    }
    Ok((starts, checks))
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn stripped(place: &Workplace, program: &str) -> Outcome<u64> {
    let copy = place.path("stripped");
    let program = place.program(program)?;
    // The release profile strips already; other builds are stripped here, where there is a strip.
    fs::copy(&program, &copy)?;
    let _ = shell::run(&format!("strip {}", shell::word(&copy)));
    let length = fs::metadata(&copy)?.len();
    fs::remove_file(copy)?;
    Ok(length)
}

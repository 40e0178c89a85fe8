//! Taking the figures of an installation.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::Outcome;
use super::figures::{Figures, seconds};
use super::process::Process;

/// Between two looks at the page cache.
const GLANCE: Duration = Duration::from_millis(200);

/// Runs `script` as an installer, all of whose processes end with it. `files` are those whose page
/// cache is watched: the target, and what the installer keeps of its own.
pub fn script(script: &str, files: &[PathBuf]) -> Outcome<Figures> {
    let cache = Cache::watch(files)?;
    let account = tempfile::NamedTempFile::new()?;
    let before = Process(0).written()?;
    let begun = Instant::now();
    let output = Command::new("time")
        .args(["--quiet", "--format=%U %S %M", "--output"])
        .arg(account.path())
        .args(["bash", "-o", "pipefail", "-c", script])
        .output()?;
    let wall = seconds(begun.elapsed());
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{script}: {}: {told}", output.status).into());
    }
    let told = std::fs::read_to_string(account.path())?;
    let numbers: Vec<f64> = told
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [user, kernel, peak] = numbers[..] else {
        return Err("time prints something else".into());
    };
    let (cache_peak, cache_left) = cache.end()?;
    Ok(Figures {
        wall,
        cpu: user + kernel,
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and small"
        )]
        peak_kib: peak as u64,
        written: Process(0).written()?.saturating_sub(before),
        cache_peak,
        cache_left,
    })
}

/// Measures what `process` does while `work` runs, which takes until everything is on the medium.
pub fn daemon(process: Process, files: &[PathBuf], work: impl FnOnce() -> Outcome) -> Outcome<Figures> {
    let cache = Cache::watch(files)?;
    process.forget_peak()?;
    let (cpu, written) = (process.cpu()?, process.written()?);
    let begun = Instant::now();
    work()?;
    let wall = seconds(begun.elapsed());
    let (cache_peak, cache_left) = cache.end()?;
    Ok(Figures {
        wall,
        cpu: seconds(process.cpu()?.saturating_sub(cpu)),
        peak_kib: process.peak()?,
        written: process.written()?.saturating_sub(written),
        cache_peak,
        cache_left,
    })
}

/// Writes `file` out and drops it from the page cache.
pub fn forget(file: &Path) -> Outcome {
    let file = File::open(file)?;
    file.sync_all()?;
    Ok(posix_fadvise(
        &file,
        0,
        0,
        PosixFadviseAdvice::POSIX_FADV_DONTNEED,
    )?)
}

/// Looks at the page cache of some files, from when none of them is in it.
struct Cache {
    files: Vec<PathBuf>,
    stop: Sender<()>,
    sampler: JoinHandle<u64>,
}

impl Cache {
    fn watch(files: &[PathBuf]) -> Outcome<Self> {
        for file in files {
            forget(file)?;
        }
        let (stop, stopped) = mpsc::channel();
        let watched = files.to_vec();
        let sampler = thread::spawn(move || {
            let mut peak = 0;
            while stopped.recv_timeout(GLANCE) == Err(RecvTimeoutError::Timeout) {
                peak = peak.max(cached(&watched).unwrap_or(0));
            }
            peak
        });
        Ok(Self {
            files: files.to_vec(),
            stop,
            sampler,
        })
    }

    /// Bytes in the cache: most at a time, and now.
    fn end(self) -> Outcome<(u64, u64)> {
        let left = cached(&self.files)?;
        drop(self.stop);
        let peak = self.sampler.join().map_err(|_| "the cache's watcher died")?;
        Ok((peak.max(left), left))
    }
}

fn cached(files: &[PathBuf]) -> Outcome<u64> {
    let output = Command::new("fincore")
        .args(["--bytes", "--noheadings", "--raw", "--output", "RES"])
        .args(files)
        .output()?;
    let numbers = String::from_utf8(output.stdout)?;
    Ok(numbers
        .split_whitespace()
        .map(str::parse::<u64>)
        .sum::<Result<_, _>>()?)
}

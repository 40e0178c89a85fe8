//! What is measured of one run, and what stands for several.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One installation.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Seconds, until everything is on the medium.
    pub wall: f64,
    /// Seconds of processor time, of the installer and what it starts.
    pub cpu: f64,
    /// Largest resident size of a single process.
    pub peak_kib: u64,
    /// Bytes written to storage.
    pub written: u64,
    /// Page cache of the target and of the installer's own files: most at a time, and in the end.
    pub cache_peak: u64,
    pub cache_left: u64,
}

impl Figures {
    /// Each figure's median.
    pub fn median(runs: &[Self]) -> Self {
        let float = |of: fn(&Self) -> f64| median(runs.iter().map(of).collect(), f64::total_cmp);
        let whole = |of: fn(&Self) -> u64| median(runs.iter().map(of).collect(), u64::cmp);
        Self {
            wall: float(|f| f.wall),
            cpu: float(|f| f.cpu),
            peak_kib: whole(|f| f.peak_kib),
            written: whole(|f| f.written),
            cache_peak: whole(|f| f.cache_peak),
            cache_left: whole(|f| f.cache_left),
        }
    }
}

fn median<T: Copy + Default>(mut values: Vec<T>, order: impl Fn(&T, &T) -> std::cmp::Ordering) -> T {
    values.sort_by(order);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Seconds with their fraction.
pub fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

//! Pressure stall information (PSI, `/proc/pressure`): the share of the last ten seconds in which
//! some task waited.

use super::Host;

/// A share in percent, 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// `None` unless it is 1 to 100.
    #[must_use]
    pub fn new(value: u8) -> Option<Self> {
        (1..=100).contains(&value).then_some(Self(value))
    }
}

/// Limits of pressure; `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PressureLimits {
    /// Limit for processes that wait for a processor.
    pub cpu: Option<Percent>,
    /// Limit for processes that wait for a disk.
    pub io: Option<Percent>,
    /// Limit for processes that wait for memory.
    pub memory: Option<Percent>,
}

impl PressureLimits {
    /// Whether there is no limit.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Host {
    /// Name of a resource that is above its limit now. Kernels without PSI report no pressure.
    /// Blocks for as long as the kernel takes to answer.
    #[must_use]
    pub fn under_pressure(&self, limits: &PressureLimits) -> Option<&'static str> {
        let resources = [("cpu", limits.cpu), ("io", limits.io), ("memory", limits.memory)];
        let exceeded = |(name, limit): (&'static str, Option<Percent>)| {
            let Percent(limit) = limit?;
            let text = std::fs::read_to_string(self.path(&format!("/proc/pressure/{name}"))).ok()?;
            (some_avg10(&text)? >= f32::from(limit)).then_some(name)
        };
        resources.into_iter().find_map(exceeded)
    }
}

/// The share of time in percent, averaged over ten seconds, in which at least one process waited.
fn some_avg10(text: &str) -> Option<f32> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let value = some.split(' ').find_map(|field| field.strip_prefix("avg10="))?;
    value.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const IO: &str =
        "some avg10=12.34 avg60=1.00 avg300=0.00 total=1\nfull avg10=99.00 avg60=0.00 avg300=0.00 total=1\n";

    #[test]
    fn the_share_is_that_of_some_in_ten_seconds() {
        assert_eq!(some_avg10(IO), Some(12.34));
        for other in ["", "full avg10=5.00", "some avg60=5.00", "some avg10=x"] {
            assert_eq!(some_avg10(other), None, "{other}");
        }
    }

    #[test]
    fn only_a_resource_with_a_limit_is_looked_at_and_none_that_the_kernel_does_not_measure() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let directory = host.path("/proc/pressure");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("io"), IO).unwrap();
        let limits = |io, cpu| PressureLimits {
            cpu: Percent::new(cpu),
            io: Percent::new(io),
            memory: None,
        };
        assert_eq!(host.under_pressure(&limits(12, 1)), Some("io"));
        assert_eq!(host.under_pressure(&limits(13, 1)), None);
        assert_eq!(host.under_pressure(&limits(0, 1)), None);
    }

    #[test]
    fn percents_are_1_to_100() {
        assert_eq!(
            [0, 1, 100, 101].map(|value| Percent::new(value).is_some()),
            [false, true, true, false]
        );
    }
}

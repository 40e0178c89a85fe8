//! The command line.

use std::path::PathBuf;

/// Measures the update engine beside other installers, on this machine. Run it in release, as root,
/// on a quiet machine.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "bench")]
pub struct Arguments {
    /// Size of the image: a number of bytes, or with M or G at the end
    #[arg(long, default_value = "1G", value_parser = size)]
    pub size: u64,
    /// How often every contestant installs
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Where images and payloads lie
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub work: PathBuf,
    /// Where the report goes
    #[arg(long, value_name = "DIR", default_value = "docs/performance")]
    pub out: PathBuf,
    /// Takes images, payloads and their figures from an earlier run of the same size
    #[arg(long)]
    pub reuse: bool,
    /// Measures content payloads instead, of images made of two versions of Debian packages
    #[arg(long)]
    pub content: bool,
    /// Images to measure them with instead: the old one, the new one and its kernel
    #[arg(long, num_args = 3, value_names = ["OLD", "NEW", "KERNEL"], requires = "content")]
    pub images: Vec<PathBuf>,
    /// Where update-engine's programs lie, unless they were built beside this one
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// Only contestants, or pairs of images, whose name contains one of these
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
}

fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix('G') {
        Some(digits) => (digits, 1 << 30),
        None => text
            .strip_suffix('M')
            .map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    let number: u64 = digits.parse().map_err(|error| format!("{error}"))?;
    let bytes = number.checked_mul(unit).ok_or("more than there is")?;
    if bytes < 64 << 20 || bytes % (1 << 20) != 0 {
        return Err("whole MiB, 64 at least".to_owned());
    }
    Ok(bytes)
}

impl Arguments {
    /// Whether the contestant of this name takes part.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}

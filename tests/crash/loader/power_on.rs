//! One power-on: from the firmware's call of the slot loader to the kernel that takes the machine
//! over.

use std::any::Any;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use slot_loader::{Chipset, Machine, Sha256Digest};

use super::medium::{Fault, Lasting, Medium};
use crate::device::Device;
use crate::loss::{Kind, Loss};

/// A machine that is powered on, until a kernel takes it over.
struct PowerOn<'a> {
    medium: Medium<'a>,
    /// What a cut would have left when the first kernel was looked for.
    first_look: Option<Vec<u8>>,
    said: String,
}

/// A kernel runs: the loader is no more.
struct TakenOver(char);

impl<'a> Machine for PowerOn<'a> {
    type Disk = Medium<'a>;
    type Kernel = char;
    type Error = Fault;

    fn disk(&mut self) -> &mut Medium<'a> {
        &mut self.medium
    }

    fn read(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Fault> {
        if path.starts_with("\\flatcar\\vmlinuz-") {
            let device = &self.medium.device;
            let durable = || device.whole(&device.after(&mut Loss::new(Kind::Lost, 0, 0)));
            self.first_look.get_or_insert_with(durable);
            return Ok(Some(vec![b'k'; limit.min(64)]));
        }
        Ok(None)
    }

    fn digest(&mut self, _: &str) -> Result<Sha256Digest, Fault> {
        Err(Fault)
    }

    fn chipset(&mut self) -> Option<&mut dyn Chipset> {
        None
    }

    fn load(&mut self, path: &str, _: &str) -> Result<char, Fault> {
        path.chars().last().ok_or(Fault)
    }

    fn start(&mut self, kernel: char) -> Fault {
        resume_unwind(Box::new(TakenOver(kernel)))
    }

    fn say(&mut self, line: fmt::Arguments<'_>) {
        write!(self.said, "{line}; ").expect("a String takes everything");
    }
}

/// What one power-on came to.
pub(crate) struct Booted {
    /// 3 or 4.
    pub(crate) slot: u8,
    /// What a cut right after the kernel's start leaves at least.
    pub(crate) disk: Vec<u8>,
    /// The same of the moment when its file was looked for.
    pub(super) first_look: Vec<u8>,
    pub(super) writes: usize,
}

pub(super) fn power_on(
    disk: Vec<u8>,
    sector: usize,
    fails: Option<(usize, Lasting)>,
    witness: &mut dyn FnMut(&Device, usize, &str),
) -> Result<Booted, String> {
    let mut machine = PowerOn {
        medium: Medium {
            device: Device::new(disk.clone(), sector),
            live: disk,
            sector,
            calls: 0,
            fails,
            witness,
        },
        first_look: None,
        said: String::new(),
    };
    let ended = catch_unwind(AssertUnwindSafe(|| slot_loader::boot(&mut machine)));
    match ended.map_err(<Box<dyn Any + Send>>::downcast::<TakenOver>) {
        Ok(reason) => Err(format!("the slot loader gives up: {reason} ({})", machine.said)),
        Err(Err(panic)) => resume_unwind(panic),
        Err(Ok(kernel)) => Ok(Booted {
            slot: if kernel.0 == 'a' { 3 } else { 4 },
            disk: durable(&machine.medium.device),
            first_look: machine.first_look.unwrap_or_default(),
            writes: machine.medium.calls,
        }),
    }
}

fn durable(device: &Device) -> Vec<u8> {
    device.whole(&device.after(&mut Loss::new(Kind::Lost, 0, 0)))
}

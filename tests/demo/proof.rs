//! What the story claims, read back from the disk image and the boot directory.

use std::fs;

use slots::Priority;
use update_engine::disk::SlotName;

use super::Outcome;
use super::node::Node;
use super::payloads::Payload;
use super::screen::say;

impl Node {
    /// The slot's bytes on the disk are the image's.
    pub fn expect_slot_holds(&self, slot: SlotName, payload: &Payload) -> Outcome {
        let target = self.slots()?.open_source(slot)?;
        let mut bytes = vec![0; payload.image.len()];
        target.read_at(&mut bytes, 0)?;
        if bytes != payload.image {
            return Err(format!("{slot} does not hold {}", payload.version).into());
        }
        say(&format!(
            "{slot} on the disk is {}'s image, byte for byte",
            payload.version
        ));
        Ok(())
    }

    /// The kernel of `slot` is the payload's.
    pub fn expect_kernel(&self, slot: SlotName, payload: &Payload) -> Outcome {
        let path = self.path(&format!("boot/flatcar/vmlinuz-{}", slot.letter()));
        if fs::read(&path)? != payload.kernel {
            return Err(format!("{} is not {}'s kernel", path.display(), payload.version).into());
        }
        Ok(())
    }

    /// `slot` boots, today and tomorrow.
    pub fn expect_good(&self, slot: SlotName) -> Outcome {
        let attributes = self.slots()?.attributes(slot)?;
        if attributes.is_successful() && attributes.priority() > Priority::NEVER && self.running == slot {
            return Ok(());
        }
        Err(format!("{slot} is not good: {attributes}").into())
    }

    /// `slot` has `priority`.
    pub fn expect_priority(&self, slot: SlotName, priority: Priority) -> Outcome {
        let attributes = self.slots()?.attributes(slot)?;
        if attributes.priority() == priority {
            return Ok(());
        }
        Err(format!("{slot} has another priority: {attributes}").into())
    }
}

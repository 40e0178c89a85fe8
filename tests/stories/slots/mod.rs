//! The disk with the slots: its table, growth, lock, and finding the running slot.

mod boot_risks;
mod device;
mod disk;
mod foreign_disks;
mod growth;
mod lock;
mod merged_extensions;

//! The kernel calls that have no safe form: sector size, read-only flag, loop devices, a thread's
//! claims, memory that was freed, watchdogs.
//!
//! The only unsafe code of the project. Each function is a whole operation: no descriptor, pointer
//! or half-filled structure leaves this file. Numbers and layouts are those of `linux/fs.h`,
//! `linux/blkpg.h`, `linux/loop.h`, `linux/ioprio.h` and `linux/watchdog.h`.
#![allow(
    unsafe_code,
    reason = "kernel calls pass pointers; every call site says why it is sound"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::libc::{self, c_int, c_long};

/// What `BLKPG` does to a partition.
const BLKPG_ADD_PARTITION: c_int = 1;
const BLKPG_DEL_PARTITION: c_int = 2;

nix::ioctl_read_bad!(blksszget, 0x1268, c_int);
nix::ioctl_write_ptr_bad!(blkroset, 0x125d, c_int);
nix::ioctl_write_ptr_bad!(blkpg, 0x1269, PartitionCall);
nix::ioctl_none_bad!(loop_ctl_get_free, 0x4c82);
nix::ioctl_write_ptr_bad!(loop_configure, 0x4c0a, LoopConfig);
nix::ioctl_readwrite!(watchdog_set_timeout, b'W', 6, c_int);
nix::ioctl_read!(watchdog_keep_alive, b'W', 5, c_int);
nix::ioctl_read!(watchdog_set_options, b'W', 4, c_int);

const WDIOS_DISABLECARD: c_int = 1;

const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// `struct loop_info64`.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    names_and_key: [u8; 64 + 64 + 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct PartitionCall {
    op: c_int,
    flags: c_int,
    len: c_int,
    data: *const PartitionPlace,
}

/// `struct blkpg_partition`.
#[repr(C)]
struct PartitionPlace {
    start: i64,
    len: i64,
    number: c_int,
    names: [u8; 64 + 64],
}

/// Makes `len` bytes of `disk` from `start` on its partition `number`, to the kernel: nothing is
/// written.
pub(super) fn add_partition(disk: &File, number: u32, (start, len): (u64, u64)) -> io::Result<()> {
    call_for_partition(disk, BLKPG_ADD_PARTITION, number, (start, len))
}

/// The kernel forgets partition `number` of `disk`, unless somebody has it open.
pub(super) fn remove_partition(disk: &File, number: u32) -> io::Result<()> {
    call_for_partition(disk, BLKPG_DEL_PARTITION, number, (0, 0))
}

fn call_for_partition(disk: &File, op: c_int, number: u32, (start, len): (u64, u64)) -> io::Result<()> {
    let place = PartitionPlace {
        start: i64::try_from(start).map_err(io::Error::other)?,
        len: i64::try_from(len).map_err(io::Error::other)?,
        number: c_int::try_from(number).map_err(io::Error::other)?,
        names: [0; 128],
    };
    let call = PartitionCall {
        op,
        flags: 0,
        len: c_int::try_from(size_of::<PartitionPlace>()).map_err(io::Error::other)?,
        data: &raw const place,
    };
    // SAFETY: the descriptor is open for the whole call; the kernel only reads both structures, which
    // have its layout and live until the call returns.
    unsafe { blkpg(disk.as_raw_fd(), &raw const call) }?;
    Ok(())
}

/// Logical sector size of a block device, in bytes.
pub(super) fn sector_size(device: &File) -> io::Result<u32> {
    let mut size: c_int = 0;
    // SAFETY: the descriptor is open for the whole call, and the kernel writes one int to a live
    // int.
    unsafe { blksszget(device.as_raw_fd(), &raw mut size) }?;
    u32::try_from(size).map_err(|_| io::Error::other(format!("sector size {size}")))
}

/// Whether a block device may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteAccess {
    ReadOnly,
    ReadWrite,
}

/// Sets or clears the read-only flag of a block device; descriptors that are open for writing keep
/// writing.
pub(super) fn set_access(device: &File, access: WriteAccess) -> io::Result<()> {
    let read_only = c_int::from(access == WriteAccess::ReadOnly);
    // SAFETY: the descriptor is open for the whole call, and the kernel reads one int from a live
    // int.
    unsafe { blkroset(device.as_raw_fd(), &raw const read_only) }?;
    Ok(())
}

/// Number of a loop device that nobody uses; somebody else may take it before we do.
pub(super) fn free_loop(control: &File) -> io::Result<u32> {
    // SAFETY: no pointer is passed.
    let number = unsafe { loop_ctl_get_free(control.as_raw_fd()) }?;
    u32::try_from(number).map_err(|_| io::Error::other(format!("loop device {number}")))
}

/// What a loop device is set up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoopKind {
    /// Its bytes are read, and can't be written.
    ReadOnly,
    /// Reading and writing, in sectors of so many bytes.
    Writable {
        /// 512 or 4096.
        sector: u32,
    },
}

/// Backs `device` by `len` bytes of `file` from `offset` on, until the last user closes it.
/// Writing also takes descriptors that are open for it.
pub(super) fn attach_loop(
    device: &File,
    file: &File,
    (offset, len): (u64, u64),
    kind: LoopKind,
) -> io::Result<()> {
    let fd = u32::try_from(file.as_raw_fd()).map_err(io::Error::other)?;
    let (block_size, flags) = match kind {
        LoopKind::ReadOnly => (0, LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR),
        LoopKind::Writable { sector } => (sector, LO_FLAGS_AUTOCLEAR),
    };
    let config = LoopConfig {
        fd,
        block_size,
        info: LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset,
            size_limit: len,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags,
            names_and_key: [0; 160],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: both descriptors are open for the whole call; the kernel only reads the structure,
    // which has its layout and lives until the call returns.
    unsafe { loop_configure(device.as_raw_fd(), &raw const config) }?;
    Ok(())
}

/// Sets the time-out of an open watchdog, which begins anew; gives the time-out that it has then, in
/// seconds.
pub(crate) fn set_watchdog_timeout(device: &File, seconds: u32) -> io::Result<u32> {
    let mut timeout = c_int::try_from(seconds).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for the whole call, and the kernel reads and writes one int that
    // lives until it returns.
    unsafe { watchdog_set_timeout(device.as_raw_fd(), &raw mut timeout) }?;
    u32::try_from(timeout).map_err(|_| io::Error::other(format!("a time-out of {timeout} s")))
}

/// Feeds an open watchdog: its time-out begins anew.
pub(crate) fn feed_watchdog(device: &File) -> io::Result<()> {
    let mut ignored: c_int = 0;
    // SAFETY: the descriptor is open for the whole call; drivers ignore the argument or write one
    // int to it, which lives until the call returns.
    unsafe { watchdog_keep_alive(device.as_raw_fd(), &raw mut ignored) }?;
    Ok(())
}

/// Stops an open watchdog. Some drivers can't, and some kernels let none.
pub(crate) fn disable_watchdog(device: &File) -> io::Result<()> {
    let mut options = WDIOS_DISABLECARD;
    // SAFETY: the descriptor is open for the whole call, and the kernel reads one int that lives until
    // it returns.
    unsafe { watchdog_set_options(device.as_raw_fd(), &raw mut options) }?;
    Ok(())
}

/// How the scheduler treats a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheduling {
    /// As one that need not react.
    Batch,
    /// As one that gets what nobody else wants.
    Idle,
}

/// How the disk's scheduler treats a thread, where it has one that cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IoClass {
    /// Best effort, lowest level.
    BestEffortLast,
    /// Nothing while others want the disk.
    Idle,
}

const IOPRIO_CLASS_SHIFT: c_int = 13;
const IOPRIO_WHO_PROCESS: c_int = 1;

/// Sets the calling thread's scheduling policy: to Linux, 0 is the thread that calls.
pub(super) fn schedule_this_thread(scheduling: Scheduling) -> io::Result<()> {
    let policy = match scheduling {
        Scheduling::Batch => libc::SCHED_BATCH,
        Scheduling::Idle => libc::SCHED_IDLE,
    };
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads one structure that lives until the call returns.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    told(result.into())
}

/// Sets the calling thread's nice value to 19, likewise.
pub(super) fn make_this_thread_nice() -> io::Result<()> {
    // SAFETY: no pointer is passed.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
    told(result.into())
}

/// Sets the calling thread's I/O class, likewise.
pub(super) fn set_io_class_of_this_thread(class: IoClass) -> io::Result<()> {
    let (class, level) = match class {
        IoClass::BestEffortLast => (2, 7),
        IoClass::Idle => (3, 0),
    };
    let value = class << IOPRIO_CLASS_SHIFT | level;
    // SAFETY: no pointer is passed; the call takes three ints.
    told(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) })
}

/// Has all threads share one heap. The C library gives back only that one's end when it is asked
/// to: each other one kept 5 MiB or so after an update. To be called before there are threads.
pub fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointer is passed; a setting that is refused changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives memory that was freed back to the system: the C library keeps it for the threads that used
/// it, which have gone by then. Others have no such call, and do so by themselves.
pub(crate) fn give_back_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointer is passed, and what is in use is not touched; any thread may call it at
    // any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn told(result: c_long) -> io::Result<()> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_size() {
        assert_eq!(size_of::<LoopInfo>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
        assert_eq!(size_of::<PartitionPlace>(), 152);
        assert_eq!(size_of::<PartitionCall>(), 24);
    }
}

//! An update that waits for its reboot, and the managers that reboot.

mod etcd_cluster;
mod fleet_lock;
mod lock;
mod manager;
mod managers;
mod manners;
mod marker;
pub(crate) mod replacing;
mod restarts;

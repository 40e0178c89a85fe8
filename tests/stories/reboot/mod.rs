//! An update that waits for its reboot, and the managers that reboot.

mod etcd_cluster;
mod etcd_users;
mod fleet_lock;
mod lock;
mod locksmith_requests;
mod manager;
mod managers;
mod manners;
mod marker;
mod monitoring;
pub(crate) mod replacing;
mod restarts;
mod staged;

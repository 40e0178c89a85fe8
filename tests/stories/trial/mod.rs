//! A slot on trial: health, rollback, blame, and manual control.

pub(crate) mod blame;
mod deadline;
mod health;
mod manual_control;
mod regressions;
pub(crate) mod rollback;

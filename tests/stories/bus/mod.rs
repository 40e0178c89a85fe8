//! The interfaces on D-Bus: names, types, access, callers.

mod engine1;
mod libraries;
mod manager;
mod many_callers;
mod polkit;
mod unknown_calls;

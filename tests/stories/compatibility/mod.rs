//! Parity with the original: details, scripts and scenarios that others rely on.

mod air_gap;
mod kola;
mod parity;

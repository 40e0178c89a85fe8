//! The documents, held to the code and typed as they stand.

mod architecture;
mod documented_commands;
mod references;
mod runbooks;

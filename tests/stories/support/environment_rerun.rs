//! Tests of what the environment does: a process may not change its own, so the test runs again in
//! a child that was given another.

use std::process::Command;

use update_engine::host::subprocess::{NO_PROXY_VARIABLES, PROXY_VARIABLES};

/// Set in the child, to what the parent has to tell it.
const MESSAGE: &str = "UPDATE_ENGINE_TEST_MESSAGE";

/// What the parent said; nothing in the parent itself.
pub fn message() -> Option<String> {
    std::env::var(MESSAGE).ok()
}

/// The name by which a test of `module_path!()` is called on the command line: without its crate.
pub fn without_crate(test: &str) -> &str {
    test.split_once("::").unwrap().1
}

/// Runs the test called `test` (with its `module_path!()`) again with `variables` and no other
/// proxy or certificate settings, where [`message`] gives `message`.
pub fn again(test: &str, message: &str, variables: &[(&str, &str)]) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args([without_crate(test), "--exact", "--nocapture"])
        .env(MESSAGE, message);
    for name in PROXY_VARIABLES.iter().chain(&NO_PROXY_VARIABLES) {
        child.env_remove(name);
    }
    child.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
    let output = child.envs(variables.iter().copied()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test} with {variables:?}: {said}");
    assert!(said.contains("1 passed"), "there is no test {test}: {said}");
}

//! The references in `docs` say what the code does.

use std::path::PathBuf;

/// What stands before and after the generated part.
const BEGIN: &str = "see tests/stories/references.rs -->\n\n";
const END: &str = "\n\n<!-- end -->";

/// Holds the generated part of a document against `generated`; `UPDATE_REFERENCES=1` replaces it instead.
fn compare(document: &str, generated: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest
        .split_once(END)
        .unwrap_or(("", rest.split_once("<!-- end -->").unwrap().1));
    if std::env::var_os("UPDATE_REFERENCES").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{generated}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(
        found, generated,
        "{document}: run this test with UPDATE_REFERENCES=1"
    );
}

#[test]
fn the_configuration_reference_is_what_the_parser_reads() {
    compare("configuration.md", &update_engine::config::reference());
}

#[test]
fn the_error_reference_has_every_code() {
    compare("errors.md", &update_engine::omaha::reference());
}

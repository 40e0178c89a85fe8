//! The references in `docs` say what the code does.

use std::path::Path;

const END: &str = "\n\n<!-- end -->";

/// Holds the part of a document that is generated from `source` against `generated`; `UPDATE_REFERENCES=1`
/// replaces it instead.
fn compare(document: &str, source: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = format!(
        "<!-- generated from {source}; UPDATE_REFERENCES=1 writes it anew, see tests/stories/references.rs -->\n"
    );
    let (before, rest) = text.split_once(&begin).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_REFERENCES").is_some() {
        std::fs::write(&path, format!("{before}{begin}\n{generated}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(
        found.trim_start(),
        generated,
        "{document}: run this test with UPDATE_REFERENCES=1"
    );
}

#[test]
fn the_configuration_reference_is_what_the_parser_reads() {
    compare(
        "configuration.md",
        "src/config/table.rs",
        &update_engine::config::reference(),
    );
}

#[test]
fn the_error_reference_has_every_code() {
    compare(
        "errors.md",
        "src/omaha/advice.rs",
        &update_engine::omaha::reference(),
    );
}

#[test]
fn the_monitoring_reference_has_every_identifier_and_every_metric() {
    const DOCUMENT: &str = "monitoring.md";
    compare(
        DOCUMENT,
        "src/journal/notable.rs",
        &update_engine::journal::reference(),
    );
    compare(
        DOCUMENT,
        "src/monitoring/metrics.rs",
        &update_engine::monitoring::reference(),
    );
}

/// Names of tests, as `module::test`, between backquotes.
fn named(text: &str) -> Vec<(&str, &str)> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| !code.contains(' '))
        .filter_map(|code| code.split_once("::"))
        .collect()
}

fn sources(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path.to_str().unwrap().to_owned(), text));
        }
    }
}

#[test]
fn every_test_that_the_table_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![];
    for directory in ["src", "tests/stories"] {
        sources(&root.join(directory), &mut files);
    }
    let exists = |module: &str, test: &str| {
        let places = [format!("/{module}.rs"), format!("/{module}/")];
        files.iter().any(|(path, text)| {
            places.iter().any(|place| path.contains(place)) && text.contains(&format!("fn {test}("))
        })
    };
    let text = std::fs::read_to_string(root.join("docs/compatibility.md")).unwrap();
    let named: Vec<_> = named(&text)
        .into_iter()
        .filter(|(module, _)| *module != "module")
        .collect();
    assert!(named.len() > 70, "{} tests are named", named.len());
    let missing: Vec<_> = named
        .into_iter()
        .filter(|(module, test)| !exists(module, test))
        .collect();
    assert_eq!(missing, []);
}

/// The anchor that readers of Markdown make of a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

fn has_anchor(document: &Path, wanted: &str) -> bool {
    let text = std::fs::read_to_string(document).unwrap_or_default();
    let mut headings = text.lines().filter(|line| line.starts_with('#'));
    headings.any(|line| anchor(line.trim_start_matches('#')) == wanted)
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let in_docs = std::fs::read_dir(root.join("docs")).unwrap();
    let mut documents: Vec<_> = in_docs.map(|entry| entry.unwrap().path()).collect();
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents
        .extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root.join(name)));
    let (mut links, mut broken) = (0, vec![]);
    for document in &documents {
        let text = std::fs::read_to_string(document).unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            links += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let to = match file {
                "" => document.clone(),
                file => document.parent().unwrap().join(file),
            };
            if !to.exists() || !(heading.is_empty() || has_anchor(&to, heading)) {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(links > 100, "{links} links are found");
    assert_eq!(broken, Vec::<String>::new());
}

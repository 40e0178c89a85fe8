//! The references in `docs` say what the code does.

use std::path::Path;

const END: &str = "\n\n<!-- end -->";

/// Holds the part of a document that is generated from `source` against `generated`;
/// `UPDATE_REFERENCES=1` replaces it instead.
pub(super) fn compare(document: &str, source: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(document);
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = format!(
        "<!-- generated from {source}; UPDATE_REFERENCES=1 writes it anew, see tests/stories/docs/references.rs -->\n"
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
        "src/omaha/explanation.rs",
        &update_engine::omaha::reference(),
    );
}

#[test]
fn the_operators_guide_has_every_refusal() {
    compare(
        "operating.md",
        "src/omaha/refusal.rs",
        &update_engine::omaha::refusals(),
    );
}

#[test]
fn the_monitoring_reference_has_every_identifier_and_every_metric() {
    const DOCUMENT: &str = "monitoring.md";
    compare(
        DOCUMENT,
        "src/journal/message_id.rs",
        &update_engine::journal::reference(),
    );
    compare(
        DOCUMENT,
        "src/monitoring/metrics.rs",
        &update_engine::monitoring::reference(),
    );
}

#[test]
fn the_reboot_managers_page_has_every_setting_and_every_metric() {
    const DOCUMENT: &str = "reboots.md";
    compare(
        DOCUMENT,
        "src/reboot_lock/settings.rs",
        &update_engine::reboot_lock::manager_reference(),
    );
    compare(
        DOCUMENT,
        "src/reboot_manager/metrics.rs",
        &update_engine::reboot_manager::metrics_reference(),
    );
}

/// Names of tests, as `module::test` or `folder::module::test`, between backquotes.
fn named(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let codes = text.split('`').skip(1).step_by(2);
    codes
        .filter(|code| !code.contains(' '))
        .filter_map(|code| code.rsplit_once("::"))
}

/// Whether the source has a test of this name, not just a function.
fn has_test(source: &str, name: &str) -> bool {
    let (plain, waiting) = (format!("fn {name}("), format!("async fn {name}("));
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    let is_it = |line: &str| line.starts_with(&plain) || line.starts_with(&waiting);
    let Some(at) = lines.iter().position(|line| is_it(line)) else {
        return false;
    };
    let above = lines[..at].iter().rev();
    let mut attributes = above.take_while(|line| line.starts_with("#[") || line.starts_with("///"));
    attributes.any(|line| *line == "#[test]" || line.starts_with("#[tokio::test"))
}

/// The rows of a document's tables but for their heads: tables of two columns and more.
fn rows(text: &str) -> impl Iterator<Item = &str> {
    let lines = || text.lines();
    let is_head = lines().skip(1).map(|below| below.starts_with("|---"));
    let rows = lines().zip(is_head.chain([false]));
    rows.filter(|(line, is_head)| line.starts_with("| ") && !is_head)
        .map(|(line, _)| line)
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
fn every_point_of_the_table_has_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![];
    for directory in ["src", "tests/stories"] {
        sources(&root.join(directory), &mut files);
    }
    let exists = |(module, test): &(&str, &str)| {
        let module = module.replace("::", "/");
        let places = [format!("/{module}.rs"), format!("/{module}/")];
        files
            .iter()
            .any(|(path, text)| places.iter().any(|place| path.contains(place)) && has_test(text, test))
    };
    let text = std::fs::read_to_string(root.join("docs/compatibility.md")).unwrap();
    let rows: Vec<_> = rows(&text).collect();
    assert!(rows.len() > 90, "{} points are listed", rows.len());
    let unproven: Vec<_> = rows
        .into_iter()
        .filter(|row| named(row).next().is_none() || !named(row).all(|name| exists(&name)))
        .collect();
    assert_eq!(unproven, Vec::<&str>::new());
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

/// Whether `span` is the path of one source file, without a wildcard.
fn is_source(span: &str) -> bool {
    let is_path =
        span.starts_with("src/") || span.starts_with("tests/") || span.starts_with("payload-format/");
    let is_rust = Path::new(span)
        .extension()
        .is_some_and(|extension| extension == "rs");
    is_path && is_rust && !span.contains(['*', '{', ' '])
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let in_docs = std::fs::read_dir(root.join("docs")).unwrap();
    let mut documents: Vec<_> = in_docs.map(|entry| entry.unwrap().path()).collect();
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents
        .extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root.join(name)));
    let (mut links, mut paths, mut broken) = (0, 0, vec![]);
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
        // Source files are named in code spans, from the root.
        for path in text.split('`').filter(|span| is_source(span)) {
            paths += 1;
            if !root.join(path).exists() {
                broken.push(format!("{}: {path}", document.display()));
            }
        }
    }
    assert!(
        links > 100 && paths > 30,
        "{links} links and {paths} files are found"
    );
    assert_eq!(broken, Vec::<String>::new());
}

/// The text of all Rust files below `directory`.
fn source_below(directory: &Path) -> String {
    let files = super::architecture::files_below(directory);
    files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect()
}

#[test]
fn every_type_of_the_glossary_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source: String = ["src", "payload-format/src", "boot/slots/src", "boot/loader/src"]
        .iter()
        .map(|directory| source_below(&root.join(directory)))
        .collect();
    let glossary = std::fs::read_to_string(root.join("docs/glossary.md")).unwrap();
    let rows = glossary
        .lines()
        .filter(|line| line.starts_with("| ") && line.ends_with("` |"));
    let types: Vec<_> = rows.filter_map(|row| row.split('`').rev().nth(1)).collect();
    assert!(types.len() > 40, "{types:?}");
    let is_defined = |name: &&str| {
        ["struct", "enum", "trait"].iter().any(|kind| {
            let definition = format!("{kind} {name}");
            source.match_indices(&definition).any(|(at, _)| {
                let after = source[at + definition.len()..].chars().next();
                after.is_some_and(|next| !next.is_alphanumeric() && next != '_')
            })
        })
    };
    let missing: Vec<_> = types.into_iter().filter(|name| !is_defined(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

//! Which module of the library imports which: as docs/architecture.md says, without circles, on few
//! floors. And no name of a type has two meanings in one crate.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Module and the modules that it imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// The most floors that the library may have: a module stands one above the highest that it
/// imports.
const FLOORS: usize = 8;

/// All Rust files below `directory`.
pub(super) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// `source` up to its unit tests, which stand at its end.
fn product(source: &str) -> &str {
    let begins = source.match_indices("#[cfg(test)]\nmod ").map(|(at, _)| at);
    let mut tests = begins.filter(|at| {
        source[*at..]
            .lines()
            .nth(1)
            .is_some_and(|line| line.contains('{'))
    });
    tests.next().map_or(source, |at| &source[..at])
}

/// The modules that `source` names by `crate::`, but for comments and unit tests.
fn named_in(source: &str) -> BTreeSet<String> {
    let code = product(source)
        .lines()
        .map(|line| line.split("//").next().unwrap());
    let code: String = code.collect::<Vec<_>>().join("\n");
    let mut named = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        assert!(
            !rest.starts_with('{'),
            "one module a `use crate::`: {}",
            rest.lines().next().unwrap()
        );
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        named.insert(rest[..end].to_owned());
    }
    named
}

/// What the library's modules import, as their sources say.
fn imports() -> Imports {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut imports = Imports::new();
    for entry in fs::read_dir(&library).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if module == "lib" || module == "bin" {
            continue;
        }
        let files = if path.is_dir() {
            files_below(&path)
        } else {
            vec![path]
        };
        let named = files
            .iter()
            .flat_map(|file| named_in(&fs::read_to_string(file).unwrap()));
        imports.entry(module).or_default().extend(named);
    }
    let modules: BTreeSet<String> = imports.keys().cloned().collect();
    for (module, named) in &mut imports {
        named.retain(|name| name != module && modules.contains(name));
    }
    imports
}

/// The modules from the ground floor up. Panics if modules import each other in a circle.
fn floors(imports: &Imports) -> Vec<BTreeSet<&str>> {
    let mut floors: Vec<BTreeSet<&str>> = Vec::new();
    let mut below: BTreeSet<&str> = BTreeSet::new();
    while below.len() < imports.len() {
        let floor: BTreeSet<&str> = imports
            .iter()
            .filter(|(module, named)| {
                !below.contains(module.as_str()) && named.iter().all(|name| below.contains(name.as_str()))
            })
            .map(|(module, _)| module.as_str())
            .collect();
        let left = || imports.keys().filter(|module| !below.contains(module.as_str()));
        assert!(
            !floor.is_empty(),
            "a circle among {:?}",
            left().collect::<Vec<_>>()
        );
        below.extend(&floor);
        floors.push(floor);
    }
    floors
}

#[test]
fn every_import_goes_down_and_is_in_the_architectures_map() {
    let imports = imports();
    let floors = floors(&imports);
    assert!(floors.len() <= FLOORS, "{} floors: {floors:?}", floors.len());
    let mut map = String::from("| floor | module | imports |\n|---|---|---|");
    for (number, floor) in floors.iter().enumerate().rev() {
        for module in floor {
            let named: Vec<_> = imports[*module].iter().map(|name| format!("`{name}`")).collect();
            let named = if named.is_empty() {
                "nothing".to_owned()
            } else {
                named.join(", ")
            };
            write!(map, "\n| {number} | `{module}` | {named} |").unwrap();
        }
    }
    super::references::compare("architecture.md", "the imports of src", &map);
}

/// The modules with a file that names `word` outside of comments and unit tests.
fn modules_that_name(word: &str) -> BTreeSet<String> {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let naming = files_below(&library).into_iter().filter(|file| {
        let source = fs::read_to_string(file).unwrap();
        product(&source)
            .lines()
            .any(|line| line.split("//").next().unwrap().contains(word))
    });
    let module = |file: PathBuf| {
        let below = file.strip_prefix(&library).unwrap();
        let first = below.iter().next().unwrap().to_str().unwrap();
        first.trim_end_matches(".rs").to_owned()
    };
    naming.map(module).collect()
}

#[test]
fn the_bus_is_a_leaf_and_the_core_knows_no_d_bus() {
    let users = |imports: &Imports| {
        let users = imports.iter().filter(|(_, named)| named.contains("bus"));
        users.map(|(module, _)| module.clone()).collect::<Vec<_>>()
    };
    // Both are clients of the daemon.
    assert_eq!(users(&imports()), ["client", "reboot_manager"]);
    // `status` derives encodings of plain data; `host` has systemd's error in one of its own.
    let expected = ["bus", "client", "host", "reboot_manager", "status", "systemd"].map(str::to_owned);
    assert_eq!(modules_that_name("zbus"), BTreeSet::from(expected));
}

/// Whether `line` begins an item that only unit tests have, by the line before it.
fn is_for_tests(before: &str) -> bool {
    before == "#[cfg(test)]"
}

/// The files of `source` that `mod NAME;` below `#[cfg(test)]` declares: their path without `.rs`.
fn test_modules(file: &Path, source: &str) -> Vec<PathBuf> {
    let children = match file.file_stem().unwrap().to_str().unwrap() {
        "mod" | "lib" | "main" => file.parent().unwrap().to_owned(),
        _ => file.with_extension(""),
    };
    let lines = source.lines().zip(source.lines().skip(1));
    lines
        .filter(|(before, _)| is_for_tests(before))
        .filter_map(|(_, line)| line.rsplit_once("mod ")?.1.strip_suffix(';'))
        .map(|name| children.join(name))
        .collect()
}

/// The types that `source` defines at its top level, but for those of unit tests.
fn types_in(source: &str) -> impl Iterator<Item = &str> {
    let lines = || product(source).lines();
    let lines = std::iter::once("").chain(lines()).zip(lines());
    lines.filter_map(|(before, line)| {
        let item = match line.strip_prefix("pub(") {
            Some(restricted) => restricted.split_once(") ")?.1,
            None => line.strip_prefix("pub ").unwrap_or(line),
        };
        let (keyword, rest) = item.split_once(' ')?;
        let is_type = ["struct", "enum", "trait", "type", "union"].contains(&keyword);
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        (is_type && !is_for_tests(before)).then_some(&rest[..end.unwrap_or(rest.len())])
    })
}

/// The types that several of `files`, one crate's, define: each with these files.
fn types_with_two_meanings(files: &[PathBuf]) -> BTreeMap<String, Vec<PathBuf>> {
    let read = |file: &PathBuf| (file.clone(), fs::read_to_string(file).unwrap());
    let sources: Vec<_> = files.iter().map(read).collect();
    let tests: Vec<PathBuf> = sources
        .iter()
        .flat_map(|(file, source)| test_modules(file, source))
        .collect();
    let is_product = |file: &Path| {
        !tests
            .iter()
            .any(|test| file.with_extension("") == *test || file.starts_with(test))
    };
    let mut found = BTreeMap::<String, Vec<PathBuf>>::new();
    for (file, source) in sources.iter().filter(|(file, _)| is_product(file)) {
        for name in types_in(source) {
            found.entry(name.to_owned()).or_default().push(file.clone());
        }
    }
    found.retain(|_, files| files.len() > 1);
    found
}

#[test]
fn no_name_of_a_type_has_two_meanings_in_one_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = root.join("src");
    let mut crates = vec![files_below(&library)];
    crates[0].retain(|file| !file.starts_with(library.join("bin")));
    let others = [
        "payload-format/src",
        "boot/slots/src",
        "boot/loader/src",
        "vm-tests/src",
    ];
    crates.extend(others.map(|sources| files_below(&root.join(sources))));
    for program in fs::read_dir(library.join("bin")).unwrap() {
        let program = program.unwrap().path();
        crates.push(if program.is_dir() {
            files_below(&program)
        } else {
            vec![program]
        });
    }
    for files in crates {
        assert_eq!(types_with_two_meanings(&files), BTreeMap::new());
    }
}

#[test]
fn a_name_with_two_meanings_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, source: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, source).unwrap();
        path
    };
    let files = [
        file(
            "lib.rs",
            "mod a;\n#[cfg(test)]\nmod model;\n\nstruct Once;\npub struct Twice(u8);\n",
        ),
        file(
            "a.rs",
            "pub(super) enum Twice {}\n#[cfg(test)]\nmod tests {\nstruct Once;\n}\n",
        ),
        file("model/world.rs", "struct Once;\n"),
    ];
    let found = types_with_two_meanings(&files);
    let expected = BTreeMap::from([("Twice".to_owned(), vec![files[0].clone(), files[1].clone()])]);
    assert_eq!(found, expected);
}

#[test]
fn a_circle_of_imports_is_found() {
    let one = |from: &str, to: &str| (from.to_owned(), BTreeSet::from([to.to_owned()]));
    let circle = Imports::from([one("disk", "host"), one("host", "disk")]);
    let found = std::panic::catch_unwind(|| floors(&circle).len());
    assert!(found.is_err());
    let code = "use crate::disk::SlotName; // crate::omaha\n#[cfg(test)]\nmod tests { use crate::net; }";
    assert_eq!(named_in(code), BTreeSet::from(["disk".to_owned()]));
}

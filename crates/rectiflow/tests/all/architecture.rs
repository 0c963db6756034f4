//! The invariants of ARCHITECTURE.md that a machine can hold: arrows between rooms, where `unsafe` may stand,
//! how long a file may grow.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Each room and the rooms it may depend on. An arrow that is not here fails the test.
const ARROWS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("kernels", &[]),
    ("pickle", &[]),
    ("ranks", &[]),
    ("data", &["base", "pickle"]),
    ("media", &[]),
    ("flow", &["base", "kernels"]),
    ("methods", &["base", "flow"]),
    ("nets", &["base", "kernels", "pickle"]),
    ("metrics", &["base", "kernels", "nets", "pickle"]),
    ("train", &["base", "kernels", "flow", "nets", "data", "ranks"]),
    ("rectiflow", &["base", "kernels", "flow", "methods", "nets", "data", "metrics", "media", "ranks", "train"]),
    ("server", &["rectiflow"]),
    ("cli", &["rectiflow", "server"]),
    ("python", &["rectiflow"]),
];

/// The floors of the crate `rectiflow` from the ground up, and on each its modules: one uses those that stand before it, and none
/// behind. A new module has its place here; an arrow up fails the test.
const FLOORS: &[(&str, &[&str])] = &[
    (
        "ground",
        &[
            "error", "machine", "output", "device", "context", "host", "pictures", "streams", "sent", "assets",
            "report", "runs",
        ],
    ),
    ("recipe", &["scheduler_config", "schedules", "recipe", "overrides", "memory"]),
    (
        "records",
        &[
            "start",
            "subject",
            "facts",
            "symmetry",
            "release",
            "words",
            "shapes",
            "sight",
            "asked",
            "sound",
            "perceptual",
            "codec",
        ],
    ),
    (
        "pipeline",
        &[
            "pipeline",
            "model",
            "sampling",
            "note",
            "steerable",
            "one_more_step",
            "align",
            "pairs",
            "classifier",
            "separator",
            "round_trip",
            "judge",
            "released",
            "restoring",
            "editing",
            "toy",
        ],
    ),
    ("stages", &["sheets", "taught", "stage"]),
    ("verbs", &["verbs"]),
    ("served", &["serving"]),
];

/// Names that `lib.rs` says at the top, and the module each is of.
const AT_THE_TOP: &[(&str, &str)] = &[
    ("Context", "context"),
    ("Error", "error"),
    ("Event", "context"),
    ("Model", "model"),
    ("Recipe", "recipe"),
    ("Start", "start"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace root exists")
}

fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("crates"), &mut found);
    found
}

/// `rectiflow-flow` -> `flow`.
fn room(package: &str) -> &str {
    package.strip_prefix("rectiflow-").unwrap_or(package)
}

#[test]
fn dependencies_run_one_way() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let packages = metadata["packages"].as_array().expect("packages");
    let names: BTreeSet<&str> = packages.iter().map(|p| p["name"].as_str().expect("a name")).collect();
    assert_eq!(names.len(), ARROWS.len(), "every room has its line in ARROWS: {names:?}");
    for package in packages {
        let name = room(package["name"].as_str().expect("a name"));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let target = dependency["name"].as_str().expect("a name");
            let test_only = dependency["kind"] == "dev";
            if names.contains(target) && !test_only {
                assert!(allowed[name].contains(&room(target)), "{name} must not depend on {target}");
            }
        }
    }
}

#[test]
fn flow_and_methods_name_no_file_format_and_no_network() {
    for path in sources() {
        let inside = path.strip_prefix(root().join("crates")).expect("under crates");
        if !(inside.starts_with("flow/src") || inside.starts_with("methods/src")) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a readable source");
        for word in ["std::fs", "safetensors::", "image::", "nets::", "Unet", "println!"] {
            assert!(!text.contains(word), "{} names `{word}`", inside.display());
        }
    }
}

#[test]
fn unsafe_stands_in_kernels_alone() {
    for path in sources() {
        let inside = path.strip_prefix(root().join("crates")).expect("under crates");
        let text = fs::read_to_string(&path).expect("a readable source");
        let pardon = ["allow", "(unsafe_code)"].concat();
        assert!(inside.starts_with("kernels") || !text.contains(&pardon), "{} allows unsafe code", inside.display());
    }
}

#[test]
fn every_file_says_what_it_is_and_stays_one_idea_long() {
    for path in sources() {
        let text = fs::read_to_string(&path).expect("a readable source");
        let inside = path.strip_prefix(root()).expect("under the root").display().to_string();
        assert!(text.starts_with("//!") || text.starts_with("#!["), "{inside} does not open with a `//!` line");
        let lines = text.lines().count();
        assert!(lines <= 600, "{inside} has {lines} lines; split it by idea (soft limit 300, hard limit 600)");
    }
}

/// The words after `crate::` in `text`, those in braces among them, without comments and the tests at its end.
fn used(text: &str) -> BTreeSet<String> {
    let code: String = text
        .split("#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default().to_string() + "\n")
        .collect();
    let word =
        |text: &str| -> String { text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let mut found = BTreeSet::new();
    for (at, matched) in code.match_indices("crate::") {
        let rest = &code[at + matched.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let (mut depth, mut from) = (0, 0);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    found.insert(word(&group[from..i]));
                    from = i + 1;
                    if c == '}' {
                        break;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    found.remove("");
    found
}

/// Mutants: `use crate::verbs` in a stage; a module that no floor names; a pair of modules that use each other.
#[test]
fn the_floors_of_rectiflow_are_climbed_one_way() {
    let order: Vec<&str> = FLOORS.iter().flat_map(|(_, modules)| modules.iter().copied()).collect();
    let place = |module: &str| order.iter().position(|known| *known == module);
    let source = root().join("crates/rectiflow/src");
    let mut arrows = 0;
    for path in sources() {
        let Ok(inside) = path.strip_prefix(&source) else { continue };
        if inside == Path::new("lib.rs") || path.ends_with("tests.rs") {
            continue;
        }
        let module = inside.iter().next().expect("a file").to_string_lossy().replace(".rs", "");
        let here = place(&module).unwrap_or_else(|| panic!("`{module}` stands on no floor: give it one in FLOORS"));
        for word in used(&fs::read_to_string(&path).expect("a readable source")) {
            let target = AT_THE_TOP.iter().find(|(name, _)| *name == word).map_or(word.as_str(), |(_, module)| module);
            let Some(there) = place(target) else { continue }; // another crate's name at the top
            assert!(there <= here, "{}: `{module}` uses `{target}`, which stands above it", inside.display());
            arrows += usize::from(there < here);
        }
    }
    assert!(arrows > 300, "only {arrows} arrows were read");
    let grouped = used("use crate::{Error, codec::{Codec, raw}, verbs};\nlet x = crate::host::host(y); // crate::no\n");
    assert_eq!(grouped, BTreeSet::from(["Error", "codec", "verbs", "host"].map(String::from)));
}

/// A numbered draw under a seed stands in the list of `base::random_stream`, where two cannot have one number.
#[test]
fn draws_have_names() {
    for path in sources() {
        let text = fs::read_to_string(&path).expect("a readable source");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            let numbered = line.split("Key::new(").skip(1).any(|rest| {
                let after = rest.split(").fold(").nth(1).unwrap_or_default();
                after.starts_with(|c: char| c.is_ascii_digit())
            });
            let tests = path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "examples");
            assert!(tests || path.ends_with("tests.rs") || !numbered, "{}:{}: {line}", path.display(), number + 1);
        }
    }
}

/// The paths under `crates/` that a page names in backticks, each of `{a,b}` by itself; patterns with `*` are left out.
fn named(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for path in page.split('`').filter(|word| word.starts_with("crates/") && !word.contains(['*', ' ', '\n'])) {
        match path.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
            Some((before, (inside, after))) => {
                found.extend(inside.split(',').map(|one| format!("{before}{one}{after}")));
            }
            None => found.push(path.to_owned()),
        }
    }
    found
}

/// Pages name files that are there; the changelog may speak of what was.
///
/// Mutant: a path in `papers/sd3.md` without its folder.
#[test]
fn pages_name_files_that_are_there() {
    let mut seen = 0;
    for folder in ["", "docs", "papers"] {
        for entry in fs::read_dir(root().join(folder)).expect("a readable folder").flatten() {
            let page = entry.path();
            if page.extension().is_none_or(|ending| ending != "md") || page.ends_with("CHANGELOG.md") {
                continue;
            }
            for path in named(&fs::read_to_string(&page).expect("a readable page")) {
                assert!(root().join(&path).exists(), "{}: `{path}` is not there", page.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "only {seen} paths were read");
    assert_eq!(named("x `crates/a/{b,c/d}.rs` y `crates/e` `z`"), ["crates/a/b.rs", "crates/a/c/d.rs", "crates/e"]);
}

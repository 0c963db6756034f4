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
    ("data", &["base", "pickle"]),
    ("media", &[]),
    ("flow", &["base", "kernels"]),
    ("methods", &["base", "flow"]),
    ("nets", &["base", "kernels"]),
    ("metrics", &["base", "kernels", "pickle"]),
    ("train", &["base", "kernels", "flow", "nets", "data"]),
    ("rectiflow", &["base", "kernels", "flow", "methods", "nets", "data", "metrics", "media", "train"]),
    ("server", &["rectiflow"]),
    ("cli", &["rectiflow", "server"]),
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

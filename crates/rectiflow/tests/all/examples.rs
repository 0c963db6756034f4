//! The examples are short and run. `cargo test` builds them beside this test.

use std::{env, fs, path::Path, process::Command};

#[test]
fn examples_are_short_and_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let programs = env::current_exe().expect("this test is a file");
    let programs = programs.parent().and_then(Path::parent).expect("tests lie in <profile>/deps").join("examples");
    for entry in fs::read_dir(folder).expect("the examples' folder").flatten() {
        let path = entry.path();
        let text = fs::read_to_string(&path).expect("a readable example");
        let lines = text.lines().count();
        assert!(lines < 100, "{} has {lines} lines", path.display());
        // What a user depends on is one crate.
        for line in text.lines().filter(|line| line.starts_with("use ")) {
            let outside = !line.starts_with("use rectiflow::") && !line.starts_with("use std::");
            assert!(!outside, "{}: `{line}`", path.display());
        }
        let program = programs.join(path.file_stem().expect("a name")).with_extension(env::consts::EXE_EXTENSION);
        if !program.exists() {
            eprintln!("skipped: {} was not built (cargo test --test builds no examples)", program.display());
            continue;
        }
        // That it runs is asked here, not how well it learns.
        let small: &[&str] = match path.file_stem().and_then(|name| name.to_str()) {
            Some("mixture") => &["2560", "100", "5"],
            Some("adaptation") => &["12800"],
            _ => &[],
        };
        let output = Command::new(&program).args(small).output().expect("the example starts");
        assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    }
}

//! Every recipe in `recipes/` is one, says in its header what it costs and promises, and cites its paper.

mod every_key;

use rectiflow::{Recipe, codec::CodecRecipe, verbs::cite};
use std::{fs, path::Path};

fn recipes(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            recipes(&path, found);
        } else if path.extension().is_some_and(|e| e == "toml") {
            found.push(path);
        }
    }
}

#[test]
fn every_recipe_is_whole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let mut found = Vec::new();
    recipes(&root, &mut found);
    assert!(found.len() >= 4, "{found:?}");
    for path in found {
        let text = fs::read_to_string(&path).expect("a readable recipe");
        let name = path.display().to_string();
        if path.ends_with("demo/evaluate.toml") {
            continue; // the settings of figures, read by the demo's own test
        }
        for word in ["# paper ", "# cost ", "# expect ", "# command "] {
            assert!(text.contains(word), "{name} has no `{word}` in its header");
        }
        if text.contains("\n[codec]\n") {
            CodecRecipe::read(Some(&path), &[]).unwrap_or_else(|error| panic!("{error}"));
            continue;
        }
        let recipe = Recipe::parse(&text, &name).unwrap_or_else(|error| panic!("{error}"));
        assert!(!cite::papers(&recipe).is_empty());
    }
}

//! Every command that a page shows is one this program understands.

use super::{Cli, numbers_may_be_negative};
use clap::CommandFactory;
use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The pages of the repository.
fn pages(dir: &Path, found: &mut Vec<PathBuf>) {
    for item in fs::read_dir(dir).unwrap().flatten() {
        let (path, name) = (item.path(), item.file_name().to_string_lossy().into_owned());
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            pages(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The lines of the ```sh blocks of a page, continued ones joined, with their numbers.
fn shell(text: &str) -> Vec<(usize, String)> {
    let (mut lines, mut inside, mut open) = (Vec::<(usize, String)>::new(), false, false);
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            inside = line.trim() == "```sh";
        } else if inside {
            let (part, goes_on) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
            match lines.last_mut().filter(|_| open) {
                Some((_, before)) => *before += part,
                None => lines.push((number + 1, part.to_string())),
            }
            open = goes_on;
        }
    }
    lines
}

/// The commands of a line of shell as words: split at `;`, `|` and `&&`, quotes taken off, comments and redirections left out.
fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut all, mut words, mut word, mut quote, mut any) = (Vec::new(), Vec::new(), String::new(), None, false);
    for letter in line.chars().chain(['\n']) {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => word.push(letter),
            (None, '"' | '\'') => (quote, any) = (Some(letter), true),
            (None, '#') if word.is_empty() && !any => break,
            (None, ' ' | '\t' | '\n' | ';' | '|' | '&') => {
                if !word.is_empty() || any {
                    words.push(std::mem::take(&mut word));
                    any = false;
                }
                if matches!(letter, ';' | '|' | '&') {
                    all.push(std::mem::take(&mut words));
                }
            }
            (None, _) => word.push(letter),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    all.push(words);
    all
}

/// What follows the program's name, if it is this program.
fn arguments(words: &[String]) -> Option<Vec<String>> {
    let words: Vec<&str> =
        words.iter().map(String::as_str).skip_while(|word| *word == "do" || word.contains('=')).collect();
    let rest = match words[..] {
        ["rectiflow" | "target/release/rectiflow" | "./target/release/rectiflow", ref rest @ ..] => rest,
        // An example has arguments of its own.
        ["cargo", "run", ref rest @ ..] if rest.contains(&"--example") => return None,
        ["cargo", "run", ref rest @ ..] => &rest[rest.iter().position(|word| *word == "--")? + 1..],
        _ => return None,
    };
    let end = rest.iter().position(|word| word.starts_with('>') || word.starts_with("2>")).unwrap_or(rest.len());
    Some(rest[..end].iter().map(|word| word.to_string()).collect())
}

#[test]
fn every_command_of_the_pages_is_understood() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    pages(&root, &mut files);
    files.sort();
    let (mut checked, mut wrong) = (0, Vec::new());
    for page in files {
        // What `$n` stands for: a value given before, or the first of `for n in 1 2 4; do`.
        let mut known: BTreeMap<Reverse<usize>, Vec<(String, String)>> = BTreeMap::new(); // longest names first
        for (number, line) in shell(&fs::read_to_string(&page).unwrap()) {
            for words in commands(&line) {
                let given = match &words[..] {
                    [begin, name, within, first, ..] if begin == "for" && within == "in" => Some((&**name, &**first)),
                    [one] => one.split_once('='),
                    _ => None,
                };
                if let Some((name, value)) = given {
                    known.entry(Reverse(name.len())).or_default().insert(0, (name.into(), value.into()));
                }
                let Some(arguments) = arguments(&words) else { continue };
                let put = |word: &String| {
                    let put = |word: String, (name, value): &(String, String)| {
                        word.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
                    };
                    // Names of the hub are looked up where they are typed: they stand for a folder that is there.
                    let word = &if word.starts_with("hf:") { ".".to_string() } else { word.clone() };
                    let whole = known.values().flatten().fold(word.clone(), put);
                    // A value stands for several words where nothing but its name stands there.
                    let several = word.starts_with('$') && !word.contains(['/', '.', '-']);
                    if several { whole.split_whitespace().map(String::from).collect() } else { vec![whole] }
                };
                let arguments: Vec<String> = arguments.iter().flat_map(put).collect();
                checked += 1;
                let typed = std::iter::once("rectiflow".to_string()).chain(arguments.clone());
                let place = format!("{}:{number}: {}", page.display(), arguments.join(" "));
                match numbers_may_be_negative(Cli::command()).try_get_matches_from(typed) {
                    Err(error) if error.use_stderr() => wrong.push(format!("{place}\n{error}")),
                    _ => {}
                }
                let missing = arguments.iter().find(|word| {
                    word.starts_with("recipes/")
                        && word.ends_with(".toml")
                        && !word.contains('$')
                        && !root.join(word).is_file()
                });
                wrong.extend(missing.map(|file| format!("{place}\nthere is no {file}")));
            }
        }
    }
    assert!(checked > 50, "only {checked} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_seed_below_zero_is_refused_in_words() {
    let typed = ["rectiflow", "sample", "RUN", "--seed", "-1"];
    let error = numbers_may_be_negative(Cli::command()).try_get_matches_from(typed).unwrap_err().to_string();
    assert!(error.contains("a whole number from 0") && !error.contains("-- -1"), "{error}");
}

//! The pair file as it grows: a line to an answer, on the disk before anybody is told that it is kept.
//!
//! A program that is killed in the middle of a line leaves it half written; it was never acknowledged, and is taken away when the file is
//! opened again. A last line of anybody else's, with or without its end, is kept or the file refused. Nobody else may write meanwhile.

use rectiflow::{Error, data::DataError};
use serde_json::{Map, Value};
use std::{
    collections::HashSet,
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// How every answer begins here.
const BEGINS: &[u8] = b"{\"path_A\": ";

/// The two paths of a pair, in the order of the alphabet.
type Known = [String; 2];

/// A pair file that is written.
pub struct Book {
    file: File,
    path: PathBuf,
    /// Where each line begins, and which pair it is of.
    lines: Vec<(u64, Known)>,
    /// Length of the file.
    end: u64,
    answered: HashSet<Known>,
}

/// Two paths in the order in which a book knows them.
pub fn known(a: &str, b: &str) -> Known {
    let mut both = [a.to_string(), b.to_string()];
    both.sort();
    both
}

impl Book {
    /// The file at `path`, made where it is not there.
    pub fn open(path: &Path, axes: &[String], tell: &impl Fn(&str)) -> Result<Self, Error> {
        let io = |action| move |error| Error::Data(DataError::io(path, action, error));
        let refused = |why: String| Error::Usage(format!("{}: {why}", path.display()));
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(io("create"))?;
        }
        let new = !path.exists();
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(refused("another program is labelling into it; choose another with -o".into()));
            }
            // Not every file system knows locks.
            Err(TryLockError::Error(error)) => tell(&format!("{}: cannot be locked ({error})", path.display())),
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(io("read"))?;
        let mut book = Self { file, path: path.into(), lines: Vec::new(), end: 0, answered: HashSet::new() };
        let mut from = 0;
        while from < content.len() {
            let length = content[from..].iter().position(|byte| *byte == b'\n');
            let line = &content[from..length.map_or(content.len(), |length| from + length)];
            if length.is_none() && is_half(line) {
                tell(&format!("{}: its last line is half written and was taken away", path.display()));
                book.file.set_len(from as u64).map_err(io("write"))?;
                break;
            }
            let number = content[..from].iter().filter(|byte| **byte == b'\n').count() + 1;
            if !line.iter().all(u8::is_ascii_whitespace) {
                let pair = read(line, axes).map_err(|why| refused(format!("line {number}: {why}")))?;
                book.answered.insert(pair.clone());
                book.lines.push((from as u64, pair));
            }
            from += line.len() + 1;
            if length.is_none() {
                book.file.write_all(b"\n").map_err(io("write"))?;
            }
        }
        book.end = from as u64;
        if new && let Some(folder) = path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            // Only unix lets a folder be synced, and the file is there either way.
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(book)
    }

    /// Answers in it.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether something was said of this pair, in either order.
    pub fn has(&self, a: &str, b: &str) -> bool {
        self.answered.contains(&known(a, b))
    }

    /// Appends an answer; it is on the disk when this comes back.
    pub fn append(&mut self, [a, b]: [&str; 2], prompt: &str, answers: &[(String, String)]) -> Result<(), Error> {
        let mut line = format!("{{\"path_A\": {}, \"path_B\": {}, \"prompt\": {}", text(a), text(b), text(prompt));
        for (axis, said) in answers {
            line += &format!(", {}: {}", text(axis), text(said));
        }
        line += "}\n";
        let written = self
            .file
            .seek(SeekFrom::Start(self.end))
            .and_then(|_| self.file.write_all(line.as_bytes()))
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line must not stay before the next.
            let _ = self.file.set_len(self.end);
            return Err(DataError::io(&self.path, "write", error).into());
        }
        self.lines.push((self.end, known(a, b)));
        self.answered.insert(known(a, b));
        self.end += line.len() as u64;
        Ok(())
    }

    /// The pair of the last answer.
    pub fn last(&self) -> Option<&[String; 2]> {
        self.lines.last().map(|(_, pair)| pair)
    }

    /// Takes the last answer back, on the disk too; false where there is none.
    pub fn undo(&mut self) -> Result<bool, Error> {
        let Some((start, pair)) = self.lines.last().cloned() else { return Ok(false) };
        let cut = self.file.set_len(start).and_then(|()| self.file.sync_data());
        cut.map_err(|error| DataError::io(&self.path, "write", error))?;
        self.lines.pop();
        self.end = start;
        if self.lines.iter().all(|(_, other)| *other != pair) {
            self.answered.remove(&pair);
        }
        Ok(true)
    }
}

/// Whether a line without an end is the beginning of an answer that was being written here.
fn is_half(line: &[u8]) -> bool {
    let own = line.starts_with(BEGINS) || BEGINS.starts_with(line);
    own && serde_json::from_slice::<Value>(line).is_err_and(|error| error.is_eof())
}

fn text(text: &str) -> String {
    Value::from(text).to_string()
}

/// The pair of a line, whose axes must be `axes`.
fn read(line: &[u8], axes: &[String]) -> Result<Known, String> {
    let row: Map<String, Value> = serde_json::from_slice(line).map_err(|error| format!("not an answer ({error})"))?;
    let path = |key: &str| row.get(key).and_then(Value::as_str).ok_or(format!("`{key}` names no file"));
    let pair = known(path("path_A")?, path("path_B")?);
    let mut others: Vec<&String> =
        row.keys().filter(|key| !["path_A", "path_B", "prompt"].contains(&key.as_str())).collect();
    let text = String::from_utf8_lossy(line);
    others.sort_by_key(|axis| text.find(&format!("\"{axis}\""))); // as they were asked
    let same = others.len() == axes.len() && axes.iter().all(|axis| row.contains_key(axis));
    let there = others.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(",");
    let why =
        || format!("it was labelled on {there}; ask for these with --axes {there}, or choose another file with -o");
    same.then_some(pair).ok_or_else(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn axes() -> Vec<String> {
        vec!["VQ".into(), "MQ".into()]
    }

    fn answer(book: &mut Book, a: &str, b: &str) {
        let said = [("VQ".to_string(), "A".to_string()), ("MQ".to_string(), "same".to_string())];
        book.append([a, b], "a \"cat\"\n", &said).unwrap();
    }

    /// Mutants: half a line kept; an undone answer that is still known; appending where the file ended before an undo.
    #[test]
    fn answers_survive_and_half_lines_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/pairs.jsonl");
        let told = std::cell::RefCell::new(Vec::new());
        let tell = |line: &str| told.borrow_mut().push(line.to_string());
        let mut book = Book::open(&path, &axes(), &tell).unwrap();
        answer(&mut book, "a", "b");
        answer(&mut book, "c", "d");
        assert!(Book::open(&path, &axes(), &tell).is_err_and(|e| e.to_string().contains("another program")));
        drop(book);
        let whole = fs::read(&path).unwrap();
        // Killed anywhere in the second line.
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for cut in [first + 1, first + 20, whole.len() - 2] {
            fs::write(&path, &whole[..cut]).unwrap();
            let book = Book::open(&path, &axes(), &tell).unwrap();
            assert_eq!((book.len(), book.has("b", "a"), book.has("c", "d")), (1, true, false));
            drop(book);
            assert_eq!(fs::read(&path).unwrap(), whole[..first]);
        }
        assert_eq!(told.borrow().len(), 3);
        // Whole but for its end: somebody's editor saved it so.
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(Book::open(&path, &axes(), &tell).unwrap().len(), 2);
        assert_eq!(fs::read(&path).unwrap(), whole);
        fs::write(&path, &whole[..first]).unwrap();
        let mut book = Book::open(&path, &axes(), &tell).unwrap();
        answer(&mut book, "e", "f");
        answer(&mut book, "g", "h");
        assert!(book.undo().unwrap() && !book.has("g", "h"));
        answer(&mut book, "i", "k");
        drop(book);
        let book = Book::open(&path, &axes(), &tell).unwrap();
        assert_eq!((book.len(), book.has("e", "f"), book.has("i", "k")), (3, true, true));
        drop(book);
        let pairs = rectiflow::data::preferences::read(&path, None).unwrap();
        assert_eq!((pairs.axes, pairs.pairs.len(), pairs.pairs[0].prompt.as_str()), (axes(), 3, "a \"cat\""));
    }

    #[test]
    fn a_file_of_others_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.jsonl");
        for (content, words) in [
            ("{\"path_A\": \"a\", \"path_B\": \"b\", \"VQ\": \"A\"}\n", "--axes VQ"),
            ("hello\n", "line 1: not an answer"),
            ("\n{\"path_A\": 3}\n", "line 2"),
            ("my notes", "line 1: not an answer"),
            ("{\"path_A\": \"a\", \"path_B\": \"b\", \"VQ\": \"A\"}", "--axes VQ"),
            ("{\"name\": ", "line 1: not an answer"),
        ] {
            fs::write(&path, content).unwrap();
            let refused = Book::open(&path, &axes(), &|_: &str| ()).err().unwrap().to_string();
            assert!(refused.contains(words), "{refused}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }
}

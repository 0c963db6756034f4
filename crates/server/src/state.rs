//! Jobs on the disk, so that they outlive the server (`--state FOLDER`): a folder each, called by the job's id, with a record and the
//! files that were made. A record says `done` only once all files are there; what had not ended when the server did is `interrupted`.
//!
//! Nothing of a request becomes part of a path: jobs are looked up by the ids that are known, and files are called by their number.

use crate::{
    job::{Progress, State},
    shelf::join,
};
use rectiflow::{
    Error,
    serving::{File, Medium},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, VecDeque},
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

/// The file that says whose folder it is; it is locked while a server uses it.
const SIGN: &str = "rectiflow-jobs";
/// Of a job, what is known of it.
const RECORD: &str = "job.json";

/// Bytes of a record at most.
const LONGEST: u64 = 1 << 20;
/// What had not ended when the server did.
const INTERRUPTED: &str = "interrupted";
/// What a record may say of its job.
const STATES: [&str; 6] = ["queued", "running", "done", "failed", "cancelled", INTERRUPTED];

/// What a disk gives out at a time: a folder takes one, a file as many as it needs.
const BLOCK: u64 = 4096;

/// A folder of jobs.
pub struct Disk {
    folder: PathBuf,
    most: u64,
    /// Held for as long as this is.
    _lock: fs::File,
    held: Mutex<Held>,
    tell: Box<dyn Fn(&str) + Send + Sync>,
}

#[derive(Default)]
struct Held {
    /// Bytes of all that have ended.
    bytes: u64,
    /// Those that have ended and their bytes, the oldest first.
    ended: VecDeque<(String, u64)>,
    /// What is known of those that memory has forgotten, and of those of before.
    past: HashMap<String, Arc<Past>>,
}

/// A job that has ended and lies on the disk.
pub struct Past {
    /// What does not change, as its clients were told.
    pub facts: Value,
    /// How it ended, in a word.
    pub status: String,
    /// Why there is nothing.
    error: Value,
    /// Its files.
    files: Vec<Option<Lying>>,
}

/// A file on the disk.
struct Lying {
    medium: Medium,
    bytes: u64,
    digest: String,
}

impl Past {
    /// The media of its files.
    pub fn media(&self) -> impl Iterator<Item = (usize, Medium)> {
        self.files.iter().enumerate().filter_map(|(at, file)| Some((at, file.as_ref()?.medium)))
    }

    /// How far it came, beside its facts.
    pub fn end(&self) -> Value {
        let (done, all) = (self.media().count(), self.files.len().max(1));
        let steps = &self.facts["steps"];
        json!({
            "status": self.status, "done": done, "step": 0, "of": steps, "progress": done as f64 / all as f64, "error": self.error,
        })
    }

    fn value(&self) -> Value {
        let file = |file: &Option<Lying>| {
            let file = file.as_ref()?;
            Some(json!({ "type": file.medium.ending(), "bytes": file.bytes, "sha256": file.digest }))
        };
        let files: Vec<Option<Value>> = self.files.iter().map(file).collect();
        json!({ "status": self.status, "error": self.error, "files": files, "facts": self.facts })
    }

    /// What a record says; `None` for one that this program did not write.
    fn read(record: &Value) -> Option<Self> {
        let medium = |ending: &str| [Medium::Png, Medium::Wav, Medium::Glb].into_iter().find(|m| m.ending() == ending);
        let file = |file: &Value| -> Option<Option<Lying>> {
            if file.is_null() {
                return Some(None);
            }
            let (bytes, digest) = (file["bytes"].as_u64()?, file["sha256"].as_str()?.to_string());
            Some(Some(Lying { medium: medium(file["type"].as_str()?)?, bytes, digest }))
        };
        let files = record["files"].as_array()?.iter().map(file).collect::<Option<_>>()?;
        let facts = record["facts"].as_object()?.clone().into();
        let status = record["status"].as_str().filter(|status| STATES.contains(status))?;
        Some(Self { facts, status: status.to_string(), error: record["error"].clone(), files })
    }
}

impl Disk {
    /// The jobs in `folder`, of which those that have ended may take `most` bytes; those that had not are interrupted now.
    ///
    /// # Errors
    /// A folder that cannot be written, that another server uses, or that holds something else.
    pub fn open(folder: &Path, most: u64, tell: Box<dyn Fn(&str) + Send + Sync>) -> Result<Self, Error> {
        let said = |why: String| Error::Failure(format!("--state {}: {why}", folder.display()));
        let failed = |error: std::io::Error| said(format!("{error}; give a folder that can be written"));
        let sign = folder.join(SIGN);
        if !sign.is_file() && fs::read_dir(folder).is_ok_and(|mut inside| inside.next().is_some()) {
            return Err(Error::Usage(format!(
                "--state {}: there are other things in it; give a folder of its own, new or empty",
                folder.display()
            )));
        }
        make(folder).map_err(failed)?;
        // Also where somebody else made it: results lie in it.
        owned(folder, 0o700).map_err(failed)?;
        let lock = fs::File::options().create(true).append(true).open(&sign).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => said("another server uses it; give each a folder of its own".into()),
            fs::TryLockError::Error(error) => said(format!("it cannot be locked ({error}); give one on another disk")),
        })?;
        let disk = Self { folder: folder.into(), most, _lock: lock, held: Mutex::default(), tell };
        disk.look().map_err(failed)?;
        Ok(disk)
    }

    /// Reads all records.
    fn look(&self) -> std::io::Result<()> {
        let mut found: Vec<(SystemTime, String, Past)> = Vec::new();
        let (mut interrupted, mut unread) = (0, 0);
        for entry in fs::read_dir(&self.folder)?.flatten() {
            let Some(id) = entry.file_name().to_str().filter(|name| is_id(name)).map(String::from) else { continue };
            let folder = entry.path();
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let record = folder.join(RECORD);
            let about = fs::symlink_metadata(&record);
            // A server that was killed before it had said whose folder it is.
            if about.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
                self.remove(&id);
                continue;
            }
            // Whatever else calls itself a record is not opened: reading a pipe never ends.
            let Some(about) = about.ok().filter(|about| about.is_file() && about.len() <= LONGEST) else {
                unread += 1;
                continue;
            };
            let read = fs::read(&record).ok().and_then(|text| serde_json::from_slice(&text).ok());
            let Some(mut past) = read.as_ref().and_then(Past::read).filter(|past| past.facts["id"] == id.as_str())
            else {
                unread += 1;
                continue;
            };
            let whole = |(at, medium): (usize, Medium)| {
                let about = fs::symlink_metadata(self.file(&id, at, medium));
                about
                    .is_ok_and(|about| about.is_file() && Some(about.len()) == past.files[at].as_ref().map(|f| f.bytes))
            };
            if matches!(past.status.as_str(), "queued" | "running" | INTERRUPTED) || !past.media().all(whole) {
                interrupted += 1;
                past.status = INTERRUPTED.into();
                past.error = json!({
                    "message": "the server ended before this was made; ask for it again", "type": "server_error", "param": null,
                    "code": "interrupted",
                });
                past.files.iter_mut().for_each(|file| *file = None);
                self.clear(&id);
                // A full disk keeps nobody from what is whole: the next start says it again.
                if let Err(error) = write(&record, &past.value().to_string().into_bytes()) {
                    (self.tell)(&format!("a job could not be called interrupted in the folder of --state: {error}"));
                }
            }
            found.push((about.modified().unwrap_or(SystemTime::UNIX_EPOCH), id, past));
        }
        found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let all = found.len();
        for (_, id, past) in found {
            self.ends(&id, past);
        }
        if all > 0 {
            let kept = self.lock().ended.len();
            (self.tell)(&format!("{kept} jobs of before are kept, {interrupted} of {all} were interrupted"));
        }
        if unread > 0 {
            (self.tell)(&format!("{unread} folders of jobs cannot be read; they are left as they are"));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, id: &str, at: usize, medium: Medium) -> PathBuf {
        self.folder.join(id).join(format!("{at}.{}", medium.ending()))
    }

    /// A job that waits.
    pub fn begins(&self, id: &str, facts: &Value, files: usize) -> std::io::Result<()> {
        let files = (0..files).map(|_| None).collect();
        let past = Past { facts: facts.clone(), status: "queued".into(), error: Value::Null, files };
        let folder = self.folder.join(id);
        make(&folder)?;
        write(&folder.join(RECORD), &past.value().to_string().into_bytes())
    }

    /// A job has ended: what was made is written, and then that it is done.
    pub fn ended(&self, id: &str, facts: &Value, progress: &Progress) {
        let lying = |file: &Option<Arc<File>>| {
            file.as_ref().map(|file| {
                let digest = Sha256::digest(&file.bytes);
                let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                Lying { medium: file.medium, bytes: file.bytes.len() as u64, digest }
            })
        };
        let error = match &progress.state {
            State::Failed(refusal) => refusal.value(),
            _ => Value::Null,
        };
        let files: Vec<_> = progress.files.iter().map(lying).collect();
        let past = Past { facts: facts.clone(), status: progress.state.word().into(), error, files };
        let written = || -> std::io::Result<()> {
            for (at, file) in progress.files.iter().enumerate() {
                if let Some(file) = file {
                    write(&self.file(id, at, file.medium), &file.bytes)?;
                }
            }
            write(&self.folder.join(id).join(RECORD), &past.value().to_string().into_bytes())
        };
        let mut kept = written();
        // Room is made as where there are too many bytes: the oldest go.
        while kept.as_ref().is_err_and(|error| error.kind() == ErrorKind::StorageFull) && self.drop_oldest() {
            kept = written();
        }
        match kept {
            Ok(()) => self.ends(id, past),
            Err(error) => {
                self.clear(id);
                (self.tell)(&format!("a job could not be written into the folder of --state: {error}"));
            }
        }
    }

    /// Removes the job that ended first; `false` where there is none.
    fn drop_oldest(&self) -> bool {
        let oldest = {
            let mut held = self.lock();
            let Some((oldest, bytes)) = held.ended.pop_front() else { return false };
            held.bytes -= bytes;
            held.past.remove(&oldest);
            oldest
        };
        self.remove(&oldest);
        true
    }

    /// Removes what a job has made, or half made, but for its record.
    fn clear(&self, id: &str) {
        let made = fs::read_dir(self.folder.join(id)).into_iter().flatten().flatten();
        for file in made.filter(|file| file.file_name() != RECORD) {
            if let Err(error) = fs::remove_file(file.path()) {
                (self.tell)(&format!("a file could not be removed from the folder of --state: {error}"));
            }
        }
    }

    /// Counts a job that has ended; the oldest go when there are too many bytes.
    fn ends(&self, id: &str, past: Past) {
        let bytes =
            past.files.iter().flatten().map(|file| file.bytes).chain([past.value().to_string().len() as u64, BLOCK]);
        let bytes = bytes.map(|bytes| bytes.next_multiple_of(BLOCK)).sum();
        {
            let mut held = self.lock();
            held.bytes += bytes;
            held.ended.push_back((id.to_string(), bytes));
            held.past.insert(id.to_string(), Arc::new(past));
        }
        // Others ask for jobs meanwhile.
        while self.lock().bytes > self.most && self.drop_oldest() {}
    }

    /// Forgets a job that did not come to wait, or is too old.
    pub fn remove(&self, id: &str) {
        if let Err(error) = fs::remove_dir_all(self.folder.join(id))
            && error.kind() != ErrorKind::NotFound
        {
            (self.tell)(&format!("a job could not be removed from the folder of --state: {error}"));
        }
    }

    /// The job of this id, if it has ended and is still there.
    pub fn find(&self, id: &str) -> Option<Arc<Past>> {
        self.lock().past.get(id).cloned()
    }

    /// All that have ended, the oldest first.
    pub fn all(&self) -> Vec<Arc<Past>> {
        let held = self.lock();
        held.ended.iter().filter_map(|(id, _)| held.past.get(id).cloned()).collect()
    }

    /// File `at` of `past`, as it was written.
    pub fn read(&self, id: &str, past: &Past, at: usize) -> Option<File> {
        let lying = past.files.get(at)?.as_ref()?;
        let bytes = fs::read(self.file(id, at, lying.medium)).ok()?;
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        (digest == lying.digest).then_some(File { medium: lying.medium, bytes })
    }
}

impl Past {
    /// As its clients are told.
    pub fn told(&self, results: Vec<Value>) -> Value {
        let mut value = self.facts.clone();
        join(&mut value, self.end());
        join(&mut value, json!({ "results": results }));
        value
    }
}

fn is_id(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A folder that its owner alone may look into: prompts and pictures are in it.
fn make(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// A file that is there whole or not at all, however this program ends.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let written = fs::File::create(&part).and_then(|mut file| {
        owned(&part, 0o600)?;
        file.write_all(bytes)?;
        fs::rename(&part, path)
    });
    written.inspect_err(|_| drop(fs::remove_file(&part)))
}

/// Gives its owner alone the rights `mode`, where there are such.
fn owned(path: &Path, mode: u32) -> std::io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    let _ = (path, mode);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path, most: u64) -> Result<Disk, Error> {
        Disk::open(folder, most, Box::new(|_| {}))
    }

    fn id(number: u8) -> String {
        format!("{number:032x}")
    }

    fn progress(state: State, bytes: &[u8]) -> Progress {
        let file = File { medium: Medium::Png, bytes: bytes.to_vec() };
        let files = vec![Some(Arc::new(file))];
        Progress { state, files, previews: vec![None], step: 0, steps: 1, drawing: 0, version: 0 }
    }

    /// Mutants: a file that another wrote over is given out; one that was cut is called done; what waited is forgotten; the newest go
    /// first; two servers share a folder.
    #[test]
    fn jobs_are_found_again_and_the_oldest_go() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("state");
        let facts = |number| json!({ "id": id(number), "steps": 3 });
        {
            let disk = open(&folder, 1 << 20).unwrap();
            for number in 0..4 {
                disk.begins(&id(number), &facts(number), 1).unwrap();
            }
            for number in 0..3 {
                disk.ended(&id(number), &facts(number), &progress(State::Done, &[number; 100]));
            }
            assert!(open(&folder, 1).is_err_and(|error| error.to_string().contains("another server")));
        }
        fs::write(folder.join(id(1)).join("0.png"), [9; 100]).unwrap();
        fs::write(folder.join(id(2)).join("0.png"), [2; 50]).unwrap();
        let disk = open(&folder, 1 << 20).unwrap();
        let status = |number| disk.find(&id(number)).map(|past| past.status.clone());
        let read = |number| disk.read(&id(number), &disk.find(&id(number)).unwrap(), 0).map(|file| file.bytes);
        let words = [0, 1, 2, 3].map(|number| status(number).unwrap());
        assert_eq!(words, ["done", "done", "interrupted", "interrupted"]);
        assert_eq!((read(0), read(1), read(2)), (Some(vec![0; 100]), None, None));
        assert!(disk.find("..").is_none() && disk.find("").is_none());
        let bytes = disk.lock().bytes;
        drop(disk);
        // A byte less than there is: one goes, and it is the oldest.
        let disk = open(&folder, bytes - 1).unwrap();
        assert!(disk.find(&id(0)).is_none() && disk.find(&id(1)).is_some() && !folder.join(id(0)).exists());
        // Other folders are not taken over.
        fs::write(place.path().join("notes.txt"), "mine").unwrap();
        assert_eq!(open(place.path(), 1).err().map(|error| error.exit_code()), Some(2));
    }
    /// What kills leave behind is cleared away, and nothing that others put there stops a server or is believed.
    /// Mutants: half-made files stay, uncounted; a folder without a record stays for ever; a record under another's id, or with a
    /// word of its own, is told.
    #[test]
    fn what_a_kill_or_a_stranger_leaves_stops_nothing() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("state");
        let facts = |number| json!({ "id": id(number), "steps": 3 });
        {
            let disk = open(&folder, 1 << 20).unwrap();
            (0..4).for_each(|number| disk.begins(&id(number), &facts(number), 2).unwrap());
            disk.ended(&id(0), &facts(0), &progress(State::Done, &[0; 100]));
        }
        let inside = |number| fs::read_dir(folder.join(id(number))).unwrap().count();
        fs::write(folder.join(id(1)).join("0.png"), [1; 100]).unwrap();
        fs::write(folder.join(id(1)).join("1.part"), [1; 10]).unwrap();
        fs::create_dir(folder.join(id(9))).unwrap();
        fs::rename(folder.join(id(2)), folder.join(id(8))).unwrap();
        let record = folder.join(id(3)).join(RECORD);
        fs::write(&record, fs::read_to_string(&record).unwrap().replace("queued", "done\\nevent: x")).unwrap();
        let disk = open(&folder, 1 << 20).unwrap();
        let status = |number| disk.find(&id(number)).map(|past| past.status.clone());
        assert_eq!([0, 1, 8, 3, 9].map(status), [Some("done".into()), Some("interrupted".into()), None, None, None]);
        assert_eq!((inside(0), inside(1)), (2, 1));
        assert!(!folder.join(id(9)).exists());
        #[cfg(unix)]
        for (path, mode) in [(folder.clone(), 0o700), (folder.join(id(0)).join("0.png"), 0o600)] {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
        }
    }
}

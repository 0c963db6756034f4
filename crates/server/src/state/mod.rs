//! Jobs on the disk, so that they outlive the server (`--state FOLDER`): a folder each, called by the job's id, with a record and the
//! files that were made. A record says `done` only once all files are there; what had not ended when the server did is `interrupted`.
//!
//! Nothing of a request becomes part of a path: jobs are looked up by the ids that are known, and files are called by their number.

mod past;

pub use past::Past;

use crate::job::{Progress, State};
use past::{INTERRUPTED, Lying};
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
        write(&folder.join(RECORD), &past.value().to_string().into_bytes())?;
        settled(&folder)?;
        settled(&self.folder)
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
            // The record says that they are there.
            settled(&self.folder.join(id))?;
            write(&self.folder.join(id).join(RECORD), &past.value().to_string().into_bytes())?;
            settled(&self.folder.join(id))
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
        // Others ask for jobs meanwhile. The newest stays, however large: it has yet to be told.
        let full = || {
            let held = self.lock();
            held.bytes > self.most && held.ended.len() > 1
        };
        while full() && self.drop_oldest() {}
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

/// A file that is there whole or not at all, however this program or the machine ends; that it is there is the folder's to say ([`settled`]).
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let written = fs::File::create(&part).and_then(|mut file| {
        owned(&part, 0o600)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)
    });
    written.inspect_err(|_| drop(fs::remove_file(&part)))
}

/// Waits until the disk knows which files are in `folder`, where folders can be asked.
fn settled(folder: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    fs::File::open(folder)?.sync_all()?;
    let _ = folder;
    Ok(())
}

/// Gives its owner alone the rights `mode`, where there are such.
fn owned(path: &Path, mode: u32) -> std::io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    let _ = (path, mode);
    Ok(())
}

#[cfg(test)]
mod tests;

//! Encoded texts on disk: 64 files that only grow, one record to a text, found by a hash of it.
//!
//! A record is `mark, letters of the text, values, checksum, text, values`. Of what is on disk only places are kept in memory
//! (24 bytes a text) and the texts of late; a record that is not whole, or of another text, is as good as none.

use super::encoded::Encoded;
use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

const FILES: u64 = 64;
const MARK: u32 = 0x7277_6f72;
const HEAD: usize = 4 + 4 + 4 + 8;
/// Bytes of values kept in memory at most.
const RECENT: usize = 24 << 20;

/// Where encoded texts are kept.
pub struct Store {
    /// `None` where nothing can be kept on disk.
    folder: Option<PathBuf>,
    /// Values of a text at most.
    most: usize,
    features: usize,
    places: HashMap<u64, u64>,
    loaded: [bool; FILES as usize],
    recent: HashMap<String, Arc<Encoded>>,
    held: usize,
    /// What no disk took and must not be forgotten.
    pinned: HashMap<String, Arc<Encoded>>,
    /// Whether new texts go to disk.
    writes: bool,
}

/// FNV-1a, the same in every version of this program.
fn hash(parts: &[&[u8]]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    parts.iter().copied().flatten().fold(0xcbf2_9ce4_8422_2325, step)
}

impl Store {
    /// A store in `folder` for texts of at most `length` tokens of `features` numbers.
    pub fn new(folder: Option<PathBuf>, features: usize, length: usize) -> Self {
        let (places, recent, pinned) = (HashMap::new(), HashMap::new(), HashMap::new());
        let loaded = [false; FILES as usize];
        Self { folder, most: length * features, features, places, loaded, recent, held: 0, pinned, writes: true }
    }

    /// From now on what is on disk is read, and nothing is added to it: new texts are kept in memory, the latest of them.
    pub fn close(&mut self) {
        self.writes = false;
    }

    fn file(&self, key: u64) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{:02}.words", key % FILES)))
    }

    /// The encoding of `text`, if it is known.
    pub fn get(&mut self, text: &str) -> Option<Arc<Encoded>> {
        if let Some(found) = self.recent.get(text).or_else(|| self.pinned.get(text)) {
            return Some(found.clone());
        }
        let (path, place) = self.at(hash(&[text.as_bytes()]))?;
        let mut file = File::open(path).ok()?;
        file.seek(SeekFrom::Start(place)).ok()?;
        let (found, values) = self.record(&mut file)?;
        (found == text.as_bytes()).then(|| self.remember(text, Encoded { values }))
    }

    /// The file and the place of a record.
    fn at(&mut self, key: u64) -> Option<(PathBuf, u64)> {
        let path = self.file(key)?;
        if !std::mem::replace(&mut self.loaded[(key % FILES) as usize], true) {
            self.load(&path);
        }
        Some((path, *self.places.get(&key)?))
    }

    /// Whether `text` will be known as long as this store lives, without reading what it is encoded as.
    pub fn keeps(&mut self, text: &str) -> bool {
        self.pinned.contains_key(text) || self.at(hash(&[text.as_bytes()])).is_some()
    }

    /// Keeps the encoding of `text` for as long as this store lives: on disk, or in memory where the disk does not take it. Whether the
    /// disk took it.
    pub fn keep(&mut self, text: &str, encoded: Encoded) -> bool {
        let encoded = self.put(text, encoded);
        let taken = self.places.contains_key(&hash(&[text.as_bytes()]));
        if !taken {
            self.pinned.insert(text.to_string(), encoded);
        }
        taken
    }

    /// Its folder, for a message.
    pub fn place(&self) -> String {
        self.folder
            .as_ref()
            .map_or("a cache (there is no folder for one)".into(), |folder| folder.display().to_string())
    }

    /// Keeps the encoding of `text`. A disk that does not take it is no failure: it will be encoded again.
    pub fn put(&mut self, text: &str, encoded: Encoded) -> Arc<Encoded> {
        let key = hash(&[text.as_bytes()]);
        if self.writes
            && let Some(path) = self.file(key)
            && let Ok(place) = append(&path, text, &encoded.values)
        {
            self.places.insert(key, place);
        }
        self.remember(text, encoded)
    }

    fn remember(&mut self, text: &str, encoded: Encoded) -> Arc<Encoded> {
        let size = 2 * encoded.values.len() + text.len() + 64;
        let encoded = Arc::new(encoded);
        if self.held + size > RECENT {
            self.recent.clear();
            self.held = 0;
        }
        self.held += size;
        self.recent.insert(text.to_string(), encoded.clone());
        encoded
    }

    /// Learns the places of a file's records, and cuts off what a killed writer left unfinished at its end.
    fn load(&mut self, path: &Path) {
        let Ok(file) = File::open(path) else { return };
        let whole = file.metadata().map_or(0, |about| about.len());
        let (mut reader, mut place) = (BufReader::new(file), 0);
        while let Some((text, values)) = self.record(&mut reader) {
            self.places.insert(hash(&[&text]), place);
            place += (HEAD + text.len() + 2 * values.len()) as u64;
        }
        if self.writes
            && place < whole
            && let Ok(file) = OpenOptions::new().write(true).open(path)
        {
            let _ = file.set_len(place);
        }
    }

    /// The record that begins here, if it is whole.
    fn record(&self, from: &mut impl Read) -> Option<(Vec<u8>, Vec<u16>)> {
        let mut head = [0; HEAD];
        from.read_exact(&mut head).ok()?;
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap_or_default());
        let (letters, count) = (number(4) as usize, number(8) as usize);
        if number(0) != MARK || letters > LONGEST || count > self.most || !count.is_multiple_of(self.features) {
            return None;
        }
        let mut body = vec![0; letters + 2 * count];
        from.read_exact(&mut body).ok()?;
        if hash(&[&body]).to_le_bytes() != head[12..] {
            return None;
        }
        let values = body[letters..].as_chunks::<2>().0.iter().map(|two| u16::from_le_bytes(*two)).collect();
        body.truncate(letters);
        Some((body, values))
    }
}

/// Letters of a text that is kept at most; longer ones are encoded whenever they come.
const LONGEST: usize = 1 << 16;

/// Writes a record at the end of a file, in one piece, and says where.
fn append(path: &Path, text: &str, values: &[u16]) -> std::io::Result<u64> {
    if text.len() > LONGEST {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let body: Vec<u8> = text.bytes().chain(values.iter().flat_map(|value| value.to_le_bytes())).collect();
    let mut record = Vec::with_capacity(HEAD + body.len());
    record.extend(MARK.to_le_bytes());
    record.extend((text.len() as u32).to_le_bytes());
    record.extend((values.len() as u32).to_le_bytes());
    record.extend(hash(&[&body]).to_le_bytes());
    record.extend(body);
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(&record)?;
    Ok(file.stream_position()? - record.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(i: usize) -> String {
        format!("caption {i}")
    }

    fn encoded(i: usize) -> Encoded {
        Encoded { values: (0..3 * (i % 4 + 1)).map(|k| (1000 * i + k) as u16).collect() }
    }

    fn filled(folder: &Path) -> Store {
        let mut store = Store::new(Some(folder.to_path_buf()), 3, 4);
        (0..500).for_each(|i| drop(store.put(&text(i), encoded(i))));
        store
    }

    #[test]
    fn what_was_encoded_is_found_again_by_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = filled(folder.path());
        assert_eq!(*first.get(&text(7)).unwrap(), encoded(7));
        let mut second = Store::new(Some(folder.path().to_path_buf()), 3, 4);
        for i in (0..500).rev() {
            assert_eq!(*second.get(&text(i)).unwrap(), encoded(i), "{i}");
        }
        assert!(second.get("caption").is_none() && second.get("").is_none());
        // Without a folder, memory alone.
        let mut none = Store::new(None, 3, 4);
        none.put("a", encoded(1));
        assert!(none.get("a").is_some() && none.get("b").is_none());
    }

    /// Where nothing can be written, what is kept stays although more has come since than memory of late holds.
    ///
    /// Mutants: what the disk refused left among the texts of late; a text that is known said to be missing.
    #[test]
    fn what_the_disk_does_not_take_is_not_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "no folder").unwrap();
        let mut store = Store::new(Some(file.join("words")), 1, 1 << 24);
        let large = |i: u16| Encoded { values: vec![i; RECENT / 4] };
        for i in 0..5 {
            assert!(!store.keeps(&text(i)));
            assert!(!store.keep(&text(i), large(i as u16)));
            assert!(store.keeps(&text(i)));
        }
        assert!((0..5).all(|i| store.get(&text(i)).is_some_and(|found| *found == large(i as u16))));
        let mut store = filled(&folder.path().join("words"));
        assert!(store.keep("one more", encoded(1)) && store.keeps("one more") && store.keeps(&text(3)));
        assert!(store.pinned.is_empty() && !store.keeps("another"));
    }

    /// Mutants: a closed store that writes; one that does not read; one that forgets what it was just told.
    #[test]
    fn what_a_closed_store_is_told_stays_off_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let whole = || -> u64 {
            let entries = std::fs::read_dir(folder.path()).unwrap();
            entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
        };
        let before = whole();
        let mut store = Store::new(Some(folder.path().to_path_buf()), 3, 4);
        store.close();
        assert_eq!(*store.get(&text(7)).unwrap(), encoded(7));
        store.put("a secret", encoded(1));
        assert_eq!(*store.get("a secret").unwrap(), encoded(1));
        assert_eq!(whole(), before);
        assert!(Store::new(Some(folder.path().to_path_buf()), 3, 4).get("a secret").is_none());
    }

    /// Mutants: no checksum; a torn record that hides those written after it.
    #[test]
    fn damage_costs_texts_and_never_gives_wrong_ones() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        for (number, entry) in std::fs::read_dir(folder.path()).unwrap().enumerate() {
            let path = entry.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            match number % 3 {
                0 => bytes.truncate(bytes.len() - 5),
                1 => {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                }
                _ => bytes.extend([0; 7]),
            }
            std::fs::write(&path, bytes).unwrap();
        }
        let open = || Store::new(Some(folder.path().to_path_buf()), 3, 4);
        let mut store = open();
        let found = (0..500).filter(|i| store.get(&text(*i)).is_some_and(|found| *found == encoded(*i))).count();
        let lost = (0..500).filter(|i| store.get(&text(*i)).is_none()).count();
        assert!(found + lost == 500 && lost > 20 && found > 250, "{found} {lost}");
        (0..500).filter(|i| open().get(&text(*i)).is_none()).for_each(|i| drop(store.put(&text(i), encoded(i))));
        let mut again = open();
        assert!((0..500).all(|i| again.get(&text(i)).is_some_and(|found| *found == encoded(i))));
    }
}

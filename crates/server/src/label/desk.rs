//! Who asks: the pairs, which of them were answered, and what a browser may want of them.

use super::{
    LabelOptions,
    book::{Book, known},
};
use crate::{
    guard::Guard,
    http::{Client, Permit, Reply, Request, Service},
    page::Page,
    refusal::Refusal,
    server::guarded,
};
use rectiflow::{
    align::found::{Kind, Sample},
    data::clip,
    media,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
};

const HTML: &str = include_str!("page.html");
/// What may be said on an axis.
const ANSWERS: [&str; 4] = ["A", "B", "same", "invalid"];
/// Bytes of an answer at most.
const BODY: usize = 16 << 10;
/// Millions of pixels of a frame at most.
const MEGAPIXELS: u64 = 50;
/// Frames of a folder pass at this pace, in milliseconds.
const FRAME: u16 = 125;

/// The pairs and their answers.
pub struct Desk {
    axes: Vec<String>,
    samples: Vec<Sample>,
    /// What the pair file calls each sample.
    names: Vec<String>,
    pairs: Vec<[usize; 2]>,
    book: Mutex<Book>,
    guard: Guard,
    page: Page,
    sent: Arc<AtomicUsize>,
    output: PathBuf,
    tell: Box<dyn Fn(&str) + Send + Sync>,
}

impl Desk {
    pub fn new(
        options: &LabelOptions,
        samples: Vec<Sample>,
        pairs: Vec<[usize; 2]>,
        book: Book,
        tell: Box<dyn Fn(&str) + Send + Sync>,
    ) -> Self {
        let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let output = whole(&options.output);
        let beside = output.parent().unwrap_or(Path::new("")).to_path_buf();
        let name = |sample: &Sample| {
            let path = whole(&sample.path);
            path.strip_prefix(&beside).unwrap_or(&path).to_string_lossy().into_owned()
        };
        let names = samples.iter().map(name).collect();
        Self {
            axes: options.axes.clone(),
            samples,
            names,
            pairs,
            book: Mutex::new(book),
            guard: Guard::new(None, &options.hosts),
            page: Page::new(HTML),
            sent: Arc::default(),
            output: options.output.clone(),
            tell,
        }
    }

    /// Says what there is to do.
    pub fn greet(&self) {
        let (done, prompts) = (self.done(&self.book()), self.prompts());
        (self.tell)(&format!(
            "{} samples of {prompts} prompts, {} pairs, {done} of them answered; answers go to {}",
            self.samples.len(),
            self.pairs.len(),
            self.output.display()
        ));
    }

    /// A line for the log.
    pub fn say(&self, line: &str) {
        (self.tell)(line);
    }

    fn prompts(&self) -> usize {
        self.samples.iter().map(|sample| &sample.prompt).collect::<std::collections::BTreeSet<_>>().len()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_done(&self, book: &Book, [a, b]: [usize; 2]) -> bool {
        book.has(&self.names[a], &self.names[b])
    }

    fn done(&self, book: &Book) -> usize {
        self.pairs.iter().filter(|pair| self.is_done(book, **pair)).count()
    }

    /// What a pair is called: by what it shows, so that a page of another folder, or of before, is told from this one's.
    fn id(&self, [a, b]: [usize; 2]) -> String {
        let mut digest = Sha256::new();
        for part in [&self.names[a], &self.names[b], &self.samples[a].prompt] {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The first pair without an answer.
    fn next(&self, book: &Book) -> Option<usize> {
        self.pairs.iter().position(|pair| !self.is_done(book, *pair))
    }

    fn state(&self, book: &Book) -> Value {
        let shown = |place: usize| {
            let kind = if self.samples[place].kind == Kind::Sound { "sound" } else { "picture" };
            json!({ "url": format!("/samples/{place}"), "kind": kind })
        };
        let pair = self.next(book).map(|at| {
            let [a, b] = self.pairs[at];
            json!({ "id": self.id([a, b]), "prompt": self.samples[a].prompt, "samples": [shown(a), shown(b)] })
        });
        json!({
            "axes": self.axes,
            "total": self.pairs.len(),
            "done": self.done(book),
            "kept": book.len(),
            "file": self.output.display().to_string(),
            "pair": pair,
        })
    }

    fn told(&self, request: &Request) -> Result<Reply, Refusal> {
        let sent: Value = serde_json::from_slice(&request.body)
            .map_err(|error| Refusal::new(400, "bad_request", format!("the body is no JSON: {error}")))?;
        let id = sent["pair"].as_str().ok_or_else(|| Refusal::bad("pair", "name the pair that was shown"))?;
        let mut answers = Vec::new();
        for axis in &self.axes {
            let said = sent["answers"][axis].as_str().filter(|said| ANSWERS.contains(said));
            let said = said.ok_or_else(|| Refusal::bad("answers", format!("say A, B, same or invalid on {axis}")))?;
            answers.push((axis.clone(), said.to_string()));
        }
        let mut book = self.book();
        // Another window, or the same key twice: what is on the screen is no longer what is asked.
        let asked = self.next(&book).map(|at| self.pairs[at]).filter(|pair| self.id(*pair) == id);
        let Some([a, b]) = asked else {
            return Err(Refusal::new(409, "other_pair", "another pair is asked by now; it is shown again"));
        };
        let kept = book.append([&self.names[a], &self.names[b]], &self.samples[a].prompt, &answers);
        kept.map_err(|error| self.failed(&error))?;
        Ok(Reply::json(200, &self.state(&book)))
    }

    fn undone(&self, request: &Request) -> Result<Reply, Refusal> {
        let sent: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let mut book = self.book();
        if sent["kept"].as_u64() != Some(book.len() as u64) {
            return Err(Refusal::new(409, "other_pair", "there are other answers by now; nothing was taken back"));
        }
        // The file may hold what was said of other folders, which nobody here would be asked again.
        let own = |pair: &[usize; 2]| book.last() == Some(&known(&self.names[pair[0]], &self.names[pair[1]]));
        if book.len() > 0 && !self.pairs.iter().any(own) {
            return Err(Refusal::new(
                409,
                "nothing",
                "the last answer in the file is of a pair that is not asked here; it is kept",
            ));
        }
        match book.undo().map_err(|error| self.failed(&error))? {
            true => Ok(Reply::json(200, &self.state(&book))),
            false => Err(Refusal::new(409, "nothing", "there is no answer to take back")),
        }
    }

    fn failed(&self, error: &rectiflow::Error) -> Refusal {
        (self.tell)(&error.to_string());
        Refusal::new(500, "not_kept", format!("this answer could not be kept: {error}"))
    }

    fn sample(&self, place: &str) -> Result<Reply, Refusal> {
        let sample =
            place.parse().ok().and_then(|place: usize| self.samples.get(place)).ok_or_else(Refusal::nowhere)?;
        let unreadable = |error: &dyn std::fmt::Display| {
            (self.tell)(&error.to_string());
            Refusal::new(404, "unreadable", error.to_string())
        };
        if sample.kind == Kind::Frames {
            let (frames, [height, width], _) =
                clip::frames(&sample.path, MEGAPIXELS).map_err(|error| unreadable(&error))?;
            let bitmap = |pixels| media::Bitmap { pixels, height, width, channels: 3 };
            let frames: Vec<media::Bitmap> = frames.into_iter().map(bitmap).collect();
            let bytes = media::animation::encode(&frames, FRAME, FRAME).map_err(|error| unreadable(&error))?;
            return Ok(Reply::new(200, "image/png", bytes));
        }
        let bytes = std::fs::read(&sample.path).map_err(|error| unreadable(&error))?;
        Ok(Reply::new(200, kind_of(&bytes), bytes))
    }
}

/// What browsers call a file that begins so.
fn kind_of(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, ..] => "image/jpeg",
        [b'G', b'I', b'F', ..] => "image/gif",
        [b'B', b'M', ..] => "image/bmp",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', ..] => "image/webp",
        [b'R', b'I', b'F', b'F', ..] => "audio/wav",
        [b'f', b'L', b'a', b'C', ..] => "audio/flac",
        [b'O', b'g', b'g', b'S', ..] => "audio/ogg",
        [b'I', b'D', b'3', ..] | [0xff, ..] => "audio/mpeg",
        _ => "application/octet-stream",
    }
}

impl Service for Desk {
    fn answer(&self, request: &Request, _: &Client<'_>) -> Reply {
        let method = if request.method == "HEAD" { "GET" } else { &request.method };
        let reply = self.guard.place(request).and_then(|()| match (method, request.path.as_str()) {
            ("GET", "/") => Ok(self.page.reply()),
            ("GET", "/api/state") => Ok(Reply::json(200, &self.state(&self.book()))),
            ("POST", "/api/answers") => self.told(request),
            ("POST", "/api/undo") => self.undone(request),
            ("GET", path) => {
                path.strip_prefix("/samples/").map_or_else(|| Err(Refusal::nowhere()), |at| self.sample(at))
            }
            _ => Err(Refusal::nowhere()),
        });
        guarded(reply.unwrap_or_else(|refusal| refusal.reply()))
    }

    fn refuse(&self, refusal: &Refusal) -> Reply {
        guarded(refusal.reply())
    }

    fn most(&self, _: &Request) -> usize {
        BODY
    }

    fn hold(&self, bytes: usize) -> Result<Permit, Refusal> {
        Permit::new(&self.sent, bytes, 64 * BODY)
            .ok_or_else(|| Refusal::new(503, "too_many_uploads", "too much is being sent at a time").after(1))
    }

    fn goes_on(&self) -> bool {
        true
    }
}

//! The stack machine that pickles are programs for: its bytes, its values and what an operation may do to them.
//!
//! Globals are refused unless on [`ALLOWED`], and even those are never called: "reduce" only records its function's name
//! and arguments. Every length is checked against the bytes there are, so memory is bounded by the file's size.

use crate::values::{Id, Value};

/// The only names a file may mention.
const ALLOWED: &[&str] = &[
    "collections.OrderedDict",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.ndarray",
    "numpy.dtype",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.FloatStorage",
    "torch.HalfStorage",
    "torch.BFloat16Storage",
    "torch.DoubleStorage",
    "torch.LongStorage",
    "torch.IntStorage",
    "torch.ByteStorage",
    "torch.BoolStorage",
    // What training programs leave in their checkpoints beside the weights.
    "numpy.core.multiarray.scalar",
    "_codecs.encode",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
];

/// More values than any weight file has; keeps hostile files from filling the memory.
const LIMIT: usize = 4_000_000;

type Memo = std::collections::HashMap<usize, Id>;

/// What a program has made so far.
pub(crate) struct Machine<'a> {
    bytes: &'a [u8],
    /// Where the next byte lies.
    pub at: usize,
    /// All values so far.
    pub values: Vec<Value<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: Memo,
}

/// What an operation gives, or what is wrong with the file.
pub(crate) type Step<T> = Result<T, String>;

impl<'a> Machine<'a> {
    /// A machine about to read the program that starts at `at`.
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: Memo::new() }
    }

    pub fn take(&mut self, n: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else {
            return Err(format!("the file ends {n} bytes short of its own count; download it again"));
        };
        let out = &self.bytes[self.at..end];
        self.at = end;
        Ok(out)
    }

    pub fn number<const N: usize>(&mut self) -> Step<usize> {
        let mut word = [0; 8];
        word[..N].copy_from_slice(self.take(N)?);
        usize::try_from(u64::from_le_bytes(word)).map_err(|_| "a count too large for this machine".into())
    }

    pub fn text(&mut self, n: usize) -> Step<&'a str> {
        std::str::from_utf8(self.take(n)?).map_err(|_| "text that is not UTF-8".into())
    }

    pub fn line(&mut self) -> Step<&'a str> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(256).position(|&b| b == b'\n').ok_or("a name without end")?;
        let line = self.text(length)?;
        self.at += 1;
        Ok(line)
    }

    pub fn push(&mut self, value: Value<'a>) -> Step<()> {
        if self.values.len() >= LIMIT || self.stack.len() >= LIMIT {
            return Err(format!("more than {LIMIT} values; this is not a weight file"));
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    pub fn pop(&mut self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("an operation without its operand; the file is damaged".into());
        }
        Ok(self.stack.pop().expect("the stack is longer than its floor"))
    }

    /// Starts a list that [`pop_to_mark`](Self::pop_to_mark) will take.
    pub fn mark(&mut self) -> Step<()> {
        if self.marks.len() >= LIMIT {
            return Err(format!("more than {LIMIT} values; this is not a weight file"));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn top(&self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&id) if self.stack.len() > floor => Ok(id),
            _ => Err("an operation without its operand; the file is damaged".into()),
        }
    }

    pub fn pop_to_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or("a list without its start; the file is damaged")?;
        Ok(self.stack.split_off(mark))
    }

    pub fn set_items(&mut self, items: &[Id]) -> Step<()> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::Dict(entries) if items.len().is_multiple_of(2) => {
                entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            _ => Err("items set on something that is no dictionary".into()),
        }
    }

    pub fn append(&mut self, items: &[Id]) -> Step<()> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::List(list) => list.extend(items),
            _ => return Err("items appended to something that is no list".into()),
        }
        Ok(())
    }

    pub fn tuple(&mut self, n: usize) -> Step<()> {
        let mut items = Vec::with_capacity(n);
        for _ in 0..n {
            items.insert(0, self.pop()?);
        }
        self.push(Value::Tuple(items))
    }

    pub fn global(&mut self, module: &str, name: &str) -> Step<()> {
        let full = format!("{module}.{name}");
        if !ALLOWED.contains(&full.as_str()) {
            return Err(format!("the file mentions `{full}`, which weight files have no use for; refused"));
        }
        self.push(Value::Global(full))
    }

    pub fn reduce(&mut self) -> Step<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let value = match &self.values[function] {
            Value::Global(name) if name == "collections.OrderedDict" => Value::Dict(Vec::new()),
            Value::Global(_) => Value::Call { function, arguments, state: None },
            _ => return Err("a call of something that is no function".into()),
        };
        self.push(value)
    }

    pub fn build(&mut self) -> Step<()> {
        let new = self.pop()?;
        let top = self.top()?;
        match &mut self.values[top] {
            Value::Call { state, .. } => *state = Some(new),
            // PyTorch attaches version numbers to its dictionaries; nothing here needs them.
            Value::Dict(_) => {}
            _ => return Err("state given to something that takes none".into()),
        }
        Ok(())
    }

    /// Keeps the topmost value as number `index`, or as the next one.
    pub fn memoize(&mut self, index: Option<usize>) -> Step<()> {
        let top = self.top()?;
        self.memo.insert(index.unwrap_or(self.memo.len()), top);
        Ok(())
    }

    pub fn recall(&mut self, index: usize) -> Step<()> {
        if self.stack.len() >= LIMIT {
            return Err(format!("more than {LIMIT} values; this is not a weight file"));
        }
        let id = *self.memo.get(&index).ok_or("a reference to a value that was never stored")?;
        self.stack.push(id);
        Ok(())
    }
}

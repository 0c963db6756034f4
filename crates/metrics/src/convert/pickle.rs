//! A restricted reader of Python's pickle format, protocols 2 to 4.
//!
//! It builds a graph of plain values. Globals are refused unless on [`ALLOWED`], and even those are never called:
//! "reduce" only records its function's name and arguments, for the two callers to interpret. Every length is checked
//! against the bytes there are, so memory is bounded by the file's size, and a damaged file is an error, never a panic.

use super::values::{Failure, Graph, Id, Value};

/// The only names a file may mention.
pub(super) const ALLOWED: &[&str] = &[
    "collections.OrderedDict",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.ndarray",
    "numpy.dtype",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.FloatStorage",
    "torch.HalfStorage",
    "torch.DoubleStorage",
    "torch.LongStorage",
    "torch.IntStorage",
    "torch.ByteStorage",
    "torch.BoolStorage",
];

/// More values than any weight file has; keeps hostile files from filling the memory.
const LIMIT: usize = 4_000_000;

impl<'a> Graph<'a> {
    /// Reads the pickle that starts at `start`.
    pub(super) fn read(bytes: &'a [u8], start: usize) -> Result<Self, Failure> {
        let mut reader =
            Reader { bytes, at: start, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: Memo::new() };
        let root = reader.run().map_err(|message| Failure { offset: reader.at, message })?;
        Ok(Self { values: reader.values, root, end: reader.at })
    }
}

type Memo = std::collections::HashMap<usize, Id>;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: Memo,
}

type Step<T> = Result<T, String>;

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else {
            return Err(format!("the file ends {n} bytes short of its own count; download it again"));
        };
        let out = &self.bytes[self.at..end];
        self.at = end;
        Ok(out)
    }

    fn number<const N: usize>(&mut self) -> Step<usize> {
        let mut word = [0; 8];
        word[..N].copy_from_slice(self.take(N)?);
        usize::try_from(u64::from_le_bytes(word)).map_err(|_| "a count too large for this machine".into())
    }

    fn text(&mut self, n: usize) -> Step<&'a str> {
        std::str::from_utf8(self.take(n)?).map_err(|_| "text that is not UTF-8".into())
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(256).position(|&b| b == b'\n').ok_or("a name without end")?;
        let line = self.text(length)?;
        self.at += 1;
        Ok(line)
    }

    fn push(&mut self, value: Value<'a>) -> Step<()> {
        if self.values.len() >= LIMIT || self.stack.len() >= LIMIT {
            return Err(format!("more than {LIMIT} values; this is not a weight file"));
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("an operation without its operand; the file is damaged".into());
        }
        Ok(self.stack.pop().expect("the stack is longer than its floor"))
    }

    fn top(&self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&id) if self.stack.len() > floor => Ok(id),
            _ => Err("an operation without its operand; the file is damaged".into()),
        }
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or("a list without its start; the file is damaged")?;
        Ok(self.stack.split_off(mark))
    }

    fn set_items(&mut self, items: &[Id]) -> Step<()> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::Dict(entries) if items.len().is_multiple_of(2) => {
                entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            _ => Err("items set on something that is no dictionary".into()),
        }
    }

    fn append(&mut self, items: &[Id]) -> Step<()> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::List(list) => list.extend(items),
            _ => return Err("items appended to something that is no list".into()),
        }
        Ok(())
    }

    fn tuple(&mut self, n: usize) -> Step<()> {
        let mut items = Vec::with_capacity(n);
        for _ in 0..n {
            items.insert(0, self.pop()?);
        }
        self.push(Value::Tuple(items))
    }

    fn global(&mut self, module: &str, name: &str) -> Step<()> {
        let full = format!("{module}.{name}");
        if !ALLOWED.contains(&full.as_str()) {
            return Err(format!("the file mentions `{full}`, which weight files have no use for; refused"));
        }
        self.push(Value::Global(full))
    }

    fn reduce(&mut self) -> Step<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let value = match &self.values[function] {
            Value::Global(name) if name == "collections.OrderedDict" => Value::Dict(Vec::new()),
            Value::Global(_) => Value::Call { function, arguments, state: None },
            _ => return Err("a call of something that is no function".into()),
        };
        self.push(value)
    }

    fn build(&mut self) -> Step<()> {
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

    fn memoize(&mut self, index: usize) -> Step<()> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: usize) -> Step<()> {
        if self.stack.len() >= LIMIT {
            return Err(format!("more than {LIMIT} values; this is not a weight file"));
        }
        let id = *self.memo.get(&index).ok_or("a reference to a value that was never stored")?;
        self.stack.push(id);
        Ok(())
    }

    /// Runs to the stop mark; opcodes as in Python's `pickletools`.
    fn run(&mut self) -> Step<Id> {
        loop {
            let code = self.take(1)?[0];
            match code {
                b'.' => return self.pop(),
                0x80 => {
                    let protocol = self.number::<1>()?;
                    if protocol > 5 {
                        return Err(format!("pickle protocol {protocol}; 2 to 4 are read"));
                    }
                }
                0x95 => drop(self.take(8)?),
                b'(' => {
                    if self.marks.len() >= LIMIT {
                        return Err(format!("more than {LIMIT} values; this is not a weight file"));
                    }
                    self.marks.push(self.stack.len());
                }
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_to_mark()?),
                b'N' => self.push(Value::None)?,
                0x88 => self.push(Value::Bool(true))?,
                0x89 => self.push(Value::Bool(false))?,
                b'K' => {
                    let value = self.number::<1>()?;
                    self.push(Value::Int(value as i64))?;
                }
                b'M' => {
                    let value = self.number::<2>()?;
                    self.push(Value::Int(value as i64))?;
                }
                b'J' => {
                    let value = self.number::<4>()? as u32;
                    self.push(Value::Int(i64::from(value as i32)))?;
                }
                0x8A => {
                    let length = self.number::<1>()?;
                    let bytes = self.take(length)?;
                    self.push(long(bytes))?;
                }
                b'G' => {
                    let word: [u8; 8] = self.take(8)?.try_into().expect("eight bytes were taken");
                    self.push(Value::Float(f64::from_be_bytes(word)))?;
                }
                0x8C | b'X' => {
                    let length = if code == b'X' { self.number::<4>()? } else { self.number::<1>()? };
                    let text = self.text(length)?;
                    self.push(Value::Text(text))?;
                }
                b'U' | b'T' => {
                    // Python 2 strings: text if they can be, else bytes.
                    let length = if code == b'T' { self.number::<4>()? } else { self.number::<1>()? };
                    let bytes = self.take(length)?;
                    self.push(std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Text))?;
                }
                b'C' | b'B' | 0x8E => {
                    let length = match code {
                        b'C' => self.number::<1>()?,
                        b'B' => self.number::<4>()?,
                        _ => self.number::<8>()?,
                    };
                    let bytes = self.take(length)?;
                    self.push(Value::Bytes(bytes))?;
                }
                b'}' => self.push(Value::Dict(Vec::new()))?,
                b']' => self.push(Value::List(Vec::new()))?,
                b')' => self.push(Value::Tuple(Vec::new()))?,
                0x85..=0x87 => self.tuple(usize::from(code - 0x84))?,
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Tuple(items))?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.append(&items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set_items(&items)?;
                }
                b'q' | b'r' => {
                    let index = if code == b'r' { self.number::<4>()? } else { self.number::<1>()? };
                    self.memoize(index)?;
                }
                0x94 => self.memoize(self.memo.len())?,
                b'h' | b'j' => {
                    let index = if code == b'j' { self.number::<4>()? } else { self.number::<1>()? };
                    self.recall(index)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.global(module, name)?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    match (&self.values[module], &self.values[name]) {
                        (Value::Text(module), Value::Text(name)) => {
                            let (module, name) = (*module, *name);
                            self.global(module, name)?;
                        }
                        _ => return Err("a global whose name is no text".into()),
                    }
                }
                b'R' => self.reduce()?,
                b'b' => self.build()?,
                b'Q' => {
                    let id = self.pop()?;
                    self.push(Value::Persistent(id))?;
                }
                other => return Err(format!("opcode {other:#04x}, which weight files have no use for; refused")),
            }
        }
    }
}

/// A little-endian two's complement integer of any length.
fn long(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > 8 {
        return Value::Big(bytes);
    }
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut word = [if negative { 0xFF } else { 0 }; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_memos_and_integers_read_as_python_wrote_them() {
        // python3 -c "import pickle; x=['a', -2, 300, 2**40, 1.5, True]; print(pickle.dumps([x, x], 2))"
        let bytes = b"\x80\x02]q\x00(]q\x01(X\x01\x00\x00\x00aq\x02J\xfe\xff\xff\xffM,\x01\x8a\x06\x00\x00\x00\x00\x00\x01G?\xf8\x00\x00\x00\x00\x00\x00\x88eh\x01e.";
        let graph = Graph::read(bytes, 0).unwrap();
        let Value::List(outer) = graph.root() else { panic!("{:?}", graph.root()) };
        assert_eq!(outer[0], outer[1]);
        let Value::List(inner) = graph.get(outer[0]) else { panic!() };
        let values: Vec<&Value> = inner.iter().map(|&i| graph.get(i)).collect();
        let expected = [
            Value::Text("a"),
            Value::Int(-2),
            Value::Int(300),
            Value::Int(1 << 40),
            Value::Float(1.5),
            Value::Bool(true),
        ];
        assert!(values.into_iter().eq(&expected));
        assert_eq!(graph.end, bytes.len());
    }

    /// What makes ordinary unpickling unsafe: a reduce of `os.system`.
    #[test]
    fn foreign_globals_are_refused_by_name() {
        let failure = Graph::read(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00echo\x85R.", 0).err().unwrap();
        assert!(failure.message.contains("os.system"), "{}", failure.message);
        let failure = Graph::read(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", 0).err().unwrap();
        assert!(failure.message.contains("builtins.eval"), "{}", failure.message);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Graph::read(&bytes, 0);
        }

        /// Random programs of known opcodes get deeper than random bytes do.
        #[test]
        fn random_programs_never_panic(
            codes in prop::collection::vec(prop::sample::select(b".(01N\x88\x89K\x85\x86\x87t}])aesuq\x94hRbQ\x93]}(".to_vec()), 0..60)
        ) {
            let _ = Graph::read(&codes, 0);
        }
    }
}

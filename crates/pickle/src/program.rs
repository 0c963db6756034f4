//! A restricted reader of Python's pickle format, protocols 2 to 4: its operations, carried out by a [`Machine`].
//!
//! It builds a graph of plain values, for callers to interpret. A damaged file is an error, never a panic.

use crate::machine::{Machine, Step};
use crate::values::{Failure, Graph, Id, Value};

impl<'a> Graph<'a> {
    /// Reads the pickle that starts at `start`.
    ///
    /// # Errors
    /// A damaged file, or one that names something other than arrays and weights.
    pub fn read(bytes: &'a [u8], start: usize) -> Result<Self, Failure> {
        let mut machine = Machine::new(bytes, start);
        let root = machine.run().map_err(|message| Failure { offset: machine.at, message })?;
        Ok(Self { values: machine.values, root, end: machine.at })
    }
}

impl Machine<'_> {
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
                b'(' => self.mark()?,
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
                    self.memoize(Some(index))?;
                }
                0x94 => self.memoize(None)?,
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

//! The values a pickle holds, as a graph: nothing in it was ever called.

/// Index of a value in its graph.
pub type Id = usize;

/// A Python value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer of at most eight bytes.
    Int(i64),
    /// A number.
    Float(f64),
    /// An integer of more than eight bytes, little-endian two's complement.
    Big(&'a [u8]),
    /// Text, or a Python 2 string that is UTF-8.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// A dictionary, in the order it was filled.
    Dict(Vec<(Id, Id)>),
    /// A name of a module's member.
    Global(String),
    /// `function(arguments)` that was not called, and the state it was to be given.
    Call {
        /// What would be called.
        function: Id,
        /// A tuple.
        arguments: Id,
        /// What the result was to be given.
        state: Option<Id>,
    },
    /// A reference to something outside the pickle.
    Persistent(Id),
}

/// A failure at a byte.
#[derive(Debug)]
pub struct Failure {
    /// Where in the bytes.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
}

/// The values of one pickle and its result.
pub struct Graph<'a> {
    pub(crate) values: Vec<Value<'a>>,
    pub(crate) root: Id,
    /// Position behind the pickle.
    pub end: usize,
}

impl<'a> Graph<'a> {
    /// What the program left.
    pub fn root(&self) -> &Value<'a> {
        self.get(self.root)
    }

    /// A value.
    pub fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id]
    }

    /// The items of a tuple.
    pub fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A non-negative integer.
    pub fn size(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A tuple of non-negative integers.
    pub fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        self.tuple(id)?.iter().map(|&i| self.size(i)).collect()
    }

    /// The name of a global.
    pub fn global(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Global(name) => Some(name),
            _ => None,
        }
    }

    /// The value of a key of a dictionary, where keys are texts or, as Python 3 reads Python 2, bytes.
    pub fn item(&self, dictionary: &Value, key: &str) -> Option<Id> {
        let Value::Dict(entries) = dictionary else { return None };
        let is = |id: Id| match self.get(id) {
            Value::Text(text) => *text == key,
            Value::Bytes(bytes) => *bytes == key.as_bytes(),
            _ => false,
        };
        entries.iter().rev().find(|(found, _)| is(*found)).map(|(_, value)| *value)
    }

    /// Function name, arguments and state of a recorded call.
    pub fn call(&self, id: Id) -> Option<(&str, &[Id], Option<Id>)> {
        match self.get(id) {
            Value::Call { function, arguments, state } => {
                Some((self.global(*function)?, self.tuple(*arguments)?, *state))
            }
            _ => None,
        }
    }
}

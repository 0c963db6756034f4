//! The values a pickle holds, as a graph: nothing in it was ever called.

/// Index of a value in its graph.
pub(super) type Id = usize;

/// A Python value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// An integer of more than eight bytes, little-endian two's complement.
    Big(&'a [u8]),
    Text(&'a str),
    Bytes(&'a [u8]),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(String),
    /// `function(arguments)` that was not called, and the state it was to be given.
    Call {
        function: Id,
        arguments: Id,
        state: Option<Id>,
    },
    /// A reference to something outside the pickle.
    Persistent(Id),
}

/// A failure at a byte.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) offset: usize,
    pub(super) message: String,
}

/// The values of one pickle and its result.
pub(super) struct Graph<'a> {
    pub(super) values: Vec<Value<'a>>,
    pub(super) root: Id,
    /// Position behind the pickle.
    pub(super) end: usize,
}

impl<'a> Graph<'a> {
    pub(super) fn root(&self) -> &Value<'a> {
        self.get(self.root)
    }

    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id]
    }

    /// The items of a tuple.
    pub(super) fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A non-negative integer.
    pub(super) fn size(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A tuple of non-negative integers.
    pub(super) fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        self.tuple(id)?.iter().map(|&i| self.size(i)).collect()
    }

    /// The name of a global.
    pub(super) fn global(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Global(name) => Some(name),
            _ => None,
        }
    }

    /// Function name, arguments and state of a recorded call.
    pub(super) fn call(&self, id: Id) -> Option<(&str, &[Id], Option<Id>)> {
        match self.get(id) {
            Value::Call { function, arguments, state } => {
                Some((self.global(*function)?, self.tuple(*arguments)?, *state))
            }
            _ => None,
        }
    }
}

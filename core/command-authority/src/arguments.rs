//! A command's arguments: a typed map, in the deterministic order of RFC 8949 §4.2.1.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};

/// The most arguments a command has.
const MAX_ARGUMENTS: usize = 32;
const MAX_KEY_BYTES: usize = 64;
const MAX_VALUE_BYTES: usize = 8192;

/// The value of an argument. Quantities are integers whose unit is in the argument's name.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A value, borrowed from an envelope.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum ValueRef<'a> {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl ValueRef<'_> {
    fn to_value(self) -> Value {
        match self {
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Text(value) => Value::Text(value.to_owned()),
            Self::Bytes(value) => Value::Bytes(value.to_vec()),
        }
    }
}

/// Arguments that no envelope can carry.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum ArgumentError {
    /// Too many.
    #[error("a command has at most {MAX_ARGUMENTS} arguments")]
    TooMany,
    /// A name that is not valid.
    #[error("argument name {0:?} is not valid: 1 to {MAX_KEY_BYTES} of a-z 0-9 _")]
    Name(String),
    /// A value that is too long.
    #[error("argument {0} is longer than {MAX_VALUE_BYTES} bytes")]
    TooLong(String),
}

/// A command's arguments by name.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "BTreeMap<String, Value>", into = "BTreeMap<String, Value>")]
pub struct Arguments(BTreeMap<String, Value>);

impl TryFrom<BTreeMap<String, Value>> for Arguments {
    type Error = ArgumentError;

    fn try_from(pairs: BTreeMap<String, Value>) -> Result<Self, ArgumentError> {
        let mut pairs = pairs.into_iter();
        pairs.try_fold(Self::new(), |arguments, (name, value)| {
            arguments.with(&name, value)
        })
    }
}

impl From<Arguments> for BTreeMap<String, Value> {
    fn from(arguments: Arguments) -> Self {
        arguments.0
    }
}

impl Arguments {
    /// No arguments.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one argument more; one of the same name is replaced.
    ///
    /// # Errors
    /// [`ArgumentError`] says what no envelope can carry.
    pub fn with(mut self, name: &str, value: Value) -> Result<Self, ArgumentError> {
        if !is_name(name) {
            return Err(ArgumentError::Name(name.to_owned()));
        }
        if matches!(&value, Value::Text(text) if text.len() > MAX_VALUE_BYTES)
            || matches!(&value, Value::Bytes(bytes) if bytes.len() > MAX_VALUE_BYTES)
        {
            return Err(ArgumentError::TooLong(name.to_owned()));
        }
        self.0.insert(name.to_owned(), value);
        if self.0.len() > MAX_ARGUMENTS {
            Err(ArgumentError::TooMany)
        } else {
            Ok(self)
        }
    }

    /// One argument.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// All arguments by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        let mut sorted: Vec<_> = self.iter().collect();
        sorted.sort_by(|(a, _), (b, _)| encoded_order(a, b));
        out.map(sorted.len());
        for (name, value) in sorted {
            out.text(name);
            match value {
                Value::Bool(value) => out.bool(*value),
                Value::Int(value) => out.i64(*value),
                Value::Text(value) => out.text(value),
                Value::Bytes(value) => out.bytes(value),
            };
        }
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=MAX_KEY_BYTES).contains(&name.len()) && name.bytes().all(allowed)
}

/// The order of the encoded keys: shorter first, as their heads say their lengths.
fn encoded_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Arguments inside an envelope: checked once, read again where they lie.
#[derive(Clone, Debug)]
pub(crate) struct ArgumentsRef<'a> {
    at_first: Reader<'a>,
    count: usize,
}

impl<'a> ArgumentsRef<'a> {
    /// Reads and checks the map; the reader then stands behind it.
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = reader.map("arguments", MAX_ARGUMENTS)?;
        let at_first = reader.clone();
        let mut last = "";
        for _ in 0..count {
            let (name, _) = decode_pair(reader)?;
            if encoded_order(last, name) != Ordering::Less {
                return Err(reader.fault("arguments", Fault::Order));
            }
            last = name;
        }
        Ok(Self { at_first, count })
    }

    /// All arguments in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a str, ValueRef<'a>)> {
        let mut reader = self.at_first.clone();
        (0..self.count).map_while(move |_| decode_pair(&mut reader).ok())
    }

    pub(crate) fn to_arguments(&self) -> Arguments {
        Arguments(
            self.iter()
                .map(|(name, value)| (name.to_owned(), value.to_value()))
                .collect(),
        )
    }
}

fn decode_pair<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, ValueRef<'a>), DecodeError> {
    let name = reader.text("arguments")?;
    if !is_name(name) {
        return Err(reader.fault("arguments", Fault::Value));
    }
    let value = match reader.peek_major() {
        Some(0 | 1) => ValueRef::Int(reader.i64("argument")?),
        Some(2) => ValueRef::Bytes(reader.bytes("argument")?),
        Some(3) => ValueRef::Text(reader.text("argument")?),
        _ => ValueRef::Bool(reader.bool("argument")?),
    };
    let length = match value {
        ValueRef::Text(text) => text.len(),
        ValueRef::Bytes(bytes) => bytes.len(),
        ValueRef::Bool(_) | ValueRef::Int(_) => 0,
    };
    if length > MAX_VALUE_BYTES {
        Err(reader.fault("argument", Fault::TooLong))
    } else {
        Ok((name, value))
    }
}

//! CBOR of others, as RFC 9783 §5.1.1 has it: any serialisation of a value, definite lengths only, no key twice.

use minicbor::Decoder;
use minicbor::data::Type;

/// More pairs than any map that is read here has.
pub(crate) const MAX_PAIRS: u64 = 64;

/// What is wrong with the bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// Not well-formed, or a text is not UTF-8.
    #[error("it is not well-formed CBOR, from byte {0}")]
    Malformed(usize),
    /// An indefinite length.
    #[error("byte {0} begins or ends an indefinite length, which the profile does not allow")]
    Indefinite(usize),
    /// Another type of value.
    #[error("it is not {0}")]
    Type(&'static str),
    /// Too many elements.
    #[error("it has {0} elements, more than there are things to say")]
    TooMany(u64),
    /// A key of a map comes twice.
    #[error("the key {0} comes twice")]
    Duplicate(Key),
    /// Bytes follow the value.
    #[error("{0} bytes follow its end")]
    Trailing(usize),
}

/// A key of a claims-set or a component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

impl core::fmt::Display for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// Whether all lengths in `bytes` are definite and every value in it is well-formed.
pub(crate) fn check_definite(bytes: &[u8]) -> Result<(), CborError> {
    let mut decoder = Decoder::new(bytes);
    while decoder.position() < bytes.len() {
        let at = decoder.position();
        check_head(&mut decoder, at)?;
    }
    Ok(())
}

/// Takes the next head, with its string where it has one; what an array, a map or a tag holds comes next.
fn check_head(decoder: &mut Decoder<'_>, at: usize) -> Result<(), CborError> {
    let taken = match decoder.datatype() {
        Ok(Type::BytesIndef | Type::StringIndef | Type::ArrayIndef | Type::MapIndef | Type::Break) => {
            return Err(CborError::Indefinite(at));
        }
        Ok(Type::Array) => decoder.array().map(|_| ()),
        Ok(Type::Map) => decoder.map().map(|_| ()),
        Ok(Type::Tag) => decoder.tag().map(|_| ()),
        Ok(Type::String) => decoder.str().map(|_| ()),
        Ok(_) => decoder.skip(),
        Err(error) => Err(error),
    };
    taken.map_err(|_| CborError::Malformed(at))
}

/// The pairs of the map that fills all of `bytes`, each value as its bytes. Its lengths are known to be definite.
pub(crate) fn pairs(bytes: &[u8]) -> Result<Vec<(Key, &[u8])>, CborError> {
    let mut decoder = Decoder::new(bytes);
    let count = decoder
        .map()
        .map_err(|_| CborError::Type("a map"))?
        .unwrap_or(u64::MAX);
    if count > MAX_PAIRS {
        return Err(CborError::TooMany(count));
    }
    let mut found: Vec<(Key, &[u8])> = Vec::new();
    for _ in 0..count {
        let key = key(&mut decoder)?;
        if found.iter().any(|(earlier, _)| *earlier == key) {
            return Err(CborError::Duplicate(key));
        }
        found.push((key, value(&mut decoder)?));
    }
    end(&decoder)?;
    Ok(found)
}

/// The elements of the array that fills all of `bytes`, each as its bytes; at most `most`.
pub(crate) fn elements(bytes: &[u8], most: u64) -> Result<Vec<&[u8]>, CborError> {
    let mut decoder = Decoder::new(bytes);
    let count = decoder
        .array()
        .map_err(|_| CborError::Type("an array"))?
        .unwrap_or(u64::MAX);
    if count > most {
        return Err(CborError::TooMany(count));
    }
    let found = (0..count)
        .map(|_| value(&mut decoder))
        .collect::<Result<_, _>>()?;
    end(&decoder)?;
    Ok(found)
}

/// A byte string that fills all of `bytes`.
pub(crate) fn byte_string(bytes: &[u8]) -> Result<&[u8], CborError> {
    whole(bytes, "a byte string", |decoder| decoder.bytes())
}

/// A text that fills all of `bytes`.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, CborError> {
    whole(bytes, "a text", |decoder| decoder.str())
}

/// A number that fills all of `bytes`.
pub(crate) fn number(bytes: &[u8]) -> Result<i64, CborError> {
    whole(bytes, "a number of 64 bits", |decoder| decoder.i64())
}

/// The number of the tag that begins `bytes`, and what it is of.
pub(crate) fn tagged(bytes: &[u8]) -> Result<(u64, &[u8]), CborError> {
    let mut decoder = Decoder::new(bytes);
    let tag = decoder.tag().map_err(|_| CborError::Type("a tagged value"))?;
    let rest = bytes.get(decoder.position()..).unwrap_or_default();
    Ok((tag.as_u64(), rest))
}

fn whole<'a, T>(
    bytes: &'a [u8],
    what: &'static str,
    read: impl FnOnce(&mut Decoder<'a>) -> Result<T, minicbor::decode::Error>,
) -> Result<T, CborError> {
    let mut decoder = Decoder::new(bytes);
    let value = read(&mut decoder).map_err(|_| CborError::Type(what))?;
    end(&decoder)?;
    Ok(value)
}

fn key(decoder: &mut Decoder<'_>) -> Result<Key, CborError> {
    let mut text = decoder.clone();
    if let Ok(word) = text.str() {
        *decoder = text;
        return Ok(Key::Text(word.to_owned()));
    }
    let number = decoder
        .i64()
        .map_err(|_| CborError::Type("a map whose keys are numbers of 64 bits or texts"))?;
    Ok(Key::Number(number))
}

fn value<'a>(decoder: &mut Decoder<'a>) -> Result<&'a [u8], CborError> {
    let start = decoder.position();
    decoder.skip().map_err(|_| CborError::Malformed(start))?;
    let value = decoder.input().get(start..decoder.position());
    value.ok_or(CborError::Malformed(start))
}

fn end(decoder: &Decoder<'_>) -> Result<(), CborError> {
    match decoder.input().len().saturating_sub(decoder.position()) {
        0 => Ok(()),
        left => Err(CborError::Trailing(left)),
    }
}

//! The ascii form, turned into the binary form, so that there is one reading of an entry.

use super::template::{Field, FileDigest, Form};
use super::{FieldId, ImaError, Position, Template};
use alcub3_crypto::HashAlg;

/// Whether the bytes are text: a list in the binary form has zero bytes in its first entry's PCR.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    bytes
        .first()
        .is_some_and(|byte| byte.is_ascii_digit() || *byte == b' ')
        && bytes
            .get(1)
            .is_some_and(|byte| byte.is_ascii_digit() || *byte == b' ')
}

/// Lines of `PCR template-hash template field…`, one space between them; an empty field leaves its space.
pub(super) fn to_binary(bytes: &[u8], hash: HashAlg) -> Result<Vec<u8>, ImaError> {
    let mut out = Vec::with_capacity(bytes.len());
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    for (entry, (number, line)) in lines.filter(|(_, line)| !line.is_empty()).enumerate() {
        let at = Position {
            entry,
            offset: number + 1,
        };
        let unreadable = |field| ImaError::Line { at, field };
        let line = line.strip_prefix(b" ").unwrap_or(line);
        let mut words = line.split(|byte| *byte == b' ');
        let mut word = |field| words.next().ok_or(unreadable(field));
        let pcr: u32 = decimal(word("PCR")?).ok_or(unreadable("PCR"))?;
        out.extend_from_slice(&pcr.to_le_bytes());
        let start = out.len();
        hex(word("template hash")?, &mut out).ok_or(unreadable("template hash"))?;
        let length = out.len() - start;
        if length != hash.size() {
            return Err(ImaError::HashLength { at, length, hash });
        }
        let name = word("template")?;
        let template = Template::from_name(name).ok_or_else(|| ImaError::Template {
            at,
            name: String::from_utf8_lossy(name).into_owned(),
        })?;
        put_sized(&mut out, name).ok_or(unreadable("template"))?;
        let data = data(template, words).ok_or(ImaError::Fields { at, template })?;
        if template.is_original() {
            out.extend_from_slice(&data);
        } else {
            put_sized(&mut out, &data).ok_or(unreadable("template data"))?;
        }
    }
    Ok(out)
}

fn data<'a>(template: Template, mut words: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let (mut data, mut field) = (Vec::new(), Vec::new());
    for (number, id) in template.fields().iter().enumerate() {
        field.clear();
        // Trailing empty fields may have lost their spaces on the way here.
        let word = words.next();
        let word = if number < 2 {
            word?
        } else {
            word.unwrap_or_default()
        };
        match id.form() {
            Form::Digest => digest(*id, word, &mut field)?,
            Form::Text { zero } => {
                field.extend_from_slice(word);
                field.extend(zero.then_some(0));
            }
            Form::Hex => hex(word, &mut field)?,
            Form::Number { bytes } => {
                let number: u32 = decimal(word)?;
                let bytes = number.to_le_bytes().get(..bytes)?.to_vec();
                field.extend_from_slice(&bytes);
            }
        }
        if *id == FieldId::Digest {
            data.extend_from_slice(&field);
        } else {
            put_sized(&mut data, &field)?;
        }
    }
    words.all(<[u8]>::is_empty).then_some(data)
}

/// `sha256:hex` or `ima:sha256:hex`; of the first template hexadecimal alone.
fn digest(id: FieldId, word: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if id == FieldId::Digest {
        hex(word, out)?;
        return (out.len() == HashAlg::Sha1.size()).then_some(());
    }
    if word.is_empty() && id == FieldId::ModuleDigest {
        return Some(());
    }
    let colon = word.iter().rposition(|byte| *byte == b':')?;
    let (prefix, digits) = word.split_at_checked(colon + 1)?;
    out.extend_from_slice(prefix);
    out.push(0);
    hex(digits, out)?;
    FileDigest::of(Field { id, bytes: out }).map(|_| ())
}

fn decimal(word: &[u8]) -> Option<u32> {
    let digits = core::str::from_utf8(word).ok()?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

fn hex(digits: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    for [high, low] in pairs {
        out.push(nibble(*high)? << 4 | nibble(*low)?);
    }
    Some(())
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    out.extend_from_slice(&u32::try_from(bytes.len()).ok()?.to_le_bytes());
    out.extend_from_slice(bytes);
    Some(())
}

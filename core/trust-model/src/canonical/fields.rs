//! The fields of a structure: a map with small unsigned keys.

use super::{DecodeError, Fault, Reader};

/// The fields of a structure, read in ascending order of their keys.
#[derive(Debug)]
pub struct Fields {
    left: usize,
    pending: Option<u64>,
    last: Option<u64>,
}

/// More fields than any structure has.
const MAX_FIELDS: usize = 64;

impl Fields {
    /// Starts a map with unsigned keys that has no domain of its own: a part of a structure.
    ///
    /// # Errors
    /// A [`Fault`] of type or encoding.
    pub fn open(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let left = reader.map("fields", MAX_FIELDS)?;
        Ok(Self {
            left,
            pending: None,
            last: None,
        })
    }

    /// Moves to the field of this key; its value follows in the reader.
    ///
    /// # Errors
    /// [`Fault::Missing`] where the structure lacks it, [`Fault::UnknownField`] where an unknown one stands before.
    #[inline]
    pub fn key(&mut self, reader: &mut Reader<'_>, key: u64, field: &'static str) -> Result<(), DecodeError> {
        match self.next(reader, field)? {
            Some(found) if found == key => {
                self.pending = None;
                Ok(())
            }
            Some(found) if found < key => Err(reader.fault(field, Fault::UnknownField(found))),
            _ => Err(reader.fault(field, Fault::Missing)),
        }
    }

    /// Whether the field of this key is there; where it is, its value follows in the reader.
    ///
    /// # Errors
    /// [`Fault::UnknownField`] where an unknown one stands before.
    pub fn optional(
        &mut self,
        reader: &mut Reader<'_>,
        key: u64,
        field: &'static str,
    ) -> Result<bool, DecodeError> {
        match self.next(reader, field)? {
            Some(found) if found == key => {
                self.pending = None;
                Ok(true)
            }
            Some(found) if found < key => Err(reader.fault(field, Fault::UnknownField(found))),
            _ => Ok(false),
        }
    }

    /// Ends the structure.
    ///
    /// # Errors
    /// [`Fault::UnknownField`] where a field is left.
    pub fn finish(mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        match self.next(reader, "fields")? {
            None => Ok(()),
            Some(found) => Err(reader.fault("fields", Fault::UnknownField(found))),
        }
    }

    #[inline]
    fn next(&mut self, reader: &mut Reader<'_>, field: &'static str) -> Result<Option<u64>, DecodeError> {
        if self.pending.is_none() && self.left > 0 {
            let key = reader.u64(field)?;
            if self.last.is_some_and(|last| last >= key) {
                return Err(reader.fault(field, Fault::Order));
            }
            self.left -= 1;
            self.last = Some(key);
            self.pending = Some(key);
        }
        Ok(self.pending)
    }
}

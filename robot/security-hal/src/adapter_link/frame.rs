//! Frames on a byte stream: four bytes of length, the most significant first, and so many bytes of one message.

use super::LinkRefusal;

/// The most bytes of one message.
pub const MAX_FRAME_BYTES: u32 = 128 * 1024;
const HEAD: usize = 4;

/// A message as a frame. One that is too long is cut by the other end's refusal, not here: no message of ours is.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(message.len().saturating_add(HEAD));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
    out
}

/// Puts frames together from whatever pieces the stream gives. It keeps at most one frame and one piece.
#[derive(Debug, Default)]
pub struct FrameReader {
    kept: Vec<u8>,
}

impl FrameReader {
    /// One that has read nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was read. [`Self::next_frame`] is to be asked until it has none before more is read.
    pub fn push(&mut self, piece: &[u8]) {
        self.kept.extend_from_slice(piece);
    }

    /// The next whole frame's message, if it is there.
    ///
    /// # Errors
    /// [`LinkRefusal::FrameTooLong`], as soon as the length is read; nothing of the stream makes sense after it.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, LinkRefusal> {
        let Some((head, rest)) = self.kept.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*head);
        if length > MAX_FRAME_BYTES {
            return Err(LinkRefusal::FrameTooLong(length));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(message) = rest.get(..length).map(<[u8]>::to_vec) else {
            return Ok(None);
        };
        self.kept.drain(..HEAD.saturating_add(length));
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_from_any_pieces_and_a_long_one_is_refused_at_its_head() {
        let stream = [frame(b"one"), frame(b""), frame(b"three")].concat();
        for size in 1..stream.len() {
            let mut reader = FrameReader::new();
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                reader.push(piece);
                while let Some(message) = reader.next_frame().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, [b"one".to_vec(), Vec::new(), b"three".to_vec()]);
        }
        let mut reader = FrameReader::new();
        reader.push(&(MAX_FRAME_BYTES + 1).to_be_bytes());
        assert_eq!(
            reader.next_frame(),
            Err(LinkRefusal::FrameTooLong(MAX_FRAME_BYTES + 1))
        );
        reader = FrameReader::new();
        reader.push(&MAX_FRAME_BYTES.to_be_bytes());
        assert_eq!(reader.next_frame(), Ok(None));
    }
}

//! A checkpoint: what was added since the last one is laid out as tiles, its head is signed, and a start goes on behind it.

use super::AuditFile;
use super::disk::{Disk, Layout, Resume};
use crate::{AgentError, Result};
use alcub3_audit_log::{
    Checkpoint, NoteSigner, NoteVerifier, SignedCheckpoint, TileBuilder, TileFile, bundle_entries, pieces,
};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::sync::PoisonError;

pub(super) const CHECKPOINT: &str = "checkpoint";
/// Notes of earlier checkpoints, framed as a bundle of entries.
pub(super) const EARLIER: &str = "earlier";
/// The key of the log, as text.
pub(super) const KEY: &str = "key";
/// How many earlier checkpoints are kept; every second of the older half goes when there are more.
const MOST_EARLIER: usize = 256;
/// How long the file of entries may be before a checkpoint begins a new one, in bytes.
pub(super) const LONGEST_FILE: u64 = 32 << 20;

impl AuditFile {
    /// Makes a checkpoint over everything that is in the log now. `certify` has the chip count the head before it is told.
    ///
    /// # Errors
    /// The file system's; what `certify` gives; [`AgentError::AuditChanged`] where the file of entries does not hold what was written.
    pub fn checkpoint(
        &self,
        signer: &NoteSigner,
        certify: impl FnOnce(&SignedCheckpoint) -> Result<()>,
    ) -> Result<SignedCheckpoint> {
        let mut resume = self.shared.resume.lock().unwrap_or_else(PoisonError::into_inner);
        let (frontier, end) = {
            let writer = self.shared.committer.writer();
            (writer.frontier().clone(), writer.bytes())
        };
        let layout = &self.shared.layout;
        let (mut builder, from) = builder_behind(layout, *resume)?;
        let mut files = Vec::new();
        for piece in pieces(&read_between(layout, resume.base, from, end)?) {
            builder.push(piece.leaf(), |file| files.push(file));
        }
        if *builder.frontier() != frontier {
            return Err(AgentError::AuditChanged {
                from: resume.size,
                before: frontier.size(),
            });
        }
        files.extend(builder.partial());
        put_tiles(layout, &files)?;
        let head = signer
            .checkpoint(frontier.size(), frontier.root())
            .map_err(|error| AgentError::Port(Box::new(error)))?;
        certify(&head)?;
        put_head(layout, signer.verifier(), &head)?;
        let laid_out = Resume {
            size: frontier.size(),
            offset: end,
            ..*resume
        };
        layout.put_resume(laid_out)?;
        *resume = laid_out;
        remove_partials(layout, &files);
        if end >= self.shared.longest_file {
            *resume = self.begin_file(laid_out)?;
        }
        Ok(head)
    }

    /// Goes on in a new file of entries; those before are in the bundles.
    fn begin_file(&self, laid_out: Resume) -> Result<Resume> {
        let layout = &self.shared.layout;
        let mut writer = self.shared.committer.writer();
        let since = read_between(layout, laid_out.base, laid_out.offset, writer.bytes())?;
        let file = Disk::create(layout, laid_out.size, &since)?;
        let next = Resume {
            base: laid_out.size,
            offset: 0,
            ..laid_out
        };
        if let Err(error) = layout.put_resume(next) {
            // Which file a start goes on with is not known now: what is acknowledged from here on could be in the other one.
            match layout.put_resume(laid_out) {
                Ok(()) => remove_entries(layout, next.base),
                Err(_) => writer.break_off(),
            }
            return Err(error.into());
        }
        writer.move_to(file, u64::try_from(since.len()).unwrap_or(u64::MAX));
        drop(writer);
        remove_entries(layout, laid_out.base);
        Ok(next)
    }

    /// The last checkpoint that was made, and the key that signed it; none where there is none that reads.
    pub fn last_checkpoint(&self) -> Option<(SignedCheckpoint, NoteVerifier)> {
        last_checkpoint(&self.shared.layout)
    }
}

pub(super) fn last_checkpoint(layout: &Layout) -> Option<(SignedCheckpoint, NoteVerifier)> {
    let text = |path| layout.read(path).and_then(|bytes| String::from_utf8(bytes).ok());
    let key = NoteVerifier::from_text(text(KEY)?.trim_end()).ok()?;
    let head = SignedCheckpoint::verify(&text(CHECKPOINT)?, &key).ok()?;
    Some((head, key))
}

/// What goes on behind the tiles, and where in the file of entries. Tiles that are missing are made again, as far as the file of entries
/// reaches back.
fn builder_behind(layout: &Layout, resume: Resume) -> Result<(TileBuilder, u64)> {
    let read = |path: &str| layout.read(path);
    let behind = TileBuilder::behind(resume.size, &read).map(|builder| (builder, resume.offset));
    let again = || TileBuilder::behind(resume.base, &read).map(|builder| (builder, 0));
    behind
        .or_else(again)
        .ok_or(AgentError::AuditTiles { before: resume.size })
}

fn read_between(layout: &Layout, base: u64, from: u64, end: u64) -> Result<Vec<u8>> {
    let mut file = File::open(layout.entries(base))?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(end.saturating_sub(from)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn put_tiles(layout: &Layout, files: &[TileFile]) -> Result<()> {
    let files = files
        .iter()
        .map(|file| (file.path.as_str(), file.bytes.as_slice()));
    Ok(layout.put_all(files)?)
}

/// The checkpoint with its key, and the one before it among the earlier ones.
fn put_head(layout: &Layout, key: &NoteVerifier, head: &SignedCheckpoint) -> Result<()> {
    let mut earlier = earlier_notes(layout);
    let last = layout
        .read(CHECKPOINT)
        .filter(|note| earlier.last() != Some(note));
    earlier.extend(last);
    thin_out(&mut earlier);
    let mut framed = Vec::new();
    for note in &earlier {
        framed.extend_from_slice(&u16::try_from(note.len()).unwrap_or(u16::MAX).to_be_bytes());
        framed.extend_from_slice(note);
    }
    let (key, note) = (format!("{}\n", key.to_text()), head.note().encode());
    layout.put_all([
        (EARLIER, framed.as_slice()),
        (KEY, key.as_bytes()),
        (CHECKPOINT, note.as_bytes()),
    ])?;
    Ok(())
}

fn thin_out(earlier: &mut Vec<Vec<u8>>) {
    if earlier.len() >= MOST_EARLIER {
        let mut place = 0usize;
        earlier.retain(|_| {
            place = place.saturating_add(1);
            place > MOST_EARLIER / 2 || place.is_multiple_of(2)
        });
    }
}

/// The notes of earlier checkpoints, oldest first.
pub(super) fn earlier_notes(layout: &Layout) -> Vec<Vec<u8>> {
    let bytes = layout.read(EARLIER).unwrap_or_default();
    let notes = bundle_entries(&bytes).unwrap_or_default();
    notes
        .into_iter()
        .filter(|note| note.len() < 65_535)
        .map(<[u8]>::to_vec)
        .collect()
}

/// The heads of earlier checkpoints that the log's key signed, oldest first.
pub(super) fn earlier_heads(layout: &Layout, key: &NoteVerifier) -> Vec<(String, Checkpoint)> {
    let notes = earlier_notes(layout).into_iter();
    let notes = notes.filter_map(|note| String::from_utf8(note).ok());
    let heads = notes.filter_map(|note| {
        let head = SignedCheckpoint::verify(&note, key).ok()?;
        let checkpoint = head.checkpoint().clone();
        Some((note, checkpoint))
    });
    heads.collect()
}

/// What was there of a tile before it was full goes: whoever looks for it finds the full one.
fn remove_partials(layout: &Layout, files: &[TileFile]) {
    for file in files.iter().filter(|file| file.is_full()) {
        let partials = layout.tiles().join(format!("{}.p", file.path));
        match fs::remove_dir_all(&partials) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %partials.display(), %error, "outdated tiles are left");
            }
            _ => {}
        }
    }
}

/// A file of entries that are in the bundles goes.
pub(super) fn remove_entries(layout: &Layout, base: u64) {
    let path = layout.entries(base);
    if let Err(error) = fs::remove_file(&path) {
        tracing::warn!(path = %path.display(), %error, "an outdated file of audit entries is left");
    }
}

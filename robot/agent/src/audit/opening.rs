//! How a start finds its log: behind the last checkpoint, so that it costs what is new; from the beginning, where that does not fit.

use super::disk::{Disk, Layout, Resume};
use super::publish::{CHECKPOINT, remove_entries};
use crate::{AgentError, Result};
use alcub3_audit_log::{Checkpoint, Frontier, LogWriter, SignedNote, TiledNodes, leaf_hash, pieces};
use std::fs;
use std::io;

/// A log that was found.
pub(super) struct Found {
    pub(super) writer: LogWriter<Disk>,
    pub(super) resume: Resume,
    /// What an entry has to name.
    pub(super) faults: Vec<String>,
    /// How many bytes of entries were read.
    pub(super) read_bytes: u64,
}

pub(super) fn find(layout: &Layout) -> Result<Found> {
    let (resume, mut faults) = match layout.resume() {
        Some(resume) => known(layout, resume)?,
        None => (None, Vec::new()),
    };
    let found = match resume {
        Some((resume, frontier)) => read(layout, resume, frontier)?,
        None => read_all(layout, &mut faults)?,
    };
    for base in layout.bases()? {
        if base != found.resume.base {
            remove_entries(layout, base);
        }
    }
    faults.extend(found.faults);
    Ok(Found { faults, ..found })
}

/// Where a start goes on, and the tree up to there.
type Known = (Resume, Frontier);

/// Where a start goes on, if the tiles have the root of the last checkpoint. Where the file of entries ends before that, what is left of
/// it is put aside: its entries are in the bundles.
fn known(layout: &Layout, resume: Resume) -> Result<(Option<Known>, Vec<String>)> {
    let nodes = TiledNodes::new(resume.size, |path: &str| layout.read(path));
    let frontier = Frontier::load(resume.size, &nodes);
    let is_signed = |frontier: &Frontier| {
        head_of(layout).is_some_and(|head| (head.size(), *head.root()) == (frontier.size(), frontier.root()))
    };
    let Some(frontier) = frontier.filter(is_signed) else {
        let fault = format!(
            "audit log: its first {} entries do not have the root of the checkpoint",
            resume.size
        );
        return Ok((None, vec![fault]));
    };
    let length = match fs::metadata(layout.entries(resume.base)) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error.into()),
    };
    if length >= resume.offset {
        return Ok((Some((resume, frontier)), Vec::new()));
    }
    let fault = format!(
        "audit log: the file of entries was cut at byte {length}, before entry {}",
        resume.size
    );
    let next = Resume {
        base: resume.size,
        offset: 0,
        ..resume
    };
    drop(Disk::create(layout, next.base, &[])?);
    layout.put_resume(next)?;
    Ok((Some((next, frontier)), vec![fault]))
}

/// The head of the last checkpoint, whoever signed it.
fn head_of(layout: &Layout) -> Option<Checkpoint> {
    let note = String::from_utf8(layout.read(CHECKPOINT)?).ok()?;
    Checkpoint::from_text(SignedNote::decode(&note).ok()?.text()).ok()
}

fn read(layout: &Layout, resume: Resume, frontier: Frontier) -> Result<Found> {
    let (disk, content) = Disk::open(layout, resume.base, resume.offset)?;
    let (writer, faults) = LogWriter::open_at(disk, frontier, resume.offset, &content)?;
    Ok(Found {
        writer,
        resume,
        faults,
        read_bytes: u64::try_from(content.len()).unwrap_or(u64::MAX),
    })
}

/// Reads the file of entries whole. Of what an earlier one had, the bundles' tiles say what it was.
fn read_all(layout: &Layout, faults: &mut Vec<String>) -> Result<Found> {
    let base = layout.bases()?.last().copied().unwrap_or(0);
    let nodes = TiledNodes::new(base, |path: &str| layout.read(path));
    let frontier = Frontier::load(base, &nodes).ok_or(AgentError::AuditTiles { before: base })?;
    let resume = Resume {
        base,
        size: base,
        offset: 0,
    };
    let (_, content) = Disk::open(layout, base, 0)?;
    let signed = head_of(layout).filter(|head| head.size() >= base);
    if let Some(head) = signed
        && !has_root(frontier.clone(), &content, &head)
    {
        let fault = format!(
            "audit log: its first {} entries are not those of its checkpoint",
            head.size()
        );
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    } else {
        // The tiles were damaged, or how far they reach was not known; the entries are as they were signed.
        faults.clear();
    }
    read(layout, resume, frontier)
}

fn has_root(mut frontier: Frontier, content: &[u8], head: &Checkpoint) -> bool {
    let missing = head.size().saturating_sub(frontier.size());
    for piece in pieces(content).take(usize::try_from(missing).unwrap_or(usize::MAX)) {
        frontier.append_with(leaf_hash(piece.leaf()), |_| ());
    }
    (frontier.size(), frontier.root()) == (head.size(), *head.root())
}

//! The stop journal as files: one for each stop that was begun and not finished.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::{RobotId, StopCause, StopId};

use crate::order::{StopIntent, StopOrder, StopScope};
use crate::ports::StopJournal;
use crate::report::PortError;

/// A folder with a file for each unfinished stop, written new, synced, and renamed.
///
/// A file that a crash left half-written still says that somebody called a stop: the next start completes it as a
/// stop of the whole robot.
#[derive(Debug)]
pub struct FileStopJournal {
    folder: PathBuf,
    robot: RobotId,
}

/// The journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("stop journal: {action} {path}: {source}; check the disk and the folder's permissions")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A finished file does not read as an intent.
    #[error(
        "stop journal: {path}: {source}; it was written by another version or damaged: move it away to go on, the robot stays stopped until then"
    )]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// A file that is none of ours.
    #[error("stop journal: {0} is no file of the journal: move it away, the robot stays stopped until then")]
    Foreign(PathBuf),
}

const DONE: &str = "intent";
const NEW: &str = "new";
const MAX_INTENT_BYTES: u64 = 4096;

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> JournalError + use<'a> {
    move |source| JournalError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

impl FileStopJournal {
    /// The journal of a robot in a folder, which is made where it is absent.
    ///
    /// # Errors
    /// [`JournalError::Io`] where the folder cannot be made.
    pub fn open(folder: &Path, robot: RobotId) -> Result<Self, JournalError> {
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        // Its entry is as durable as the intents in it are to be.
        if let Some(parent) = folder.parent() {
            sync(parent)?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            robot,
        })
    }

    fn path(&self, stop: StopId, ending: &str) -> PathBuf {
        self.folder.join(format!("{stop}.{ending}"))
    }

    fn write(&self, intent: &StopIntent) -> Result<(), JournalError> {
        let stop = intent.order().stop;
        let (new, done) = (self.path(stop, NEW), self.path(stop, DONE));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&new)
            .map_err(failed("create", &new))?;
        file.write_all(&intent.to_canonical())
            .map_err(failed("write", &new))?;
        file.sync_all().map_err(failed("sync", &new))?;
        fs::rename(&new, &done).map_err(failed("rename", &new))?;
        self.sync_folder()
    }

    fn remove(&self, stop: StopId) -> Result<(), JournalError> {
        for ending in [DONE, NEW] {
            let path = self.path(stop, ending);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", &path)(error));
                }
                _ => {}
            }
        }
        self.sync_folder()
    }

    fn sync_folder(&self) -> Result<(), JournalError> {
        sync(&self.folder)
    }

    /// Every intent that can be read, and why each of the others cannot: one bad file keeps no other stop waiting.
    ///
    /// # Errors
    /// [`JournalError::Io`] where the folder cannot be listed.
    pub fn read_each(&self) -> Result<(Vec<StopIntent>, Vec<JournalError>), JournalError> {
        let (mut intents, mut unread) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.folder).map_err(failed("list", &self.folder))? {
            let path = entry.map_err(failed("list", &self.folder))?.path();
            // A stop begun again leaves a new file beside its finished one, which says all.
            if path.extension().is_some_and(|ending| ending == NEW) && path.with_extension(DONE).exists() {
                continue;
            }
            match self.read_one(&path) {
                Ok(intent) => intents.push(intent),
                Err(error) => unread.push(error),
            }
        }
        intents.sort_by_key(|intent| intent.order().called_utc_ms);
        Ok((intents, unread))
    }

    fn read_one(&self, path: &Path) -> Result<StopIntent, JournalError> {
        let foreign = || JournalError::Foreign(path.to_owned());
        let text = |part: Option<&std::ffi::OsStr>| part.and_then(|part| part.to_str()).map(str::to_owned);
        let stop: StopId = text(path.file_stem())
            .and_then(|stem| stem.parse().ok())
            .ok_or_else(foreign)?;
        let ending = text(path.extension()).ok_or_else(foreign)?;
        let decoded = StopIntent::from_canonical(&read_bounded(path)?);
        match (ending.as_str(), decoded) {
            // Another robot's says as little as half of one: that somebody called a stop here.
            (DONE | NEW, Ok(intent)) if intent.order().robot != self.robot => Ok(self.torn(stop)),
            (DONE | NEW, Ok(intent)) if intent.order().stop == stop => Ok(intent),
            (NEW, _) => Ok(self.torn(stop)),
            (DONE, Err(source)) => Err(JournalError::Unreadable {
                path: path.to_owned(),
                source,
            }),
            _ => Err(foreign()),
        }
    }

    /// The intent of a half-written file: all that is known is that a stop was called.
    fn torn(&self, stop: StopId) -> StopIntent {
        let (robot, scope, cause) = (self.robot.clone(), StopScope::Robot, StopCause::SecurityBreach);
        StopIntent::new(StopOrder {
            stop,
            robot,
            scope,
            cause,
            called_utc_ms: 0,
        })
    }
}

fn sync(folder: &Path) -> Result<(), JournalError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("sync", folder))
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, JournalError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let mut bytes = Vec::new();
    file.take(MAX_INTENT_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed("read", path))?;
    Ok(bytes)
}

impl StopJournal for FileStopJournal {
    fn begin(&mut self, intent: &StopIntent) -> Result<(), PortError> {
        Ok(self.write(intent)?)
    }

    fn finish(&mut self, intent: &StopIntent) -> Result<(), PortError> {
        Ok(self.remove(intent.order().stop)?)
    }

    fn unfinished(&mut self) -> Result<Vec<StopIntent>, PortError> {
        let (intents, unread) = self.read_each()?;
        match unread.into_iter().next() {
            Some(error) => Err(error.into()),
            None => Ok(intents),
        }
    }
}

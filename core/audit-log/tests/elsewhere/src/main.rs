//! Judges a log's folder with `signed_note` and `tlog_tiles`: exit 0 where all holds, 1 where anything does not.
//!
//! `tlog-elsewhere LOG KEY [PROOFS]`: the folder (C2SP tlog-tiles), the log's key as C2SP signed-note writes it, and proofs of ours,
//! one a line: `inclusion INDEX SIZE ROOT LEAF HASH…` or `consistency FIRST SECOND ROOT1 ROOT2 HASH…`, all hashes in base64.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{
    Checkpoint, Hash, Tile, TileHashReader, TileReader, check_record, check_tree, prove_record, prove_tree,
    record_hash,
};

type Failure = Box<dyn std::error::Error>;

struct Folder(PathBuf);

impl Folder {
    fn read(&self, path: &str) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.0.join(path))
    }
}

impl TileReader for Folder {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        // Its paths name the height, which is always 8 in C2SP tlog-tiles.
        let path = |tile: &Tile| tile.path().replacen("tile/8/", "tile/", 1);
        tiles
            .iter()
            .map(|tile| self.read(&path(tile)).map_err(|_| tlog_tiles::Error::InvalidTile))
            .collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match judge(&arguments) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("refused: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn judge(arguments: &[String]) -> Result<String, Failure> {
    let folder = Folder(Path::new(&arguments[0]).to_owned());
    let note = Note::from_bytes(&folder.read("checkpoint")?)?;
    let verifier = StandardVerifier::new(&arguments[1])?;
    note.verify(&VerifierList::new(vec![Box::new(verifier)]))?;
    let head = Checkpoint::from_bytes(note.text()).map_err(|_| "the note is no checkpoint")?;
    let (size, root) = (head.size(), *head.hash());
    let hashes = TileHashReader::new(size, root, &folder);
    let entries = entries(&folder, size)?;
    for index in (0..size).filter(|index| size < 600 || index % 97 == 0 || index + 3 > size) {
        let proof = prove_record(size, index, &hashes)?;
        check_record(&proof, size, root, index, record_hash(&entries[index as usize]))?;
    }
    if size > 1 {
        let half = size / 2;
        let mut tree = Vec::new();
        for (index, entry) in entries[..half as usize].iter().enumerate() {
            tree.extend(tlog_tiles::stored_hashes(index as u64, entry, &Stored(&tree))?);
        }
        let half_root = tlog_tiles::tree_hash(half, &Stored(&tree))?;
        check_tree(&prove_tree(size, half, &hashes)?, size, root, half, half_root)?;
    }
    let proofs = arguments
        .get(2)
        .map_or(Ok(String::new()), std::fs::read_to_string)?;
    let count = proofs
        .lines()
        .map(proof)
        .collect::<Result<Vec<()>, Failure>>()?
        .len();
    Ok(format!("{size} entries and {count} proofs hold"))
}

/// Hashes in memory, as its own proofs of a smaller tree need them.
struct Stored<'a>(&'a [Hash]);

impl tlog_tiles::HashReader for Stored<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
    }
}

fn entries(folder: &Folder, size: u64) -> Result<Vec<Vec<u8>>, Failure> {
    let mut entries = Vec::new();
    for mut tile in Tile::new_tiles(8, 0, size)
        .into_iter()
        .filter(|tile| tile.level() == 0)
    {
        tile.set_is_data();
        let path = tile.path().replacen("tile/8/data/", "tile/entries/", 1);
        let bundle = folder.read(&path)?;
        let mut left = bundle.as_slice();
        while let [high, low, tail @ ..] = left {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let (entry, rest) = tail.split_at_checked(length).ok_or("a bundle is cut")?;
            entries.push(entry.to_vec());
            left = rest;
        }
    }
    if entries.len() as u64 == size {
        Ok(entries)
    } else {
        Err("entries are missing".into())
    }
}

fn proof(line: &str) -> Result<(), Failure> {
    let words: Vec<&str> = line.split(' ').collect();
    let [kind, first, second, one, other, path @ ..] = words.as_slice() else {
        return Err("a proof has at least five words".into());
    };
    let path = path
        .iter()
        .map(|word| Hash::parse_hash(word))
        .collect::<Result<Vec<_>, _>>()?;
    let (first, second): (u64, u64) = (first.parse()?, second.parse()?);
    let (one, other) = (Hash::parse_hash(one)?, Hash::parse_hash(other)?);
    match *kind {
        "inclusion" => check_record(&path, second, one, first, other)?,
        "consistency" => check_tree(&path, second, other, first, one)?,
        _ => return Err("a proof of another kind".into()),
    }
    Ok(())
}

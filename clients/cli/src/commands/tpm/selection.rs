//! PCR selections as people write them: `sha256:0,2,7` and, for several banks, `sha256:0,7+sha384:13`.

use alcub3_crypto::HashAlg;
use std::str::FromStr;

/// Banks and masks, each bank once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Selection(pub(crate) Vec<(HashAlg, u32)>);

/// Text that selects no PCRs.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` selects no PCRs: write BANK:PCR,PCR…, for example sha256:0,7 or sha256:0,7+sha384:13")]
pub(crate) struct SelectionError(String);

impl FromStr for Selection {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, SelectionError> {
        let mut banks: Vec<(HashAlg, u32)> = Vec::new();
        for part in text.split('+') {
            let (bank, mask) = one_bank(part).ok_or_else(|| SelectionError(text.to_owned()))?;
            if banks.iter().any(|(other, _)| *other == bank) {
                return Err(SelectionError(text.to_owned()));
            }
            banks.push((bank, mask));
        }
        Ok(Self(banks))
    }
}

fn one_bank(text: &str) -> Option<(HashAlg, u32)> {
    let (bank, pcrs) = text.split_once(':')?;
    let mut mask = 0;
    for pcr in pcrs.split(',') {
        let pcr: u32 = pcr.parse().ok().filter(|pcr| *pcr < 24)?;
        mask |= 1 << pcr;
    }
    Some((HashAlg::from_name(bank)?, mask))
}

impl std::fmt::Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (bank, mask)) in self.0.iter().enumerate() {
            let pcrs: Vec<String> = (0..24)
                .filter(|pcr| mask & (1 << pcr) != 0)
                .map(|pcr| pcr.to_string())
                .collect();
            write!(
                f,
                "{}{}:{}",
                if at == 0 { "" } else { "+" },
                bank.name(),
                pcrs.join(",")
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_are_read_as_they_are_written() {
        for text in ["sha256:0,7", "sha256:0,7+sha384:13", "sha1:23"] {
            assert_eq!(text.parse::<Selection>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "sha256",
            "sha256:",
            "sha256:24",
            "md5:1",
            "sha256:1+sha256:2",
            "sha256:1,",
            "sha256:-1",
        ] {
            assert!(bad.parse::<Selection>().is_err(), "{bad}");
        }
    }
}

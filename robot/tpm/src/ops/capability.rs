//! TPM2_GetCapability (TPM 2.0 Part 3, 30.2), page by page.

use super::wire::{Answer, Params};
use crate::{Chip, CommandCode, Protect, Result, TpmError};
use std::collections::BTreeMap;
use tpm2_protocol::data::TpmCc;

const GET_CAPABILITY: CommandCode = CommandCode::of(TpmCc::GetCapability);
/// Entries asked for at once; the chip gives fewer where they do not fit its buffer.
const PAGE: u32 = 64;
/// Pages read at most, so that a chip that always says "more" cannot keep us.
const MAX_PAGES: usize = 64;

/// A kind of capability whose entries are fixed-size (TPM 2.0 Part 2, 6.12).
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Capability {
    /// Algorithms: property is the algorithm's id, value its TPMA_ALGORITHM.
    Algorithms,
    /// Handles: property and value are the handle.
    Handles,
    /// Commands: property is the command's code, value its TPMA_CC.
    Commands,
    /// Commands under audit: property and value are the command's code.
    AuditCommands,
    /// Properties of the TPM: TPM_PT and value.
    Properties,
    /// Curves: property and value are the curve's id.
    Curves,
}

impl Capability {
    const fn id(self) -> u32 {
        match self {
            Self::Algorithms => 0,
            Self::Handles => 1,
            Self::Commands => 2,
            Self::AuditCommands => 4,
            Self::Properties => 6,
            Self::Curves => 8,
        }
    }

    fn entry(self, answer: &mut Answer<'_>) -> Result<(u32, u32)> {
        const PART: &str = "a capability";
        match self {
            Self::Algorithms => Ok((u32::from(answer.u16(PART)?), answer.u32(PART)?)),
            Self::Properties => Ok((answer.u32(PART)?, answer.u32(PART)?)),
            Self::Curves => answer.u16(PART).map(|curve| (u32::from(curve), u32::from(curve))),
            Self::Handles | Self::AuditCommands => answer.u32(PART).map(|value| (value, value)),
            // commandIndex and the vendor bit make the code (Part 2, 8.9).
            Self::Commands => answer
                .u32(PART)
                .map(|attributes| (attributes & 0x2000_ffff, attributes)),
        }
    }
}

const CAP_PCRS: u32 = 5;
const CAP_PROPERTIES: u32 = 6;

impl Chip {
    /// All entries of a capability with properties from `first` to `last`. Commands: 1 GetCapability per 64 entries or
    /// fewer.
    ///
    /// # Errors
    /// [`TpmError::Malformed`] where the chip's lists make no sense.
    pub fn capability(
        &mut self,
        capability: Capability,
        first: u32,
        last: u32,
    ) -> Result<BTreeMap<u32, u32>> {
        let mut entries = BTreeMap::new();
        let mut next = first;
        for _ in 0..MAX_PAGES {
            let count = PAGE.min((last - next).saturating_add(1));
            let (more, page) = self.capability_page(capability, next, count)?;
            let highest = page.last().map(|(property, _)| *property);
            entries.extend(
                page.into_iter()
                    .filter(|(property, _)| (first..=last).contains(property)),
            );
            match highest {
                Some(highest) if more && highest >= next && highest < last => next = highest + 1,
                _ => return Ok(entries),
            }
        }
        Err(TpmError::Malformed {
            command: GET_CAPABILITY,
            part: "the capability list, which does not end",
        })
    }

    fn capability_page(
        &mut self,
        capability: Capability,
        property: u32,
        count: u32,
    ) -> Result<(bool, Vec<(u32, u32)>)> {
        let params = Params::new(GET_CAPABILITY)
            .u32(capability.id())
            .u32(property)
            .u32(count)
            .finish()?;
        let reply = self.call_raw(GET_CAPABILITY, &[], &[], Protect::Integrity, &params)?;
        let mut answer = Answer::new(GET_CAPABILITY, &reply);
        let more = answer.u8("moreData")? != 0;
        if answer.u32("the capability")? != capability.id() {
            return Err(answer.malformed("the capability"));
        }
        let entries = answer.u32("the number of capabilities")?;
        let page = (0..entries.min(4096))
            .map(|_| capability.entry(&mut answer))
            .collect::<Result<_>>()?;
        answer.end()?;
        Ok((more, page))
    }

    /// Properties of the TPM from `first` to `last` (TPM_PT). Commands: as [`Self::capability`].
    ///
    /// # Errors
    /// As [`Self::capability`].
    pub fn tpm_properties(&mut self, first: u32, last: u32) -> Result<BTreeMap<u32, u32>> {
        self.capability(Capability::Properties, first, last)
    }

    /// Handles in use from the start of a range: 0x01… NV, 0x02… loaded sessions, 0x03… saved sessions, 0x80…
    /// transient, 0x81… persistent objects. Commands: as [`Self::capability`].
    ///
    /// # Errors
    /// As [`Self::capability`].
    pub fn handles(&mut self, range: u32) -> Result<Vec<u32>> {
        if range >> 24 == 0x03 {
            // Saved sessions are listed under the numbers of HMAC sessions, 0x02… (seen on libtpms 0.9).
            return self.list_handles(range);
        }
        let found = self.capability(Capability::Handles, range, range | 0x00ff_ffff);
        found.map(|entries| entries.into_keys().collect())
    }

    /// The allocated PCR banks: algorithm id and mask of PCRs; banks without PCRs included. Commands: 1 GetCapability.
    ///
    /// # Errors
    /// As [`Self::capability`].
    pub fn pcr_banks(&mut self) -> Result<BTreeMap<u16, u32>> {
        let params = Params::new(GET_CAPABILITY)
            .u32(CAP_PCRS)
            .u32(0)
            .u32(PAGE)
            .finish()?;
        let reply = self.call_raw(GET_CAPABILITY, &[], &[], Protect::Integrity, &params)?;
        let mut answer = Answer::new(GET_CAPABILITY, &reply);
        answer.u8("moreData")?;
        if answer.u32("the capability")? != CAP_PCRS {
            return Err(answer.malformed("the capability"));
        }
        let banks = answer.pcr_selection()?.into_iter().collect();
        answer.end()?;
        Ok(banks)
    }
}

// Both name the same list; a change of one must not pass unnoticed.
const _: () = assert!(Capability::Properties.id() == CAP_PROPERTIES);

//! Judges what a robot's root of trust says of it: a TPM's quotes, boot logs, endorsement certificates and stop receipts, or a
//! DICE chain; and says of a platform without any that nothing is proven.
//!
//! What it does: parses foreign bytes strictly, verifies signatures and digests, replays logs, compares with
//! reference values, and answers with verdicts that carry reason codes.
//!
//! What it does not do: no input or output, no clock and no randomness of its own, no talking to a TPM. Time and
//! reference values are handed in. It never says "trusted" because something was missing.
//!
//! The three most important types: [`event_log::EventLog`], a parsed log that can be replayed;
//! [`quote::VerifiedQuote`], which only verification makes; [`appraisal::Verdict`], the judgement with its reasons.

#![forbid(unsafe_code)]

pub mod appraisal;
pub mod attest;
mod cbor;
pub mod certify;
pub mod checkquote;
pub mod corim;
mod cursor;
pub mod dice;
pub mod ear;
pub mod ek_certificate;
pub mod event_log;
pub mod evidence;
pub mod health;
pub mod ima;
pub mod mission_key;
pub mod offline;
pub mod pcr;
pub mod psa;
pub mod quote;
pub mod receipt;
pub mod unrooted;

//! An attacker on the bus of a whole robot's life.
#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod cases;
pub mod judge;
pub mod runner;
pub mod trace;
pub mod world;

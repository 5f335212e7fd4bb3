//! The commands of a robot as a small reference model, and a robot made of the real parts to hold against it.
#![allow(unreachable_pub)]

pub mod reference;
pub mod robot;
pub mod steps;

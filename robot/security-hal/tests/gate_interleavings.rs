//! The gate in every order in which threads can meet at it: a checker (loom) runs each of them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

/// The checker's atomics stand in for the processor's.
mod atomic {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
}

#[allow(dead_code, unreachable_pub)]
#[path = "../src/gate/word.rs"]
mod word;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use word::Gate;

fn opened() -> Arc<Gate> {
    let gate = Arc::new(Gate::new_closed());
    gate.open(gate.closure().unwrap()).unwrap();
    gate
}

/// A thread that stops the robot, and then says so.
fn stopping(gate: &Arc<Gate>, said: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let (gate, said) = (Arc::clone(gate), Arc::clone(said));
    thread::spawn(move || {
        gate.close();
        said.store(true, Ordering::SeqCst);
    })
}

/// A command that is judged while a stop comes: once the stop is said to be done, it is not accepted. Commands only look at
/// the word, so that one stands for any number of them.
#[test]
fn nothing_is_accepted_after_a_stop_closed_the_gate() {
    loom::model(|| {
        let (gate, said) = (opened(), Arc::new(AtomicBool::new(false)));
        let stop = stopping(&gate, &said);
        let passage = gate.admit();
        let was_said = said.load(Ordering::SeqCst);
        let accepted = passage.is_some_and(|passage| gate.still_open(passage));
        assert!(!(was_said && accepted), "accepted after the stop");
        stop.join().unwrap();
        assert!(gate.is_closed() && gate.admit().is_none());
        assert!(passage.is_none_or(|passage| !gate.still_open(passage)));
    });
}

/// Two stops and a rearm that was being verified: whatever the order, the gate ends closed.
#[test]
fn a_stop_wins_over_a_rearm_that_is_being_verified() {
    loom::model(|| {
        let gate = Arc::new(Gate::new_closed());
        let closure = gate.closure().unwrap();
        let closing = || {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.close())
        };
        let stops = [closing(), closing()];
        let _ = gate.open(closure);
        stops.into_iter().for_each(|stop| stop.join().unwrap());
        assert!(gate.is_closed());
    });
}

/// A command that was let in before a stop is worthless after it, also where the robot was rearmed meanwhile.
#[test]
fn a_passage_does_not_outlive_a_stop_and_the_rearm_after_it() {
    loom::model(|| {
        let gate = opened();
        let passage = gate.admit().unwrap();
        let rearmed = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                gate.close();
                gate.open(gate.closure().unwrap()).unwrap();
            })
        };
        let command = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.still_open(passage))
        };
        rearmed.join().unwrap();
        let _ = command.join().unwrap();
        assert!(
            !gate.still_open(passage),
            "the stop between must not be forgotten"
        );
        assert!(gate.admit().is_some());
    });
}

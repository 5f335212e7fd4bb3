//! The channel against a peer that is slow, wrong, or gone.

use super::*;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::thread;
use std::time::Duration;

const COMMAND: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8];

fn response(marker: u8) -> Vec<u8> {
    vec![0x80, 1, 0, 0, 0, 11, 0, 0, 0, 0, marker]
}

/// Long enough for a busy machine to send a command before it.
fn soon() -> Instant {
    Instant::now() + Duration::from_millis(300)
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn stream() -> (Channel<UnixStream>, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    (Channel::new(near, Framing::Stream), far)
}

/// A datagram socket behaves as the chip's device file does: one write a command, one read a response.
fn device() -> (Channel<File>, UnixDatagram) {
    let (near, far) = UnixDatagram::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    (
        Channel::new(File::from(OwnedFd::from(near)), Framing::Message),
        far,
    )
}

/// Answers the first command with these bytes.
fn answering(mut far: UnixStream, answer: Vec<u8>) -> thread::JoinHandle<UnixStream> {
    thread::spawn(move || {
        let mut command = [0; 12];
        far.read_exact(&mut command).unwrap();
        far.write_all(&answer).unwrap();
        far
    })
}

/// Answers each command with the next message.
fn device_answering(far: UnixDatagram, answers: Vec<Vec<u8>>) -> thread::JoinHandle<UnixDatagram> {
    thread::spawn(move || {
        for answer in answers {
            let mut command = [0; 64];
            assert_eq!(far.recv(&mut command).unwrap(), 12);
            far.send(&answer).unwrap();
        }
        far
    })
}

#[test]
fn a_stream_response_in_pieces_is_put_together() {
    let (mut channel, mut far) = stream();
    let peer = thread::spawn(move || {
        let mut command = [0; 12];
        far.read_exact(&mut command).unwrap();
        for piece in response(7).chunks(3) {
            far.write_all(piece).unwrap();
            thread::sleep(Duration::from_millis(2));
        }
        far
    });
    let mut out = vec![0xff; 9];
    channel.transmit(&COMMAND, &mut out, later()).unwrap();
    assert_eq!(out, response(7));
    peer.join().unwrap();
}

#[test]
fn a_command_that_finds_no_room_waits_until_its_deadline() {
    let (mut channel, far) = stream();
    // The other end reads nothing until the socket is full.
    let filler = [0; 1 << 16];
    while (&channel.file).write(&filler).is_ok() {}
    let mut long = vec![0x80, 1, 0, 0, 0x10, 0];
    long.resize(MAX_MESSAGE, 0);
    let error = channel.transmit(&long, &mut Vec::new(), soon()).unwrap_err();
    assert!(
        matches!(error, TransportError::DeadlineExceeded { .. }),
        "{error}"
    );
    // Nothing of it was written, so nothing is broken: the next one waits for room as well.
    let error = channel.transmit(&long, &mut Vec::new(), soon()).unwrap_err();
    assert!(
        matches!(error, TransportError::DeadlineExceeded { .. }),
        "{error}"
    );
    drop(far);
}

#[test]
fn a_late_answer_is_never_given_to_the_next_command() {
    let (mut channel, mut far) = stream();
    let mut out = Vec::new();
    let error = channel.transmit(&COMMAND, &mut out, soon()).unwrap_err();
    assert!(
        matches!(error, TransportError::DeadlineExceeded { .. }),
        "{error}"
    );
    far.write_all(&response(1)[..4]).unwrap();
    let error = channel.transmit(&COMMAND, &mut out, soon()).unwrap_err();
    assert!(matches!(error, TransportError::Poisoned), "{error}");
    far.write_all(&response(1)[4..]).unwrap();
    let peer = thread::spawn(move || {
        let mut both = [0; 24];
        far.read_exact(&mut both).unwrap();
        far.write_all(&response(2)).unwrap();
        far
    });
    channel.transmit(&COMMAND, &mut out, later()).unwrap();
    assert_eq!(out, response(2));
    peer.join().unwrap();
}

#[test]
fn sizes_that_lie_break_a_stream_for_good() {
    for size in [0u32, 9, 4097, u32::MAX] {
        let (mut channel, mut far) = stream();
        let mut header = response(0);
        header[2..6].copy_from_slice(&size.to_be_bytes());
        let peer = answering(far, header);
        let mut out = Vec::new();
        let error = channel.transmit(&COMMAND, &mut out, later()).unwrap_err();
        far = peer.join().unwrap();
        match size {
            0 | 9 => assert!(matches!(error, TransportError::Truncated { .. }), "{error}"),
            _ => assert!(matches!(error, TransportError::ResponseTooLong { .. }), "{error}"),
        }
        assert!(
            out.capacity() < 4096,
            "a declared size must not decide how much is allocated"
        );
        far.write_all(&response(0)).unwrap();
        let error = channel.transmit(&COMMAND, &mut out, soon()).unwrap_err();
        assert!(matches!(error, TransportError::Poisoned), "{error}");
    }
}

#[test]
fn bytes_after_a_response_are_refused() {
    let (mut channel, far) = stream();
    let peer = answering(far, [response(1), response(2)].concat());
    let error = channel.transmit(&COMMAND, &mut Vec::new(), later()).unwrap_err();
    assert!(
        matches!(error, TransportError::ResponseTooLong { declared: 22 }),
        "{error}"
    );
    peer.join().unwrap();
}

#[test]
fn an_answer_that_nobody_asked_for_is_not_taken() {
    let (mut channel, mut far) = stream();
    far.write_all(&response(1)).unwrap();
    let error = channel.transmit(&COMMAND, &mut Vec::new(), later()).unwrap_err();
    assert!(matches!(error, TransportError::Poisoned), "{error}");
    let (mut channel, far) = device();
    far.send(&response(1)).unwrap();
    let peer = device_answering(far, vec![response(2)]);
    let mut out = Vec::new();
    channel.transmit(&COMMAND, &mut out, later()).unwrap();
    assert_eq!(out, response(2));
    peer.join().unwrap();
}

#[test]
fn a_closed_stream_says_so_every_time() {
    let (mut channel, far) = stream();
    drop(far);
    for _ in 0..2 {
        let error = channel.transmit(&COMMAND, &mut Vec::new(), later()).unwrap_err();
        assert!(matches!(error, TransportError::Disconnected), "{error}");
    }
}

#[test]
fn a_stream_cut_in_the_middle_of_a_response_gives_nothing() {
    let (mut channel, far) = stream();
    let peer = answering(far, response(3)[..7].to_vec());
    let closing = thread::spawn(move || drop(peer.join().unwrap()));
    let mut out = Vec::new();
    let error = channel.transmit(&COMMAND, &mut out, later()).unwrap_err();
    assert!(
        matches!(error, TransportError::Disconnected) && out.is_empty(),
        "{error}"
    );
    closing.join().unwrap();
}

#[test]
fn what_is_not_one_command_is_not_sent() {
    let (mut channel, far) = stream();
    far.set_nonblocking(true).unwrap();
    let mut long = vec![0; MAX_MESSAGE + 1];
    long[4..6].copy_from_slice(&4097u16.to_be_bytes());
    for bad in [&COMMAND[..11], &[], &[COMMAND.as_slice(), &[0]].concat(), &long] {
        let error = channel.transmit(bad, &mut Vec::new(), later()).unwrap_err();
        assert!(
            matches!(error, TransportError::BadCommand { length } if length == bad.len()),
            "{error}"
        );
    }
    let nothing = (&far).read(&mut [0; 1]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_device_answers_one_read_a_response_and_recovers_from_a_short_one() {
    let (mut channel, far) = device();
    let mut out = Vec::new();
    let answers = vec![
        response(5)[..10].to_vec(),
        [response(5), vec![0]].concat(),
        response(6),
    ];
    let peer = device_answering(far, answers);
    let error = channel.transmit(&COMMAND, &mut out, later()).unwrap_err();
    assert!(
        matches!(
            error,
            TransportError::Truncated {
                expected: 11,
                got: 10
            }
        ),
        "{error}"
    );
    let error = channel.transmit(&COMMAND, &mut out, later()).unwrap_err();
    assert!(
        matches!(error, TransportError::ResponseTooLong { declared: 12 }),
        "{error}"
    );
    channel.transmit(&COMMAND, &mut out, later()).unwrap();
    assert_eq!(out, response(6));
    peer.join().unwrap();
}

#[test]
fn a_device_that_is_late_is_drained_before_the_next_command() {
    let (mut channel, far) = device();
    let mut out = Vec::new();
    let error = channel.transmit(&COMMAND, &mut out, soon()).unwrap_err();
    assert!(
        matches!(error, TransportError::DeadlineExceeded { .. }),
        "{error}"
    );
    far.send(&response(1)).unwrap();
    let peer = thread::spawn(move || {
        let mut command = [0; 64];
        assert_eq!(far.recv(&mut command).unwrap(), 12);
        assert_eq!(far.recv(&mut command).unwrap(), 12);
        far.send(&response(2)).unwrap();
        far
    });
    channel.transmit(&COMMAND, &mut out, later()).unwrap();
    assert_eq!(out, response(2));
    peer.join().unwrap();
}

//! Mutations that know nothing of what the bytes mean.

use super::random::Random;

/// Flips the bit of a number; every bit has its turn once, far apart from its neighbours, before pairs of bits do.
pub fn flip(bytes: &mut [u8], turn: usize, random: &mut Random) -> String {
    let bits = bytes.len() * 8;
    let first = if turn < bits {
        spread(turn, bits)
    } else {
        random.below(bits)
    };
    bytes[first / 8] ^= 1 << (first % 8);
    if turn < bits {
        return format!("bit {} of byte {} flipped", first % 8, first / 8);
    }
    let second = (first + 1 + random.below(bits - 1)) % bits;
    bytes[second / 8] ^= 1 << (second % 8);
    let (low, high) = (first.min(second), first.max(second));
    format!("bits {low} and {high} flipped")
}

/// A permutation of the numbers below a count that visits far places in turn.
fn spread(turn: usize, count: usize) -> usize {
    let coprime = (count / 3 * 2..).find(|stride| gcd(*stride, count) == 1);
    turn * coprime.unwrap() % count
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Sets, inserts, deletes, cuts off or doubles.
pub fn edit(bytes: &mut Vec<u8>, random: &mut Random) -> String {
    let at = random.below(bytes.len());
    let most = *random.pick(&[4, 64, 512]);
    let length = 1 + random.below(most);
    let end = (at + length).min(bytes.len());
    match random.below(8) {
        0 | 1 => {
            let value = random.byte();
            bytes[at] = value;
            format!("byte {at} set to {value:#04x}")
        }
        2 => {
            let value = random.byte();
            bytes[at..end].fill(value);
            format!("bytes {at} to {end} set to {value:#04x}")
        }
        3 | 4 => {
            let count = 1 + random.below(8);
            let inserted = random.bytes(count);
            let at = random.below(bytes.len() + 1);
            bytes.splice(at..at, inserted.iter().copied());
            format!("{inserted:02x?} inserted at {at}")
        }
        5 => {
            bytes.drain(at..end);
            format!("bytes {at} to {end} deleted")
        }
        6 => {
            bytes.truncate(at);
            format!("cut to {at} bytes")
        }
        _ => {
            let again = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, again);
            format!("bytes {at} to {end} doubled at {to}")
        }
    }
}

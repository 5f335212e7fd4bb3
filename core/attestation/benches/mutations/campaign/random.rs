//! Choices that follow from a seed alone (SplitMix64), so that a case can be run again.

#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The choices of one case: of a seed, a kind and a number.
    pub fn of_case(seed: u64, kind: &str, case: u64) -> Self {
        let kind = kind.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut random = Self(seed ^ kind);
        random.0 = random.next().wrapping_add(case);
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a limit; 0 where the limit is.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap().max(1);
        usize::try_from(self.next() % limit).unwrap()
    }

    pub fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        core::array::from_fn(|_| self.byte())
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub fn yes(&mut self) -> bool {
        self.next() >> 63 == 1
    }

    /// A number near another: a step up or down, or anything at all.
    pub fn near(&mut self, value: u64) -> u64 {
        match self.below(4) {
            0 => value.wrapping_add(1),
            1 => value.wrapping_sub(1),
            2 => value.wrapping_add(self.next() % 1_000_000),
            _ => self.next() >> self.below(64),
        }
    }
}

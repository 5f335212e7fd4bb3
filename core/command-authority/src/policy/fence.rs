//! A fence: a polygon on the globe, judged in whole numbers, so that every machine gives the same answer.

use std::cmp::Ordering;

const MAX_CORNERS: usize = 256;
const MAX_LATITUDE_E7_DEG: i64 = 900_000_000;
const MAX_LONGITUDE_E7_DEG: i64 = 1_800_000_000;

/// Latitude and longitude, in 10⁻⁷ degrees.
type Corner = (i64, i64);

/// A polygon whose edges do not meet but at its corners; its inside is what it encloses, with its edges. Edges are straight
/// in latitude and longitude. A fence across the 180th meridian is two missions.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize)]
#[serde(try_from = "Vec<Vec<i64>>")]
pub struct Fence(Vec<Corner>);

/// Why corners are no fence.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum FenceError {
    /// Too few or too many.
    #[error("a fence has 3 to {MAX_CORNERS} corners, this one has {0}")]
    Corners(usize),
    /// Not on the globe.
    #[error("corner {0} is not on the globe: write [latitude, longitude] in 10⁻⁷ degrees")]
    OffGlobe(usize),
    /// An edge without a length.
    #[error(
        "corner {0} is the next one again: strike it out, the last corner leads back to the first by itself"
    )]
    Repeated(usize),
    /// Edges that cross or touch.
    #[error("the edges that begin at corners {0} and {1} meet: nobody could say what is inside")]
    Crossing(usize, usize),
}

impl TryFrom<Vec<Vec<i64>>> for Fence {
    type Error = FenceError;

    /// Lists, since a pair would be read from a longer list without a word.
    fn try_from(lists: Vec<Vec<i64>>) -> Result<Self, FenceError> {
        let corner = |(at, list): (usize, &Vec<i64>)| match list.as_slice() {
            [latitude, longitude] => Ok((*latitude, *longitude)),
            _ => Err(FenceError::OffGlobe(at)),
        };
        Self::new(lists.iter().enumerate().map(corner).collect::<Result<_, _>>()?)
    }
}

impl Fence {
    /// The fence with these corners, latitude and longitude in 10⁻⁷ degrees; the last leads back to the first.
    ///
    /// # Errors
    /// [`FenceError`] says why it encloses nothing that could be told.
    pub fn new(corners: Vec<Corner>) -> Result<Self, FenceError> {
        if !(3..=MAX_CORNERS).contains(&corners.len()) {
            return Err(FenceError::Corners(corners.len()));
        }
        let on_globe =
            |corner: &Corner| corner.0.abs() <= MAX_LATITUDE_E7_DEG && corner.1.abs() <= MAX_LONGITUDE_E7_DEG;
        if let Some(at) = corners.iter().position(|corner| !on_globe(corner)) {
            return Err(FenceError::OffGlobe(at));
        }
        let fence = Self(corners);
        if let Some(at) = fence.edges().position(|(from, to)| from == to) {
            return Err(FenceError::Repeated(at));
        }
        fence.check_edges()?;
        Ok(fence)
    }

    /// The corners.
    pub fn corners(&self) -> &[(i64, i64)] {
        &self.0
    }

    /// Whether a position is inside or on an edge. Allocates nothing.
    pub fn contains(&self, latitude_e7_deg: i64, longitude_e7_deg: i64) -> bool {
        let point = (latitude_e7_deg, longitude_e7_deg);
        let mut inside = false;
        for (from, to) in self.edges() {
            if is_on(point, from, to) {
                return true;
            }
            // A ray to the east: an edge counts from its lower end, without its upper one.
            let upward = from.0 <= point.0 && point.0 < to.0;
            let downward = to.0 <= point.0 && point.0 < from.0;
            let side = turn(from, to, point);
            if (upward && side == Ordering::Greater) || (downward && side == Ordering::Less) {
                inside = !inside;
            }
        }
        inside
    }

    fn edges(&self) -> impl Iterator<Item = (Corner, Corner)> + Clone + '_ {
        let next = self.0.iter().cycle().skip(1);
        self.0.iter().copied().zip(next.copied())
    }

    /// No two edges meet, but neighbours at the corner they share.
    fn check_edges(&self) -> Result<(), FenceError> {
        let count = self.0.len();
        for (one, (a, b)) in self.edges().enumerate() {
            for (other, (c, d)) in self.edges().enumerate().skip(one + 1) {
                let meets = if other == one + 1 {
                    folds_back(a, b, d)
                } else if one == 0 && other == count - 1 {
                    folds_back(b, a, c)
                } else {
                    is_crossing(a, b, c, d)
                };
                if meets {
                    return Err(FenceError::Crossing(one, other));
                }
            }
        }
        Ok(())
    }
}

/// On which side of the way from `a` to `b` a point is.
fn turn(a: Corner, b: Corner, point: Corner) -> Ordering {
    let wide = |value: i64| i128::from(value);
    let across = (wide(b.0) - wide(a.0)) * (wide(point.1) - wide(a.1));
    let along = (wide(b.1) - wide(a.1)) * (wide(point.0) - wide(a.0));
    along.cmp(&across)
}

fn is_on(point: Corner, a: Corner, b: Corner) -> bool {
    let between = |value: i64, one: i64, two: i64| (one.min(two)..=one.max(two)).contains(&value);
    turn(a, b, point) == Ordering::Equal && between(point.0, a.0, b.0) && between(point.1, a.1, b.1)
}

/// Whether the edge from `corner` to `to` lies on the one from `from` to `corner`.
fn folds_back(from: Corner, corner: Corner, to: Corner) -> bool {
    turn(from, corner, to) == Ordering::Equal && (is_on(to, from, corner) || is_on(from, corner, to))
}

fn is_crossing(a: Corner, b: Corner, c: Corner, d: Corner) -> bool {
    let apart = |one: Ordering, two: Ordering| one != Ordering::Equal && two != Ordering::Equal && one != two;
    let proper = apart(turn(a, b, c), turn(a, b, d)) && apart(turn(c, d, a), turn(c, d, b));
    proper || is_on(c, a, b) || is_on(d, a, b) || is_on(a, c, d) || is_on(b, c, d)
}

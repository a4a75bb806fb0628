//! Sides and rounds: in each round every side is measured once, in an order that turns round from one round
//! to the next, so that what else the machine does meets all of them alike.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::Result;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The program under measurement.
    Supercargo,
    /// CNCF distribution.
    Distribution,
    /// nginx, serving files with the same bytes.
    Nginx,
    /// The hardware, asked with as little program as there can be.
    Floor,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Supercargo => "supercargo",
            Side::Distribution => "distribution",
            Side::Nginx => "nginx",
            Side::Floor => "floor",
        })
    }
}

/// A figure per round, for each side that was measured, or for whatever else takes turns.
#[derive(Debug, Clone)]
pub struct Samples<S = Side>(BTreeMap<S, Vec<f64>>);

impl<S> Default for Samples<S> {
    fn default() -> Samples<S> {
        Samples(BTreeMap::new())
    }
}

impl<S: Copy + Ord> Samples<S> {
    /// A side's figures in the order of the rounds; empty where it was not measured.
    pub fn of(&self, side: S) -> &[f64] {
        self.0.get(&side).map_or(&[], Vec::as_slice)
    }
}

/// Measures each side once a round.
///
/// # Errors
/// The first error of a measurement.
pub async fn alternate<S: Copy + Ord>(
    rounds: usize,
    sides: &[S],
    mut measure: impl AsyncFnMut(S, usize) -> Result<f64>,
) -> Result<Samples<S>> {
    let mut samples = Samples::default();
    let mut order = sides.to_vec();
    for round in 0..rounds {
        for side in &order {
            let figure = measure(*side, round).await?;
            samples.0.entry(*side).or_default().push(figure);
        }
        if !order.is_empty() {
            order.rotate_left(1);
        }
    }
    Ok(samples)
}

/// Gets what was written so far out of the way: without this, one side's answers wait for the write-back of
/// another's bytes.
pub fn settle_disk() {
    rustix::fs::sync();
}

/// Takes so much memory, writes to it, and gives it back: what is freed last is taken next, so that whoever is
/// measured next does not pay for the first use of memory that another before it did not have to. On a virtual
/// machine that first use may cost more than anything else.
pub fn warm_memory(bytes: usize) {
    std::hint::black_box(vec![1_u8; bytes]);
}

/// The middle figure, or the mean of the two in the middle; `None` where there is none.
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 4.0]), Some(4.0));
        assert_eq!(median(&[9.0, 1.0, 4.0, 2.0]), Some(3.0));
    }

    #[tokio::test]
    async fn no_side_is_always_the_first() {
        let mut seen = Vec::new();
        let sides = [Side::Supercargo, Side::Distribution];
        let samples = alternate(2, &sides, async |side, round| {
            seen.push(side);
            Ok(round as f64)
        })
        .await
        .unwrap();
        assert_eq!(seen, [Side::Supercargo, Side::Distribution, Side::Distribution, Side::Supercargo]);
        assert_eq!(samples.of(Side::Distribution), [0.0, 1.0]);
        assert!(samples.of(Side::Floor).is_empty());
    }
}

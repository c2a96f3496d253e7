//! Medians and the spread of ratios.

/// The middle value; of an even number of values the mean of the two in the middle. `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The value that this part of the values is not above; of few values the highest. `None` of nothing.
pub fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(at.max(1).min(sorted.len()) - usize::from(!sorted.is_empty())).copied()
}

/// Agent by baseline, round by round: a round's two values were taken next to each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
}

impl Ratio {
    pub fn of(baseline: &[f64], agent: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = baseline.iter().zip(agent).map(|(baseline, agent)| agent / baseline).collect();
        Some(Self {
            median: median(&ratios)?,
            lowest: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            highest: ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn nineteen_of_twenty_are_not_above_the_95th_of_a_hundred() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!((quantile(&values, 0.95), quantile(&values[..3], 0.95)), (Some(19.0), Some(3.0)));
        assert_eq!(quantile(&[], 0.95), None);
    }

    #[test]
    fn a_ratio_compares_each_round_with_itself() {
        let ratio = Ratio::of(&[10.0, 20.0, 10.0], &[11.0, 21.0, 13.0]);
        assert_eq!(ratio, Some(Ratio { median: 1.1, lowest: 1.05, highest: 1.3 }));
    }
}

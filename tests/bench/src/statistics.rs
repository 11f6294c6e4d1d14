//! Quantiles and ratios.

/// The smallest value that `share` of all values do not exceed. NaN without values.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// A ratio of two subjects: the median of the rounds' ratios, and the middle half of the rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Ratio {
    /// Of values that were measured in the same rounds.
    pub(crate) fn of(values: &[f64], others: &[f64]) -> Self {
        let ratios: Vec<f64> = values.iter().zip(others).map(|(value, other)| value / other).collect();
        Self { median: median(&ratios), low: quantile(&ratios, 0.25), high: quantile(&ratios, 0.75) }
    }
}

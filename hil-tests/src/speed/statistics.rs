//! Medians and quartiles.

use statrs::statistics::{Data, OrderStatistics as _};

/// Where the middle of some samples is, and where the middle half of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) lower_quartile: f64,
    pub(super) median: f64,
    pub(super) upper_quartile: f64,
}

impl Spread {
    /// The spread of some samples, if there are any.
    pub(super) fn of(samples: &[f64]) -> Option<Self> {
        if samples.is_empty() {
            return None;
        }
        let mut data = Data::new(samples.to_vec());
        Some(Self {
            lower_quartile: data.lower_quartile(),
            median: data.median(),
            upper_quartile: data.upper_quartile(),
        })
    }
}

/// The value that this share of the samples does not exceed; NaN if there are none.
pub(super) fn quantile(samples: Vec<f64>, share: f64) -> f64 {
    Data::new(samples).quantile(share)
}

/// The middle one; NaN if there are none.
pub(super) fn median(samples: Vec<f64>) -> f64 {
    Data::new(samples).median()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sample_is_its_own_spread() {
        assert_eq!(Spread::of(&[]), None);
        let spread = Spread { lower_quartile: 7.0, median: 7.0, upper_quartile: 7.0 };
        assert_eq!(Spread::of(&[7.0]), Some(spread));
    }

    #[test]
    fn the_order_of_samples_and_one_that_is_far_off_do_not_matter() {
        let spread = Spread::of(&[5.0, 1.0, 4.0, 1000.0, 2.0]).unwrap();
        assert_eq!(spread.median, 4.0);
        assert!(1.0 <= spread.lower_quartile && spread.lower_quartile <= 2.0);
        assert!(5.0 <= spread.upper_quartile && spread.upper_quartile <= 1000.0);
        assert_eq!(Spread::of(&[1.0, 3.0]).unwrap().median, 2.0);
    }

    #[test]
    fn a_quantile_has_its_share_below_it() {
        let samples: Vec<f64> = (1..=1000).rev().map(f64::from).collect();
        assert!((quantile(samples.clone(), 0.99) - 990.0).abs() < 1.0);
        assert!((quantile(samples.clone(), 0.5) - 500.5).abs() < 1e-9);
        assert!((median(samples) - 500.5).abs() < 1e-9);
    }
}

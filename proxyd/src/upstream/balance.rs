//! The balancers: which endpoint serves the next request. Pure: state in, choice out.

/// Smooth weighted round robin: each turn every endpoint gains its weight, the richest is taken and pays the sum. Over
/// each full cycle every endpoint is taken as often as its weight says, spread as evenly as can be.
#[derive(Clone, Debug)]
pub struct RoundRobin {
    weights: Box<[u32]>,
    credit: Box<[i64]>,
    total: i64,
}

impl RoundRobin {
    /// A fresh state. `turn` lets workers start at different endpoints, so that together they spread as one would.
    pub fn new(weights: &[u32], turn: usize) -> Self {
        let total = weights.iter().map(|&weight| i64::from(weight)).sum();
        let mut state = Self { weights: weights.into(), credit: vec![0; weights.len()].into(), total };
        for _ in 0..turn % weights.len().max(1) {
            state.take();
        }
        state
    }

    /// The index of the endpoint whose turn it is; none where there are no endpoints.
    pub fn take(&mut self) -> Option<usize> {
        if self.credit.len() == 1 {
            return Some(0);
        }
        let mut best: Option<(usize, i64)> = None;
        for (index, (credit, &weight)) in self.credit.iter_mut().zip(&self.weights).enumerate() {
            *credit += i64::from(weight);
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((index, *credit));
            }
        }
        let (index, _) = best?;
        if let Some(credit) = self.credit.get_mut(index) {
            *credit -= self.total;
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(weights: &[u32], expected: &[usize]) {
        let mut state = RoundRobin::new(weights, 0);
        let got: Vec<_> = (0..expected.len()).filter_map(|_| state.take()).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn turns_are_spread() {
        check(&[1], &[0, 0, 0]);
        check(&[1, 1], &[0, 1, 0, 1]);
        check(&[5, 1, 1], &[0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(RoundRobin::new(&[], 3).take(), None);
    }

    proptest! {
        #[test]
        fn each_cycle_honours_the_weights(weights in prop::collection::vec(1u32..50, 1..12), turn in 0usize..20) {
            let mut state = RoundRobin::new(&weights, turn);
            let mut taken = vec![0u32; weights.len()];
            for _ in 0..weights.iter().sum::<u32>() {
                taken[state.take().unwrap()] += 1;
            }
            prop_assert_eq!(taken, weights);
        }
    }
}

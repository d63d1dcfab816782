//! The edges of a line, in their order, and how far they were waited for.

use std::collections::VecDeque;

use super::super::chip::Edge;

/// How many edges are kept that nobody has waited for. The kernel keeps 16 itself.
const KEPT: usize = 64;

/// What has come so far. Edges are counted from the first on.
#[derive(Debug, Default)]
pub(super) struct Edges {
    /// The count of the first edge that is kept.
    first: u64,
    kept: VecDeque<Edge>,
    /// The count up to which somebody has waited.
    seen: u64,
}

impl Edges {
    /// Another edge has come.
    pub(super) fn push(&mut self, edge: Edge) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
            self.first += 1;
        }
        self.kept.push_back(edge);
    }

    /// From where a wait that begins now counts.
    pub(super) const fn unseen(&self) -> u64 {
        self.seen
    }

    /// Whatever has come so far is of no interest any more.
    pub(super) fn skip(&mut self) -> u64 {
        self.seen = self.first + self.kept.len() as u64;
        self.seen
    }

    /// Whether such an edge has come since `start`. If so, it and all before it are seen.
    pub(super) fn take(&mut self, edge: Edge, start: u64) -> bool {
        let mut counted = (self.first..).zip(&self.kept);
        match counted.find(|(count, kept)| *count >= start && **kept == edge) {
            Some((count, _)) => {
                self.seen = self.seen.max(count + 1);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulses(count: usize) -> Edges {
        let mut edges = Edges::default();
        for _ in 0..count {
            edges.push(Edge::Rising);
            edges.push(Edge::Falling);
        }
        edges
    }

    #[test]
    fn an_edge_is_taken_once_and_those_before_it_with_it() {
        let mut edges = pulses(2);
        let start = edges.unseen();
        assert!(edges.take(Edge::Falling, start));
        let start = edges.unseen();
        assert!(edges.take(Edge::Rising, start), "the second");
        let start = edges.unseen();
        assert!(!edges.take(Edge::Rising, start));
        assert!(edges.take(Edge::Falling, start));
    }

    #[test]
    fn two_who_wait_for_the_same_edge_both_get_it() {
        let mut edges = Edges::default();
        let (one, other) = (edges.unseen(), edges.unseen());
        edges.push(Edge::Rising);
        assert!(edges.take(Edge::Rising, one));
        assert!(edges.take(Edge::Rising, other));
    }

    #[test]
    fn what_is_skipped_is_not_taken() {
        let mut edges = pulses(1);
        let start = edges.skip();
        assert!(!edges.take(Edge::Rising, start));
        edges.push(Edge::Rising);
        assert!(edges.take(Edge::Rising, start));
    }

    #[test]
    fn only_the_newest_are_kept() {
        let mut edges = pulses(KEPT);
        let start = edges.unseen();
        let mut taken = 0;
        while edges.take(Edge::Rising, edges.unseen()) {
            taken += 1;
        }
        assert_eq!((start, taken), (0, KEPT / 2));
    }
}

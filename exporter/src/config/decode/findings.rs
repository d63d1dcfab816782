//! Where the readers put the mistakes that they find.

use std::cell::RefCell;

use crate::config::environment::Environment;
use crate::config::mistake::{Mistake, Severity};

/// What reading a file has brought to light so far.
pub(in crate::config) struct Findings<'e> {
    /// Where defaults may come from.
    pub(in crate::config) environment: &'e Environment,
    list: RefCell<Vec<Mistake>>,
    /// How many mistakes there were before decoding.
    composed: usize,
}

impl<'e> Findings<'e> {
    pub(in crate::config) fn new(environment: &'e Environment, list: Vec<Mistake>) -> Self {
        let composed = list.len();
        Self { environment, list: RefCell::new(list), composed }
    }

    pub(super) fn note(&self, mistake: Mistake) {
        self.list.borrow_mut().push(mistake);
    }

    pub(in crate::config) fn into_list(self) -> Vec<Mistake> {
        self.list.into_inner()
    }

    /// The paths of the errors that were found since the nodes were composed.
    pub(in crate::config) fn decoding_errors(&self) -> Vec<String> {
        let list = self.list.borrow();
        let errors = list[self.composed..].iter().filter(|m| m.severity == Severity::Error);
        errors.map(|mistake| mistake.path.clone()).collect()
    }
}

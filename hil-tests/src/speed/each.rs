//! One of something for each subject.

use std::ops::{Index, IndexMut};

use anyhow::Result;

use crate::subject::Subject;

/// A value for each subject.
#[derive(Clone, Debug, Default)]
pub(super) struct Each<T> {
    python: T,
    hilt: T,
    bare: T,
}

impl<T> Each<T> {
    /// Makes the values one after the other.
    pub(super) fn new(mut make: impl FnMut(Subject) -> Result<T>) -> Result<Self> {
        Ok(Self {
            python: make(Subject::Python)?,
            hilt: make(Subject::Hilt)?,
            bare: make(Subject::Bare)?,
        })
    }

    /// A value from each value.
    pub(super) fn map<'s, U>(&'s self, mut make: impl FnMut(&'s T) -> U) -> Each<U> {
        Each { python: make(&self.python), hilt: make(&self.hilt), bare: make(&self.bare) }
    }
}

impl<T> Index<Subject> for Each<T> {
    type Output = T;

    fn index(&self, subject: Subject) -> &T {
        match subject {
            Subject::Python => &self.python,
            Subject::Hilt => &self.hilt,
            Subject::Bare => &self.bare,
        }
    }
}

impl<T> IndexMut<Subject> for Each<T> {
    fn index_mut(&mut self, subject: Subject) -> &mut T {
        match subject {
            Subject::Python => &mut self.python,
            Subject::Hilt => &mut self.hilt,
            Subject::Bare => &mut self.bare,
        }
    }
}

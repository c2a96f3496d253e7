//! How a courier stands, for those who look at it from outside.

use super::{Courier, Lane, Lost};

/// How one sink stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub sink: &'static str,
    /// Notices that it was handed since the agent began.
    pub handed: u64,
    /// Notices that it lost.
    pub lost: Lost,
    /// Whether its receiver has failed since it last took something.
    pub is_failing: bool,
}

impl Courier {
    /// How it stands.
    pub fn standing(&self) -> Standing {
        let (handed, is_failing) = {
            let state = self.shared.state();
            (state.last - self.first, state.failures > 0)
        };
        Standing { sink: self.settings().name, handed, lost: self.lost(), is_failing }
    }

    /// Whether every alert that was handed over has been taken.
    pub fn has_delivered_alerts(&self) -> bool {
        let (state, alerts) = (self.shared.state(), Lane::Alerts as usize);
        state.done[alerts] == state.issued[alerts]
    }

    /// What the receiver said last, if it did not take something.
    pub fn complaint(&self) -> Option<String> {
        self.shared.state().why.clone()
    }
}

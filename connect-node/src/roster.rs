//! Which managers there are, as far as ingest is concerned: who is expected, who is gone, and what it means that one
//! went (DESIGN 6, rules 5, 8 and 10).
//!
//! What links and the registry say goes in, what shards wait for in `as_of` comes out. All of it under ingest's lock.

use crate::{
    ingest::{Ingest, Inner, NOT_LISTED_YET, Owner},
    manager::{Departure, Manager, ManagerStatus, STATIC_GONE_AFTER},
};

impl Ingest {
    /// The link ended, for whatever reason.
    pub fn link_down(&self, owner: Owner, now: u64) {
        let mut inner = self.lock();
        if let Ok(state) = inner.owned(owner) {
            state.owner = None;
            state.unlinked_at = now;
            // Without a record it is gone now.
            state.was_gone |= self.settings.registry && !state.registered && !state.closed;
            let Inner { managers, completeness, .. } = &mut *inner;
            for state in managers.values_mut() {
                if state.unnamed(owner.manager, self.settings.registry, now) {
                    completeness.only_since(now);
                }
            }
            self.expect_all(&inner);
        }
        drop(inner);
        self.hand_ups.link_down(owner.token);
    }

    /// This node's own record is there and it sees the managers' from `now` on; again when it stood still meanwhile.
    pub fn watches_since(&self, now: u64) {
        self.lock().completeness.watches_since(now);
    }

    /// This node's record was lost and is there again. Managers that came meanwhile have not heard of it; where every
    /// manager is linked none did, and those that lost their records with it have not gone.
    pub fn record_is_back(&self, now: u64) {
        let mut inner = self.lock();
        if inner.managers.values().any(|state| self.expects(state) && state.owner.is_none()) {
            inner.completeness.watches_since(now);
        }
    }

    /// The managers the registry has now; to be called once it has been listed, and when it changes.
    pub fn set_registered(&self, registered: &[u64], now: u64) {
        let mut inner = self.lock();
        inner.listed = true;
        let mut departure = Departure::Harmless;
        let just_came = inner.just_came(now);
        for manager in registered {
            let state = inner.managers.entry(*manager).or_default();
            if !std::mem::replace(&mut state.registered, true) {
                state.known_at = now;
                state.may_be_old |= just_came;
            }
        }
        for (_, state) in
            inner.managers.iter_mut().filter(|(id, state)| state.registered && !registered.contains(id))
        {
            match state.departs(now, self.settings.lease) {
                Departure::Harmless => {}
                Departure::Unheard if departure == Departure::Hole => {}
                other => departure = other,
            }
        }
        match departure {
            Departure::Harmless => {}
            Departure::Unheard => inner.completeness.only_since(now),
            Departure::Hole => self.hole(&mut inner, now),
        }
        self.mark_all(|marks| marks.forget(NOT_LISTED_YET));
        self.expect_all(&inner);
    }

    /// Lets go of what is too old in the window and beside it, and of managers that are gone: at once those that
    /// nothing was received of, after the window's age the others. To be called every few seconds.
    pub fn expire(&self, now: u64) {
        let mut inner = self.lock();
        inner.forget_old(now);
        let (registry, keep) = (self.settings.registry, self.settings.window.age);
        inner.managers.retain(|manager, state| {
            let unlinked = state.pass_time(now);
            state.was_gone |= !registry && state.lapsed && !state.closed;
            let kept = state.received.is_some() && unlinked < keep;
            let stays = state.expected(registry) || kept;
            if !stays {
                self.mark_all(|marks| marks.forget(*manager));
            }
            stays
        });
        self.expect_all(&inner);
    }

    /// Every manager this node knows of.
    pub fn managers(&self) -> Vec<ManagerStatus> {
        let inner = self.lock();
        inner.managers.iter().map(|(manager, state)| state.status(*manager)).collect()
    }

    /// Whether `as_of` waits for a manager.
    pub(crate) fn expects(&self, manager: &Manager) -> bool {
        manager.expected(self.settings.registry)
    }

    pub(crate) fn expect_all(&self, inner: &Inner) {
        self.mark_all(|marks| {
            for (manager, state) in &inner.managers {
                marks.expect(*manager, state.expected(self.settings.registry));
            }
        });
    }
}

impl Inner {
    /// Whether a manager that is first heard of now may have been there before this node.
    pub(crate) fn just_came(&self, now: u64) -> bool {
        let lately = |at: u64| now < at.saturating_add(STATIC_GONE_AFTER);
        self.open_since.is_none_or(lately) || lately(self.completeness.watching())
    }
}

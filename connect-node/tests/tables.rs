//! Both indexes say the same after any joins, leaves and closes, and the inbox is told of every change.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use connect_node::{
    key::{EVERYONE, Key, Keys},
    shard::tables::Tables,
};
use proptest::prelude::*;

const APPS: [&str; 2] = ["", "game"];
const USERS: [&str; 3] = ["ann", "bob", "r0"];
const ROOMS: [&str; 4] = ["r0", "r1", "r2", "r3"];

#[derive(Debug, Clone)]
enum Step {
    Connect { slot: u32, app: usize, user: usize },
    Disconnect { slot: u32 },
    Join { slot: u32, rooms: Vec<usize> },
    Leave { slot: u32, room: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let slot = 0_u32..8;
    prop_oneof![
        (slot.clone(), 0..APPS.len(), 0..USERS.len()).prop_map(|(slot, app, user)| Step::Connect {
            slot,
            app,
            user
        }),
        slot.clone().prop_map(|slot| Step::Disconnect { slot }),
        (slot.clone(), prop::collection::btree_set(0..ROOMS.len(), 1..3))
            .prop_map(|(slot, rooms)| Step::Join { slot, rooms: rooms.into_iter().collect() }),
        (slot, 0..ROOMS.len()).prop_map(|(slot, room)| Step::Leave { slot, room }),
    ]
}

#[derive(Default)]
struct Model {
    connections: BTreeMap<u32, (&'static str, &'static str, BTreeSet<&'static str>)>,
    interest: HashMap<Key, i32>,
}

impl Model {
    fn subscribe(&mut self, keys: &[Key]) {
        keys.iter().for_each(|key| *self.interest.entry(*key).or_default() += 1);
    }

    fn unsubscribe(&mut self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            let count = self.interest.get_mut(&key).expect("only what was subscribed is given back");
            *count -= 1;
            if *count == 0 {
                self.interest.remove(&key);
            }
        }
    }

    fn apply(&mut self, tables: &mut Tables, step: &Step) {
        match step {
            Step::Connect { slot, app, user } => {
                if self.connections.contains_key(slot) {
                    return;
                }
                let (app, user) = (APPS[*app], USERS[*user]);
                self.subscribe(&tables.keys_to_connect(app, user));
                tables.connect(*slot, app, user);
                self.connections.insert(*slot, (app, user, BTreeSet::new()));
            }
            Step::Disconnect { slot } => {
                let gone = tables.disconnect(*slot);
                assert!(self.connections.remove(slot).is_some() || gone.is_empty());
                self.unsubscribe(gone);
            }
            Step::Join { slot, rooms } => {
                let Some((app, _, joined)) = self.connections.get_mut(slot) else {
                    assert!(!tables.join(*slot, ROOMS[rooms[0]], 1));
                    return;
                };
                let rooms: Vec<&str> = rooms.iter().map(|room| ROOMS[*room]).collect();
                let keys = tables.keys_to_join(app, rooms.iter().copied());
                let mut entered = Vec::new();
                for (room, key) in rooms.iter().zip(keys) {
                    let is_new = joined.insert(room);
                    assert_eq!(tables.join(*slot, room, 1), is_new);
                    entered.extend(is_new.then_some(key));
                }
                self.subscribe(&entered);
            }
            Step::Leave { slot, room } => {
                let room = ROOMS[*room];
                let gone = tables.leave(*slot, room);
                let was_in = self.connections.get_mut(slot).is_some_and(|(_, _, joined)| joined.remove(room));
                assert!(was_in || gone.is_none());
                self.unsubscribe(gone);
            }
        }
    }

    fn slots(&self, wanted: impl Fn(&str, &str, &BTreeSet<&'static str>) -> bool) -> Vec<u32> {
        let of = |(slot, (app, user, rooms)): (&u32, &(&str, &str, BTreeSet<&'static str>))| {
            wanted(app, user, rooms).then_some(*slot)
        };
        self.connections.iter().filter_map(of).collect()
    }
}

fn sorted(slots: &[u32]) -> Vec<u32> {
    let mut slots = slots.to_vec();
    slots.sort_unstable();
    slots
}

proptest! {
    #[test]
    fn the_tables_and_the_interest_match_a_plain_model(steps in prop::collection::vec(step(), 1..120)) {
        let keys = Keys::default();
        let mut tables = Tables::new(keys.clone());
        let mut model = Model::default();
        for step in &steps {
            model.apply(&mut tables, step);
            let mut interest = BTreeSet::new();
            for app in APPS {
                let a = app.as_bytes();
                for room in ROOMS {
                    let expected = model.slots(|of, _, rooms| of == app && rooms.contains(room));
                    let key = keys.room(a, room.as_bytes());
                    prop_assert_eq!(sorted(tables.room(key, a, room.as_bytes())), &expected[..]);
                    interest.extend((!expected.is_empty()).then_some(key));
                }
                for user in USERS {
                    let expected = model.slots(|of, is, _| of == app && is == user);
                    let key = keys.user(a, user.as_bytes());
                    prop_assert_eq!(sorted(tables.user(key, a, user.as_bytes())), &expected[..]);
                    interest.extend((!expected.is_empty()).then_some(key));
                }
                let expected = model.slots(|of, _, _| of == app);
                prop_assert_eq!(sorted(tables.app(keys.app(a), a)), &expected[..]);
                interest.extend((!expected.is_empty()).then_some(keys.app(a)));
            }
            let everyone: Vec<u32> = tables.everyone().collect();
            prop_assert_eq!(sorted(&everyone), model.slots(|_, _, _| true));
            interest.extend((!everyone.is_empty()).then_some(EVERYONE));
            prop_assert_eq!(model.interest.keys().copied().collect::<BTreeSet<_>>(), interest);
            prop_assert_eq!(tables.connections(), model.connections.len());
        }
        for (slot, (app, user, rooms)) in &model.connections {
            prop_assert_eq!(tables.identity(*slot), Some((*app, *user)));
            prop_assert_eq!(tables.rooms_of(*slot), rooms.iter().copied().collect::<Vec<_>>());
            let mut found_by = tables.keys_of(*slot);
            let mut given_back = tables.clone().disconnect(*slot);
            found_by.sort_unstable();
            given_back.sort_unstable();
            prop_assert_eq!(found_by, given_back);
        }
    }
}

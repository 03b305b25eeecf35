//! Which node a session tries next.

use rand::seq::SliceRandom as _;

/// The nodes a session knows, one of them the present one.
#[derive(Debug)]
pub(super) struct Nodes {
    urls: Vec<String>,
    present: usize,
    /// Tries in a row that found something which will never be a node.
    hopeless: usize,
}

impl Nodes {
    /// Begins with `first`. The others are tried one after the other, in an order of each session's own: the clients
    /// of a node that is lost spread over all that remain.
    pub(super) fn new(first: &str, others: &[String]) -> Self {
        let mut urls = vec![first.to_owned()];
        for url in others {
            if !urls.contains(url) {
                urls.push(url.clone());
            }
        }
        urls[1..].shuffle(&mut rand::rng());
        Self { urls, present: 0, hopeless: 0 }
    }

    pub(super) fn present(&self) -> &str {
        &self.urls[self.present]
    }

    pub(super) const fn is_alone(&self) -> bool {
        self.urls.len() == 1
    }

    /// The present one is lost, or could not be connected to.
    pub(super) const fn move_on(&mut self) {
        self.present = (self.present + 1) % self.urls.len();
    }

    /// Notes how a try went; true if it is time to give up: every address in a row was found to be no node's. A wrong
    /// one among several is no reason.
    pub(super) const fn tried(&mut self, is_hopeless: bool) -> bool {
        self.hopeless = if is_hopeless { self.hopeless + 1 } else { 0 };
        self.hopeless >= self.urls.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn others() -> Vec<String> {
        ["a", "b", "c", "d", "b"].map(ToOwned::to_owned).to_vec()
    }

    #[test]
    fn all_are_tried_in_turn_from_the_first_one_on() {
        let mut nodes = Nodes::new("a", &others());
        let mut tried = Vec::new();
        for _ in 0..8 {
            tried.push(nodes.present().to_owned());
            nodes.move_on();
        }
        assert_eq!(tried[0], "a");
        assert_eq!(tried[..4], tried[4..]);
        assert_eq!(tried.iter().collect::<HashSet<_>>().len(), 4);
    }

    #[test]
    fn sessions_that_lose_a_node_go_to_different_ones() {
        let second = || {
            let mut nodes = Nodes::new("a", &others());
            nodes.move_on();
            nodes.present().to_owned()
        };
        assert_eq!((0..200).map(|_| second()).collect::<HashSet<_>>().len(), 3);
    }

    #[test]
    fn it_gives_up_when_no_address_is_a_nodes() {
        assert!(Nodes::new("a", &[]).tried(true));
        let mut nodes = Nodes::new("a", &["b".to_owned()]);
        let gave_up = [true, false, true, true].map(|is_hopeless| nodes.tried(is_hopeless));
        assert_eq!(gave_up, [false, false, false, true]);
    }
}

//! What several fuzz targets need: clients that say anything, and words they say it with.
//!
//! Each target reads its input as a list of things to do, so that most inputs get past the first check; some parts of it
//! are taken as they are, so that the first checks see everything, too.

#[path = "../../../connect-node/tests/peer/mod.rs"]
#[allow(unreachable_pub)]
mod peer;

pub mod client;
pub mod words;

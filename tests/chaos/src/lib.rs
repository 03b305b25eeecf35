//! Whole fleets under faults: real processes, a real etcd, and a checker that knows every message accepted and every
//! message each client got.
//!
//! A [`scenarios`] entry breaks a [`stage`] (etcd, managers, nodes, the lines between them) while [`callers`] push and
//! a [`crowd`] of clients listens. What was sent is in the [`book`], what came is in each client's diary, and
//! [`check`] compares the two. Callers do as rule 9 of the design says: who must be certain retries with the same
//! request_id, through any manager, until no node is pending. Clients are `pushctl`'s sessions.

pub mod book;
pub mod callers;
pub mod check;
pub mod crowd;
pub mod play;
pub mod report;
pub mod resumes;
pub mod scenarios;
pub mod schedule;
pub mod stage;

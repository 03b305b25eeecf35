pub mod api;
pub mod clock;
pub mod log;
pub mod link_state;
pub mod answers;
pub mod nodes;

//! The contract between the parts of Pushcast and with the people who use it: what business servers call
//! ([`pushmanager`]), what managers and nodes say to each other ([`connectnode`]) and what clients speak
//! ([`client`], in protobuf and in JSON). `README.md` beside this crate describes the client protocol.

#![allow(clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction)]
#![allow(missing_debug_implementations, unreachable_pub)]

/// Descriptors of every file, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Business servers to push-manager.
pub mod pushmanager {
    /// Package `pushmanager.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/pushmanager.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/pushmanager.v1.serde.rs"));
    }
}

/// Push-manager to connect-node.
pub mod connectnode {
    /// Package `connectnode.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/connectnode.v1.rs"));
    }
}

/// Client to connect-node.
pub mod client {
    /// Package `client.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/client.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/client.v1.serde.rs"));
    }
}

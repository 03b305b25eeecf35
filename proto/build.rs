//! Compiles the protos with protox, so that no protoc is needed on the machine.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 3] =
    ["pushmanager/v1/push_manager.proto", "connectnode/v1/connect_node.proto", "client/v1/client.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    println!("cargo:rerun-if-changed=google/rpc/status.proto");

    let descriptors = protox::compile(FILES, ["."])?;
    let encoded = descriptors.encode_to_vec();
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), &encoded)?;

    tonic_prost_build::configure()
        // Content is never copied between the wire and the log.
        .bytes(".pushmanager.v1")
        .bytes(".connectnode.v1")
        .btree_map(".client.v1")
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        .compile_fds(descriptors)?;

    // Field names as in the proto; unknown members are ignored.
    pbjson_build::Builder::new()
        .register_descriptors(&encoded)?
        .preserve_proto_field_names()
        .ignore_unknown_fields()
        .btree_map([".client.v1"])
        .build(&[".client.v1"])?;
    // Answers of the HTTP gateway print their zeros.
    pbjson_build::Builder::new()
        .register_descriptors(&encoded)?
        .preserve_proto_field_names()
        .emit_fields()
        .exclude([".pushmanager.v1.PushStreamResponse", ".pushmanager.v1.PushResult"])
        .build(&[".pushmanager.v1"])?;
    Ok(())
}

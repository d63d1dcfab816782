//! Generates the wire types. protox compiles the protocol in pure Rust, so no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["proto/jumpstarter.proto", "proto/client.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // Frames of byte streams are passed on without a copy.
        .bytes(".jumpstarter.v1.StreamRequest.payload")
        .bytes(".jumpstarter.v1.StreamResponse.payload")
        .compile_fds(files)?;
    Ok(())
}

//! Stands in for protoc where a dependency's build script calls it (etcd-client's does).
//!
//! Understands what prost-build passes: `--include_imports --include_source_info -o FILE -I DIR … FILES`.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;
use protox::Compiler;

#[derive(Default)]
struct Args {
    out: PathBuf,
    includes: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = read_args(env::args().skip(1))?;
    let mut compiler = Compiler::new(&args.includes)?;
    compiler.include_imports(true).include_source_info(true).open_files(&args.files)?;
    fs::write(&args.out, compiler.file_descriptor_set().encode_to_vec())?;
    Ok(())
}

fn read_args(mut argv: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args::default();
    while let Some(arg) = argv.next() {
        let mut value = || argv.next().map(PathBuf::from).ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            // Always done; asked for by prost-build.
            "--include_imports" | "--include_source_info" => {}
            "-o" => args.out = value()?,
            "-I" => args.includes.push(value()?),
            other if other.starts_with('-') => return Err(format!("{other} is not supported")),
            file => args.files.push(PathBuf::from(file)),
        }
    }
    if args.out.as_os_str().is_empty() || args.files.is_empty() {
        return Err("usage: protoc -o FILE -I DIR FILES".to_owned());
    }
    Ok(args)
}

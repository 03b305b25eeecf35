//! What is printed once everything runs: where it is, and three lines to copy.

use std::{fmt::Write as _, path::Path};

use super::{DevArguments, addresses::Addresses};

const NUMBERS: [&str; 4] = ["no nodes", "one node", "two nodes", "three nodes"];

pub(super) fn text(addresses: &Addresses, arguments: &DevArguments) -> String {
    let Addresses { grpc, http, nodes } = addresses;
    let count = NUMBERS.get(nodes.len()).map_or_else(|| format!("{} nodes", nodes.len()), |&n| n.to_owned());
    let mut text = format!(
        "Pushcast {}: one manager and {count} in this process, on loopback only; nothing is kept when it stops.\n\n  \
         page       http://{http}/\n  manager    gRPC {grpc}, HTTP {http}\n",
        env!("CARGO_PKG_VERSION")
    );
    for node in nodes {
        let _never_fails = writeln!(text, "  {:<11}ws://{}/ws", format!("node {}", node.id), node.ws);
    }
    let pushctl = shell_word(&own_name());
    let listen_at = match (nodes.first(), arguments.ws_addr.as_str()) {
        (Some(node), given) if given != DEFAULT_WS => format!(" --url ws://{}/ws", node.ws),
        _ => String::new(),
    };
    let push_at = match arguments.grpc_addr.as_str() {
        DEFAULT_GRPC => String::new(),
        _ => format!(" --manager {grpc}"),
    };
    let _never_fails = write!(
        text,
        "\nTry, each in a terminal of its own:\n\n  \
         {pushctl} listen --rooms r1 --user u1{listen_at}\n  \
         {pushctl} push room r1 hello{push_at}\n  \
         curl -d hello http://{http}/v1/rooms/r1/push\n\n\
         listening; Ctrl-C stops it"
    );
    text
}

/// What `listen` and `push` use by themselves.
const DEFAULT_WS: &str = "127.0.0.1:8000";
const DEFAULT_GRPC: &str = "127.0.0.1:9000";

/// How this program was started, as far as it can be started the same way again.
pub(super) fn own_name() -> String {
    let name = std::env::args().next().unwrap_or_else(|| "pushctl".to_owned());
    // Found through PATH, it is there for the next one, too.
    if !name.contains('/') || Path::new(&name).exists() { name } else { "pushctl".to_owned() }
}

fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::{super::addresses::NodeAddresses, *};

    fn addresses(http: &str) -> Addresses {
        let node = NodeAddresses {
            id: "n1".to_owned(),
            ws: "127.0.0.1:8000".parse().unwrap(),
            grpc: "127.0.0.1:8001".parse().unwrap(),
            http: "127.0.0.1:8002".parse().unwrap(),
        };
        Addresses { grpc: "127.0.0.1:9000".parse().unwrap(), http: http.parse().unwrap(), nodes: vec![node] }
    }

    fn arguments(grpc: &str, ws: &str) -> DevArguments {
        DevArguments {
            grpc_addr: grpc.to_owned(),
            http_addr: String::new(),
            ws_addr: ws.to_owned(),
            nodes: 1,
        }
    }

    #[test]
    fn the_lines_to_copy_name_only_what_is_not_the_default() {
        let plain = text(&addresses("127.0.0.1:9001"), &arguments(DEFAULT_GRPC, DEFAULT_WS));
        assert!(plain.contains("one manager and one node in"), "{plain}");
        assert!(plain.contains("\n  node n1    ws://127.0.0.1:8000/ws\n"), "{plain}");
        assert!(plain.contains(" push room r1 hello\n"), "{plain}");
        let other = text(&addresses("127.0.0.1:7001"), &arguments("127.0.0.1:0", "127.0.0.1:0"));
        assert!(other.contains(" --url ws://127.0.0.1:8000/ws\n"), "{other}");
        assert!(other.contains(" push room r1 hello --manager 127.0.0.1:9000\n"), "{other}");
        assert!(other.contains("curl -d hello http://127.0.0.1:7001/v1/rooms/r1/push\n"), "{other}");
    }

    #[test]
    fn a_path_with_spaces_is_one_word() {
        assert_eq!(shell_word("target/debug/pushctl"), "target/debug/pushctl");
        assert_eq!(shell_word("/my it's/pushctl"), r"'/my it'\''s/pushctl'");
    }
}

//! `pushctl nodes`.

use anstyle::Style;
use pushcast_proto::pushmanager::v1::{ListNodesResponse, Node};

use super::{
    arguments::NodesArguments,
    failures::call_failed,
    output::{counted, print, print_json, terminal_width},
    readable,
    style::{self, BAD, DIM, STRONG, WARNING, paint},
    table::{Cell, Column, table},
};

pub(super) const COLUMNS: [Column; 8] = [
    Column { title: "NODE", short: "NODE", rank: 0 },
    Column { title: "STATE", short: "STATE", rank: 2 },
    Column { title: "LINK", short: "LINK", rank: 1 },
    Column { title: "LAG", short: "LAG", rank: 3 },
    Column { title: "CONNECTIONS", short: "CONNS", rank: 4 },
    Column { title: "ROOMS", short: "ROOMS", rank: 5 },
    Column { title: "USERS", short: "USERS", rank: 6 },
    Column { title: "ADDRESS", short: "ADDRESS", rank: 7 },
];

pub(super) async fn run(NodesArguments { manager }: NodesArguments) -> anyhow::Result<()> {
    let client = manager.client()?;
    let answer = client.nodes().await.map_err(|status| call_failed(&manager.manager, &status))?;
    if manager.json {
        return print_json(&answer);
    }
    Ok(print(&describe(&answer, terminal_width()))?)
}

fn describe(answer: &ListNodesResponse, width: Option<usize>) -> String {
    let rows: Vec<_> =
        answer.nodes.iter().map(|node| row(node, answer.silent_nodes.contains(&node.node_id))).collect();
    let mut text = format!(
        "{}\n{} known to manager {}, newest seq {}",
        table(&COLUMNS, &rows, width),
        paint(STRONG, counted(answer.nodes.len() as u64, "node")),
        readable::word(&answer.manager_id),
        answer.newest_seq
    );
    if !answer.silent_nodes.is_empty() {
        let silent = readable::word(&answer.silent_nodes.join(", "));
        text.push_str(&format!("\n{} {silent}", paint(WARNING, "did not answer:")));
    }
    text
}

/// A node's own figures, and the manager's link to it. One that did not answer has unknown figures.
pub(super) fn row(node: &Node, is_silent: bool) -> [Cell; 8] {
    let count =
        |number: u64| if is_silent { Cell::styled("?", WARNING) } else { Cell::plain(number.to_string()) };
    [
        Cell::plain(readable::word(&node.node_id)),
        Cell::styled(or_dash(&node.state), style::of_state(&node.state)),
        Cell::styled(or_dash(&node.link), style::of_link(&node.link)),
        Cell::styled(node.lag.to_string(), if node.lag == 0 { Style::new() } else { BAD }),
        count(node.connections),
        count(node.rooms),
        count(node.users),
        Cell::styled(or_dash(&node.grpc_addr), DIM),
    ]
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { readable::word(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> ListNodesResponse {
        let node = Node {
            node_id: "n1".to_owned(),
            grpc_addr: "10.0.0.1:8001".to_owned(),
            state: "draining".to_owned(),
            link: "linking".to_owned(),
            connections: 12,
            ..Node::default()
        };
        ListNodesResponse {
            nodes: vec![node],
            manager_id: "00ff".to_owned(),
            newest_seq: 7,
            silent_nodes: vec!["n1".to_owned()],
        }
    }

    fn shown(answer: &ListNodesResponse, width: Option<usize>) -> String {
        anstream::adapter::strip_str(&describe(answer, width)).to_string()
    }

    #[test]
    fn nodes_stand_in_a_table() {
        let answer = ListNodesResponse { silent_nodes: Vec::new(), ..answer() };
        assert_eq!(
            shown(&answer, None),
            "NODE  STATE     LINK     LAG  CONNECTIONS  ROOMS  USERS  ADDRESS\n\
             n1    draining  linking  0    12           0      0      10.0.0.1:8001\n\
             1 node known to manager 00ff, newest seq 7"
        );
    }

    #[test]
    fn forty_columns_are_enough() {
        let text = shown(&answer(), Some(40));
        assert!(
            text.starts_with("NODE  STATE     LINK     LAG  CONNS\nn1    draining  linking  0    ?\n"),
            "{text}"
        );
        assert!(text.ends_with("\ndid not answer: n1"), "{text}");
    }
}

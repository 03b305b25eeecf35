//! `pushctl nodes`.

use pushcast_proto::pushmanager::v1::ListNodesResponse;
use pushctl::push::PushClient;

use super::{
    arguments::NodesArguments,
    output::{Misuse, call_failed, print},
};

pub(super) async fn run(NodesArguments { manager }: NodesArguments) -> anyhow::Result<()> {
    let client = PushClient::new(&manager.manager).map_err(|error| Misuse(error.to_string()))?;
    let answer = client.nodes().await.map_err(|status| call_failed(&manager.manager, &status))?;
    if manager.json {
        print(&serde_json::to_string(&answer)?)?;
    } else {
        print(&describe(&answer))?;
    }
    Ok(())
}

fn describe(answer: &ListNodesResponse) -> String {
    let mut rows =
        vec![["NODE", "STATE", "LINK", "LAG", "CONNECTIONS", "ROOMS", "USERS", "ADDRESS"].map(str::to_owned)];
    for node in &answer.nodes {
        let silent = answer.silent_nodes.contains(&node.node_id);
        let count = |number: u64| if silent { "?".to_owned() } else { number.to_string() };
        rows.push([
            node.node_id.clone(),
            or_dash(&node.state),
            or_dash(&node.link),
            node.lag.to_string(),
            count(node.connections),
            count(node.rooms),
            count(node.users),
            or_dash(&node.grpc_addr),
        ]);
    }
    let mut text = table(&rows);
    text.push_str(&format!(
        "\n{} known to manager {}, newest seq {}",
        if answer.nodes.len() == 1 { "1 node".to_owned() } else { format!("{} nodes", answer.nodes.len()) },
        answer.manager_id,
        answer.newest_seq
    ));
    if !answer.silent_nodes.is_empty() {
        text.push_str(&format!("\ndid not answer: {}", answer.silent_nodes.join(", ")));
    }
    text
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use pushcast_proto::pushmanager::v1::Node;

    use super::*;

    #[test]
    fn nodes_stand_in_a_table() {
        let node = Node {
            node_id: "n1".to_owned(),
            grpc_addr: "h:1".to_owned(),
            state: "ready".to_owned(),
            link: "linked".to_owned(),
            connections: 12,
            ..Node::default()
        };
        let answer = ListNodesResponse {
            nodes: vec![node],
            manager_id: "00ff".to_owned(),
            newest_seq: 7,
            silent_nodes: Vec::new(),
        };
        let text = describe(&answer);
        assert_eq!(
            text,
            "NODE  STATE  LINK    LAG  CONNECTIONS  ROOMS  USERS  ADDRESS\n\
             n1    ready  linked  0    12           0      0      h:1\n\
             1 node known to manager 00ff, newest seq 7"
        );
    }
}

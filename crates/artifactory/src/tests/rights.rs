//! Who may do what: the table in docs/api-artifactory.md, asked of the surface.

use std::collections::BTreeSet;

use supercargo_eventlog::DockerApiVersion;

use super::support::Fixture;

/// The rows of the table, each with a request and what it needs.
fn rows() -> Vec<(String, String, String)> {
    let page = include_str!("../../../../docs/api-artifactory.md");
    let (_, page) = page.split_once("\n## Rights\n").unwrap();
    let (table, _) = page.split_once("\n## ").unwrap();
    let cells = table.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let (method, path) = cells[0].trim_matches('`').split_once(' ').unwrap();
        (method.to_owned(), path.to_owned(), cells[1].to_owned())
    });
    cells.collect()
}

/// The statuses that say that somebody may not, of a request that is otherwise good or bad.
fn let_in(status: u16) -> bool {
    !matches!(status, 401 | 403)
}

#[tokio::test]
async fn the_documented_table_is_how_it_is() {
    let rows = rows();
    assert!(rows.len() > 30, "{} rows", rows.len());
    let kinds: BTreeSet<&str> = rows.iter().map(|(_, _, need)| need.as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["administrator", "nobody", "somebody", "something of the repository"]));
    let mut fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
    for (method, path, need) in &rows {
        if method == "DELETE" {
            // What the one before deleted is there again.
            fixture = Fixture::with_accounts(DockerApiVersion::V2).await;
        }
        let path = path.replace("<key>", "docker-local").replace("<path>", "team/a");
        let path = path.replace("<id>", "0190e5a0-0000-7000-8000-000000000000").replace("<image>", "team/a");
        let path = path.replace("<server>", "nginx");
        for user in ["", "stranger", "reader", "root"] {
            // Of users, about themselves.
            let path = path.replace("<name>", if user.is_empty() { "nobody" } else { user });
            // With nothing in it: who is let in is told what is wrong with that.
            let answer = fixture.put_as(user, method, &path, "?").await;
            let may = match need.as_str() {
                "nobody" => true,
                "somebody" => !user.is_empty(),
                // It is not there, for who may see nothing of it.
                "something of the repository" => !user.is_empty(),
                _ => user == "root",
            };
            assert_eq!(
                let_in(answer.status),
                may,
                "{user:?} {method} {path}: {} {}",
                answer.status,
                answer.text()
            );
            assert!(answer.status < 500, "{method} {path}");
        }
    }
}

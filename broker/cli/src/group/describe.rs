//! `ottla group describe`: a group's state, its members with what they read, and what it has committed.

use super::places::{Place, places};
use crate::connect::Connect;
use crate::output::{field, table};
use ottla_client::Groups;
use ottla_client::groups::{Assignment, Group, Member};
use serde_json::{Value, json};

pub async fn run(connect: &Connect, name: &str) -> anyhow::Result<()> {
    let cluster = connect.cluster().await?;
    let group = Groups::new(&cluster).describe(name).await?;
    let places = places(&cluster, &group).await?;
    let value = json!({
        "group": group.id,
        "type": group.kind.name(),
        "state": group.state.name(),
        "protocol_type": group.protocol_type,
        "assignor": group.assignor,
        "epoch": group.epochs.map(|(group, _)| group),
        "assignment_epoch": group.epochs.map(|(_, assignment)| assignment),
        "members": group.members.iter().map(member).collect::<Vec<_>>(),
        "offsets": places.iter().map(Place::json).collect::<Vec<_>>(),
    });
    connect.output.print(&value, || text(&group, &value))
}

fn member(member: &Member) -> Value {
    json!({
        "member": member.id,
        "instance": member.instance_id,
        "client_id": member.client_id,
        "host": member.host,
        "epoch": member.epoch,
        "protocol": member.is_classic.map(|classic| if classic { "classic" } else { "consumer" }),
        "topics": member.topics,
        "topic_regex": member.topic_regex,
        "assignment": member.assignment,
        "target": member.target,
    })
}

fn text(group: &Group, value: &Value) -> String {
    let mut text = format!("group {}, type {}, state {}", group.id, group.kind, group.state);
    if !group.assignor.is_empty() {
        text.push_str(&format!(", assignor {}", group.assignor));
    }
    if let Some((epoch, assignment)) = group.epochs {
        text.push_str(&format!(", epoch {epoch}, assignment epoch {assignment}"));
    }
    text.push('\n');
    if group.members.is_empty() {
        text.push_str("no members\n");
    } else {
        text.push('\n');
        text.push_str(&members(group));
    }
    let offsets = value["offsets"].as_array().map_or(&[][..], Vec::as_slice);
    if offsets.is_empty() {
        return text + "\nno committed offsets";
    }
    let heading = ["TOPIC", "PARTITION", "OFFSET", "END", "LAG", "MEMBER"];
    let keys = ["topic", "partition", "offset", "end", "lag", "member"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(offsets.iter().map(|place| keys.map(|key| field(place, key)).to_vec()));
    text + "\n" + &table(&rows)
}

fn members(group: &Group) -> String {
    let mut heading = vec!["MEMBER", "CLIENT", "HOST", "ASSIGNED"];
    let moving = |member: &Member| member.target.as_ref().is_some_and(|target| *target != member.assignment);
    let any_moving = group.members.iter().any(moving);
    if any_moving {
        heading.push("TARGET");
    }
    let mut rows = vec![heading.into_iter().map(str::to_owned).collect()];
    for member in &group.members {
        let name = match &member.instance_id {
            Some(instance) => format!("{} ({instance})", member.id),
            None => member.id.clone(),
        };
        let mut row =
            vec![name, member.client_id.clone(), member.host.clone(), partitions(&member.assignment)];
        if any_moving {
            row.push(member.target.as_ref().map_or("-".to_owned(), partitions));
        }
        rows.push(row);
    }
    table(&rows)
}

/// `orders:0-2,5 views:1`.
fn partitions(assignment: &Assignment) -> String {
    let topics = assignment.iter().filter(|(_, partitions)| !partitions.is_empty());
    let topics: Vec<_> =
        topics.map(|(topic, partitions)| format!("{topic}:{}", ranges(partitions))).collect();
    if topics.is_empty() { "-".to_owned() } else { topics.join(" ") }
}

fn ranges(partitions: &[i32]) -> String {
    let mut sorted = partitions.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let runs = sorted.chunk_by(|one, next| i64::from(*one) + 1 == i64::from(*next));
    let runs: Vec<_> = runs
        .map(|run| match run {
            [one] => one.to_string(),
            [first, .., last] => format!("{first}-{last}"),
            [] => String::new(),
        })
        .collect();
    runs.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_written_as_ranges() {
        assert_eq!(ranges(&[5, 0, 2, 1]), "0-2,5");
        assert_eq!(ranges(&[3]), "3");
        let assignment = [("b".to_owned(), vec![1]), ("a".to_owned(), vec![0, 1]), ("c".to_owned(), vec![])];
        assert_eq!(partitions(&assignment.into_iter().collect()), "a:0-1 b:1");
        assert_eq!(partitions(&Assignment::new()), "-");
    }
}

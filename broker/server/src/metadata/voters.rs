//! `controller.quorum.voters`. A quorum has one voter, this broker: a list that names another one is refused with
//! a sentence, instead of starting a broker that waits for peers it cannot reach.

use ottla_model::ids::BrokerId;

/// Checks a value such as `1@localhost:9093`; none at all is this broker alone.
pub(super) fn check(node_id: BrokerId, voters: Option<&str>) -> Result<(), String> {
    let Some(voters) = voters.map(str::trim).filter(|voters| !voters.is_empty()) else {
        return Ok(());
    };
    let mut found = false;
    for voter in voters.split(',').map(str::trim) {
        let id = voter.split_once('@').and_then(|(id, address)| {
            let (_, port) = address.rsplit_once(':')?;
            port.parse::<u16>().ok()?;
            id.trim().parse::<BrokerId>().ok()
        });
        match id {
            Some(id) if id == node_id => found = true,
            Some(id) => {
                return Err(format!(
                    "controller.quorum.voters names node {id} beside this one: a quorum has one voter so far; leave \
                     the key out, or name node {node_id} alone"
                ));
            }
            None => {
                return Err(format!(
                    "controller.quorum.voters has the member '{voter}', which is no ID@HOST:PORT; leave the key out, \
                     or name node {node_id} alone"
                ));
            }
        }
    }
    if found { Ok(()) } else { Err(format!("controller.quorum.voters does not name node {node_id}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_node_alone_may_be_named() {
        let cases: &[(Option<&str>, Option<&str>)] = &[
            (None, None),
            (Some(""), None),
            (Some("1@localhost:9093"), None),
            (Some(" 1@[::1]:9093 "), None),
            (Some("1@a:9093,2@b:9093"), Some("names node 2 beside this one")),
            (Some("2@b:9093"), Some("names node 2")),
            (Some("1"), Some("'1', which is no ID@HOST:PORT")),
            (Some("1@a"), Some("no ID@HOST:PORT")),
            (Some("x@a:1"), Some("no ID@HOST:PORT")),
            (Some("1@a:70000"), Some("no ID@HOST:PORT")),
        ];
        for (voters, part) in cases {
            match (check(1, *voters), part) {
                (Ok(()), None) => {}
                (Err(error), Some(part)) => assert!(error.contains(part), "{voters:?}: {error}"),
                (other, _) => panic!("{voters:?}: {other:?}"),
            }
        }
    }
}

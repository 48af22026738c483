//! Several chains side by side: what is intact, and what each kind of damage is called.

use portcullis_core::id::NodeId;
use portcullis_core::ledger::LedgerPhase;

use super::*;
use crate::ledger::export::verify_export;
use crate::ledger::line::serialise;
use crate::ledger::tests::{event, org};

/// Lines of two nodes' chains of `acme`, in turn.
fn lines(count: usize) -> Vec<String> {
    let (acme, nodes) = (org("acme"), [node("a"), node("b")]);
    let chains = [0, 1].map(|n: usize| Chain { org: &acme, node: Some(&nodes[n]) });
    let mut links = chains.map(|chain| chain.genesis());
    let mut lines = Vec::new();
    for n in 0..count {
        let (chain, link) = (&chains[n % 2], &mut links[n % 2]);
        let text = serialise(&event("acme", &format!("out_{n}"), LedgerPhase::Refused)).unwrap();
        let next = chain.next(link, &text);
        lines.push(chain.format_line(&next, &link.hash, &text).trim_end().to_owned());
        *link = next;
    }
    lines
}

fn node(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

fn verified(lines: &[String]) -> VerifyReport {
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    verify_export(text.as_bytes(), "export.ndjson").unwrap()
}

#[test]
fn an_export_of_several_chains_verifies_each_by_itself() {
    let report = verified(&lines(10));
    assert!(report.is_intact() && report.records == 10 && !report.anchored, "{report:?}");
    assert_eq!(report.chains.len(), 2);
    assert!(report.chains.iter().all(|chain| chain.records == 5 && chain.last_seq == 5));
    assert_eq!(report.chains[0].node, Some(node("a")));
    // How the chains are interleaved says nothing.
    let mut other = lines(10);
    other.sort_by_key(|line| !line.contains("\"node\":\"b\""));
    assert!(verified(&other).is_intact());
    // What begins in its middle was cut, and is believed from there on.
    let later = verified(&lines(10)[4..]);
    assert!(later.is_intact() && later.anchored && later.chains[1].first_seq == Some(3), "{later:?}");
}

#[test]
fn what_is_wrong_with_an_export_is_named_with_its_chain_and_its_line() {
    let good = lines(10);
    let reason = |lines: &[String]| {
        let bad = verified(lines).bad.expect("it is damaged");
        (bad.segment, bad.line, bad.seq, bad.reason)
    };
    let of_a = "export.ndjson of node a".to_owned();
    let mut changed = good.clone();
    changed[4] = changed[4].replace("\"verdict\":\"allow\"", "\"verdict\":\"error\"");
    let expected = "its hash does not match its content".to_owned();
    assert_eq!(reason(&changed), (of_a.clone(), 5, 3, expected));
    let mut dropped = good.clone();
    dropped.remove(4);
    assert_eq!(reason(&dropped), (of_a.clone(), 6, 3, "its seq is 4".to_owned()));
    let mut swapped = good.clone();
    swapped.swap(4, 6);
    assert_eq!(reason(&swapped).3, "its seq is 4");
    let mut renamed = good.clone();
    renamed[4] = renamed[4].replace("\"node\":\"a\"", "\"node\":\"b\"");
    assert_eq!(reason(&renamed).3, "its seq is 4", "its own chain lacks it");
    assert!(verified(&renamed).chains.iter().all(|chain| chain.bad.is_some()), "each chain names its damage");
    let mut foreign = good.clone();
    let other = org("other");
    let chain = Chain { org: &other, node: Some(&node("a")) };
    let text = serialise(&event("other", "out_1", LedgerPhase::Refused)).unwrap();
    let link = chain.next(&chain.genesis(), &text);
    foreign.insert(2, chain.format_line(&link, &chain.genesis().hash, &text).trim_end().to_owned());
    assert_eq!(reason(&foreign), (of_a, 3, 2, "it is a record of org other".to_owned()));
}

#[test]
fn heads_and_anchors_bound_chains_of_a_table() {
    let (acme, a) = (org("acme"), node("a"));
    let all: Vec<String> = lines(10).into_iter().step_by(2).collect();
    let links: Vec<Link> = all.iter().map(|line| parse(&acme, line.as_bytes()).unwrap().link()).collect();
    let walked = |anchor: Option<Link>, head: Link, range: std::ops::Range<usize>| {
        let mut walk = ChainsWalk::new(&acme, "ledger_records");
        walk.expect(Some(a.clone()), Ends { anchor, head });
        for (line, seq) in all[range.clone()].iter().zip(range.start as u64 + 1..) {
            walk.line(line.as_bytes(), Some((Some(&a), seq)));
        }
        walk.finish(1).bad.map(|bad| bad.reason)
    };
    assert_eq!(walked(None, links[4], 0..5), None);
    assert_eq!(walked(Some(links[1]), links[4], 2..5), None);
    assert_eq!(walked(Some(links[4]), links[4], 5..5), None, "all were dropped");
    let cut = walked(None, links[4], 0..4).unwrap();
    assert_eq!(cut, "the chain ends at 4, its head says 5");
    assert!(walked(None, links[3], 0..5).unwrap().contains("its head says 4"));
    assert_eq!(walked(None, links[4], 2..5).unwrap(), "its seq is 3");
    let mut unknown = ChainsWalk::new(&acme, "ledger_records");
    assert!(unknown.line(all[0].as_bytes(), Some((Some(&a), 1))).is_none());
    assert_eq!(unknown.first_bad().unwrap().reason, "no head knows its chain");
    let mut wrong = ChainsWalk::new(&acme, "ledger_records");
    wrong.expect(Some(a.clone()), Ends { anchor: None, head: links[4] });
    assert!(wrong.line(all[0].as_bytes(), Some((Some(&a), 2))).is_none());
    assert_eq!(wrong.first_bad().unwrap().reason, "its row says seq 2, its line 1");
}

#[test]
fn an_export_that_is_none_is_refused() {
    for text in ["", "\n", "{}\n", "seq,at\n1,2\n"] {
        assert!(verify_export(text.as_bytes(), "x").is_err(), "{text:?}");
    }
}

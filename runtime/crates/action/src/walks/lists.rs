//! Lists end where the vendor ends them: against a vendor with any pages, in any way of paging, the rows are exactly the
//! vendor's or the call fails with a reason; never cut in silence, and never more requests than pages and one.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{End, Reply, follow, get, labelled, pair};
use crate::pagination::NO_ITEMS;
use crate::{ActionPlan, RenderedRequest};

/// The ways of paging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Cursor,
    LastId,
    Page,
    Offset,
    Link,
    NextUrl,
}

/// How a vendor writes a link to its next page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Whole,
    Http,
    NoScheme,
    Path,
    Name,
    Query,
    Blank,
    Letter,
}

/// What a vendor does wrong, or what makes it another vendor than the one that the definition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It answers its first page, whatever is asked.
    Ignores,
    /// From that page on it leads back to an earlier one.
    Loops(usize),
    /// That page leads to another host.
    Foreign(usize),
    /// That page leads to what is no URL or cursor.
    Nonsense(usize),
    /// That page has no list.
    NoList(usize),
    /// That page says in a strange way whether there are more.
    Maybe(usize),
    /// The last page leads to one that is not there.
    Beyond,
}

#[derive(Debug, Clone)]
struct Vendor {
    way: Way,
    pages: Vec<Vec<Value>>,
    /// How it says that there are more pages, and that there are none; not at all if it is absent.
    more: Option<(Value, Value)>,
    form: Form,
    /// What its last page has where others have a cursor.
    end: Value,
    fault: Fault,
    /// Status of an answer to a page that is not there: with 200 it is an empty one.
    beyond: u16,
    end_status: bool,
    missing: &'static str,
    max_pages: u32,
    max_items: u32,
    /// Whether the definition knows the size of a page.
    sized: bool,
}

const HOST: &str = "https://api.example.com";

impl Vendor {
    fn plan(&self) -> ActionPlan {
        let param = json!({ "in": "query", "name": "at" });
        let kind = match self.way {
            Way::Cursor => json!({ "type": "cursor", "cursor_path": "/next", "param": param }),
            Way::LastId => json!({ "type": "last_id", "id_path": "/id", "param": param }),
            Way::Page => json!({ "type": "page", "param": param, "start": 1 }),
            Way::Offset => json!({ "type": "offset", "param": param, "start": 0 }),
            Way::Link => json!({ "type": "link_header" }),
            Way::NextUrl => json!({ "type": "next_url", "cursor_path": "/next" }),
        };
        let mut list = json!({ "kind": kind, "items": "/rows", "missing_items": self.missing,
            "max_pages": self.max_pages, "max_items": self.max_items });
        if self.more.is_some() {
            list["has_more_path"] = json!("/more");
        }
        if self.sized && self.is_counted() {
            list["page_size"] = json!(self.pages.iter().map(Vec::len).max().unwrap_or(0).max(1));
        }
        if self.end_status {
            list["end_status"] = json!([400, 404]);
        }
        serde_json::from_value(json!({ "pagination": list })).unwrap()
    }

    fn is_counted(&self) -> bool {
        matches!(self.way, Way::Page | Way::Offset)
    }

    /// Rows before a page.
    fn before(&self, page: usize) -> usize {
        self.pages[..page].iter().map(Vec::len).sum()
    }

    /// The page that a request asks for; `None` for one that is not there.
    fn asked(&self, request: &RenderedRequest) -> Option<usize> {
        if self.fault == Fault::Ignores {
            return Some(0);
        }
        let at = pair(&request.url, "at");
        let page = match (self.way, at) {
            (_, None) => 0,
            (Way::Page, Some(number)) => number.parse::<usize>().unwrap() - 1,
            (Way::Offset, Some(offset)) => {
                let offset: usize = offset.parse().unwrap();
                // Only the last page may be without rows.
                let (last, past) = (self.pages.len() - 1, self.pages.len());
                let begins = |page: &usize| {
                    self.before(*page) == offset && (*page == last || !self.pages[*page].is_empty())
                };
                if offset == 0 { 0 } else { (0..past).find(begins).unwrap_or(past) }
            }
            (Way::LastId, Some(id)) => {
                let last = |page: &Vec<Value>| page.last().is_some_and(|row| text(&row["id"]) == id);
                self.pages.iter().position(last)? + 1
            }
            (_, Some(cursor)) => cursor.strip_prefix("c é/")?.parse().unwrap(),
        };
        Some(page).filter(|page| *page < self.pages.len())
    }

    fn link(&self, page: usize) -> String {
        let at = format!("at=c%20%C3%A9%2F{page}");
        let path = "/v1/list";
        match self.form {
            Form::Whole => format!("{HOST}{path}?{at}"),
            Form::Http => format!("http://api.example.com:80{path}?{at}"),
            Form::NoScheme => format!("//api.example.com{path}?{at}"),
            Form::Path => format!("{path}?{at}"),
            Form::Name => format!("list?{at}"),
            Form::Query => format!("?{at}"),
            Form::Blank => format!(" {path}?q=a b&{at} "),
            Form::Letter => format!("{HOST}{path}?at=c%20é%2F{page}#top"),
        }
    }

    /// What leads from a page to another.
    fn lead(&self, page: usize) -> Value {
        match self.way {
            Way::Cursor => json!(format!("c é/{page}")),
            _ => json!(self.link(page)),
        }
    }

    fn answer(&self, request: &RenderedRequest) -> Reply {
        let Some(page) = self.asked(request) else {
            let body = if self.beyond == 200 {
                self.body(&[], false, &self.end)
            } else {
                json!({ "error": "none" })
            };
            return (self.beyond, labelled("application/json"), body.to_string().into_bytes());
        };
        let last = page + 1 == self.pages.len();
        let next = match self.fault {
            Fault::Loops(at) if page >= at => self.lead(page / 2),
            Fault::Foreign(at) if page == at && self.way == Way::Cursor => json!({ "no": "cursor" }),
            Fault::Foreign(at) if page == at => json!("https://evil.example.com/v1/list?at=c%20%C3%A9%2F1"),
            Fault::Nonsense(at) if page == at && self.way == Way::Link => json!("javascript:alert(1)"),
            Fault::Nonsense(at) if page == at => json!(["no cursor"]),
            Fault::Beyond if last => self.lead(page + 1),
            _ if last => self.end.clone(),
            _ => self.lead(page + 1),
        };
        let leads = !last
            || matches!(self.fault, Fault::Beyond)
            || matches!(self.fault, Fault::Loops(at) if page >= at);
        let mut body = self.body(&self.pages[page], leads, &next);
        match self.fault {
            Fault::NoList(at) if page == at => body["rows"] = json!({ "error": "none" }),
            Fault::Maybe(at) if page == at => body["more"] = json!("perhaps"),
            _ => {}
        }
        let mut headers = labelled("application/json");
        if self.way == Way::Link
            && let Some(next) = next.as_str().filter(|next| !matches!(*next, "" | "absent"))
        {
            let first = format!("<{}>; rel=\"first\"; title=\"a, <b>; rel=next\"", self.link(0));
            headers.push(("Link".to_owned(), first.into_bytes()));
            headers.push(("link".to_owned(), format!("<{next}>; rel=next; results=\"true\"").into_bytes()));
        }
        (200, headers, body.to_string().into_bytes())
    }

    fn body(&self, rows: &[Value], leads: bool, next: &Value) -> Value {
        let mut body = json!({ "rows": rows });
        if matches!(self.way, Way::Cursor | Way::NextUrl) && *next != "absent" {
            body["next"] = next.clone();
        }
        if let Some((yes, no)) = &self.more {
            body["more"] = if leads { yes.clone() } else { no.clone() };
        }
        body
    }

    /// Whether the vendor keeps its own rules, and those are rules that a list can be followed by.
    fn is_honest(&self) -> bool {
        // Why: without another word an empty page ends a counted list, and so does a short one.
        let silent = self.more.is_none();
        let empty_inside = self.pages.iter().rev().skip(1).any(Vec::is_empty);
        let short_inside = || {
            let most = self.pages.iter().map(Vec::len).max().unwrap_or(0);
            self.pages.iter().rev().skip(1).any(|page| page.len() < most)
        };
        let repeats = self.pages.windows(2).any(|two| two[0] == two[1] && !two[0].is_empty());
        let unclear = match self.way {
            Way::Page => silent && (empty_inside || self.sized && short_inside()) || repeats,
            // An offset does not move over a page without rows.
            Way::Offset => empty_inside || silent && self.sized && short_inside() || repeats,
            Way::LastId => empty_inside,
            Way::Cursor | Way::Link | Way::NextUrl => false,
        };
        // A vendor that says neither that there are more nor what is beyond answers with an empty page there.
        let ends = match self.way {
            Way::LastId | Way::Page | Way::Offset => !silent || self.beyond == 200 || self.end_status,
            _ => true,
        };
        !unclear && ends && self.fault == Fault::None
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Pages of rows. An id is text or a number, and no two are alike.
fn pages() -> impl Strategy<Value = Vec<Vec<Value>>> {
    (prop::collection::vec(0_usize..4, 1..7), any::<bool>(), 1_u64..100).prop_map(|(sizes, numbers, step)| {
        let mut id = 9_007_199_254_740_993_u64;
        let mut row = || {
            id += step;
            if numbers { json!({ "id": id }) } else { json!({ "id": format!("r/{id}=+ é") }) }
        };
        sizes.into_iter().map(|size| (0..size).map(|_| row()).collect()).collect()
    })
}

fn more() -> impl Strategy<Value = Option<(Value, Value)>> {
    let said = vec![
        (json!(true), json!(false)),
        (json!("true"), json!("false")),
        (json!("True"), json!("FALSE")),
        (json!(1), json!(0)),
        (json!("1"), json!("0")),
        (json!("Y"), json!("N")),
        (json!("yes"), json!("no")),
        (json!(17), json!(0)),
        (json!(" on "), json!("off")),
    ];
    prop::option::of(prop::sample::select(said))
}

fn vendor(fault: impl Strategy<Value = Fault>) -> impl Strategy<Value = Vendor> {
    use Form::{Blank, Http, Letter, Name, NoScheme, Path, Query, Whole};
    let ways = vec![Way::Cursor, Way::LastId, Way::Page, Way::Offset, Way::Link, Way::NextUrl];
    let forms = vec![Whole, Http, NoScheme, Path, Name, Query, Blank, Letter];
    let ends = vec![json!(null), json!(""), json!(false), json!("absent")];
    let ways = (
        prop::sample::select(ways),
        pages(),
        more(),
        prop::sample::select(forms),
        prop::sample::select(ends),
    );
    let rest = (fault, prop::sample::select(vec![200_u16, 200, 404, 400]), any::<bool>(), any::<bool>());
    let limits = (
        prop_oneof![3 => Just(50_u32), 1 => 1_u32..5],
        prop_oneof![3 => Just(1000_u32), 1 => 1_u32..8],
        any::<bool>(),
    );
    (ways, rest, limits).prop_map(|(ways, rest, limits)| {
        let ((way, pages, more, form, end), (fault, beyond, end_status, lenient)) = (ways, rest);
        let (max_pages, max_items, sized) = limits;
        let missing = if lenient { "empty" } else { "error" };
        Vendor {
            way,
            pages,
            more,
            form,
            end,
            fault,
            beyond,
            end_status,
            missing,
            max_pages,
            max_items,
            sized,
        }
    })
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Ignores),
        (0_usize..4).prop_map(Fault::Loops),
        (0_usize..4).prop_map(Fault::Foreign),
        (0_usize..4).prop_map(Fault::Nonsense),
        (0_usize..4).prop_map(Fault::NoList),
        (0_usize..4).prop_map(Fault::Maybe),
        Just(Fault::Beyond),
    ]
}

/// What holds against every vendor. Returns whether all rows came.
fn check(vendor: &Vendor) -> Result<(End, bool), TestCaseError> {
    let (end, sent) =
        follow(&vendor.plan(), get(&format!("{HOST}/v1/list?z=1")), |request| vendor.answer(request));
    let whole = vendor.pages.concat();
    prop_assert!(sent.len() <= vendor.max_pages as usize, "{} requests", sent.len());
    // Why not of that one: it says on an empty page that there are more, for ever.
    let endless = vendor.fault == Fault::Ignores && vendor.pages[0].is_empty();
    prop_assert!(
        endless || sent.len() <= vendor.pages.len() + 1,
        "{} requests for {} pages",
        sent.len(),
        vendor.pages.len()
    );
    for request in &sent {
        prop_assert!(request.url.starts_with(&format!("{HOST}/v1/")), "{}", request.url);
    }
    let all = end.rows() == Some(&whole);
    match &end {
        End::Rows { rows, truncated } => {
            prop_assert!(whole.starts_with(rows), "{:?} is not of {:?}", rows, whole);
            let at_limit = sent.len() == vendor.max_pages as usize || rows.len() == vendor.max_items as usize;
            prop_assert!(!truncated || at_limit, "truncated at no limit");
        }
        End::Failed { code: Some(code), message, .. } => {
            let known = ["pagination_loop", "pagination_url_refused", "pagination_invalid", NO_ITEMS];
            prop_assert!(known.contains(&code.as_str()) && !message.is_empty(), "{}", code);
        }
        // The status is the reason.
        End::Failed { code: None, .. } => prop_assert!(vendor.beyond != 200, "a failure without a reason"),
        End::Output(_) => prop_assert!(false, "no list"),
    }
    Ok((end, all))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn an_honest_vendor_gives_all_its_rows_or_as_many_as_a_limit_lets(
        vendor in vendor(Just(Fault::None)).prop_filter("honest", Vendor::is_honest),
    ) {
        let (end, all) = check(&vendor)?;
        let End::Rows { rows, truncated } = end else {
            return Err(TestCaseError::fail(format!("{end:?}")));
        };
        let most = vendor.max_items as usize;
        if !all {
            prop_assert!(truncated, "cut in silence: {:?}", rows);
            return Ok(());
        }
        // With all rows there is nothing more, unless the vendor said that there is or nobody could know.
        let pages = vendor.pages.len();
        let limited = vendor.max_pages as usize <= pages || rows.len() >= most;
        prop_assert!(!truncated || limited, "truncated without a limit");
        let told = vendor.more.is_some() || matches!(vendor.way, Way::Cursor | Way::Link | Way::NextUrl);
        let rest_is_empty = pages > 1 && vendor.pages.iter().rev().take_while(|page| page.is_empty()).count() > 0;
        prop_assert!(!truncated || !told || rest_is_empty, "truncated, and it had said that this is all");
    }

    #[test]
    fn no_vendor_is_cut_in_silence(vendor in vendor(fault())) {
        let (end, all) = check(&vendor)?;
        let End::Rows { truncated, rows } = end else { return Ok(()) };
        // Its own fault: what it did not lead to nobody can know of.
        let misled = match vendor.fault {
            Fault::Ignores => vendor.is_counted() || vendor.way == Way::LastId,
            _ => false,
        };
        let honest = Vendor { fault: Fault::None, ..vendor.clone() }.is_honest();
        prop_assert!(all || truncated || misled || !honest, "cut in silence: {:?}", rows);
    }

    /// Without a fault, and where it cannot be known what a vendor means: still no silence where it says that there are
    /// more.
    #[test]
    fn a_vendor_that_says_that_there_are_more_is_believed(
        vendor in vendor(Just(Fault::None)).prop_filter("says so", |vendor| vendor.more.is_some()),
    ) {
        let (end, all) = check(&vendor)?;
        if let End::Rows { truncated, rows } = end {
            prop_assert!(all || truncated, "cut in silence: {:?}", rows);
        }
    }
}

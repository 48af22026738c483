//! The inputs of one action: every name once, and no more than the limit.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::limits::{NAME_CHARS_MAX, WIRE_NAME_CHARS_MAX};
use crate::names::{Unique, one_line, shown, template_name};
use crate::shape::Shape;

/// Where an input goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
    Body,
}

impl Place {
    const fn word(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Body => "body",
        }
    }
}

/// How necessary an input is for an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// The action refers to it.
    Named,
    /// A call without it is refused.
    Required,
    /// Neither.
    Optional,
}

/// The inputs of one action.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    list: Vec<(Need, Value)>,
    names: Unique,
    /// Whether members of the body say that they go there.
    pub(crate) names_body: bool,
}

/// An input to add.
pub(crate) struct NewInput<'n> {
    pub(crate) wire: &'n str,
    pub(crate) place: Place,
    /// Whether a call without it is refused.
    pub(crate) required: bool,
    /// Whether the action refers to it.
    pub(crate) named: bool,
    /// `array_format`.
    pub(crate) array_format: Option<&'static str>,
}

impl Inputs {
    /// Adds an input and returns its name; `None` if its wire name is invalid.
    pub(crate) fn push(
        &mut self,
        context: &mut Context<'_>,
        new: &NewInput<'_>,
        shape: Shape,
        at: &str,
    ) -> Option<String> {
        if new.wire.is_empty() || new.wire.chars().nth(WIRE_NAME_CHARS_MAX).is_some() {
            let message = format!("name {:?} is empty or too long", shown(new.wire));
            context.report.add(at, "name_not_usable", message);
            return None;
        }
        let wanted = if new.place == Place::Path { template_name(new.wire) } else { new.wire.to_owned() };
        let wanted = if self.names.is_free(&wanted) || new.place == Place::Path {
            wanted
        } else {
            format!("{}_{wanted}", new.place.word())
        };
        let name = self.names.take(&wanted, NAME_CHARS_MAX);
        if name != new.wire {
            let message = format!("{:?} is named {:?}", shown(new.wire), shown(&name));
            context.report.add(at, "input_renamed", message);
        }
        let mut input = Map::new();
        let label = one_line(shape.title.as_deref().unwrap_or(new.wire), NAME_CHARS_MAX).0;
        input.insert("name".to_owned(), json!(name));
        if !label.is_empty() {
            input.insert("label".to_owned(), json!(label));
        }
        input.insert("type".to_owned(), json!(shape.input_type));
        if new.required {
            input.insert("required".to_owned(), json!(true));
        }
        let is_said =
            matches!(new.place, Place::Query | Place::Header) || self.names_body && new.place == Place::Body;
        if is_said {
            input.insert("in".to_owned(), json!(new.place.word()));
        }
        // Why not in the path: there the template has the wire name.
        if name != new.wire && new.place != Place::Path && !new.named {
            input.insert("as".to_owned(), json!(new.wire));
        }
        if let Some(format) = new.array_format {
            input.insert("array_format".to_owned(), json!(format));
        }
        input.extend(shape.attributes);
        let need = match (new.named || new.place == Place::Path, new.required) {
            (true, _) => Need::Named,
            (false, true) => Need::Required,
            (false, false) => Need::Optional,
        };
        self.list.push((need, Value::Object(input)));
        Some(name)
    }

    /// At most `max` inputs in their order, the necessary ones first. `None` if not even those fit.
    pub(crate) fn finish(self, context: &mut Context<'_>, max: usize, at: &str) -> Option<Vec<Value>> {
        let needed = self.list.iter().filter(|(need, _)| *need != Need::Optional).count();
        if needed > max {
            return None;
        }
        if self.list.len() > max {
            let mut order: Vec<usize> = (0..self.list.len()).collect();
            order.sort_by_key(|index| self.list.get(*index).map(|(need, _)| *need));
            let cut: HashSet<usize> = order.into_iter().skip(max).collect();
            let is_cut = |index: &usize| cut.contains(index);
            let names: Vec<&str> = self
                .list
                .iter()
                .enumerate()
                .filter(|(index, _)| is_cut(index))
                .filter_map(|(_, (_, input))| input.get("name")?.as_str())
                .take(20)
                .collect();
            let message = format!("{} inputs are over the limit of {max}: {}", cut.len(), names.join(", "));
            context.report.add(at, "inputs_cut", message);
            let kept = self.list.into_iter().enumerate().filter(|(index, _)| !is_cut(index));
            return Some(kept.map(|(_, (_, input))| input).collect());
        }
        Some(self.list.into_iter().map(|(_, input)| input).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape { input_type: "string", attributes: Map::new(), title: None }
    }

    fn new(wire: &str, place: Place, required: bool) -> NewInput<'_> {
        NewInput { wire, place, required, named: false, array_format: None }
    }

    fn push_all(list: &[(&str, Place, bool)], max: usize) -> (Option<Vec<Value>>, Vec<&'static str>) {
        let root = json!({ "openapi": "3.0.0" });
        let mut context = Context::new(&root).unwrap();
        let mut inputs = Inputs::default();
        for (wire, place, required) in list {
            inputs.push(&mut context, &new(wire, *place, *required), shape(), "/x");
        }
        let list = inputs.finish(&mut context, max, "/x");
        let report = std::mem::take(&mut context.report).finish(crate::Operations::default(), 0);
        (list, report.items.iter().map(|i| i.code).collect())
    }

    #[test]
    fn a_name_that_is_taken_is_told_by_its_place() {
        let (list, codes) = push_all(
            &[
                ("id", Place::Path, true),
                ("id", Place::Query, false),
                ("id", Place::Body, false),
                ("a[b]", Place::Body, false),
            ],
            9,
        );
        let list = list.unwrap();
        assert_eq!(list[0], json!({ "name": "id", "label": "id", "type": "string", "required": true }));
        assert_eq!(
            list[1],
            json!({ "name": "query_id", "label": "id", "type": "string", "in": "query", "as": "id" })
        );
        assert_eq!(list[2], json!({ "name": "body_id", "label": "id", "type": "string", "as": "id" }));
        assert_eq!(list[3]["name"], "a[b]");
        assert_eq!(codes, ["input_renamed", "input_renamed"]);
    }

    #[test]
    fn only_a_path_name_must_fit_a_template() {
        let (list, _) = push_all(&[("a|b", Place::Path, true), ("a|c", Place::Query, false)], 9);
        let names: Vec<Value> = list.unwrap().iter().map(|i| i["name"].clone()).collect();
        assert_eq!(names, ["a_b", "a|c"]);
    }

    #[test]
    fn names_that_are_none_are_left_out() {
        let (list, codes) = push_all(&[("", Place::Query, true), (&"x".repeat(201), Place::Query, true)], 9);
        assert_eq!((list.unwrap().len(), codes), (0, vec!["name_not_usable"; 2]));
        let long = "x".repeat(200);
        let (list, _) = push_all(&[(&long, Place::Query, true)], 9);
        assert_eq!(list.unwrap()[0]["as"], json!(long));
    }

    #[test]
    fn the_needed_ones_stay_when_there_are_too_many() {
        let all = [
            ("a", Place::Query, false),
            ("b", Place::Query, true),
            ("c", Place::Body, false),
            ("d", Place::Path, true),
        ];
        let (list, codes) = push_all(&all, 2);
        let names: Vec<Value> = list.unwrap().iter().map(|i| i["name"].clone()).collect();
        assert_eq!((names, codes), (vec![json!("b"), json!("d")], vec!["inputs_cut"]));
        assert!(push_all(&all, 0).0.is_none());
        assert_eq!(push_all(&all, 4).1, Vec::<&str>::new());
    }
}

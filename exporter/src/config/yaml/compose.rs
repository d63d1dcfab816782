//! From the parser's events to nodes: anchors, merge keys, tags, and limits.

use std::collections::HashMap;

use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::entries::Entries;
use super::syntax::{position, syntax};
use super::{Content, Entry, Node, Scalar};
use crate::config::mistake::{Mistake, Position};

/// The most nodes that a file may have, copies by aliases included.
const MOST_NODES: usize = 20_000;
/// The deepest that they may be nested.
const DEEPEST: usize = 100;
/// The namespace of `!!str` and its like.
const TAGS: &str = "tag:yaml.org,2002:";

/// Reads the one document of `source`. Mistakes that leave the rest readable go to `mistakes`.
///
/// # Errors
///
/// The mistake that makes it unreadable. None and no node: the document is empty.
pub(in crate::config) fn compose(
    source: &str,
    mistakes: &mut Vec<Mistake>,
) -> Result<Option<Node>, Mistake> {
    let mut composer = Composer {
        events: Parser::new_from_str(source),
        anchors: HashMap::new(),
        nodes: 0,
        path: String::new(),
        mistakes,
    };
    composer.document()
}

struct Composer<'s, 'm> {
    events: Parser<'s, StrInput<'s>>,
    /// The nodes with anchors that are complete.
    anchors: HashMap<usize, Node>,
    nodes: usize,
    /// The keys down to what is being read.
    path: String,
    mistakes: &'m mut Vec<Mistake>,
}

impl<'s> Composer<'s, '_> {
    fn document(&mut self) -> Result<Option<Node>, Mistake> {
        let mut document = None;
        loop {
            let (event, span) = self.next()?;
            if event == Event::StreamEnd {
                return Ok(document);
            }
            // The other events between documents carry nothing.
            if matches!(event, Event::DocumentStart(..)) {
                if document.is_some() {
                    let hint = "keep one configuration in a file";
                    let position = position(span.start);
                    return Err(Mistake::error(position, "a second document begins here", hint));
                }
                let first = self.next()?;
                document = Some(self.node(first, 0)?);
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'s>, Span), Mistake> {
        match self.events.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(problem)) => Err(syntax(&problem)),
            None => Err(Mistake::error(Position::START, "ends too early", "complete it")),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum is open")]
    fn node(&mut self, (event, span): (Event<'s>, Span), depth: usize) -> Result<Node, Mistake> {
        let position = position(span.start);
        self.count(depth, position)?;
        match event {
            Event::Alias(id) => self.alias(id, depth, position),
            Event::Scalar(text, style, id, tag) => {
                // The parser spells out a value that isn't there.
                let text = if span.is_empty() { String::new() } else { text.into_owned() };
                let scalar = self.scalar(text, style, tag.as_deref(), position);
                self.anchored(id, depth, Node { position, content: Content::Scalar(scalar) })
            }
            Event::SequenceStart(_, id, tag) => {
                self.check_tag(tag.as_deref(), "seq", position);
                let content = Content::Sequence(self.sequence(depth)?);
                self.anchored(id, depth, Node { position, content })
            }
            Event::MappingStart(_, id, tag) => {
                self.check_tag(tag.as_deref(), "map", position);
                let content = Content::Mapping(self.mapping(depth)?);
                self.anchored(id, depth, Node { position, content })
            }
            _ => Err(self.error(position, "is no value", "put a value here")),
        }
    }

    /// Keeps a copy of a node that has an anchor; the parser numbers them from 1.
    fn anchored(&mut self, id: usize, depth: usize, node: Node) -> Result<Node, Mistake> {
        if id > 0 {
            self.recount(&node, depth, node.position)?;
            self.anchors.insert(id, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, depth: usize, position: Position) -> Result<Node, Mistake> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            let hint = "an alias can only repeat what is complete before it";
            return Err(self.error(position, "the alias is inside of what it repeats", hint));
        };
        self.recount(&node, depth, position)?;
        Ok(node)
    }

    /// Counts what anchors and aliases copy, so that a few aliases of aliases can't become millions.
    fn recount(&mut self, node: &Node, depth: usize, position: Position) -> Result<(), Mistake> {
        self.count(depth, position)?;
        match &node.content {
            Content::Scalar(_) => Ok(()),
            Content::Sequence(items) => {
                items.iter().try_for_each(|item| self.recount(item, depth + 1, position))
            }
            Content::Mapping(entries) => {
                entries.iter().try_for_each(|entry| self.recount(&entry.value, depth + 1, position))
            }
        }
    }

    fn count(&mut self, depth: usize, position: Position) -> Result<(), Mistake> {
        self.nodes += 1;
        if depth > DEEPEST {
            let message = format!("is nested more than {DEEPEST} deep");
            return Err(self.error(position, &message, "make it flatter"));
        }
        if self.nodes > MOST_NODES {
            let message = format!("has more than {MOST_NODES} values, counting copies by aliases");
            return Err(self.error(position, &message, "make it smaller"));
        }
        Ok(())
    }

    fn sequence(&mut self, depth: usize) -> Result<Vec<Node>, Mistake> {
        let mut items = Vec::new();
        loop {
            let next = self.next()?;
            if next.0 == Event::SequenceEnd {
                return Ok(items);
            }
            items.push(self.at(&format!("[{}]", items.len()), |this| this.node(next, depth + 1))?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<Entry>, Mistake> {
        let mut own = Entries::default();
        let mut merged = Entries::default();
        loop {
            let next = self.next()?;
            if next.0 == Event::MappingEnd {
                break;
            }
            let merges =
                matches!(&next.0, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.node(next, depth + 1)?;
            let name = match &key.content {
                Content::Scalar(scalar) => scalar.text.clone(),
                Content::Sequence(_) | Content::Mapping(_) => String::new(),
            };
            let value = self.next()?;
            let value = self.at(&name, |this| this.node(value, depth + 1))?;
            let Content::Scalar(scalar) = key.content else {
                let message = format!("a key must be text, but this is {}", key.kind());
                self.note(key.position, &message, "give it a short name");
                continue;
            };
            if merges {
                self.merge(&mut merged, value);
            } else if let Some(first) = own.get(&name) {
                let Position { line, column } = first.position;
                let message = format!(
                    "the key `{name}` is given twice, first at line {line}, column {column}"
                );
                self.note(key.position, &message, "keep one of the two");
            } else {
                own.put(Entry { position: key.position, key: scalar, value });
            }
        }
        // What is merged comes first, and a key of its own overrides it.
        merged.put_all(own.into_list());
        Ok(merged.into_list())
    }

    /// Takes the entries of what stands behind `<<`; in a list, the first mapping wins.
    fn merge(&mut self, merged: &mut Entries, value: Node) {
        let mappings = match value.content {
            Content::Sequence(items) => items,
            Content::Mapping(_) | Content::Scalar(_) => vec![value],
        };
        for mapping in mappings.into_iter().rev() {
            match mapping.content {
                Content::Mapping(entries) => merged.put_all(entries),
                Content::Scalar(_) | Content::Sequence(_) => {
                    let message = format!("`<<` merges mappings, but this is {}", mapping.kind());
                    let hint = "give the alias of a mapping, or a list of such aliases";
                    self.note(mapping.position, &message, hint);
                }
            }
        }
    }

    fn scalar(
        &mut self,
        text: String,
        style: ScalarStyle,
        tag: Option<&Tag>,
        position: Position,
    ) -> Scalar {
        let plain = style == ScalarStyle::Plain;
        let untagged = |text| if plain { Scalar::plain(text) } else { Scalar::quoted(text) };
        let Some(tag) = tag.filter(|tag| tag.original() != "!") else {
            return untagged(text);
        };
        let known = tag.suffix_in_namespace(TAGS);
        if let Some(scalar) = known.and_then(|name| Scalar::tagged(&name, text.clone())) {
            return scalar;
        }
        let message = format!("the tag `{}` doesn't fit here", tag.original());
        self.note(position, &message, "remove it");
        untagged(text)
    }

    fn check_tag(&mut self, tag: Option<&Tag>, expected: &str, position: Position) {
        let fits = |tag: &Tag| {
            tag.original() == "!" || tag.suffix_in_namespace(TAGS).as_deref() == Some(expected)
        };
        if let Some(tag) = tag.filter(|tag| !fits(tag)) {
            let message = format!("the tag `{}` doesn't fit here", tag.original());
            self.note(position, &message, "remove it");
        }
    }

    /// Reads something one step further down the path.
    fn at<T>(&mut self, step: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let above = self.path.len();
        if above > 0 && !step.is_empty() && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        let read = read(self);
        self.path.truncate(above);
        read
    }

    fn note(&mut self, position: Position, message: &str, hint: &str) {
        let mistake = self.error(position, message, hint);
        self.mistakes.push(mistake);
    }

    fn error(&self, position: Position, message: &str, hint: &str) -> Mistake {
        Mistake { path: self.path.clone(), ..Mistake::error(position, message, hint) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document in JSON-like notation: dates and the like don't matter here.
    fn shown(source: &str) -> String {
        fn show(node: &Node) -> String {
            match &node.content {
                Content::Scalar(scalar) => scalar.text.clone(),
                Content::Sequence(items) => {
                    let items: Vec<_> = items.iter().map(show).collect();
                    format!("[{}]", items.join(", "))
                }
                Content::Mapping(entries) => {
                    let entries: Vec<_> = entries
                        .iter()
                        .map(|entry| format!("{}: {}", entry.key.text, show(&entry.value)))
                        .collect();
                    format!("{{{}}}", entries.join(", "))
                }
            }
        }
        let mut mistakes = Vec::new();
        let node = compose(source, &mut mistakes).unwrap().unwrap();
        assert_eq!(mistakes, []);
        show(&node)
    }

    /// As observed with PyYAML 6.0.3.
    #[test]
    fn merge_keys_give_way_to_others() {
        for (source, expected) in [
            ("a: &a {x: 1, y: 2}\nb: {<<: *a}", "{a: {x: 1, y: 2}, b: {x: 1, y: 2}}"),
            (
                "a: &a {x: 1, y: 2}\nb: {z: 3, y: 4, <<: *a}",
                "{a: {x: 1, y: 2}, b: {x: 1, y: 4, z: 3}}",
            ),
            ("{<<: [{x: 1}, {x: 2, y: 3}]}", "{x: 1, y: 3}"),
            ("{<<: {x: 1}, <<: {x: 2}}", "{x: 2}"),
            ("{<<: {<<: {x: 1}, y: 2}}", "{x: 1, y: 2}"),
            ("{<<: []}", "{}"),
            ("{'<<': 1}", "{<<: 1}"),
        ] {
            assert_eq!(shown(source), expected, "{source}");
        }
    }

    #[test]
    fn aliases_repeat_the_latest_anchor_of_their_name() {
        assert_eq!(shown("[&a 1, *a, &a [2], *a]"), "[1, 1, [2], [2]]");
        assert_eq!(shown("{&k key: *k}"), "{key: key}");
    }

    #[test]
    fn values_that_are_left_out_are_empty() {
        assert_eq!(shown("a:\nb: !!str\nc: ~\n? d\ne: ''"), "{a: , b: , c: ~, d: , e: }");
    }

    #[test]
    fn positions_are_those_of_an_editor() {
        let source = "ü: &a {ö: 1}\nb:\n  - *a\n  - |\n    text\n";
        let node = compose(source, &mut Vec::new()).unwrap().unwrap();
        let at = |node: &Node| (node.position.line, node.position.column);
        let first = &node.entry("ü").unwrap();
        assert_eq!((first.position.line, first.position.column), (1, 1));
        assert_eq!(at(&first.value), (1, 7));
        let Content::Sequence(items) = &node.entry("b").unwrap().value.content else {
            panic!("{node:?}")
        };
        assert_eq!(at(&items[0]), (1, 7), "what an alias repeats stays where it is");
        assert_eq!(at(&items[1]), (5, 5));
    }
}

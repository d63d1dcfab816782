//! From text to a selector.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::super::label;
use super::super::quote::quoted;
use super::{Selector, SelectorError, Term, Test};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Comma,
    Open,
    Close,
    Equals,
    Differs,
    Not,
    End,
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { tokens: tokens(text)?, next: 0 };
        let mut terms = Vec::new();
        if *parser.peek() == Token::End {
            return Ok(Self::default());
        }
        terms.push(parser.term()?);
        while *parser.peek() != Token::End {
            parser.expect(&Token::Comma, "',' or the end")?;
            terms.push(parser.term()?);
        }
        Self::of(terms)
    }
}

struct Parser {
    /// `End` is the last one.
    tokens: Vec<Token>,
    next: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).unwrap_or(&Token::End)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn expect(&mut self, wanted: &Token, words: &str) -> Result<(), SelectorError> {
        let token = self.take();
        if token == *wanted { Ok(()) } else { Err(unexpected(&token, words)) }
    }

    fn term(&mut self) -> Result<Term, SelectorError> {
        let is_negated = *self.peek() == Token::Not;
        if is_negated {
            self.take();
        }
        let token = self.take();
        let Token::Word(key) = token else {
            return Err(unexpected(&token, "the key of a label"));
        };
        label::check_key(&key).map_err(SelectorError::Syntax)?;
        let test = if is_negated { Test::Absent } else { self.test()? };
        Ok(Term { key, test })
    }

    fn test(&mut self) -> Result<Test, SelectorError> {
        match self.peek() {
            Token::Comma | Token::End => return Ok(Test::Exists),
            Token::Word(_) | Token::Open | Token::Close | Token::Not => {}
            Token::Equals | Token::Differs => {
                let is_wanted = self.take() == Token::Equals;
                let value = self.value()?;
                return Ok(if is_wanted {
                    Test::Equals(value)
                } else {
                    Test::NotIn(BTreeSet::from([value]))
                });
            }
        }
        let token = self.take();
        if token == Token::Word("in".into()) {
            Ok(Test::In(self.values()?))
        } else if token == Token::Word("notin".into()) {
            Ok(Test::NotIn(self.values()?))
        } else {
            Err(unexpected(&token, "one of '=', '==', '!=', 'in', 'notin'"))
        }
    }

    /// A value; one that is left out is empty.
    fn value(&mut self) -> Result<String, SelectorError> {
        let Token::Word(value) = self.peek().clone() else { return Ok(String::new()) };
        self.take();
        label::check_value(&value).map_err(SelectorError::Syntax)?;
        Ok(value)
    }

    fn values(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        self.expect(&Token::Open, "'('")?;
        let mut values = BTreeSet::from([self.value()?]);
        while *self.peek() != Token::Close {
            self.expect(&Token::Comma, "',' or ')'")?;
            values.insert(self.value()?);
        }
        self.take();
        Ok(values)
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, SelectorError> {
    const SPECIAL: &[char] = &['=', '!', '(', ')', '<', '>', ','];
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            ',' => (Token::Comma, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '=' if rest.starts_with("==") => (Token::Equals, 2),
            '=' => (Token::Equals, 1),
            '!' if rest.starts_with("!=") => (Token::Differs, 2),
            '!' => (Token::Not, 1),
            '<' | '>' => return Err(SelectorError::Operator(first)),
            _ => {
                let is_end = |c: char| c.is_whitespace() || SPECIAL.contains(&c);
                let word = &rest[..rest.find(is_end).unwrap_or(rest.len())];
                (Token::Word(word.to_owned()), word.len())
            }
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    tokens.push(Token::End);
    Ok(tokens)
}

fn unexpected(found: &Token, expected: &str) -> SelectorError {
    let found = match found {
        Token::Word(word) => quoted(word),
        Token::Comma => "','".into(),
        Token::Open => "'('".into(),
        Token::Close => "')'".into(),
        Token::Equals => "'='".into(),
        Token::Differs => "'!='".into(),
        Token::Not => "'!'".into(),
        Token::End => "the end".into(),
    };
    SelectorError::Syntax(format!("found {found}, expected: {expected}"))
}

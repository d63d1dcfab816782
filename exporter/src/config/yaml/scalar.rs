//! What a scalar means.

use base64::Engine as _;

/// A scalar of the file.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::config) struct Scalar {
    /// As it is written, without quotes; empty if it is left out.
    pub(in crate::config) text: String,
    /// What that means.
    pub(in crate::config) meaning: Meaning,
}

/// What PyYAML's safe loader makes of a scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::config) enum Meaning {
    Null,
    Bool(bool),
    /// Clamped to this type's range, which is far beyond what anything here takes.
    Integer(i128),
    Float(f64),
    /// A date or a time, which the reference takes for neither text nor a number.
    Timestamp,
    Text,
}

impl Scalar {
    /// A scalar in quotes, or a block of text.
    pub(super) fn quoted(text: String) -> Self {
        Self { text, meaning: Meaning::Text }
    }

    /// A scalar without quotes and tag.
    pub(super) fn plain(text: String) -> Self {
        let meaning = meaning(&text);
        Self { text, meaning }
    }

    /// A scalar with a tag of the YAML namespace (the `int` of `!!int`), or none if there is no such
    /// tag or the text doesn't fit it.
    pub(super) fn tagged(tag: &str, text: String) -> Option<Self> {
        let meaning = match tag {
            "str" => Meaning::Text,
            "null" => Meaning::Null,
            "bool" => Meaning::Bool(boolean(&text.to_lowercase())?),
            "int" => Meaning::Integer(integer(&text)?),
            "float" => Meaning::Float(float(&text).or_else(|| text.parse().ok())?),
            "timestamp" => timestamp(&text).then_some(Meaning::Timestamp)?,
            "binary" => {
                let compact: String = text.split_ascii_whitespace().collect();
                let bytes = base64::engine::general_purpose::STANDARD.decode(compact).ok()?;
                return Some(Self::quoted(String::from_utf8(bytes).ok()?));
            }
            _ => return None,
        };
        Some(Self { text, meaning })
    }

    /// What it is, for "must be text, but is ...".
    pub(in crate::config) fn kind(&self) -> &'static str {
        match self.meaning {
            Meaning::Null => "empty",
            Meaning::Bool(_) => "a boolean",
            Meaning::Integer(_) | Meaning::Float(_) => "a number",
            Meaning::Timestamp => "a date",
            Meaning::Text => "text",
        }
    }
}

/// What a scalar without quotes means.
fn meaning(text: &str) -> Meaning {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Meaning::Null;
    }
    if let Some(value) = boolean(text) {
        return Meaning::Bool(value);
    }
    // Everything else that isn't text begins with one of these; most text doesn't.
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Meaning::Text;
    }
    if let Some(value) = integer(text) {
        Meaning::Integer(value)
    } else if let Some(value) = float(text) {
        Meaning::Float(value)
    } else if timestamp(text) {
        Meaning::Timestamp
    } else {
        Meaning::Text
    }
}

/// A word in lower case, with a capital or in capitals. A lone `y` or `n` is text.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// `12`, `1_000`, `-3`, `010` (eight), `0x1F`, `0b11`, `1:30` (ninety).
fn integer(text: &str) -> Option<i128> {
    let (negative, body) = signed(text);
    let magnitude = if let Some(digits) = body.strip_prefix("0b") {
        radix(digits, 2)
    } else if let Some(digits) = body.strip_prefix("0x") {
        radix(digits, 16)
    } else if body.len() > 1 && body.starts_with('0') {
        radix(&body[1..], 8).or_else(|| body[1..].bytes().all(|b| b == b'_').then_some(0))
    } else {
        let mut parts = body.split(':');
        let first = parts.next().filter(|first| decimal(first))?;
        parts.try_fold(radix(first, 10)?, |value, part| {
            Some(value.saturating_mul(60).saturating_add(sixty(part)?.into()))
        })
    }?;
    Some(if negative { -magnitude } else { magnitude })
}

/// `1.5`, `1.`, `.5`, `1.0e+3` (the exponent needs its sign), `1:30.5`, `.inf`, `.nan`.
fn float(text: &str) -> Option<f64> {
    let (negative, body) = signed(text);
    let sign = if negative { -1.0 } else { 1.0 };
    match body {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if body == text => return Some(f64::NAN),
        _ => {}
    }
    let (whole, rest) = body.split_once('.')?;
    let (fraction, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    if !fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        return None;
    }
    if let Some((above, seconds)) = whole.rsplit_once(':') {
        let value = sexagesimal(above, seconds, fraction).filter(|_| exponent.is_none())?;
        return Some(sign * value);
    }
    let leads = if whole.is_empty() {
        body == text && fraction.starts_with(|c: char| c.is_ascii_digit())
    } else {
        decimal(whole)
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        exponent
            .strip_prefix(['+', '-'])
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    });
    if !leads || !exponent_fits {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// The `1`, `30` and `5` of `1:30.5`, where the first may hold colons of its own.
fn sexagesimal(above: &str, seconds: &str, fraction: &str) -> Option<f64> {
    let mut parts = above.split(':');
    let first = parts.next().filter(|first| decimal(first))?.replace('_', "");
    let minutes = parts.try_fold(first.parse::<f64>().ok()?, |value, part| {
        Some(value * 60.0 + f64::from(sixty(part)?))
    })?;
    sixty(seconds)?;
    let seconds: f64 = format!("{seconds}.{fraction}").replace('_', "").parse().ok()?;
    Some(minutes * 60.0 + seconds)
}

/// `2024-01-31`, `2024-1-31 12:00:00.5 +01:00`.
fn timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((date, time)) = text.find(['T', 't', ' ', '\t']).map(|at| text.split_at(at)) else {
        return shape(bytes, &[4, 2, 2], &[4, 2, 2]);
    };
    let time = match time.strip_prefix(['T', 't']) {
        Some(time) => time,
        None => time.trim_start_matches([' ', '\t']),
    };
    let end = time.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(time.len());
    let (clock, rest) = time.split_at(end);
    let rest = match rest.strip_prefix('.') {
        Some(rest) => rest.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    shape(date.as_bytes(), &[4, 1, 1], &[4, 2, 2]) && is_clock(clock) && zone(rest)
}

/// Groups of digits with hyphens between them, each of a length between these.
fn shape(bytes: &[u8], shortest: &[usize], longest: &[usize]) -> bool {
    let groups: Vec<_> = bytes.split(|b| *b == b'-').collect();
    groups.len() == shortest.len()
        && groups.iter().zip(shortest.iter().zip(longest)).all(|(group, (least, most))| {
            (least..=most).contains(&&group.len()) && group.iter().all(u8::is_ascii_digit)
        })
}

/// `9:30:00`.
fn is_clock(text: &str) -> bool {
    let groups: Vec<_> = text.split(':').map(str::len).collect();
    matches!(groups[..], [1 | 2, 2, 2])
}

/// Nothing, `Z`, `+1`, `-01:30`, with blanks before it.
fn zone(text: &str) -> bool {
    let zone = text.trim_start_matches([' ', '\t']);
    let Some(offset) = zone.strip_prefix(['+', '-']) else {
        return text.is_empty() || zone == "Z";
    };
    let digits = |group: &str| group.bytes().all(|b| b.is_ascii_digit());
    match offset.split_once(':') {
        Some((hours, minutes)) => {
            matches!(hours.len(), 1 | 2) && minutes.len() == 2 && digits(hours) && digits(minutes)
        }
        None => matches!(offset.len(), 1 | 2) && digits(offset),
    }
}

fn signed(text: &str) -> (bool, &str) {
    match text.strip_prefix(['+', '-']) {
        Some(body) => (text.starts_with('-'), body),
        None => (false, text),
    }
}

/// A digit, then digits and underscores.
fn decimal(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'_')
}

/// Digits of this base with underscores anywhere; at least one digit.
fn radix(digits: &str, base: u32) -> Option<i128> {
    let mut value = None;
    for character in digits.chars().filter(|c| *c != '_') {
        let digit = i128::from(character.to_digit(base)?);
        let above = value.unwrap_or(0i128).saturating_mul(i128::from(base));
        value = Some(above.saturating_add(digit));
    }
    value
}

/// One place of a number to base sixty.
fn sixty(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9'] => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Meaning::{Bool, Float, Integer, Null, Text, Timestamp};
    use super::*;

    /// Whether two meanings are the same, as far as not-a-number can be.
    fn same(a: Meaning, b: Meaning) -> bool {
        matches!((a, b), (Float(a), Float(b)) if a.is_nan() && b.is_nan()) || a == b
    }

    /// What PyYAML 6.0.3 made of these with its `SafeLoader`.
    #[rustfmt::skip]
    const WORDS: &[(&str, Meaning)] = &[
        // Booleans.
        ("yes", Bool(true)),
        ("Yes", Bool(true)),
        ("YES", Bool(true)),
        ("no", Bool(false)),
        ("No", Bool(false)),
        ("NO", Bool(false)),
        ("true", Bool(true)),
        ("True", Bool(true)),
        ("TRUE", Bool(true)),
        ("false", Bool(false)),
        ("False", Bool(false)),
        ("FALSE", Bool(false)),
        ("on", Bool(true)),
        ("On", Bool(true)),
        ("ON", Bool(true)),
        ("off", Bool(false)),
        ("Off", Bool(false)),
        ("OFF", Bool(false)),
        ("y", Text),
        ("Y", Text),
        ("n", Text),
        ("N", Text),
        ("yEs", Text),
        ("oN", Text),
        ("enabled", Text),
        // Nulls.
        ("", Null),
        ("~", Null),
        ("null", Null),
        ("Null", Null),
        ("NULL", Null),
        ("nULL", Text),
        ("none", Text),
        ("None", Text),
        // Integers.
        ("0", Integer(0)),
        ("-0", Integer(0)),
        ("+7", Integer(7)),
        ("12", Integer(12)),
        ("1_000", Integer(1000)),
        ("1__0_", Integer(10)),
        ("010", Integer(8)),
        ("0o10", Text),
        ("08", Text),
        ("09", Text),
        ("00", Integer(0)),
        ("0_", Integer(0)),
        ("0x1F", Integer(31)),
        ("0X1F", Text),
        ("0xg", Text),
        ("0b101", Integer(5)),
        ("0b2", Text),
        ("0b_", Text), // the reference refuses the file
        ("0x_", Text), // the reference refuses the file
        ("-0x10", Integer(-16)),
        ("+0b1", Integer(1)),
        ("1:30", Integer(90)),
        ("-1:30", Integer(-90)),
        ("12:30:00", Integer(45_000)),
        ("0:30", Text),
        ("09:30", Text),
        ("1:60", Text),
        ("1:5", Integer(65)),
        ("1:05", Integer(65)),
        ("1:005", Text),
        ("1:", Text),
        ("1_0:30", Integer(630)),
        ("_1", Text),
        ("1a", Text),
        ("1-2", Text),
        ("+-1", Text),
        ("+", Text),
        ("-", Text),
        ("340282366920938463463374607431768211456", Integer(i128::MAX)),
        // Floats.
        ("1.5", Float(1.5)),
        ("1.", Float(1.0)),
        (".5", Float(0.5)),
        ("-.5", Text),
        ("+.5", Text),
        ("-1.5", Float(-1.5)),
        ("1_0.5_0", Float(10.5)),
        (".", Text),
        ("._5", Text),
        ("1e3", Text),
        ("1.0e3", Text),
        ("1.0e+3", Float(1000.0)),
        ("1.0E-3", Float(0.001)),
        ("1.e+3", Float(1000.0)),
        (".5e+1", Float(5.0)),
        ("1.0e+", Text),
        ("1.2.3", Text),
        (".inf", Float(f64::INFINITY)),
        ("-.inf", Float(f64::NEG_INFINITY)),
        ("+.INF", Float(f64::INFINITY)),
        (".Inf", Float(f64::INFINITY)),
        (".nan", Float(f64::NAN)),
        (".NaN", Float(f64::NAN)),
        (".NAN", Float(f64::NAN)),
        ("-.nan", Text),
        ("inf", Text),
        ("nan", Text),
        ("1:30.5", Float(90.5)),
        ("01:30.5", Float(90.5)),
        ("1:30.", Float(90.0)),
        ("1:30.5e+3", Text),
        ("1:60.5", Text),
        ("1e9999", Text),
        ("1.0e+9999", Float(f64::INFINITY)),
        // Timestamps.
        ("2024-01-31", Timestamp),
        ("2024-1-31", Text),
        ("2024-01-31T12:00:00", Timestamp),
        ("2024-1-3 1:00:00", Timestamp),
        ("2024-01-31t12:00:00.5Z", Timestamp),
        ("2024-01-31 12:00:00 +1", Timestamp),
        ("2024-01-31\t12:00:00.123 -01:30", Timestamp),
        ("2024-01-31 12:00", Text),
        ("2024-01-31T12:00:00+0100", Text),
        ("2024-01-31T", Text),
        ("2024-13-45", Timestamp), // the reference refuses the file
        ("24-01-31", Text),
        ("2024-01-31T12:00:00 z", Text),
        // Text.
        ("hello", Text),
        ("=", Text), // a tag of its own there
        ("<<", Text), // a tag of its own there
        ("1.2.3.4", Text),
        ("0.0.0.0:8080", Text),
        ("v1", Text),
        ("5m", Text),
        ("10%", Text),
        ("/dev/ttyUSB0", Text),
        ("::1", Text),
        ("é", Text),
    ];

    #[test]
    fn words_mean_what_they_mean_to_pyyaml() {
        for (text, expected) in WORDS {
            assert!(same(meaning(text), *expected), "{text}: {:?}", meaning(text));
        }
    }

    /// Likewise, behind explicit tags; where this is none, it refused the file.
    #[test]
    fn tags_say_what_a_scalar_is() {
        for (tag, text, expected) in [
            ("str", "5", Some(Text)),
            ("str", "", Some(Text)),
            ("int", "010", Some(Integer(8))),
            ("int", "x", None),
            ("int", "1.5", None),
            ("float", "3", Some(Float(3.0))),
            ("float", "1e3", Some(Float(1000.0))),
            ("float", "x", None),
            ("bool", "oFF", Some(Bool(false))),
            ("bool", "maybe", None),
            ("null", "x", Some(Null)),
            ("timestamp", "2024-01-31", Some(Timestamp)),
            ("timestamp", "x", None),
            ("set", "x", None),
        ] {
            let scalar = Scalar::tagged(tag, text.to_owned());
            assert_eq!(scalar.map(|scalar| scalar.meaning), expected, "!!{tag} {text}");
        }
        let binary = Scalar::tagged("binary", "aGVs\n  bG8=".to_owned()).unwrap();
        assert_eq!(binary, Scalar::quoted("hello".to_owned()));
    }
}

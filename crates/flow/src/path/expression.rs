//! Small expressions in `t` that know their derivative: parsed once, evaluated over dual numbers.
//!
//! A dual number carries a value and its slope through every operation, so the derivative is exact and there is no second
//! expression to simplify. Grammar, loosest first: sums, products, signs, powers (to the right), then numbers, `t`, `PI`,
//! `E`, parentheses and the functions of [`FUNCTIONS`].

use std::f64::consts::{E, PI};

/// A value and its derivative with respect to `t`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Dual {
    pub value: f64,
    pub slope: f64,
}

impl Dual {
    fn constant(value: f64) -> Self {
        Self { value, slope: 0.0 }
    }

    fn times(self, other: Self) -> Self {
        Self { value: self.value * other.value, slope: self.slope * other.value + self.value * other.slope }
    }

    fn over(self, other: Self) -> Self {
        let value = self.value / other.value;
        Self { value, slope: (self.slope - value * other.slope) / other.value }
    }

    fn power(self, exponent: Self) -> Self {
        let value = self.value.powf(exponent.value);
        // A constant exponent needs no logarithm, and a base that stands still adds nothing (0^n is smooth).
        let of_base = match self.slope {
            0.0 => 0.0,
            slope => exponent.value * self.value.powf(exponent.value - 1.0) * slope,
        };
        let of_exponent = match exponent.slope {
            0.0 => 0.0,
            slope => value * self.value.ln() * slope,
        };
        Self { value, slope: of_base + of_exponent }
    }
}

/// A function of one number with its derivative.
type Function = fn(f64) -> (f64, f64);

/// The functions an expression may call.
pub(super) const FUNCTIONS: [(&str, Function); 9] = [
    ("sin", |x| (x.sin(), x.cos())),
    ("cos", |x| (x.cos(), -x.sin())),
    ("tan", |x| (x.tan(), 1.0 + x.tan().powi(2))),
    ("exp", |x| (x.exp(), x.exp())),
    ("ln", |x| (x.ln(), 1.0 / x)),
    ("sqrt", |x| (x.sqrt(), 0.5 / x.sqrt())),
    ("tanh", |x| (x.tanh(), 1.0 - x.tanh().powi(2))),
    ("sinh", |x| (x.sinh(), x.cosh())),
    ("cosh", |x| (x.cosh(), x.sinh())),
];

#[derive(Clone, Debug)]
enum Node {
    Constant(f64),
    Time,
    Sum(Box<Node>, Box<Node>),
    Difference(Box<Node>, Box<Node>),
    Product(Box<Node>, Box<Node>),
    Quotient(Box<Node>, Box<Node>),
    Power(Box<Node>, Box<Node>),
    Call(Function, Box<Node>),
}

impl Node {
    fn at(&self, t: f64) -> Dual {
        match self {
            Self::Constant(value) => Dual::constant(*value),
            Self::Time => Dual { value: t, slope: 1.0 },
            Self::Sum(a, b) => {
                let (a, b) = (a.at(t), b.at(t));
                Dual { value: a.value + b.value, slope: a.slope + b.slope }
            }
            Self::Difference(a, b) => {
                let (a, b) = (a.at(t), b.at(t));
                Dual { value: a.value - b.value, slope: a.slope - b.slope }
            }
            Self::Product(a, b) => a.at(t).times(b.at(t)),
            Self::Quotient(a, b) => a.at(t).over(b.at(t)),
            Self::Power(a, b) => a.at(t).power(b.at(t)),
            Self::Call(f, inner) => {
                let inner = inner.at(t);
                let (value, outer) = f(inner.value);
                Dual { value, slope: if inner.slope == 0.0 { 0.0 } else { outer * inner.slope } }
            }
        }
    }
}

/// A parsed expression.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    text: String,
    root: Node,
}

/// Deeper nesting than this is no formula but an attack on the stack.
const DEEPEST: usize = 64;

impl Expression {
    /// Reads `text`.
    ///
    /// # Errors
    /// What is wrong, and at which character.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, at: 0, depth: 0 };
        let root = reader.sum()?;
        match reader.peek() {
            None => Ok(Self { text: text.into(), root }),
            Some(c) => Err(format!("`{c}` at character {} is one too many", reader.place())),
        }
    }

    /// The text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Value and slope at `t`.
    pub fn at(&self, t: f64) -> Dual {
        self.root.at(t)
    }
}

/// A recursive descent over the characters.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&mut self) -> Option<char> {
        self.at += self.rest().len() - self.rest().trim_start().len();
        self.rest().chars().next()
    }

    fn place(&self) -> usize {
        self.text[..self.at].chars().count() + 1
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn sum(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep"));
        }
        let mut left = self.product()?;
        loop {
            left = match (self.take('+'), self.take('-')) {
                (true, _) => Node::Sum(left.into(), self.product()?.into()),
                (_, true) => Node::Difference(left.into(), self.product()?.into()),
                _ => break,
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn product(&mut self) -> Result<Node, String> {
        let mut left = self.sign()?;
        loop {
            left = match (self.take('*'), self.take('/')) {
                (true, _) => Node::Product(left.into(), self.sign()?.into()),
                (_, true) => Node::Quotient(left.into(), self.sign()?.into()),
                _ => return Ok(left),
            };
        }
    }

    /// `-t^2` is `-(t^2)`.
    fn sign(&mut self) -> Result<Node, String> {
        let mut negative = false;
        loop {
            match (self.take('-'), self.take('+')) {
                (true, _) => negative = !negative,
                (_, true) => {}
                _ => break,
            }
        }
        let power = self.power()?;
        Ok(if negative { Node::Difference(Node::Constant(0.0).into(), power.into()) } else { power })
    }

    fn power(&mut self) -> Result<Node, String> {
        let base = self.atom()?;
        if !self.take('^') {
            return Ok(base);
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep"));
        }
        let exponent = self.sign()?;
        self.depth -= 1;
        Ok(Node::Power(base.into(), exponent.into()))
    }

    fn atom(&mut self) -> Result<Node, String> {
        let place = |reader: &Self| format!("at character {}", reader.place());
        match self.peek() {
            None => Err("it ends where a number, `t` or a function should be".into()),
            Some('(') => {
                self.take('(');
                let inner = self.sum()?;
                if self.take(')') { Ok(inner) } else { Err(format!("a `)` is missing {}", place(self))) }
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_alphabetic() => {
                let here = place(self);
                let length = self.rest().find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest().len());
                let word = self.rest()[..length].to_string();
                self.at += length;
                match (word.as_str(), FUNCTIONS.iter().find(|(name, _)| *name == word)) {
                    ("t", _) => Ok(Node::Time),
                    ("PI", _) => Ok(Node::Constant(PI)),
                    ("E", _) => Ok(Node::Constant(E)),
                    (_, Some(_)) if self.peek() != Some('(') => {
                        Err(format!("`{word}` {here} needs its argument in ( )"))
                    }
                    (_, Some((_, function))) => Ok(Node::Call(*function, self.atom()?.into())),
                    (_, None) => {
                        let known: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
                        Err(format!("`{word}` {here} is unknown (known: t, PI, E, {})", known.join(", ")))
                    }
                }
            }
            Some(c) => Err(format!("`{c}` {} is not expected there", place(self))),
        }
    }

    fn number(&mut self) -> Result<Node, String> {
        let here = self.place();
        let bytes = self.rest().as_bytes();
        let digit = |b: u8| b.is_ascii_digit() || b == b'.';
        let mut length = bytes.iter().take_while(|b| digit(**b)).count();
        // An exponent, if digits follow it: `2e-3`, but not the `e` of a word.
        if bytes.get(length).is_some_and(|b| matches!(b, b'e' | b'E')) {
            let signed = 1 + usize::from(bytes.get(length + 1).is_some_and(|b| matches!(b, b'+' | b'-')));
            let digits = bytes[(length + signed).min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
            if digits > 0 {
                length += signed + digits;
            }
        }
        let word = self.rest()[..length].to_string();
        self.at += length;
        word.parse().map(Node::Constant).map_err(|_| format!("`{word}` at character {here} is no number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, t: f64) -> (f64, f64) {
        let dual = Expression::parse(text).unwrap().at(t);
        (dual.value, dual.slope)
    }

    #[test]
    fn operators_bind_as_on_paper() {
        assert_eq!(at("1 + 2*3 - 4/8", 0.0).0, 6.5);
        assert_eq!(at("2^3^2", 0.0).0, 512.0);
        assert_eq!(at("-t^2", 3.0), (-9.0, -6.0));
        assert_eq!(at("2^-1", 0.0).0, 0.5);
        assert_eq!(at("8/4/2 - 1 - 1", 0.0).0, -1.0);
        assert_eq!(at(" ( 1-t ) * 2.5e-1 ", 0.0), (0.25, -0.25));
        assert_eq!(at("cos(PI)^2 + E*0", 0.0).0, 1.0);
    }

    #[test]
    fn slopes_are_exact_and_finite_where_the_function_is_smooth() {
        let h = 1e-6;
        for text in ["sin(t)*exp(-t^2)", "sqrt(t+1)/cosh(t)", "ln(2+t)^3", "tan(t)-tanh(t)*sinh(t)", "(1+t)^t", "3^t"] {
            let e = Expression::parse(text).unwrap();
            let measured = (e.at(0.4 + h).value - e.at(0.4 - h).value) / (2.0 * h);
            // Truncation h² f''' and rounding 1e-16/h.
            assert!((e.at(0.4).slope - measured).abs() < 1e-8, "{text}");
        }
        assert_eq!(at("t^2", 0.0), (0.0, 0.0));
        assert_eq!(at("(1-t)^7", 1.0).1.abs(), 0.0);
    }

    #[test]
    fn nonsense_is_refused_with_its_place() {
        let deep = format!("{}t{}", "(".repeat(100), ")".repeat(100));
        let cases: [(&str, &str); 9] = [
            ("", "it ends"),
            ("1 +", "it ends"),
            ("1 2", "character 3"),
            ("(t", "`)` is missing"),
            ("x*t", "`x` at character 1 is unknown"),
            ("sin t", "argument"),
            ("1..2", "no number"),
            ("t ? 1", "`?` at character 3"),
            (&deep, "nested"),
        ];
        for (text, says) in cases {
            let why = Expression::parse(text).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
        assert!(Expression::parse(&"^2".repeat(1000).replacen('^', "", 1)).is_err());
    }
}

//! Paths written down by whoever needs one: `alpha`, `beta` and `gamma` as expressions in `t`.

use super::expression::{Dual, Expression};
use super::{Coefficients, END};
use crate::{FlowError, error::require};
use serde::{Deserialize, Serialize};

/// Coefficients as text: `+ - * / ^ ( )`, `sin cos tan exp ln sqrt sinh cosh tanh`, `PI`, `E` and the variable `t`.
#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(try_from = "Texts", into = "Texts")]
pub struct Expressions {
    alpha: Expression,
    beta: Expression,
    gamma: Option<Expression>,
}

/// What a recipe says.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct Texts {
    alpha: String,
    beta: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gamma: Option<String>,
}

impl TryFrom<Texts> for Expressions {
    type Error = FlowError;

    fn try_from(texts: Texts) -> Result<Self, FlowError> {
        Self::new(&texts.alpha, &texts.beta, texts.gamma.as_deref())
    }
}

impl From<Expressions> for Texts {
    fn from(e: Expressions) -> Self {
        let gamma = e.gamma.map(|gamma| gamma.text().into());
        Self { alpha: e.alpha.text().into(), beta: e.beta.text().into(), gamma }
    }
}

impl PartialEq for Expressions {
    fn eq(&self, other: &Self) -> bool {
        Texts::from(self.clone()) == Texts::from(other.clone())
    }
}

/// Places at which expressions are looked at.
const GRID: usize = 64;

/// How far the ends of a custom path may be from the ends they stand for (VP leaves 0.007 of the data in its noise).
const SLACK: f64 = 0.01;

fn parse(name: &'static str, text: &str) -> Result<Expression, FlowError> {
    let refuse = |why: String| FlowError::Expression { name, text: text.into(), why };
    let expression = Expression::parse(text).map_err(refuse)?;
    for i in 0..GRID {
        let t = (i as f64 + 0.5) / GRID as f64;
        let Dual { value, slope } = expression.at(t);
        if !(value.is_finite() && slope.is_finite()) {
            return Err(refuse(format!("it is {value} with slope {slope} at t = {t}")));
        }
    }
    Ok(expression)
}

/// Value and slope; at an end where one of them is not finite, that one as it is `1e-5` inside.
fn held(expression: &Expression, t: f64) -> Dual {
    let (here, inside) = (expression.at(t), expression.at(t.clamp(END, 1.0 - END)));
    let finite = |here: f64, inside: f64| if here.is_finite() { here } else { inside };
    Dual { value: finite(here.value, inside.value), slope: finite(here.slope, inside.slope) }
}

/// The product of value and slope; at an end where the slope diverges both are read inside, and the product's limit is off
/// by the 1e-5 that lies between.
fn product(expression: &Expression, t: f64) -> f64 {
    let here = expression.at(t);
    let here = if here.slope.is_finite() { here } else { expression.at(t.clamp(END, 1.0 - END)) };
    here.value * here.slope
}

impl Expressions {
    /// A path `alpha x0 + beta x1 + gamma z`; no latent where `gamma` is absent.
    ///
    /// ```
    /// let path = flow::path::Expressions::new("1 - t^2", "t^2", Some("sin(PI*t)^2"))?;
    /// let c = flow::Path::Custom(path).at(0.5);
    /// assert_eq!((c.alpha, c.beta, c.d_beta), (0.75, 0.25, 1.0));
    /// # Ok::<(), flow::FlowError>(())
    /// ```
    ///
    /// # Errors
    /// [`FlowError::Expression`] for text that is no differentiable function of `t` on (0, 1).
    pub fn new(alpha: &str, beta: &str, gamma: Option<&str>) -> Result<Self, FlowError> {
        let gamma = gamma.map(|text| parse("path.gamma", text)).transpose()?;
        Ok(Self { alpha: parse("path.alpha", alpha)?, beta: parse("path.beta", beta)?, gamma })
    }

    /// Whether there is a latent.
    pub fn has_latent(&self) -> bool {
        self.gamma.is_some()
    }

    /// Refuses coefficients that do not start at the source, end at the data, or that vanish together between.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the coefficient.
    pub fn check(&self) -> Result<(), FlowError> {
        let (start, end) = (self.at(0.0), self.at(1.0));
        let near = |value: f64, wanted: f64| (value - wanted).abs() <= SLACK;
        let alpha = near(start.alpha, 1.0) && near(end.alpha, 0.0);
        require(alpha, "path.alpha", self.alpha.text(), "it must be 1 at t = 0 (the source) and 0 at t = 1")?;
        let beta = near(start.beta, 0.0) && near(end.beta, 1.0);
        require(beta, "path.beta", self.beta.text(), "it must be 0 at t = 0 and 1 at t = 1 (the data)")?;
        let inner = || (0..GRID).map(|i| self.at((i as f64 + 0.5) / GRID as f64));
        let gone = inner().any(|c| c.alpha.abs() + c.beta.abs() + c.gamma.abs() < 1e-9);
        require(!gone, "path.alpha", self.alpha.text(), "something must be left of the path between its ends")?;
        let Some(gamma) = &self.gamma else { return Ok(()) };
        let ends = near(start.gamma, 0.0) && near(end.gamma, 0.0) && inner().all(|c| c.gamma > 0.0);
        require(ends, "path.gamma", gamma.text(), "it must be 0 at both ends and positive between")
    }

    pub(super) fn at(&self, t: f64) -> Coefficients {
        let pair = |expression: &Expression| {
            let dual = held(expression, t);
            (dual.value, dual.slope)
        };
        let plain = Coefficients::source_data(pair(&self.alpha), pair(&self.beta));
        let plain = Coefficients { alpha_d_alpha: product(&self.alpha, t), ..plain };
        match &self.gamma {
            None => plain,
            Some(gamma) => {
                let (value, slope) = pair(gamma);
                plain.with_latent((value, slope, product(gamma, t)))
            }
        }
    }
}

//! The rule by which an autoscaler sets the number of workers. The API knows it by a setting alone: it may read nothing of the
//! cluster, and workers report themselves.

use std::collections::BTreeMap;
use std::str::FromStr;

use wpclone_task::Stage;

/// The most workers of a rule.
const MAX_WORKERS: u64 = 1000;

/// The rules of all stages that are scaled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Autoscaling(BTreeMap<Stage, Rule>);

/// One worker for each `target` steps that are ready or running, within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    min: u64,
    max: u64,
    target: u64,
}

impl Autoscaling {
    /// How many workers of a stage are wanted; `None` where it is not scaled.
    #[must_use]
    pub fn wanted(&self, stage: Stage, outstanding: u64) -> Option<u64> {
        let Rule { min, max, target } = *self.0.get(&stage)?;
        Some(outstanding.div_ceil(target).clamp(min, max))
    }
}

impl FromStr for Autoscaling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let rules = parts.map(|part| {
            rule(part).ok_or_else(|| {
                format!("`{part}` is not of the form STAGE=MIN..MAX/TARGET, such as browser=0..8/2")
            })
        });
        Ok(Self(rules.collect::<Result<_, _>>()?))
    }
}

fn rule(text: &str) -> Option<(Stage, Rule)> {
    let (stage, rule) = text.split_once('=')?;
    let (bounds, target) = rule.split_once('/')?;
    let (min, max) = bounds.split_once("..")?;
    let stage = stage.parse().ok().filter(|stage| Stage::OF_TASKS.contains(stage))?;
    let rule = Rule { min: min.parse().ok()?, max: max.parse().ok()?, target: target.parse().ok()? };
    (rule.min <= rule.max && rule.max <= MAX_WORKERS && rule.target > 0).then_some((stage, rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_wanted_by_outstanding_steps_within_bounds() {
        let rules: Autoscaling = "browser=0..8/2, provisioning=1..2/4".parse().unwrap();
        let wanted = |outstanding| rules.wanted(Stage::Browser, outstanding);
        assert_eq!([0, 1, 2, 3, 99].map(wanted), [0, 1, 1, 2, 8].map(Some));
        assert_eq!(rules.wanted(Stage::Provisioning, 0), Some(1));
        assert_eq!(rules.wanted(Stage::Transfer, 5), None);
        assert_eq!("".parse::<Autoscaling>(), Ok(Autoscaling::default()));
    }

    #[test]
    fn a_rule_that_cannot_hold_is_refused() {
        for text in [
            "browser",
            "browser=2..1/1",
            "browser=0..1/0",
            "cook=0..1/1",
            "webhook=0..1/1",
            "browser=0..1001/1",
        ] {
            assert!(text.parse::<Autoscaling>().unwrap_err().contains(text), "{text}");
        }
    }
}

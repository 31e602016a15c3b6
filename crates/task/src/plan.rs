//! Which steps a task of each kind takes.

use serde::{Deserialize, Serialize};

use crate::{Stage, Step, StoredRequest};

/// One step of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepPlan {
    /// Name, unique in its task: that of a [`Step`].
    pub name: String,
    /// The stage whose queue it waits in.
    pub stage: Stage,
    /// Whether later steps run even if this one fails for good. The task then ends as failed, with its problem.
    pub optional: bool,
    /// Its part of the task's progress, relative to the shares of the other steps.
    pub share: u8,
}

/// The steps of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// One phase after another; the steps of a phase run side by side.
    pub phases: Vec<Vec<StepPlan>>,
    /// Run side by side, once no other step runs, when a task that had begun ends in another way than by its last phase.
    /// Its end is final only after them, or after ten minutes.
    pub clean_up: Vec<StepPlan>,
}

impl From<Step> for StepPlan {
    fn from(step: Step) -> Self {
        Self { name: step.as_str().to_owned(), stage: step.stage(), optional: false, share: 1 }
    }
}

impl StepPlan {
    fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    fn share(self, share: u8) -> Self {
        Self { share, ..self }
    }
}

impl From<Step> for Plan {
    fn from(step: Step) -> Self {
        Self { phases: vec![vec![step.into()]], clean_up: Vec::new() }
    }
}

impl StoredRequest {
    /// The steps that its task takes.
    #[must_use]
    pub fn plan(&self) -> Plan {
        match self {
            Self::Setup { .. } => Step::Setup.into(),
            Self::CreateAppPassword { .. } => Step::CreateAppPassword.into(),
            Self::Clone { target: None, remove_migrator, .. } => clone(*remove_migrator),
            Self::Clone { remove_migrator, .. } => clone_to_target(*remove_migrator),
            Self::ExtendClone { .. } => Step::Extend.into(),
            Self::DeleteClone { .. } => Step::Delete.into(),
        }
    }
}

fn step(step: Step) -> StepPlan {
    let plan = StepPlan::from(step);
    match step {
        Step::Prepare | Step::PrepareTarget => plan.share(2),
        // Takes the most time, and more of it the larger the site is.
        Step::Transfer => plan.share(10),
        Step::Verify => plan.share(2).optional(),
        _ => plan,
    }
}

fn clone(remove_migrator: bool) -> Plan {
    // Beside `verify`, not in `transfer`: a transfer that went well is not repeated because of it.
    let last = [Step::Verify].into_iter().chain(remove_migrator.then_some(Step::RemoveMigrator));
    Plan {
        phases: vec![
            vec![step(Step::Provision), step(Step::Prepare)],
            vec![step(Step::MatchSource)],
            vec![step(Step::Transfer)],
            // The source's users have replaced the clone's.
            vec![step(Step::GrantAccess)],
            last.map(step).collect(),
            vec![step(Step::Publish)],
        ],
        clean_up: vec![step(Step::Discard), step(Step::Rollback)],
    }
}

fn clone_to_target(remove_migrator: bool) -> Plan {
    let last = if remove_migrator { Step::RemoveMigrator } else { Step::Commit };
    Plan {
        phases: vec![
            vec![step(Step::Prepare), step(Step::PrepareTarget)],
            vec![step(Step::Transfer)],
            vec![step(Step::Verify)],
            // After `verify`: until then the target can get back what it had.
            vec![step(last)],
        ],
        clean_up: vec![step(Step::Rollback)],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Request;

    fn plan(mut body: serde_json::Value, remove_migrator: bool) -> (Vec<Vec<String>>, Vec<String>) {
        body["source"] = json!({"url": "https://a.example", "username": "b", "password": "c"});
        body["remove_migrator"] = remove_migrator.into();
        let Plan { phases, clean_up } = Request::parse_clone(body).unwrap().split_secrets().0.plan();
        let names = |steps: Vec<StepPlan>| steps.into_iter().map(|step| step.name).collect();
        (phases.into_iter().map(names).collect(), names(clean_up))
    }

    #[test]
    fn a_clone_is_provisioned_filled_verified_and_published() {
        let (phases, clean_up) = plan(json!({}), true);
        assert_eq!(
            phases,
            [
                vec!["provision", "prepare"],
                vec!["match-source"],
                vec!["transfer"],
                vec!["grant-access"],
                vec!["verify", "remove-migrator"],
                vec!["publish"]
            ]
        );
        assert_eq!(clean_up, ["discard", "rollback"]);
        assert_eq!(plan(json!({}), false).0[4], ["verify"]);
    }

    #[test]
    fn a_target_is_committed_only_after_it_was_verified() {
        let target = json!({"target": {"url": "https://d.example", "username": "b", "password": "c"}});
        let (phases, clean_up) = plan(target.clone(), true);
        assert_eq!(
            phases,
            [vec!["prepare", "prepare-target"], vec!["transfer"], vec!["verify"], vec!["remove-migrator"]]
        );
        assert_eq!(clean_up, ["rollback"]);
        assert_eq!(plan(target, false).0[3], ["commit"]);
    }

    #[test]
    fn the_name_of_a_step_is_its_wire_name() {
        for step in Step::ALL {
            let plan = StepPlan::from(*step);
            assert_eq!((plan.name.parse(), plan.stage), (Ok(*step), step.stage()));
        }
    }
}

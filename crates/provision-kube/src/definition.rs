//! The ResourceGraphDefinition of clones.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use wpclone_provision::ProvisionError;

use crate::api_error::{failed, is_not_found};
use crate::wordpress_clone::KIND;

/// The definition of clones in the cluster.
pub(crate) struct Definition {
    api: Api<DynamicObject>,
    name: String,
}

impl Definition {
    pub(crate) fn new(client: Client, group: &str) -> Self {
        let kind = GroupVersionKind::gvk("kro.run", "v1alpha1", "ResourceGraphDefinition");
        let resource = ApiResource::from_gvk_with_plural(&kind, "resourcegraphdefinitions");
        let name = format!("{}.{group}", KIND.to_lowercase());
        Self { api: Api::all_with(client, &resource), name }
    }

    /// Checks that new clones can be made: kro goes on with the definition before a broken one only until it is restarted.
    ///
    /// # Errors
    /// The definition is missing or broken, or kro has not read it as it is now.
    pub(crate) async fn check(&self) -> Result<(), ProvisionError> {
        let name = &self.name;
        let object = self.api.get(name).await.map_err(|error| match is_not_found(&error) {
            true => ProvisionError::DefinitionInactive(format!(
                "there is no ResourceGraphDefinition {name} in the cluster"
            )),
            false => failed("reading the ResourceGraphDefinition of clones (is kro installed?)")(error),
        })?;
        match fault(&object) {
            None => Ok(()),
            Some(why) => Err(ProvisionError::DefinitionInactive(format!(
                "the ResourceGraphDefinition {name} is not ready: {why}"
            ))),
        }
    }
}

/// What is wrong with a definition, in kro's words.
fn fault(object: &DynamicObject) -> Option<String> {
    let no_conditions = Vec::new();
    let conditions = object.data["status"]["conditions"].as_array().unwrap_or(&no_conditions);
    let text =
        |condition: &serde_json::Value, key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    let Some(ready) = ready else { return Some("kro has not read it yet".to_owned()) };
    if ready["observedGeneration"].as_i64() < object.metadata.generation {
        return Some("kro has not read its last change yet".to_owned());
    }
    if ready["status"] == "True" {
        return None;
    }
    // `Ready` sums the others up; they say what it is.
    let why = conditions
        .iter()
        .filter(|condition| condition["status"] == "False" && condition["type"] != "Ready")
        .map(|condition| text(condition, "message"))
        .find(|message| !message.is_empty());
    Some(why.unwrap_or_else(|| text(ready, "message")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(generation: i64, conditions: serde_json::Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "kro.run/v1alpha1", "kind": "ResourceGraphDefinition",
            "metadata": {"name": "wordpressclone.wpclone.dev", "generation": generation},
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    #[test]
    fn a_definition_is_ready_when_kro_says_so_of_its_last_change() {
        let ready = json!([{"type": "Ready", "status": "True", "observedGeneration": 2}]);
        assert_eq!(fault(&definition(2, ready.clone())), None);
        assert_eq!(fault(&definition(3, ready)).unwrap(), "kro has not read its last change yet");
        assert_eq!(fault(&definition(1, json!([]))).unwrap(), "kro has not read it yet");
    }

    #[test]
    fn the_fault_of_a_broken_definition_is_the_message_of_the_condition_that_is_false() {
        let conditions = json!([
            {"type": "GraphAccepted", "status": "False", "observedGeneration": 2, "message": "undeclared reference to 'wb'"},
            {"type": "ControllerReady", "status": "True", "observedGeneration": 2, "message": "controller is running"},
            {"type": "Ready", "status": "False", "observedGeneration": 2, "message": ""},
        ]);
        assert_eq!(fault(&definition(2, conditions)).unwrap(), "undeclared reference to 'wb'");
    }
}

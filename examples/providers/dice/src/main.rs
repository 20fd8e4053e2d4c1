//! Dice for actors: `demo:dice/roller`. How many sides they have is said by the config of each link.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use trellis_provider_sdk::config::{Form, optional};
use trellis_provider_sdk::{
    ActiveLink, Answer, Args, CallError, Description, EntityId, Invocation, LinkError, LinkName, Provider, async_trait,
    run, wire,
};

const SIDES: Form<u32> = Form {
    expected: "a number of sides above 1",
    example: "20",
    parse: |text| text.parse().ok().filter(|sides| *sides > 1),
};

/// The record `outcome` of wit/dice.wit: its fields in their order.
#[derive(Serialize)]
struct Outcome {
    values: Vec<u32>,
    total: u64,
}

/// The sides of each actor's dice. A lock because links come while calls are served.
#[derive(Default)]
struct Dice(Mutex<HashMap<(EntityId, LinkName), u32>>);

impl Dice {
    fn sides(&self) -> MutexGuard<'_, HashMap<(EntityId, LinkName), u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Provider for Dice {
    fn description(&self) -> Description {
        let roller = "demo:dice/roller@1.0.0".parse().expect("the name is well formed");
        Description { name: "dice".into(), serves: vec![roller], calls: Vec::new() }
    }

    async fn link_up(&self, active: &ActiveLink) -> Result<(), LinkError> {
        let sides = optional(&active.config, "sides", &SIDES)?.unwrap_or(6);
        self.sides().insert((active.link.source_id.clone(), active.link.name.clone()), sides);
        Ok(())
    }

    async fn link_down(&self, active: &ActiveLink) {
        self.sides().remove(&(active.link.source_id.clone(), active.link.name.clone()));
    }

    async fn call(&self, invocation: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        let link = (invocation.head.source.clone(), invocation.head.link.clone());
        let sides = self.sides().get(&link).copied().ok_or_else(|| CallError::no_target("the link is not up"))?;
        let (times,): (u32,) = wire::decode(&invocation.args)?;
        if times > 100 {
            return wire::answer(&Err::<Outcome, _>("a hundred dice at most"));
        }
        let values: Vec<u32> = (0..times).map(|_| rand::random_range(1..=sides)).collect();
        let total = values.iter().map(|value| u64::from(*value)).sum();
        wire::answer(&Ok::<_, String>(Outcome { values, total }))
    }

    async fn drain(&self, _: Duration) {}
}

fn main() -> ExitCode {
    run(|_| Ok(Dice::default()))
}

#[cfg(test)]
mod tests {
    use trellis_provider_sdk::{Provider as _, testing};

    use super::Dice;

    #[tokio::test]
    async fn dice_have_the_sides_that_the_link_says() {
        let (dice, link) = (Dice::default(), testing::link("game", "dice", &["demo:dice/roller"]));
        dice.link_up(&testing::as_target(link.clone(), &[("sides", "2")])).await.expect("up");
        let answer = dice.call(testing::invocation(&link, "demo:dice/roller", "roll", &(50,))).await.expect("answers");
        let (values, total) =
            testing::value::<Result<(Vec<u32>, u64), String>>(&answer).expect("decodes").expect("rolled");
        assert!(values.len() == 50 && values.iter().all(|value| (1..=2).contains(value)), "{values:?}");
        assert_eq!(total, values.iter().map(|value| u64::from(*value)).sum::<u64>());
        let error = dice.link_up(&testing::as_target(link, &[("sides", "one")])).await.expect_err("no number");
        assert!(error.to_string().contains("\"sides\"") && error.to_string().contains("20"), "{error}");
    }
}

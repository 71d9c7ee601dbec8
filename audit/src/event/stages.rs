//! How long did each stage take? A list in the order of time, written as one JSON object.
//!
//! Needs: names from the proxy's own table of stages. Proves: order survives writing and reading. Does not:
//! add up, or know which stages there are.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Microseconds spent in each stage, in the order the stages ran: `{"tenant":3,"dlp":41}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stages(pub Vec<(Cow<'static, str>, u32)>);

impl Stages {
    /// Notes that `stage` took `us` microseconds.
    pub fn push(&mut self, stage: &'static str, us: u32) {
        self.0.push((Cow::Borrowed(stage), us));
    }
}

impl Serialize for Stages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(stage, us)| (stage, us)))
    }
}

impl<'de> Deserialize<'de> for Stages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Stages;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object of stage names and microseconds")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Stages, A::Error> {
        let mut stages = Stages::default();
        while let Some(entry) = map.next_entry()? {
            stages.0.push(entry);
        }
        Ok(stages)
    }
}

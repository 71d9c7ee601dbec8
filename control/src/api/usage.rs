//! How much was used? Counts of requests, tokens and dollars, and never content.
//!
//! Who reaches their own, or their groups', gets the rows of those. Who may not see an organisation's keys, as an
//! operator may not, gets sums alone: by day, and for the platform by organisation.

use super::Api;
use super::answer::Answer;
use super::bodies::{OrganisationsUsage, Usage, UsageItem};
use super::guard::{Admitted, Whose};
use super::problem::{Name, Problem};
use super::routes::UsageAction as Do;
use crate::access::{Permission, Reach, Refused, Verb};
use crate::store::OrganisationId;
use crate::usage::{Counts, Day, KEPT_DAYS, Row, UsageError, read};
use std::collections::BTreeMap;

/// Days that are told if it is not said.
const DAYS_DEFAULT: u32 = 30;
/// Organisations of one page: each is read day by day.
pub(super) const PAGE_MAX: usize = 100;
/// What a row without a name counts as.
const NONE: &str = "none";

/// What sums are made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Total,
    Day,
    Key,
    Model,
    User,
    Group,
}

/// What is asked.
struct Asked {
    from: Day,
    to: Day,
    by: By,
    after: Option<OrganisationId>,
    most: usize,
}

impl Api {
    /// One of the questions.
    pub(super) async fn on_usage(&self, call: &Admitted<'_>, action: Do) -> Result<Answer, Problem> {
        match action {
            Do::Organisation => self.usage(call).await,
            Do::Platform => self.usage_of_all(call).await,
        }
    }

    async fn usage(&self, call: &Admitted<'_>) -> Result<Answer, Problem> {
        let asked = asked(call, &["from", "to", "by"])?;
        if ![By::Total, By::Day].contains(&asked.by) {
            sees_keys(call)?;
        }
        let organisation = call.organisation()?;
        // One that is not there is told from one that used nothing.
        self.control.organisation(organisation).await?;
        let mut rows = read(self.control.store(), organisation, asked.from, asked.to).await?;
        if call.reach != Reach::All {
            rows.retain(|(_, row)| {
                let whose = Whose { user: row.user.clone(), groups: row.groups.clone() };
                call.may("usage", Verb::Read, &whose).is_ok()
            });
        }
        let mut total = Counts::default();
        let mut items: BTreeMap<String, Counts> = BTreeMap::new();
        let own_groups = call.principal()?.groups();
        for (day, row) in &rows {
            total.add(&row.counts);
            for name in names(asked.by, *day, row) {
                let is_seen = asked.by != By::Group || call.reach == Reach::All || own_groups.contains(&name);
                if is_seen {
                    items.entry(name).or_default().add(&row.counts);
                }
            }
        }
        let items = items.into_iter().map(|(name, counts)| UsageItem::new(Some(name), &counts)).collect();
        let (from, to) = (asked.from.to_string(), asked.to.to_string());
        Ok(Answer::of(&Usage { from, to, items, total: UsageItem::new(None, &total) }))
    }

    async fn usage_of_all(&self, call: &Admitted<'_>) -> Result<Answer, Problem> {
        let asked = asked(call, &["from", "to", "after", "limit"])?;
        let found = self.control.organisations(asked.after.as_ref(), asked.most).await?;
        let mut items = Vec::with_capacity(found.len());
        for view in &found {
            let id = OrganisationId::new(&view.id).map_err(|_| Problem::not_found())?;
            let mut total = Counts::default();
            match read(self.control.store(), &id, asked.from, asked.to).await {
                Ok(rows) => rows.iter().for_each(|(_, row)| total.add(&row.counts)),
                // Gone since it was listed.
                Err(UsageError::Store(error)) if error.is_of_the_gone() => continue,
                Err(failed) => return Err(failed.into()),
            }
            items.push(UsageItem::new(Some(view.id.clone()), &total));
        }
        let next = if found.len() < asked.most { None } else { found.last().map(|last| last.id.clone()) };
        let (from, to) = (asked.from.to_string(), asked.to.to_string());
        Ok(Answer::of(&OrganisationsUsage { from, to, items, next }))
    }
}

/// Names of keys, users, groups and models are an organisation's own.
fn sees_keys(call: &Admitted<'_>) -> Result<(), Problem> {
    let permission = Permission::new("api-keys", Verb::Read).ok_or_else(Problem::not_found)?;
    match call.principal()?.reach(permission, &call.owner) {
        Ok(Reach::Nothing) => Err(Refused::Missing { permission, reach: Reach::Nothing }.into()),
        Ok(_) => Ok(()),
        Err(refused) => Err(refused.into()),
    }
}

/// What a row counts as.
fn names(by: By, day: Day, row: &Row) -> Vec<String> {
    let or_none = |name: &Option<String>| vec![name.clone().unwrap_or_else(|| NONE.to_owned())];
    match by {
        By::Total => Vec::new(),
        By::Day => vec![day.to_string()],
        By::Key => vec![row.key.clone()],
        By::Model => or_none(&row.model),
        By::User => or_none(&row.user),
        By::Group if row.groups.is_empty() => vec![NONE.to_owned()],
        By::Group => row.groups.clone(),
    }
}

fn asked(call: &Admitted<'_>, known: &[&str]) -> Result<Asked, Problem> {
    let refuse = |detail: String| Problem::new(Name::BadRequest, detail);
    let (mut from, mut to, mut by, mut after, mut most) = (None, None, By::Total, None, PAGE_MAX);
    for (name, value) in call.head.queried(known)? {
        let day =
            || value.parse::<Day>().map_err(|_| refuse(format!("`{name}` is a day such as `2026-11-26`")));
        match name.as_str() {
            "from" => from = Some(day()?),
            "to" => to = Some(day()?),
            "by" => {
                by = match value.as_str() {
                    "day" => By::Day,
                    "key" => By::Key,
                    "model" => By::Model,
                    "user" => By::User,
                    "group" => By::Group,
                    _ => {
                        return Err(refuse(
                            "`by` is one of `day`, `key`, `model`, `user`, `group`".to_owned(),
                        ));
                    }
                }
            }
            "after" => {
                let id = OrganisationId::new(&value);
                after = Some(id.map_err(|_| refuse("`after` is the `next` of the page before".to_owned()))?);
            }
            _ => {
                let limit = value.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                most = limit.ok_or_else(|| refuse(format!("`limit` lies between 1 and {PAGE_MAX}")))?;
            }
        }
    }
    let to = to.unwrap_or_else(|| Day::of(call.head.now));
    let from = from.unwrap_or_else(|| to.before(DAYS_DEFAULT - 1));
    if from > to || to.since(from) >= KEPT_DAYS {
        return Err(refuse(format!("`from` is at most {KEPT_DAYS} days before `to`, and not after it")));
    }
    Ok(Asked { from, to, by, after, most })
}

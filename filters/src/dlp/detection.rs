//! What is looked for in the texts of one organisation? What the platform looks for, what it does itself, its lists.
//!
//! The platform's rules have the first numbers, the organisation's own detectors those behind them; one place says who
//! has a number. Both find independently of each other: what an organisation looks for takes nothing away.

use super::detector::Detector;
use super::lists::{Lists, ListsReading};
use super::matcher::View;
use super::own::{Own, OwnReading};
use super::replacement::Mode;
use super::scanner::{Found, Scan, Scanner, Wanted};
use crate::credint::CredentialForm;
use std::ops::Range;
use std::sync::Arc;

/// Everything that one organisation detects. Cheap to clone: both halves are shared.
#[derive(Clone, Debug)]
pub struct Detection {
    platform: Arc<Scanner>,
    own: Option<Arc<Own>>,
    lists: Option<Arc<Lists>>,
    /// What services find: they are asked of prompts by the proxy, and no text is searched for it here.
    services: Arc<[Arc<Detector>]>,
}

/// The state of reading one text with all of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    platform: Scan,
    /// None until there is a text and somebody who looks for more than the platform does.
    own: Option<Box<OwnReading>>,
    lists: Option<Box<ListsReading>>,
}

impl Detection {
    /// The platform's rules, and an organisation's own detectors if it has any.
    pub fn new(platform: Arc<Scanner>, own: Option<Arc<Own>>) -> Self {
        Self { platform, own, lists: None, services: Arc::default() }
    }

    /// With an organisation's lists besides.
    #[must_use]
    pub fn with_lists(self, lists: Option<Arc<Lists>>) -> Self {
        Self { lists, ..self }
    }

    /// The same, and what services find.
    #[must_use]
    pub(crate) fn with_services(self, services: Vec<Arc<Detector>>) -> Self {
        Self { services: services.into(), ..self }
    }

    /// The number of the first one that a service finds, or would have.
    pub(crate) fn first_of_services(&self) -> usize {
        let lists = self.lists.as_ref().map_or(0, |lists| lists.detectors().len());
        usize::from(self.first_of_lists()) + lists
    }

    /// Whether a service finds what has this number: in prompts only.
    pub(crate) fn is_of_service(&self, number: usize) -> bool {
        number >= self.first_of_services()
    }

    /// The rules that everybody's texts are searched for.
    pub fn platform(&self) -> &Arc<Scanner> {
        &self.platform
    }

    /// Who has this number.
    pub fn detector(&self, number: u16) -> Option<&Arc<Detector>> {
        if let Some(number) = usize::from(number).checked_sub(self.first_of_services()) {
            return self.services.get(number);
        }
        if let Some(number) = number.checked_sub(self.first_of_lists()) {
            return self.lists.as_ref()?.detectors().get(usize::from(number));
        }
        match number.checked_sub(self.first_own()) {
            None => self.platform.detector(number),
            Some(number) => self.own.as_ref()?.detectors().get(usize::from(number)),
        }
    }

    /// All detectors, in the order of their numbers.
    pub fn detectors(&self) -> impl Iterator<Item = &Arc<Detector>> {
        let own = self.own.iter().flat_map(|own| own.detectors());
        let lists = self.lists.iter().flat_map(|lists| lists.detectors());
        self.platform.detectors().iter().chain(own).chain(lists).chain(self.services.iter())
    }

    /// Whether the detector with this number is the organisation's own.
    pub fn is_own(&self, number: u16) -> bool {
        number >= self.first_own()
    }

    fn first_own(&self) -> u16 {
        self.platform.detectors().len() as u16
    }

    /// Lists have the last numbers.
    fn first_of_lists(&self) -> u16 {
        let own = self.own.as_ref().map_or(0, |own| own.detectors().len());
        self.first_own() + own as u16
    }

    /// Whether what this one finds may go on without end.
    pub(super) fn is_endless(&self, number: u16) -> bool {
        match number.checked_sub(self.first_own()) {
            None => self.platform.is_endless(number),
            Some(number) => self.own.as_ref().is_some_and(|own| own.is_endless(number)),
        }
    }

    /// What a redaction in this mode leaves of what this one finds. In a stream, what replaces an endless finding is
    /// written before all of it is known.
    pub fn mode(&self, number: u16, asked: Mode) -> Mode {
        if self.is_endless(number) { Mode::Label } else { asked }
    }

    /// As [`Scanner::scan_as_written`].
    pub(super) fn scan_as_written(
        &self,
        text: &[u8],
        parts: &[Range<usize>],
        places: &[Range<usize>],
        wanted: &Wanted<'_>,
    ) -> Option<Vec<Found>> {
        let mut found = self.platform.scan_as_written(text, parts, places, wanted)?;
        if self.own.is_none() && self.lists.is_none() {
            return Some(found);
        }
        let counts_from = |first: u16| {
            move |found: &mut Found, value: &[u8]| {
                found.rule += first;
                (wanted.counts)(found, value)
            }
        };
        if let Some(own) = &self.own {
            let of_own = Wanted { counts: &counts_from(self.first_own()), ..*wanted };
            found.append(&mut own.scan_as_written(text, parts, places, &of_own)?);
        }
        if let Some(lists) = &self.lists {
            let of_lists = Wanted { counts: &counts_from(self.first_of_lists()), ..*wanted };
            found.append(&mut lists.scan_as_written(text, parts, places, &of_lists)?);
        }
        found.sort_by_key(Found::order);
        (found.len() <= wanted.most).then_some(found)
    }

    /// Whether one of these findings says all that another one of the same place says.
    pub(super) fn covers<'a>(
        &self,
        known: impl IntoIterator<Item = &'a Found, IntoIter: Iterator<Item = &'a Found>>,
        other: &Found,
    ) -> bool {
        // A credential that reads differently may be known to be leaked.
        let is_asked =
            self.detector(other.rule).is_some_and(|detector| detector.credential != CredentialForm::None);
        known.into_iter().any(|known| {
            let reads_alike = known.span == other.span && known.revealed == other.revealed;
            known.rule == other.rule
                && known.span.start <= other.span.start
                && other.span.end <= known.span.end
                && known.confidence >= other.confidence
                && (reads_alike || !is_asked)
        })
    }
}

impl From<Scanner> for Detection {
    fn from(platform: Scanner) -> Self {
        Self::new(Arc::new(platform), None)
    }
}

impl Reading {
    /// As [`Scan::advance`]: nothing can be found any more before the offset before which nobody can find anything.
    pub(super) fn advance(&mut self, detection: &Detection, view: View<'_>, found: &mut Vec<Found>) -> usize {
        let mut decided = self.platform.advance(&detection.platform, view, found);
        let before = found.len();
        if let Some(own) = &detection.own {
            decided = decided.min(self.own.get_or_insert_default().advance(own, view, found));
            found.iter_mut().skip(before).for_each(|found| found.rule += detection.first_own());
        }
        let before = found.len();
        if let Some(lists) = &detection.lists {
            decided = decided.min(self.lists.get_or_insert_default().advance(lists, view, found));
            found.iter_mut().skip(before).for_each(|found| found.rule += detection.first_of_lists());
        }
        decided
    }

    /// As [`Scan::needed_from`].
    pub(super) fn needed_from(&self) -> usize {
        let own = self.own.as_ref().map(|own| own.needed_from());
        let lists = self.lists.as_ref().map(|lists| lists.needed_from());
        own.into_iter().chain(lists).fold(self.platform.needed_from(), usize::min)
    }

    /// As [`Scan::is_idle`].
    pub(super) fn is_idle(&self) -> bool {
        let is_own_idle = self.own.as_ref().is_none_or(|own| own.is_idle());
        self.platform.is_idle() && is_own_idle && self.lists.as_ref().is_none_or(|lists| lists.is_idle())
    }

    /// As [`Scan::forget`].
    pub(super) fn forget(&mut self, by: usize) {
        self.platform.forget(by);
        if let Some(own) = &mut self.own {
            own.forget(by);
        }
        if let Some(lists) = &mut self.lists {
            lists.forget(by);
        }
    }
}

//! What is looked for in the texts of one organisation? What the platform looks for, and what it does itself.
//!
//! The platform's rules have the first numbers, the organisation's own detectors those behind them; one place says who
//! has a number. Both find independently of each other: what an organisation looks for takes nothing away.

use super::detector::Detector;
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
    /// What services find: they are asked of prompts by the proxy, and no text is searched for it here.
    services: Arc<[Arc<Detector>]>,
}

/// The state of reading one text with all of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    platform: Scan,
    /// None until there is a text and somebody who looks for more than the platform does.
    own: Option<Box<OwnReading>>,
}

impl Detection {
    /// The platform's rules, and an organisation's own detectors if it has any.
    pub fn new(platform: Arc<Scanner>, own: Option<Arc<Own>>) -> Self {
        Self { platform, own, services: Arc::default() }
    }

    /// The same, and what services find.
    #[must_use]
    pub(crate) fn with_services(self, services: Vec<Arc<Detector>>) -> Self {
        Self { services: services.into(), ..self }
    }

    /// The number of the first one that a service finds, or would have.
    pub(crate) fn first_of_services(&self) -> usize {
        let own = self.own.as_ref().map_or(0, |own| own.detectors().count());
        usize::from(self.first_own()) + own
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
        let own = match number.checked_sub(self.first_own()) {
            None => return self.platform.detector(number),
            Some(own) => self.own.as_ref().and_then(|known| known.detector(own)),
        };
        own.or_else(|| self.services.get(usize::from(number).checked_sub(self.first_of_services())?))
    }

    /// All detectors, in the order of their numbers.
    pub fn detectors(&self) -> impl Iterator<Item = &Arc<Detector>> {
        let own = self.own.iter().flat_map(|own| own.detectors());
        self.platform.detectors().iter().chain(own).chain(self.services.iter())
    }

    /// Whether the detector with this number is the organisation's own.
    pub fn is_own(&self, number: u16) -> bool {
        number >= self.first_own()
    }

    fn first_own(&self) -> u16 {
        self.platform.detectors().len() as u16
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
        let Some(own) = &self.own else { return Some(found) };
        let first = self.first_own();
        let counts = |found: &mut Found, value: &[u8]| {
            found.rule += first;
            (wanted.counts)(found, value)
        };
        let of_own = Wanted { counts: &counts, ..*wanted };
        found.append(&mut own.scan_as_written(text, parts, places, &of_own)?);
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
        let decided = self.platform.advance(&detection.platform, view, found);
        let Some(own) = &detection.own else { return decided };
        let before = found.len();
        let reading = self.own.get_or_insert_default();
        let decided = decided.min(reading.advance(own, view, found));
        found.iter_mut().skip(before).for_each(|found| found.rule += detection.first_own());
        decided
    }

    /// As [`Scan::needed_from`].
    pub(super) fn needed_from(&self) -> usize {
        let own = self.own.as_ref().map(|own| own.needed_from());
        own.into_iter().fold(self.platform.needed_from(), usize::min)
    }

    /// As [`Scan::is_idle`].
    pub(super) fn is_idle(&self) -> bool {
        self.platform.is_idle() && self.own.as_ref().is_none_or(|own| own.is_idle())
    }

    /// As [`Scan::forget`].
    pub(super) fn forget(&mut self, by: usize) {
        self.platform.forget(by);
        if let Some(own) = &mut self.own {
            own.forget(by);
        }
    }
}

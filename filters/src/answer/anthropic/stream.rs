//! A stream of Anthropic's: one message, block after block, each text released as far as it is decided.
//!
//! The order of events is the protocol's and is held to: a message begins once, blocks follow one another under rising
//! indices, and what belongs to a block comes while it is open. One event in, at most one event out; what a block's
//! texts still hold goes out before the event that ends the block. Whatever else an event says is scanned by itself.
//! Events of a kind that is not known are left out, as clients are told to do; a delta of such a kind would be a text
//! without a lane, and is refused.

use super::own_events::{self, LaneId};
use super::positions::{AnswerPositions, CALLERS_TOOL, Field, Role, find, raw_string};
use super::usage::Told;
use crate::answer::events::{Event, write_event};
use crate::answer::lanes::{Lanes, Outside};
use crate::answer::values::{number, string};
use crate::answer::{AnswerFault, BYTES_PER_TOKEN, Flow, Report};
use crate::dlp::Judge;
use crate::dlp::lane::Flow as LaneFlow;
use crate::dlp::projection::{Form, Mark, Part, Projection, Projector, Value};
use crate::dlp::splice::Edit;
use crate::json::Literal;
use crate::prompt::Head;
use std::borrow::Cow;
use std::ops::Range;

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    MessageStart,
    BlockStart,
    BlockDelta,
    BlockStop,
    MessageDelta,
    MessageStop,
    Ping,
    Error,
}

const KINDS: &[(&str, Kind)] = &[
    ("message_start", Kind::MessageStart),
    ("content_block_start", Kind::BlockStart),
    ("content_block_delta", Kind::BlockDelta),
    ("content_block_stop", Kind::BlockStop),
    ("message_delta", Kind::MessageDelta),
    ("message_stop", Kind::MessageStop),
    ("ping", Kind::Ping),
    ("error", Kind::Error),
];

/// How far the message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing of it came.
    Before,
    /// Between blocks, or in one.
    Inside,
    /// It was said why it ends.
    Ending,
    /// It is over.
    Done,
}

/// The block at hand.
#[derive(Clone, Copy, Debug)]
struct Open {
    index: u32,
    /// Its reasoning was signed: nothing may follow.
    is_signed: bool,
}

pub(in crate::answer) struct Stream {
    projector: Projector<AnswerPositions>,
    lanes: Lanes<LaneId>,
    outside: Outside,
    /// The model that was asked for.
    model: String,
    stage: Stage,
    /// Blocks that have begun.
    blocks: u32,
    open: Option<Open>,
    told: Told,
}

/// What one event is read with.
struct Reading<'a, 'j> {
    judge: &'a Judge<'j>,
    data: &'a [u8],
    projection: &'a Projection<Role>,
    kind: Kind,
}

impl Stream {
    pub(in crate::answer) fn new(head: &Head) -> Self {
        Self {
            projector: Projector::default(),
            lanes: Lanes::new(),
            outside: Outside::default(),
            model: head.model.clone(),
            stage: Stage::Before,
            blocks: 0,
            open: None,
            told: Told::default(),
        }
    }

    pub(in crate::answer) fn lane_bytes(&self) -> u64 {
        self.lanes.bytes()
    }

    pub(in crate::answer) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    pub(in crate::answer) fn event(
        &mut self,
        judge: &Judge<'_>,
        event: Event<'_>,
        report: &mut Report,
        out: &mut Vec<u8>,
    ) -> Result<Flow, AnswerFault> {
        let mut projector = std::mem::take(&mut self.projector);
        let flow = match projector.read(event.data) {
            Ok(projection) => self.read(judge, event, projection, report, out),
            Err(error) => Err(AnswerFault::Unreadable(error)),
        };
        self.projector = projector;
        // An answer that breaks off used what was counted of it.
        let counted = self.lanes.bytes().div_ceil(BYTES_PER_TOKEN);
        let is_final = matches!(self.stage, Stage::Ending | Stage::Done) && !report.is_blocked;
        report.usage = self.told.usage(if is_final { 0 } else { counted });
        flow
    }

    fn read(
        &mut self,
        judge: &Judge<'_>,
        event: Event<'_>,
        projection: &Projection<Role>,
        report: &mut Report,
        out: &mut Vec<u8>,
    ) -> Result<Flow, AnswerFault> {
        let kind = find(&projection.marks, Role::Kind).and_then(|mark| raw_string(event.data, mark));
        // Clients go by the one or by the other.
        let name = kind.filter(|kind| *kind == event.name).ok_or(AnswerFault::Events)?;
        let kind = KINDS.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, kind)| *kind);
        let Some(kind) = kind else { return Ok(Flow::Open) };
        let reading = Reading { judge, data: event.data, projection, kind };
        match kind {
            Kind::Error => return Err(AnswerFault::Reported),
            Kind::Ping => {
                if self.stage != Stage::Before {
                    own_events::write_ping(out);
                }
                return Ok(Flow::Open);
            }
            Kind::MessageStart
            | Kind::BlockStart
            | Kind::BlockDelta
            | Kind::BlockStop
            | Kind::MessageDelta
            | Kind::MessageStop => reading.refuse_odd_shapes()?,
        }
        self.follow(&reading)?;
        self.told.take(event.data, &projection.marks);
        if report.model.is_none() {
            report.model = reading.find(Role::Model).and_then(|mark| string(event.data, mark));
        }
        let mut redacted =
            self.outside.judge(judge, event.data, projection, |part| reading.outside_text(part))?;
        report.findings.append(&mut redacted.findings);
        if redacted.blocked.is_some() {
            return Ok(self.end_by_policy(report, out));
        }
        let mut edits = redacted.edits;
        if matches!(kind, Kind::BlockStart | Kind::BlockDelta) {
            edits.extend(reading.asides());
            if self.texts(&reading, report, &mut edits, out)? == LaneFlow::Blocked {
                return Ok(self.end_by_policy(report, out));
            }
        }
        if kind == Kind::BlockStop && self.close(judge, report, out) == LaneFlow::Blocked {
            return Ok(self.end_by_policy(report, out));
        }
        self.advance(&reading);
        write_event(Some(name), event.data, edits, out);
        Ok(if self.is_done() { Flow::Ended } else { Flow::Open })
    }

    /// Holds an event to the protocol's order.
    fn follow(&mut self, reading: &Reading<'_, '_>) -> Result<(), AnswerFault> {
        let index = reading.index();
        let is_open = self.open.is_some_and(|open| Some(open.index) == index);
        let fits = match reading.kind {
            Kind::MessageStart => self.stage == Stage::Before,
            Kind::BlockStart => {
                self.stage == Stage::Inside && self.open.is_none() && index == Some(self.blocks)
            }
            Kind::BlockDelta | Kind::BlockStop => self.stage == Stage::Inside && is_open,
            Kind::MessageDelta | Kind::MessageStop => {
                matches!(self.stage, Stage::Inside | Stage::Ending) && self.open.is_none()
            }
            Kind::Ping | Kind::Error => true,
        };
        if fits { Ok(()) } else { Err(AnswerFault::Events) }
    }

    /// Where the message stands after an event.
    fn advance(&mut self, reading: &Reading<'_, '_>) {
        match reading.kind {
            Kind::MessageStart => self.stage = Stage::Inside,
            Kind::BlockStart => self.open(),
            Kind::BlockStop => self.open = None,
            Kind::MessageDelta => self.stage = Stage::Ending,
            Kind::MessageStop => self.stage = Stage::Done,
            Kind::BlockDelta | Kind::Ping | Kind::Error => {}
        }
    }

    fn open(&mut self) {
        self.open = Some(Open { index: self.blocks, is_signed: false });
        self.blocks += 1;
    }

    /// Moves the text of an event through its lane, and plans the edit of the event.
    fn texts(
        &mut self,
        reading: &Reading<'_, '_>,
        report: &mut Report,
        edits: &mut Vec<Edit>,
        out: &mut Vec<u8>,
    ) -> Result<LaneFlow, AnswerFault> {
        let block = reading.index().ok_or(AnswerFault::Events)?;
        let is_signed = self.open.is_some_and(|open| open.is_signed);
        if reading.kind == Kind::BlockStart
            && let Some(tool) = reading.callers_tool()
        {
            let id = LaneId { block, field: Field::PartialJson };
            self.lanes.name_tool(reading.judge, id, &tool);
        }
        let text = reading.text()?;
        if let Some(mark) = reading.signature() {
            if is_signed {
                // Clients keep one: two pieces would be text that nobody joins but them.
                return Err(AnswerFault::Events);
            }
            return Ok(self.sign(reading.judge, block, mark, report, edits, out));
        }
        let Some((field, part)) = text else { return Ok(LaneFlow::Open) };
        if is_signed && field == Field::Thinking {
            return Err(AnswerFault::Events);
        }
        let text = reading.projection.text.get(part.value..part.text.end).unwrap_or_default();
        let delta = std::str::from_utf8(text).map_err(|_| AnswerFault::Events)?;
        let id = LaneId { block, field };
        let flow = self.lanes.push(reading.judge, id, ["", delta], false, report)?;
        let edit = self.lanes.edit(delta, &part.raw);
        if flow == LaneFlow::Open {
            edits.extend(edit);
        } else if reading.kind == Kind::BlockDelta {
            own_events::write_delta(id, self.lanes.released(), out);
        }
        Ok(flow)
    }

    /// What was reasoned is said; its signature follows. Reasoning that was redacted is not what was signed.
    fn sign(
        &mut self,
        judge: &Judge<'_>,
        block: u32,
        mark: &Mark<Role>,
        report: &mut Report,
        edits: &mut Vec<Edit>,
        out: &mut Vec<u8>,
    ) -> LaneFlow {
        let id = LaneId { block, field: Field::Thinking };
        if let Some(open) = &mut self.open {
            open.is_signed = true;
        }
        if self.drain(judge, |lane| lane == id, report, out) == LaneFlow::Blocked {
            return LaneFlow::Blocked;
        }
        if self.lanes.is_redacted(id) {
            edits.push(Edit { raw: mark.raw.start + 1..mark.raw.end - 1, with: Cow::Borrowed(b"") });
        }
        LaneFlow::Open
    }

    /// Sends what the texts of the open block still hold, and forgets them.
    fn close(&mut self, judge: &Judge<'_>, report: &mut Report, out: &mut Vec<u8>) -> LaneFlow {
        let flow = self.drain(judge, |_| true, report, out);
        if flow == LaneFlow::Open {
            self.lanes.forget();
        }
        flow
    }

    fn drain(
        &mut self,
        judge: &Judge<'_>,
        is_meant: impl Fn(LaneId) -> bool,
        report: &mut Report,
        out: &mut Vec<u8>,
    ) -> LaneFlow {
        let mut write = |id: LaneId, released: &str| own_events::write_delta(id, released, out);
        match self.lanes.drain(judge, is_meant, report, &mut write) {
            Some(_) => LaneFlow::Blocked,
            None => LaneFlow::Open,
        }
    }

    /// Policy ends the answer: of the event at hand nothing goes on.
    fn end_by_policy(&mut self, report: &mut Report, out: &mut Vec<u8>) -> Flow {
        report.is_blocked = true;
        if self.stage == Stage::Before {
            own_events::write_begin(&self.model, out);
        }
        let counted = self.lanes.bytes().div_ceil(BYTES_PER_TOKEN);
        let tokens = self.told.usage(counted).map_or(counted, |usage| usage.completion_tokens);
        own_events::write_end(self.open.map(|open| open.index), tokens, out);
        self.stage = Stage::Done;
        Flow::Ended
    }
}

impl<'a> Reading<'a, '_> {
    fn find(&self, role: Role) -> Option<&'a Mark<Role>> {
        find(&self.projection.marks, role)
    }

    /// The index of the block that is meant.
    fn index(&self) -> Option<u32> {
        let mark = self.find(Role::Index)?;
        number(self.data, mark).and_then(|index| u32::try_from(index).ok())
    }

    /// The name of the tool that a block calls, if the caller runs it.
    fn callers_tool(&self) -> Option<String> {
        let kind = self.find(Role::BlockKind).and_then(|mark| raw_string(self.data, mark));
        let name = self.find(Role::Tool).filter(|_| kind == Some(CALLERS_TOOL));
        name.and_then(|mark| string(self.data, mark))
    }

    /// Members that texts stand in have the kinds that the protocol gives them: in any other shape a text could go on
    /// where no lane follows it.
    fn refuse_odd_shapes(&self) -> Result<(), AnswerFault> {
        let is_null = |mark: &Mark<Role>| mark.value == Value::Literal(Literal::Null);
        let is_empty = |mark: &Mark<Role>| {
            let inside = self.data.get(mark.raw.start + 1..mark.raw.end - 1).unwrap_or_default();
            inside.trim_ascii().is_empty()
        };
        let in_start = self.kind == Kind::BlockStart;
        let fits = |mark: &Mark<Role>| match mark.role {
            Role::Message => self.kind == Kind::MessageStart && mark.value == Value::Object,
            // The blocks of a message that streams come by themselves.
            Role::Content => mark.value == Value::Array && is_empty(mark),
            Role::Block => in_start && mark.value == Value::Object,
            Role::Delta => {
                matches!(self.kind, Kind::BlockDelta | Kind::MessageDelta) && mark.value == Value::Object
            }
            Role::Lane(_) if in_start => mark.value == Value::String || is_null(mark),
            // It follows what it signs.
            Role::Signature if in_start => mark.value == Value::String && is_empty(mark),
            Role::Lane(_) | Role::Signature => mark.value == Value::String && self.kind == Kind::BlockDelta,
            Role::Root
            | Role::Kind
            | Role::Error
            | Role::Model
            | Role::Usage
            | Role::InputTokens
            | Role::CacheReadTokens
            | Role::CacheWriteTokens
            | Role::OutputTokens
            | Role::Index
            | Role::DeltaKind
            | Role::BlockKind
            | Role::Tool
            | Role::Input
            | Role::Aside
            | Role::Other => true,
        };
        let needed = match self.kind {
            Kind::MessageStart => self.find(Role::Message).is_some(),
            Kind::BlockStart => self.find(Role::Block).is_some(),
            Kind::BlockDelta => self.find(Role::Delta).is_some(),
            Kind::BlockStop | Kind::MessageDelta | Kind::MessageStop | Kind::Ping | Kind::Error => true,
        };
        if needed && self.projection.marks.iter().all(fits) { Ok(()) } else { Err(AnswerFault::Events) }
    }

    /// The one text of an event, with its field. A delta carries what its kind says, or nothing that could go on.
    fn text(&self) -> Result<Option<(Field, &'a Part<Role>)>, AnswerFault> {
        let field = |part: &'a Part<Role>| {
            let Role::Lane(field) = part.role else { return None };
            is_string(part).then_some((field, part))
        };
        let mut texts = self.projection.parts.iter().filter_map(field);
        let (text, other) = (texts.next(), texts.next());
        let expected = match (text, self.signature()) {
            (Some((field, _)), None) => field.names().1,
            (None, Some(_)) => "signature_delta",
            (None, None) => "citations_delta",
            (Some(_), Some(_)) => return Err(AnswerFault::Events),
        };
        let kind = self.find(Role::DeltaKind).and_then(|mark| raw_string(self.data, mark));
        let fits = self.kind == Kind::BlockStart || kind == Some(expected.as_bytes());
        if fits && other.is_none() { Ok(text) } else { Err(AnswerFault::Events) }
    }

    /// The signature that a delta carries.
    fn signature(&self) -> Option<&'a Mark<Role>> {
        self.find(Role::Signature).filter(|_| self.kind == Kind::BlockDelta)
    }

    /// What of a part is judged with its event: all of it; of a text that streams, or that nobody knows, its key.
    fn outside_text(&self, part: &Part<Role>) -> Range<usize> {
        let is_lane = matches!(part.role, Role::Lane(_));
        let is_text = is_lane || (part.role == Role::Aside && self.kind == Kind::BlockDelta);
        part.text.start..if is_text && is_string(part) { part.value } else { part.text.end }
    }

    /// Texts of a delta that no table knows could go on in the next: they are left out.
    fn asides(&self) -> impl Iterator<Item = Edit> + '_ {
        let is_aside =
            |part: &&Part<Role>| self.kind == Kind::BlockDelta && part.role == Role::Aside && is_string(part);
        let asides = self.projection.parts.iter().filter(is_aside);
        asides.map(|part| Edit { raw: part.raw.clone(), with: Cow::Borrowed(b"") })
    }
}

fn is_string(part: &Part<Role>) -> bool {
    matches!(part.form, Form::Plain | Form::Escaped)
}

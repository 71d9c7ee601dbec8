//! A stream of OpenAI's: in its own framing, each text released as far as it is decided.
//!
//! One provider event in, at most one event out, with the text of its lanes exchanged for what they release now. What
//! a lane still holds goes out before the event that ends its choice. Whatever else an event says is scanned by
//! itself.

use super::own_events::{LaneId, OwnEvents};
use super::positions::{self, AnswerPositions, Field, Role};
use super::whole::without_logprobs;
use crate::answer::events::write_event;
use crate::answer::lanes::{LANES_MAX, Lanes, Outside};
use crate::answer::values::{number, string};
use crate::answer::{AnswerFault, Flow, Report};
use crate::dlp::Judge;
use crate::dlp::lane::Flow as LaneFlow;
use crate::dlp::projection::{Form, Mark, Part, Projection, Projector, Value};
use crate::dlp::splice::Edit;
use crate::json::Literal;
use crate::prompt::Head;
use std::borrow::Cow;
use std::ops::Range;

/// Longer ids and names are somebody's text.
const NAME_BYTES_MAX: usize = 1024;

pub(in crate::answer) struct Stream {
    projector: Projector<AnswerPositions>,
    lanes: Lanes<LaneId>,
    outside: Outside,
    /// Events of our own, in the provider's likeness.
    own: OwnEvents,
    wants_usage: bool,
    /// How many answers were asked for.
    choices: u64,
    is_done: bool,
    /// Ids and names inside choices.
    names: Vec<(Place, Box<[u8]>)>,
    /// Choices that have said how they ended.
    finished: Vec<u32>,
}

/// A lane's choice and tool call, and the hash of a path.
type Place = (LaneId, u64);

impl Stream {
    pub(in crate::answer) fn new(head: &Head) -> Self {
        Self {
            projector: Projector::default(),
            lanes: Lanes::new(),
            outside: Outside::default(),
            own: OwnEvents::new(head.surface),
            wants_usage: head.wants_usage,
            choices: head.choices.max(1),
            is_done: false,
            names: Vec::new(),
            finished: Vec::new(),
        }
    }

    pub(in crate::answer) fn lane_bytes(&self) -> u64 {
        self.lanes.bytes()
    }

    pub(in crate::answer) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Nothing follows. Some providers leave `[DONE]` out: it is an end where every choice has said how it ended.
    pub(in crate::answer) fn finish(
        &mut self,
        judge: &Judge<'_>,
        report: &mut Report,
        out: &mut Vec<u8>,
    ) -> Result<(), AnswerFault> {
        let all_finished = self.lanes.names().all(|name| self.finished.contains(&name.choice));
        if self.lanes.is_empty() || !all_finished {
            return Err(AnswerFault::Truncated);
        }
        self.drain(judge, None, report, out);
        Ok(())
    }

    pub(in crate::answer) fn event(
        &mut self,
        judge: &Judge<'_>,
        data: &[u8],
        report: &mut Report,
        out: &mut Vec<u8>,
    ) -> Result<Flow, AnswerFault> {
        if data == b"[DONE]" {
            if self.drain(judge, None, report, out) == Flow::Ended {
                return Ok(Flow::Ended);
            }
            self.is_done = true;
            out.extend_from_slice(b"data: [DONE]\n\n");
            return Ok(Flow::Ended);
        }
        let mut projector = std::mem::take(&mut self.projector);
        let flow = match projector.read(data) {
            Ok(projection) => self.chunk(judge, data, projection, report, out),
            Err(error) => Err(AnswerFault::Unreadable(error)),
        };
        self.projector = projector;
        flow
    }

    fn chunk(
        &mut self,
        judge: &Judge<'_>,
        data: &[u8],
        projection: &Projection<Role>,
        report: &mut Report,
        out: &mut Vec<u8>,
    ) -> Result<Flow, AnswerFault> {
        let marks = &projection.marks;
        let is_error =
            |mark: &Mark<Role>| mark.role == Role::Error && mark.value != Value::Literal(Literal::Null);
        if marks.iter().any(is_error) || !marks.iter().any(|mark| mark.role == Role::Choices) {
            return Err(AnswerFault::Reported);
        }
        if report.model.is_none() {
            let model = marks.iter().find(|mark| mark.role == Role::Model);
            report.model = model.and_then(|mark| string(data, mark));
        }
        if let Some(usage) = positions::usage(data, marks) {
            report.usage = Some(usage);
            // The event that was asked for on the proxy's own account.
            if !self.wants_usage && !marks.iter().any(|mark| mark.role == Role::Choice) {
                return Ok(Flow::Open);
            }
        }
        let mut redacted = self.outside.judge(judge, data, projection, outside_text)?;
        report.findings.append(&mut redacted.findings);
        self.own.remember(data, marks, !redacted.edits.is_empty() || redacted.blocked.is_some());
        if redacted.blocked.is_some() {
            return Ok(self.end_by_policy(0, report, out));
        }
        let mut edits = redacted.edits;
        if judge.redacts_output() {
            edits.extend(without_logprobs(projection));
        }
        let outside = edits.clone();
        self.refuse_odd_shapes(data, marks)?;
        self.refuse_pieces_of_names(data, projection)?;
        self.name_tools(judge, data, projection);
        let ending: Vec<u32> = finished_choices(data, marks).collect();
        let mut ended: Vec<LaneId> = Vec::new();
        for part in projection.parts.iter().filter(|part| is_text(part)) {
            let field = field_of(data, projection, part);
            let id = LaneId { field, ..lane_of(data, marks, part) };
            let ends = ending.contains(&id.choice);
            if ended.contains(&id) {
                // A text that ended a moment ago, in the same event.
                return Err(AnswerFault::Events);
            }
            ended.extend(ends.then_some(id));
            if self.lane(judge, id, ends, projection, part, report, &mut edits)? == LaneFlow::Blocked {
                self.own.write_lane(id, self.lanes.released(), out);
                return Ok(self.end_by_policy(id.choice, report, out));
            }
        }
        for choice in ending {
            if self.drain(judge, Some(choice), report, out) == Flow::Ended {
                return Ok(Flow::Ended);
            }
            self.finished.push(choice);
        }
        write_event(None, data, edits, out);
        self.remember_moulds(data, projection, &outside)?;
        Ok(Flow::Open)
    }

    /// Choices are a list of objects with the indices that were asked for, and their deltas are objects: in any other
    /// shape a text could go on where no lane follows it.
    fn refuse_odd_shapes(&self, data: &[u8], marks: &[Mark<Role>]) -> Result<(), AnswerFault> {
        let is_null = |mark: &Mark<Role>| mark.value == Value::Literal(Literal::Null);
        let is_index = |mark: &Mark<Role>, most| number(data, mark).is_some_and(|index| index < most);
        let fits = |mark: &Mark<Role>| match mark.role {
            Role::Choices => mark.value == Value::Array,
            Role::Choice => mark.value == Value::Object,
            Role::ToolCalls => mark.value == Value::Array || is_null(mark),
            Role::Message | Role::ToolCall | Role::CallFunction | Role::Function => {
                mark.value == Value::Object || is_null(mark)
            }
            // Clients would join its digits to the text.
            Role::Lane(_) => mark.value != Value::Number,
            Role::ChoiceIndex => is_index(mark, self.choices),
            Role::ToolIndex => is_index(mark, LANES_MAX as u64),
            Role::Root
            | Role::Id
            | Role::Object
            | Role::Created
            | Role::Model
            | Role::Error
            | Role::Usage
            | Role::PromptTokens
            | Role::PromptDetails
            | Role::CachedTokens
            | Role::CompletionTokens
            | Role::FinishReason
            | Role::LogProbs
            | Role::Data
            | Role::DataItem
            | Role::Embedding
            | Role::Aside
            | Role::Named
            | Role::Tool(_)
            | Role::Other => true,
        };
        let choices = marks.iter().filter(|mark| mark.role == Role::Choice).count();
        if choices as u64 > self.choices || !marks.iter().all(fits) {
            return Err(AnswerFault::Events);
        }
        Ok(())
    }

    /// Clients join the pieces of an id or a name, and each piece by itself scans clean.
    fn refuse_pieces_of_names(
        &mut self,
        data: &[u8],
        projection: &Projection<Role>,
    ) -> Result<(), AnswerFault> {
        let is_name =
            |part: &&Part<Role>| matches!(part.role, Role::Named | Role::Tool(_)) && !part.raw.is_empty();
        for part in projection.parts.iter().filter(is_name) {
            let path = (lane_of(data, &projection.marks, part), path_of(data, projection, part));
            let value = data.get(part.raw.clone()).unwrap_or_default();
            match self.names.iter().find(|(known, _)| *known == path) {
                Some((_, name)) if **name != *value => return Err(AnswerFault::Events),
                Some(_) => {}
                None if self.names.len() >= LANES_MAX || value.len() > NAME_BYTES_MAX => {
                    return Err(AnswerFault::TooLarge);
                }
                None => self.names.push((path, value.into())),
            }
        }
        Ok(())
    }

    /// Notes what tools are called: it decides into whose arguments values are put back.
    fn name_tools(&mut self, judge: &Judge<'_>, data: &[u8], projection: &Projection<Role>) {
        for part in projection.parts.iter().filter(|_| judge.originals().is_some()) {
            if let Role::Tool(field) = part.role
                && !part.raw.is_empty()
            {
                let id = LaneId { field, ..lane_of(data, &projection.marks, part) };
                self.lanes.name_tool(judge, id, &projection.value(part));
            }
        }
    }

    /// Keeps what is needed to send later what unknown texts of this event hold back: the event without its texts, and
    /// without what went from the outside of them.
    fn remember_moulds(
        &mut self,
        data: &[u8],
        projection: &Projection<Role>,
        outside: &[Edit],
    ) -> Result<(), AnswerFault> {
        for part in projection.parts.iter().filter(|part| part.role == Role::Aside && is_text(part)) {
            let field = field_of(data, projection, part);
            let id = LaneId { field, ..lane_of(data, &projection.marks, part) };
            self.own.forget_mould(id);
            if self.lanes.holds(id) {
                let texts = projection.parts.iter().filter(|part| is_text(part));
                let blank = |part: &Part<Role>| Edit { raw: part.raw.clone(), with: Cow::Borrowed(b"") };
                let edits = outside.iter().cloned().chain(texts.map(blank)).collect();
                self.own.remember_mould(id, data, edits, &part.raw)?;
            }
        }
        Ok(())
    }

    /// Policy ends the answer.
    fn end_by_policy(&mut self, choice: u32, report: &mut Report, out: &mut Vec<u8>) -> Flow {
        report.is_blocked = true;
        self.is_done = true;
        self.own.write_end(choice, out);
        Flow::Ended
    }

    #[expect(clippy::too_many_arguments, reason = "one delta, with all that its event knows of it")]
    /// Moves one delta through its lane and plans the edit of the event. What was released, the lanes keep.
    fn lane(
        &mut self,
        judge: &Judge<'_>,
        id: LaneId,
        ends: bool,
        projection: &Projection<Role>,
        part: &Part<Role>,
        report: &mut Report,
        edits: &mut Vec<Edit>,
    ) -> Result<LaneFlow, AnswerFault> {
        let bytes = projection.text.get(part.value..part.text.end).unwrap_or_default();
        let delta = std::str::from_utf8(bytes).map_err(|_| AnswerFault::Events)?;
        if self.finished.contains(&id.choice) && !delta.is_empty() {
            // What was released as the end of a text would get a continuation that nobody scanned with it.
            return Err(AnswerFault::Events);
        }
        // A key that is no known name is context: it stands before the text, and is judged with the event.
        let key = projection.text.get(part.text.start..part.value).unwrap_or_default();
        let key = std::str::from_utf8(key).map_err(|_| AnswerFault::Events)?;
        let flow = self.lanes.push(judge, id, [key, delta], ends, report)?;
        edits.extend(self.lanes.edit(delta, &part.raw));
        Ok(flow)
    }

    /// Sends what the lanes of a choice, or of all, still hold.
    fn drain(
        &mut self,
        judge: &Judge<'_>,
        choice: Option<u32>,
        report: &mut Report,
        out: &mut Vec<u8>,
    ) -> Flow {
        let is_meant = |id: LaneId| choice.is_none_or(|choice| choice == id.choice);
        let mut write = |id: LaneId, released: &str| self.own.write_lane(id, released, out);
        let blocked = self.lanes.drain(judge, is_meant, report, &mut write);
        blocked.map_or(Flow::Open, |id| self.end_by_policy(id.choice, report, out))
    }
}

/// Whether a part is text that streams: its next piece may come in the next event.
fn is_text(part: &Part<Role>) -> bool {
    matches!(part.role, Role::Lane(_) | Role::Aside) && matches!(part.form, Form::Plain | Form::Escaped)
}

/// What of a part is judged with its event: all of it, or of a text that streams, its key.
fn outside_text(part: &Part<Role>) -> Range<usize> {
    part.text.start..if is_text(part) { part.value } else { part.text.end }
}

fn field_of(data: &[u8], projection: &Projection<Role>, part: &Part<Role>) -> Field {
    if let Role::Lane(field) = part.role { field } else { Field::Unknown(path_of(data, projection, part)) }
}

/// Which lane a delta belongs to: by the indices that the event states, which need not be its positions.
///
/// Only what stands in a tool call belongs to one: a message beside it counts its own elements.
fn lane_of(data: &[u8], marks: &[Mark<Role>], part: &Part<Role>) -> LaneId {
    let [choice, _] = part.indices;
    let call = call_of(marks, part);
    let stated = |role, wanted: &dyn Fn(&Mark<Role>) -> bool| {
        let mark = marks.iter().find(|mark| mark.role == role && wanted(mark))?;
        number(data, mark).and_then(|number| u32::try_from(number).ok())
    };
    LaneId {
        choice: stated(Role::ChoiceIndex, &|mark| mark.indices[0] == choice).unwrap_or(choice),
        tool: call.map_or(0, |call| {
            stated(Role::ToolIndex, &|mark| mark.indices == call.indices).unwrap_or(call.indices[1])
        }),
        field: Field::Content,
    }
}

/// The tool call that a part stands in.
fn call_of<'a>(marks: &'a [Mark<Role>], part: &Part<Role>) -> Option<&'a Mark<Role>> {
    let holds = |mark: &&Mark<Role>| mark.raw.start <= part.raw.start && part.raw.end <= mark.raw.end;
    marks.iter().filter(|mark| mark.role == Role::ToolCall).find(holds)
}

/// The way to a part, without the positions that [`lane_of`] has the stated indices of.
fn path_of(data: &[u8], projection: &Projection<Role>, part: &Part<Role>) -> u64 {
    let stated = if call_of(&projection.marks, part).is_some() { 2 } else { 1 };
    projection.path(data, part, stated)
}

/// The choices that an event says have ended.
fn finished_choices<'a>(data: &'a [u8], marks: &'a [Mark<Role>]) -> impl Iterator<Item = u32> + 'a {
    let ended = marks.iter().filter(|mark| mark.role == Role::FinishReason && mark.value == Value::String);
    ended.map(move |mark| {
        let index =
            marks.iter().find(|other| other.role == Role::ChoiceIndex && other.indices == mark.indices);
        let stated = index.and_then(|mark| number(data, mark));
        stated.and_then(|number| u32::try_from(number).ok()).unwrap_or(mark.indices[0])
    })
}

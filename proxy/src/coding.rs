//! What does an encoded body say? One content coding undone (RFC 9110 §8.4.1), step by step.
//!
//! Needs the whole encoded body, which is within the limit of bodies by then. Proves that what comes out is all of it
//! and nothing besides: a body that ends early, goes on after its end, or is no such coding is refused. A body that
//! grows past the limit of bodies, or more than text does, costs one step beyond the limit. What is decoded counts
//! in the memory of all bodies as it grows. Does not: undo two codings, use dictionaries, or encode.

use crate::bodies::BodyShare;
use crate::body::Body;
use crate::config::Limits;
use crate::fault::{Fault, Stop};
use crate::serve::SCANNED_IN_PLACE_BYTES;
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use palisade_filters::Refusal;
use zstd::stream::raw::{InBuffer, Operation as _, OutBuffer};

/// What the codings are called, for those who sent another one.
pub(crate) const CODINGS: &str = "gzip, deflate, br, zstd";
/// Decoded at once.
const STEP_BYTES: usize = 16 * 1024;
/// A body is no bomb up to here, however small it was: short texts may repeat themselves.
const RATIO_FREE_BYTES: usize = 64 * 1024;
/// 8 MiB of window, as RFC 9659 bids for this coding on the web; a frame may ask for 128 MiB and more.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Windows of the formats, from RFC 1951, RFC 7932 and RFC 9659: memory that a decoder may take besides its output.
const DEFLATE_WINDOW_BYTES: u64 = 32 * 1024;
const BROTLI_WINDOW_BYTES: u64 = 16 * 1024 * 1024;
const ZSTD_WINDOW_BYTES: u64 = 1 << ZSTD_WINDOW_LOG_MAX;
/// The largest window of a deflated body, as its logarithm.
const DEFLATE_WINDOW_LOG: u8 = 15;

/// A content coding that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, or RFC 1951 without its wrapper, which some clients send under the same name.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// The one coding of a body, if it has one. Two would be two ways to hide something, so they are not read.
    pub(crate) fn named(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let mut values = headers.get_all("content-encoding").iter();
        let Some(value) = values.next() else { return Ok(None) };
        let name = value.to_str().unwrap_or_default().trim();
        let is_named = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        match values.next() {
            None if is_named(&["identity"]) => Ok(None),
            None if is_named(&["gzip", "x-gzip"]) => Ok(Some(Self::Gzip)),
            None if is_named(&["deflate"]) => Ok(Some(Self::Deflate)),
            None if is_named(&["br"]) => Ok(Some(Self::Brotli)),
            None if is_named(&["zstd"]) => Ok(Some(Self::Zstd)),
            None | Some(_) => Err(Refusal::UnsupportedEncoding),
        }
    }

    fn window_bytes(self) -> u64 {
        match self {
            Self::Gzip | Self::Deflate => DEFLATE_WINDOW_BYTES,
            Self::Brotli => BROTLI_WINDOW_BYTES,
            Self::Zstd => ZSTD_WINDOW_BYTES,
        }
    }
}

/// Decodes a body. What is not done after a while goes on on a thread of its own, as a scan does.
pub(crate) async fn decode(coding: Coding, body: Body, limits: &Limits) -> Result<Body, Stop> {
    let is_large = body.bytes.len() > SCANNED_IN_PLACE_BYTES;
    let mut decoding = Decoding::new(coding, body, limits)?;
    if is_large || !decoding.run(SCANNED_IN_PLACE_BYTES)? {
        // Beside the worker there may be many at once, so their windows count too.
        decoding.share.grow(coding.window_bytes())?;
        let work = move || decoding.run(usize::MAX).map(|_| decoding);
        let elsewhere = tokio::task::spawn_blocking(work).await;
        decoding = elsewhere.map_err(|error| Fault::Internal(format!("decoding ended early: {error}")))??;
        decoding.share.shrink(coding.window_bytes());
    }
    Ok(decoding.finish())
}

/// A body on its way.
struct Decoding {
    decoder: Decoder,
    encoded: Bytes,
    /// How much of it is read.
    read: usize,
    decoded: Vec<u8>,
    bytes_max: u64,
    ratio_max: u64,
    share: BodyShare,
}

impl Decoding {
    fn new(coding: Coding, body: Body, limits: &Limits) -> Result<Self, Stop> {
        let Body { bytes: encoded, share } = body;
        Ok(Self {
            decoder: Decoder::new(coding, &encoded)?,
            encoded,
            read: 0,
            decoded: Vec::new(),
            bytes_max: limits.body_bytes.as_u64(),
            ratio_max: limits.coding_ratio.into(),
            share,
        })
    }

    /// Decodes until so many bytes are there; whether that was all.
    fn run(&mut self, pause: usize) -> Result<bool, Refusal> {
        let mut step = [0; STEP_BYTES];
        while self.decoded.len() < pause {
            let rest = self.encoded.get(self.read..).unwrap_or_default();
            let Step { read, written, is_end } = self.decoder.step(rest, &mut step)?;
            self.read += read;
            self.keep(step.get(..written).unwrap_or_default())?;
            if is_end {
                // What stands behind the end would be forwarded by nobody and seen by no scan.
                let is_whole = self.read == self.encoded.len();
                return if is_whole { Ok(true) } else { Err(Refusal::InvalidEncoding) };
            }
            if read == 0 && written == 0 {
                return Err(Refusal::InvalidEncoding);
            }
        }
        Ok(false)
    }

    fn keep(&mut self, step: &[u8]) -> Result<(), Refusal> {
        let bytes = self.decoded.len() + step.len();
        if bytes as u64 > self.bytes_max {
            return Err(Refusal::BodyTooLarge(self.bytes_max));
        }
        let most = (self.encoded.len() as u64).saturating_mul(self.ratio_max);
        if bytes > RATIO_FREE_BYTES && bytes as u64 > most {
            return Err(Refusal::EncodingRatio(self.ratio_max));
        }
        if bytes > self.decoded.capacity() {
            let most = usize::try_from(self.bytes_max).unwrap_or(usize::MAX);
            let room = (self.decoded.capacity() * 2).clamp(bytes, most.max(bytes));
            self.share.grow((room - self.decoded.capacity()) as u64)?;
            self.decoded.reserve_exact(room - self.decoded.len());
        }
        self.decoded.extend_from_slice(step);
        Ok(())
    }

    fn finish(mut self) -> Body {
        self.share.shrink(self.encoded.len() as u64);
        Body { bytes: Bytes::from(self.decoded), share: self.share }
    }
}

/// What one step came to.
struct Step {
    read: usize,
    written: usize,
    is_end: bool,
}

/// The decoders' one shape.
enum Decoder {
    Deflate(Decompress),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Zstd(zstd::stream::raw::Decoder<'static>),
}

impl Decoder {
    fn new(coding: Coding, encoded: &[u8]) -> Result<Self, Fault> {
        let failed = |error: std::io::Error| Fault::Internal(format!("no decoder: {error}"));
        Ok(match coding {
            Coding::Gzip => Self::Deflate(Decompress::new_gzip(DEFLATE_WINDOW_LOG)),
            Coding::Deflate => Self::Deflate(Decompress::new(has_zlib_head(encoded))),
            Coding::Brotli => {
                let [one, two, three] = [(); 3].map(|()| StandardAlloc::default());
                // Strict: no windows beyond RFC 7932.
                Self::Brotli(Box::new(BrotliState::new_strict(one, two, three)))
            }
            Coding::Zstd => {
                let mut decoder = zstd::stream::raw::Decoder::new().map_err(failed)?;
                let window = zstd::stream::raw::DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX);
                decoder.set_parameter(window).map_err(failed)?;
                Self::Zstd(decoder)
            }
        })
    }

    /// Reads what it can and writes what fits. Neither means that more is needed than there is.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Refusal> {
        match self {
            Self::Deflate(decoder) => {
                let (read, written) = (decoder.total_in(), decoder.total_out());
                let status = decoder
                    .decompress(input, output, FlushDecompress::None)
                    .map_err(|_| Refusal::InvalidEncoding)?;
                Ok(Step {
                    read: (decoder.total_in() - read) as usize,
                    written: (decoder.total_out() - written) as usize,
                    is_end: status == Status::StreamEnd,
                })
            }
            Self::Brotli(state) => {
                let (mut read, mut written, mut total) = (0, 0, 0);
                let (mut input_left, mut output_left) = (input.len(), output.len());
                let result = BrotliDecompressStream(
                    &mut input_left,
                    &mut read,
                    input,
                    &mut output_left,
                    &mut written,
                    output,
                    &mut total,
                    state,
                );
                match result {
                    BrotliResult::ResultFailure => Err(Refusal::InvalidEncoding),
                    BrotliResult::ResultSuccess => Ok(Step { read, written, is_end: true }),
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {
                        Ok(Step { read, written, is_end: false })
                    }
                }
            }
            Self::Zstd(decoder) => {
                let (mut input, mut output) = (InBuffer::around(input), OutBuffer::around(output));
                let left = decoder.run(&mut input, &mut output).map_err(|_| Refusal::InvalidEncoding)?;
                Ok(Step { read: input.pos(), written: output.pos(), is_end: left == 0 })
            }
        }
    }
}

/// RFC 1950 §2.2: method 8, and a check that makes the first two bytes a multiple of 31. A deflated block without the
/// wrapper that begins so would be a stored one with a padding that nobody writes.
fn has_zlib_head(encoded: &[u8]) -> bool {
    matches!(encoded, [method, flags, ..] if method & 0xF == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

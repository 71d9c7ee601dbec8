//! What does Hyperscan need for the same patterns? Its block mode, with all patterns in one database.
//!
//! Needs `libhs`. It is given what favours it: it reports where matches end and nothing else, while our scanner also
//! asks for boundaries, checksums, entropy and context, reads disguises, and says where each finding begins.
//!
//! This file has `unsafe` in it, as it calls a C library; the argument: every pointer that is passed comes from a
//! reference or from the library itself, lives until the call returns, and database and scratch are private to a value
//! that is not shared and is freed once. What the library reports by callback is counted; nothing else is done there.

use super::Peer;
use palisade_filters::dlp::Scanner;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::fmt::Write as _;
use std::io;
use std::ptr::{null, null_mut};
use std::time::Instant;

const SUCCESS: c_int = 0;
const MODE_BLOCK: c_uint = 1;

#[repr(C)]
struct CompileError {
    message: *const c_char,
    expression: c_int,
}

type OnMatch = extern "C" fn(c_uint, c_ulonglong, c_ulonglong, c_uint, *mut c_void) -> c_int;

#[expect(unsafe_code, reason = "argued at the head of the file")]
#[link(name = "hs")]
unsafe extern "C" {
    fn hs_compile_multi(
        expressions: *const *const c_char,
        flags: *const c_uint,
        ids: *const c_uint,
        elements: c_uint,
        mode: c_uint,
        platform: *const c_void,
        database: *mut *mut c_void,
        error: *mut *mut CompileError,
    ) -> c_int;
    fn hs_free_compile_error(error: *mut CompileError) -> c_int;
    fn hs_free_database(database: *mut c_void) -> c_int;
    fn hs_database_size(database: *const c_void, bytes: *mut usize) -> c_int;
    fn hs_alloc_scratch(database: *const c_void, scratch: *mut *mut c_void) -> c_int;
    fn hs_free_scratch(scratch: *mut c_void) -> c_int;
    fn hs_scan(
        database: *const c_void,
        data: *const c_char,
        length: c_uint,
        flags: c_uint,
        scratch: *mut c_void,
        on_match: OnMatch,
        context: *mut c_void,
    ) -> c_int;
    fn hs_version() -> *const c_char;
}

/// Patterns, ready to be looked for.
struct Database {
    database: *mut c_void,
    scratch: *mut c_void,
}

/// Compiles all patterns that can be, and says which cannot.
pub(super) fn peer(scanner: &Scanner) -> io::Result<Peer> {
    let mut refused = Vec::new();
    let mut patterns = Vec::new();
    for rule in scanner.documents() {
        let pattern = CString::new(rule.pattern.as_str())?;
        match Database::compile(std::slice::from_ref(&pattern)) {
            Ok(_) => patterns.push(pattern),
            Err(message) => refused.push(format!("`{}` ({message})", rule.id)),
        }
    }
    let start = Instant::now();
    let database = Database::compile(&patterns).map_err(io::Error::other)?;
    let mut about = String::new();
    let _ = writeln!(
        about,
        "Beside it Hyperscan {}: {} of the patterns in one database of {:.1} MiB, compiled in {:.0} ms.",
        version(),
        patterns.len(),
        database.bytes() as f64 / f64::from(1 << 20),
        start.elapsed().as_secs_f64() * 1e3,
    );
    if !refused.is_empty() {
        let _ =
            writeln!(about, "\nPatterns that it does not take, {}: {}.", refused.len(), refused.join(", "));
    }
    Ok(Peer { about, scan: Box::new(move |text| database.matches(text)) })
}

extern "C" fn count(_: c_uint, _: c_ulonglong, _: c_ulonglong, _: c_uint, context: *mut c_void) -> c_int {
    let matches: *mut usize = context.cast();
    // SAFETY: `matches` passes a reference to a number that lives until `hs_scan` returns, and nobody else has it.
    #[expect(unsafe_code, reason = "argued at the head of the file")]
    unsafe {
        *matches += 1;
    }
    0
}

#[expect(unsafe_code, reason = "argued at the head of the file")]
impl Database {
    fn compile(patterns: &[CString]) -> Result<Self, String> {
        let expressions: Vec<*const c_char> = patterns.iter().map(|pattern| pattern.as_ptr()).collect();
        let (flags, count) = (vec![0; patterns.len()], patterns.len() as c_uint);
        let ids: Vec<c_uint> = (0..count).collect();
        let mut made = Self { database: null_mut(), scratch: null_mut() };
        let mut error = null_mut();
        // SAFETY: three lists of `count` members, which live until the call returns; the results are written to
        // variables of ours.
        let code = unsafe {
            hs_compile_multi(
                expressions.as_ptr(),
                flags.as_ptr(),
                ids.as_ptr(),
                count,
                MODE_BLOCK,
                null(),
                &raw mut made.database,
                &raw mut error,
            )
        };
        if code != SUCCESS {
            return Err(told(error));
        }
        // SAFETY: the database was just made; the scratch is written to a member of ours.
        match unsafe { hs_alloc_scratch(made.database, &raw mut made.scratch) } {
            SUCCESS => Ok(made),
            code => Err(format!("no scratch space: {code}")),
        }
    }

    fn bytes(&self) -> usize {
        let mut bytes = 0;
        // SAFETY: the database is ours, and the size is written to a variable of ours.
        unsafe { hs_database_size(self.database, &raw mut bytes) };
        bytes
    }

    fn matches(&self, text: &[u8]) -> usize {
        let mut matches = 0usize;
        let context: *mut usize = &raw mut matches;
        // SAFETY: the text and the number live until the call returns; the scratch is this database's, used by one
        // call at a time as `self` is not shared between threads.
        unsafe {
            hs_scan(
                self.database,
                text.as_ptr().cast(),
                text.len() as c_uint,
                0,
                self.scratch,
                count,
                context.cast(),
            )
        };
        matches
    }
}

#[expect(unsafe_code, reason = "argued at the head of the file")]
impl Drop for Database {
    fn drop(&mut self) {
        // SAFETY: both are ours alone, and null where they were not made, which is allowed.
        unsafe {
            hs_free_scratch(self.scratch);
            hs_free_database(self.database);
        }
    }
}

/// The message of an error, which is freed.
#[expect(unsafe_code, reason = "argued at the head of the file")]
fn told(error: *mut CompileError) -> String {
    if error.is_null() {
        return "no reason given".to_owned();
    }
    // SAFETY: it came from the library, is not null, its message ends with a null byte, and both are freed once.
    unsafe {
        let message = CStr::from_ptr((*error).message).to_string_lossy().into_owned();
        hs_free_compile_error(error);
        message
    }
}

#[expect(unsafe_code, reason = "argued at the head of the file")]
fn version() -> String {
    // SAFETY: a constant text of the library that ends with a null byte.
    unsafe { CStr::from_ptr(hs_version()) }.to_string_lossy().into_owned()
}

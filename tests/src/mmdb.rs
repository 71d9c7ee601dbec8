//! How is a database made for a test? A writer of the MaxMind DB format, in as few lines as the format allows.
//!
//! The format (version 2.0, <https://maxmind.github.io/MaxMind-DB/>): a binary tree over the bits of an address, whose
//! nodes are two records each; a record is the number of another node, or nothing, or a place in the data that follow;
//! then metadata after a marker. Data are maps, texts, numbers, booleans and lists, each with a control byte. IPv4
//! lies in the tree of IPv6 at `::/96`. Nothing is shared between rows, and nothing is checked: it writes what a test
//! asks for.

use serde_json::{Value, json};
use std::net::IpAddr;

/// Bits of an IPv6 address that come before an IPv4 address.
const BEFORE_IPV4: u8 = 96;

/// Kinds of values.
const TEXT: u8 = 2;
const U16: u8 = 5;
const U32: u8 = 6;
const MAP: u8 = 7;
const U64: u8 = 9;
const LIST: u8 = 11;
const FLAG: u8 = 14;

/// A database under construction.
pub(crate) struct Mmdb {
    nodes: Vec<[Record; 2]>,
    data: Vec<u8>,
    record_bits: u32,
}

#[derive(Clone, Copy)]
enum Record {
    Nothing,
    Node(usize),
    /// An offset in the data.
    Data(usize),
}

impl Mmdb {
    /// An empty one, with records of 24, 28 or 32 bits.
    pub(crate) fn new(record_bits: u32) -> Self {
        Self { nodes: vec![[Record::Nothing; 2]], data: Vec::new(), record_bits }
    }

    /// Adds a network, such as `203.0.113.0/24`. Narrower ones come after wider ones.
    pub(crate) fn network(mut self, network: &str, row: &Value) -> Self {
        let (address, prefix) = network.split_once('/').expect("a network has a prefix");
        let prefix: u8 = prefix.parse().unwrap();
        let (bits, prefix) = match address.parse().unwrap() {
            IpAddr::V4(address) => (u128::from(u32::from(address)), prefix + BEFORE_IPV4),
            IpAddr::V6(address) => (u128::from(address), prefix),
        };
        let data = Record::Data(self.data.len());
        write(row, &mut self.data);
        let mut node = 0;
        for depth in 0..prefix {
            let side = usize::from(bits >> (127 - depth) & 1 == 1);
            if depth + 1 == prefix {
                self.nodes[node][side] = data;
                break;
            }
            node = match self.nodes[node][side] {
                Record::Node(next) => next,
                // Both halves of a wider network go on saying what it said.
                wider @ (Record::Nothing | Record::Data(_)) => {
                    self.nodes.push([wider; 2]);
                    self.nodes[node][side] = Record::Node(self.nodes.len() - 1);
                    self.nodes.len() - 1
                }
            };
        }
        self
    }

    /// The file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let place = |record: Record| match record {
            Record::Nothing => self.nodes.len(),
            Record::Node(node) => node,
            Record::Data(offset) => self.nodes.len() + 16 + offset,
        };
        for node in &self.nodes {
            let [left, right] = node.map(|record| place(record) as u32);
            match self.record_bits {
                24 => out.extend([&left.to_be_bytes()[1..], &right.to_be_bytes()[1..]].concat()),
                // The highest four bits of both share the byte in the middle.
                28 => {
                    out.extend_from_slice(&left.to_be_bytes()[1..]);
                    out.push((left >> 24 << 4 | right >> 24) as u8);
                    out.extend_from_slice(&right.to_be_bytes()[1..]);
                }
                _ => out.extend([left.to_be_bytes(), right.to_be_bytes()].concat()),
            }
        }
        out.extend([0; 16]);
        out.extend_from_slice(&self.data);
        out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
        let texts = json!({
            "database_type": "Palisade-Test",
            "description": {"en": "made by a test"},
            "languages": ["en"],
        });
        let numbers = [
            ("binary_format_major_version", U16, 2),
            ("binary_format_minor_version", U16, 0),
            ("build_epoch", U64, 1_781_654_400),
            ("ip_version", U16, 6),
            ("node_count", U32, self.nodes.len() as u64),
            ("record_size", U16, u64::from(self.record_bits)),
        ];
        let texts = texts.as_object().unwrap();
        head(MAP, texts.len() + numbers.len(), &mut out);
        for (name, value) in texts {
            member(name, value, &mut out);
        }
        for (name, kind, value) in numbers {
            write(&json!(name), &mut out);
            number(kind, value, &mut out);
        }
        out
    }
}

/// Writes a value: its kind in the upper three bits of the control byte, its size in the lower five; kinds over 7 have
/// a byte of their own.
fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => {
            head(TEXT, text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Number(value) => number(U32, value.as_u64().unwrap(), out),
        Value::Object(members) => {
            head(MAP, members.len(), out);
            for (name, value) in members {
                member(name, value, out);
            }
        }
        Value::Array(values) => {
            head(LIST, values.len(), out);
            for value in values {
                write(value, out);
            }
        }
        Value::Bool(value) => head(FLAG, usize::from(*value), out),
        Value::Null => panic!("the format has no null"),
    }
}

fn member(name: &str, value: &Value, out: &mut Vec<u8>) {
    write(&json!(name), out);
    write(value, out);
}

fn number(kind: u8, value: u64, out: &mut Vec<u8>) {
    let bytes = match kind {
        U16 => 2,
        U32 => 4,
        _ => 8,
    };
    head(kind, bytes, out);
    out.extend_from_slice(&value.to_be_bytes()[8 - bytes..]);
}

fn head(kind: u8, size: usize, out: &mut Vec<u8>) {
    // From 29 on, a byte after the control byte says how much more.
    let (short, more) = if size < 29 { (size as u8, None) } else { (29, Some((size - 29) as u8)) };
    if kind < 8 {
        out.push(kind << 5 | short);
    } else {
        out.extend([short, kind - 7]);
    }
    out.extend(more);
}

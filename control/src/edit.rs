//! How does a key come into a document that a person wrote, and how is it switched off there?
//!
//! Needs the document's text; gives the new text, in which everything but the key's own lines is as it was:
//! comments, order, white space. It writes no file and does not check what the result means: `keys` does.

use crate::sources::explain;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// What is written of a new key.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) id: &'a str,
    pub(crate) sha256: &'a str,
    pub(crate) name: &'a str,
    pub(crate) groups: &'a [String],
    /// RFC 3339.
    pub(crate) expires: Option<String>,
}

/// Adds a key behind the others.
pub(crate) fn add(text: &str, row: &Row<'_>) -> Result<String, String> {
    let mut document = open(text)?;
    let fields = fields(row);
    match document.entry("keys").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new())) {
        Item::Value(Value::Array(array)) => array.push(fields.collect::<InlineTable>()),
        Item::ArrayOfTables(tables) => {
            let mut table: Table = fields.collect();
            table.decor_mut().set_prefix("\n");
            tables.push(table);
        }
        Item::None | Item::Value(_) | Item::Table(_) => {
            return Err("`keys` is not a list of tables".to_owned());
        }
    }
    Ok(written(text, &document))
}

/// Switches the key `id` off.
pub(crate) fn disable(text: &str, id: &str) -> Result<String, String> {
    let mut document = open(text)?;
    for table in tables(&mut document, "keys") {
        if table.get("id").and_then(Item::as_str) != Some(id) {
            continue;
        }
        let mut off = Value::from(false);
        if let Some(former) = table.get("enabled").and_then(Item::as_value) {
            // A comment behind the value belongs to the person who wrote it.
            *off.decor_mut() = former.decor().clone();
        }
        table.insert("enabled", Item::Value(off));
    }
    Ok(written(text, &document))
}

fn open(text: &str) -> Result<DocumentMut, String> {
    text.parse().map_err(|error: toml_edit::TomlError| explain(text, error.span(), error.message()))
}

/// The document with the line ends that its text had, where it had one kind; reading one leaves the returns out.
fn written(text: &str, document: &DocumentMut) -> String {
    let written = document.to_string();
    let (ends, returns) = (text.matches('\n').count(), text.matches("\r\n").count());
    if ends == returns && ends > 0 && !written.contains('\r') {
        written.replace('\n', "\r\n")
    } else {
        written
    }
}

fn fields(row: &Row<'_>) -> impl Iterator<Item = (&'static str, Value)> {
    let groups = (!row.groups.is_empty()).then(|| Value::Array(row.groups.iter().collect::<Array>()));
    let expires = row.expires.as_ref().map(Value::from);
    let fields = [
        ("name", Some(Value::from(row.name))),
        ("id", Some(Value::from(row.id))),
        ("sha256", Some(Value::from(row.sha256))),
        ("groups", groups),
        ("expires", expires),
    ];
    fields.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)))
}

/// Tables of a list, in either of the two ways to write one.
fn tables<'a>(document: &'a mut DocumentMut, list: &str) -> Vec<&'a mut dyn TableLike> {
    match document.get_mut(list) {
        Some(Item::ArrayOfTables(tables)) => {
            tables.iter_mut().map(|table| table as &mut dyn TableLike).collect()
        }
        Some(Item::Value(Value::Array(array))) => {
            let tables = array.iter_mut().filter_map(Value::as_inline_table_mut);
            tables.map(|table| table as &mut dyn TableLike).collect()
        }
        Some(Item::None | Item::Value(_) | Item::Table(_)) | None => Vec::new(),
    }
}

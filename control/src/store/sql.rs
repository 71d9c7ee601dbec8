//! How do two databases look the same to the queries of this room?
//!
//! A query is a text of the program, never made at run time; its arguments are texts, numbers and bytes. Both engines
//! read `$1`, and the tables have the same names and columns: so each query is written once. What a driver says when
//! something is wrong is told here in words of [`StoreError`].

use super::error::StoreError;
use sqlx::Row as _;
use sqlx::postgres::{PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteRow};

/// Raised by our own functions in the database: there is no such organisation.
pub(super) const NO_ORGANISATION: &str = "PA001";
/// Raised by our own functions in the database: there is one already.
pub(super) const ORGANISATION_EXISTS: &str = "PA002";

/// An argument of a query.
#[derive(Clone, Copy)]
pub(super) enum Argument<'a> {
    Text(&'a str),
    Number(u64),
    Bytes(&'a [u8]),
}

/// A row of an answer.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(super) fn text(&self, at: usize) -> Result<String, StoreError> {
        let text = match self {
            Self::Sqlite(row) => row.try_get(at),
            Self::Postgres(row) => row.try_get(at),
        };
        text.map_err(failed)
    }

    /// Our numbers count: one below zero was never written.
    pub(super) fn number(&self, at: usize) -> Result<u64, StoreError> {
        let number: Result<i64, sqlx::Error> = match self {
            Self::Sqlite(row) => row.try_get(at),
            Self::Postgres(row) => row.try_get(at),
        };
        u64::try_from(number.map_err(failed)?).map_err(|_| StoreError::Inconsistent {
            place: "a counter".to_owned(),
            what: "a number below zero".to_owned(),
        })
    }

    pub(super) fn bytes(&self, at: usize) -> Result<Vec<u8>, StoreError> {
        let bytes = match self {
            Self::Sqlite(row) => row.try_get(at),
            Self::Postgres(row) => row.try_get(at),
        };
        bytes.map_err(failed)
    }
}

/// A transaction; dropped without [`Transaction::commit`], it never was.
pub(super) enum Transaction<'c> {
    Sqlite(sqlx::Transaction<'c, Sqlite>),
    Postgres(sqlx::Transaction<'c, Postgres>),
}

impl Transaction<'_> {
    /// All rows of an answer.
    pub(super) async fn rows(
        &mut self,
        query: &'static str,
        arguments: &[Argument<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(transaction) => {
                let rows = sqlite(query, arguments).fetch_all(&mut **transaction).await.map_err(failed)?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(transaction) => {
                let rows = postgres(query, arguments).fetch_all(&mut **transaction).await.map_err(failed)?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// The one row of an answer, if there is one.
    pub(super) async fn row(
        &mut self,
        query: &'static str,
        arguments: &[Argument<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(query, arguments).await?.pop())
    }

    /// Keeps what was written.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        let done = match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
        };
        done.map_err(failed)
    }
}

/// A query with its arguments, for SQLite.
pub(super) fn sqlite<'q>(
    query: &'static str,
    arguments: &'q [Argument<'q>],
) -> sqlx::query::Query<'q, Sqlite, sqlx::sqlite::SqliteArguments> {
    arguments.iter().fold(sqlx::query(query), |query, argument| match argument {
        Argument::Text(text) => query.bind(*text),
        Argument::Number(number) => query.bind(signed(*number)),
        Argument::Bytes(bytes) => query.bind(*bytes),
    })
}

/// The same for PostgreSQL.
pub(super) fn postgres<'q>(
    query: &'static str,
    arguments: &'q [Argument<'q>],
) -> sqlx::query::Query<'q, Postgres, sqlx::postgres::PgArguments> {
    arguments.iter().fold(sqlx::query(query), |query, argument| match argument {
        Argument::Text(text) => query.bind(*text),
        Argument::Number(number) => query.bind(signed(*number)),
        Argument::Bytes(bytes) => query.bind(*bytes),
    })
}

/// Both databases count to 2⁶³; what is larger is as good as that.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What the driver says, in our words.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(super) fn failed(error: sqlx::Error) -> StoreError {
    use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Tls, WorkerCrashed};
    if let Some(said) = error.as_database_error() {
        return from_database(&said.code().unwrap_or_default(), said.message());
    }
    if matches!(error, Io(_) | Tls(_) | PoolTimedOut | PoolClosed | WorkerCrashed) {
        return StoreError::Away(error.to_string());
    }
    StoreError::Database(error.to_string())
}

/// SQLSTATE is five characters, SQLite's extended result codes are numbers.
fn from_database(code: &str, message: &str) -> StoreError {
    // The lowest byte of an extended code is the code: https://sqlite.org/rescode.html.
    if let (true, Ok(number)) = (code.len() != 5, code.parse::<u32>()) {
        return match number & 0xff {
            5 | 6 => StoreError::Busy(message.to_owned()),
            13 => StoreError::DiskFull("the database".to_owned()),
            10 if number == 778 => {
                StoreError::DiskFull(format!("the database, or a write failed: {message}"))
            }
            11 | 26 => {
                StoreError::Inconsistent { place: "database file".to_owned(), what: message.to_owned() }
            }
            _ => StoreError::Database(format!("{message} (code {code})")),
        };
    }
    // https://www.postgresql.org/docs/current/errcodes-appendix.html
    match code {
        "53100" => StoreError::DiskFull("the database".to_owned()),
        // Lock not available, deadlock, serialization, statement cancelled by its timeout.
        "55P03" | "40P01" | "40001" | "57014" => StoreError::Busy(message.to_owned()),
        // Too many connections; the server stops, starts or crashed.
        "53300" | "57P01" | "57P02" | "57P03" => StoreError::Away(message.to_owned()),
        _ if code.starts_with("08") || code.starts_with("28") => StoreError::Away(message.to_owned()),
        _ => StoreError::Database(format!("{message} (code {code})")),
    }
}

/// The SQLSTATE of an error, if a database sent one.
pub(super) fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

//! What an operator types about exact data: from a file of records to a table that tells nobody what is in it.
//!
//! Records are read one after the other and hashed at once; none is kept, printed or written. The table goes to
//! standard output or to a file; what became of the records goes to standard error.

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Subcommand};
use palisade_control::{Folder, sources};
use palisade_filters::dlp::exact::build::{Built, ColumnReport};
use palisade_filters::dlp::exact::{Builder, COLUMNS_MAX};
use palisade_filters::documents::SecretRef;
use std::fs::File;
use std::io::{BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

/// `palisade exact …`
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum ExactCommand {
    /// Build a table of keyed hashes from records, to find them in texts
    #[command(group(ArgGroup::new("key").required(true).args(["key_file", "key_env"])))]
    Build {
        /// The key: a file of at least 32 random characters, such as `openssl rand -hex 32` writes
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
        /// The key, in an environment variable
        #[arg(long, value_name = "NAME")]
        key_env: Option<String>,
        /// The columns that are looked for, by their names in the first line
        #[arg(long, value_name = "NAME,NAME", value_delimiter = ',', required = true)]
        columns: Vec<String>,
        /// What stands between two columns
        #[arg(long, value_name = "SIGN", default_value = ",")]
        delimiter: char,
        /// The table file; written beside its place and renamed into it. By default standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Records as CSV in UTF-8, with a first line of names; `-` is standard input
        records: PathBuf,
    },
}

/// Runs `palisade exact`.
pub(crate) fn run(command: ExactCommand) -> Result<()> {
    let ExactCommand::Build { key_file, key_env, columns, delimiter, out, records } = command;
    let key = match (key_file, key_env) {
        (Some(file), _) => SecretRef::File(file),
        (None, Some(variable)) => SecretRef::Env(variable),
        (None, None) => bail!("no key is given; name a file with `--key-file FILE`"),
    };
    let secret = sources::secret(&key, Path::new("")).map_err(anyhow::Error::msg).context("the key")?;
    if out.is_none() && std::io::stdout().is_terminal() {
        bail!("the table is no text; write it to a file with `--out FILE`");
    }
    if columns.len() > COLUMNS_MAX {
        bail!("{} columns are named; a table has at most {COLUMNS_MAX}", columns.len());
    }
    let Ok(delimiter) = u8::try_from(delimiter) else { bail!("`{delimiter}` is no sign of ASCII") };
    let mut builder = Builder::new(&secret, Folder::random()?, columns.len()).context("the key")?;
    let is_input = records == Path::new("-");
    let input: Box<dyn Read> = if is_input {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(File::open(&records).with_context(|| format!("cannot read `{}`", records.display()))?)
    };
    read(&mut builder, &columns, delimiter, input).with_context(|| format!("`{}`", records.display()))?;
    let built = builder.finish();
    if built.cells == 0 {
        bail!("`{}`: none of its cells can be looked for", records.display());
    }
    if let Some(path) = &out {
        write(path, &built.bytes).with_context(|| format!("cannot write `{}`", path.display()))?;
    } else {
        std::io::stdout().write_all(&built.bytes).context("cannot write to standard output")?;
    }
    report(&built, &columns, &mut std::io::stderr()).context("cannot write to standard error")
}

fn read(builder: &mut Builder, columns: &[String], delimiter: u8, input: Box<dyn Read>) -> Result<()> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(BufReader::new(input));
    let names = reader.headers().context("its first line cannot be read")?.clone();
    let place = |wanted: &String| {
        let name = |name: &str| name.trim_start_matches('\u{feff}').trim().to_owned();
        let mut places = names.iter().enumerate().filter(|(_, there)| name(there) == wanted.trim());
        match (places.next(), places.next()) {
            (Some((place, _)), None) => Ok(place),
            (Some(_), Some(_)) => bail!("two of its columns are named `{wanted}`"),
            (None, _) => {
                let all: Vec<String> = names.iter().map(name).collect();
                bail!("it has no column `{wanted}`; it has `{}`", all.join("`, `"))
            }
        }
    };
    let places = columns.iter().map(place).collect::<Result<Vec<usize>>>()?;
    let mut record = csv::StringRecord::new();
    // What the reader says of a record names its line and never repeats its text.
    while reader.read_record(&mut record)? {
        let cells = places.iter().map(|place| record.get(*place).unwrap_or_default());
        builder.push(cells)?;
    }
    Ok(())
}

/// Written beside its place and renamed, so that nobody reads half of it.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.tmp"));
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let placed = written.and_then(|()| std::fs::rename(&beside, path));
    if placed.is_err() {
        // It may never have been there.
        let _gone = std::fs::remove_file(&beside);
    }
    placed
}

fn report(built: &Built, columns: &[String], out: &mut impl Write) -> std::io::Result<()> {
    let Built { bytes, rows, rows_twice, cells, columns: reports } = built;
    writeln!(
        out,
        "{rows} records ({rows_twice} more said the same), {cells} different cells, {} bytes",
        bytes.len()
    )?;
    for (name, ColumnReport { taken, common, empty, short, long }) in columns.iter().zip(reports) {
        writeln!(out, "  {name}: {taken} taken, {empty} empty, {short} too short, {long} too long")?;
        if taken > &0 && common == taken {
            writeln!(out, "    all of them are in many records: they count only beside others")?;
        } else if common > &0 {
            writeln!(out, "    {common} of them are in many records, and count only beside others")?;
        }
    }
    Ok(())
}

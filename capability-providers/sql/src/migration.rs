//! Migrations: texts that are run once, in the order of their names, and remembered in a table of the database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use trellis_provider_sdk::LinkError;

/// The table that remembers them.
pub(crate) const TABLE: &str = "trellis_migrations";

/// Makes that table.
pub(crate) const CREATE: &str = "create table if not exists trellis_migrations \
     (name text primary key, digest text not null, applied_at timestamp not null default current_timestamp)";

/// Reads it.
pub(crate) const SELECT: &str = "select name, digest from trellis_migrations";

/// Adds to it.
pub(crate) const INSERT: &str = "insert into trellis_migrations (name, digest) values ($1, $2)";

/// The largest file that is read.
const MAX_BYTES: u64 = 4 << 20;

/// Where migrations come from.
pub(crate) struct Source {
    folder: Option<PathBuf>,
    inline: Vec<(String, String)>,
}

/// A migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Migration {
    /// Its name, which places it among the others.
    pub(crate) name: String,
    /// Statements.
    pub(crate) text: String,
    /// Tells whether the text is still the one that was run.
    pub(crate) digest: String,
}

impl Source {
    /// The `*.sql` files of `folder`, and the texts of `inline`, by name.
    pub(crate) fn new(folder: Option<PathBuf>, inline: Vec<(String, String)>) -> Self {
        Self { folder, inline }
    }

    /// Reads them, in order. Blocks.
    ///
    /// # Errors
    /// When a file cannot be read; names it.
    pub(crate) fn read(self) -> Result<Vec<Migration>, LinkError> {
        let mut texts: BTreeMap<String, String> = self.inline.into_iter().collect();
        if let Some(folder) = self.folder {
            let unreadable = |path: &Path, error: &dyn std::fmt::Display| {
                LinkError::Unavailable(format!("cannot read the migrations in {}: {error}", path.display()))
            };
            for entry in std::fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))? {
                let path = entry.map_err(|error| unreadable(&folder, &error))?.path();
                let (Some(name), Some("sql")) = (stem(&path), path.extension().and_then(|end| end.to_str())) else {
                    continue;
                };
                let size = std::fs::metadata(&path).map_err(|error| unreadable(&path, &error))?.len();
                if size > MAX_BYTES {
                    return Err(unreadable(&path, &"it is larger than 4 MiB"));
                }
                let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
                texts.insert(name, text);
            }
        }
        Ok(texts.into_iter().map(|(name, text)| Migration::new(name, text)).collect())
    }
}

fn stem(path: &Path) -> Option<String> {
    Some(path.file_stem()?.to_str()?.to_owned())
}

impl Migration {
    fn new(name: String, text: String) -> Self {
        let digest = blake3::hash(text.as_bytes()).to_hex()[..32].to_owned();
        Self { name, text, digest }
    }
}

/// Those of `wanted` that are not among `applied`, which has names and digests.
///
/// # Errors
/// When one was changed after it had been run.
pub(crate) fn pending(wanted: Vec<Migration>, applied: &BTreeMap<String, String>) -> Result<Vec<Migration>, LinkError> {
    for migration in &wanted {
        if applied.get(&migration.name).is_some_and(|digest| *digest != migration.digest) {
            return Err(LinkError::Unavailable(format!(
                "migration {:?} was changed after it had been run: put it back, and add a new one",
                migration.name
            )));
        }
    }
    Ok(wanted.into_iter().filter(|migration| !applied.contains_key(&migration.name)).collect())
}

/// The error of a migration that the database refuses.
pub(crate) fn refused(name: &str, error: &dyn std::fmt::Display) -> LinkError {
    LinkError::Unavailable(format!("migration {name:?} was undone: {error}"))
}

#[cfg(test)]
mod tests {
    use super::{Migration, Source, pending};
    use std::collections::BTreeMap;

    fn inline(names: &[&str]) -> Vec<(String, String)> {
        names.iter().map(|name| ((*name).to_owned(), format!("-- {name}"))).collect()
    }

    #[test]
    fn migrations_go_by_name_wherever_they_come_from() {
        let folder = tempfile::tempdir().expect("a directory");
        for (file, text) in [("002-b.sql", "b"), ("notes.txt", "no"), ("010-d.sql", "d")] {
            std::fs::write(folder.path().join(file), text).expect("writes");
        }
        let source = Source::new(Some(folder.path().to_owned()), inline(&["003-c", "001-a"]));
        let names: Vec<_> = source.read().expect("reads").into_iter().map(|migration| migration.name).collect();
        assert_eq!(names, ["001-a", "002-b", "003-c", "010-d"]);
        let missing = Source::new(Some(folder.path().join("none")), Vec::new()).read().expect_err("is not there");
        assert!(missing.to_string().contains("none"), "{missing}");
    }

    #[test]
    fn what_was_run_is_not_run_again_and_must_not_change() {
        let all = Source::new(None, inline(&["a", "b"])).read().expect("reads");
        let applied = |migration: &Migration| BTreeMap::from([(migration.name.clone(), migration.digest.clone())]);
        assert_eq!(pending(all.clone(), &BTreeMap::new()), Ok(all.clone()));
        assert_eq!(pending(all.clone(), &applied(&all[0])), Ok(vec![all[1].clone()]));
        let changed = Migration::new("a".into(), "-- another".into());
        let error = pending(all, &applied(&changed)).expect_err("was changed").to_string();
        assert!(error.contains("\"a\""), "{error}");
    }
}

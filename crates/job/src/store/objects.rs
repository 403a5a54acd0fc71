//! Writing, listing and deleting objects one by one, for what is no run: code that is deployed, say.

use std::io::{self, Read};

use object_store::ObjectStoreExt;

use super::{Location, Object, ObjectWriter, runtime};
use crate::{Error, Result};

impl Location {
    /// Writes all of `content` to this object, which appears whole or not at all.
    ///
    /// # Errors
    /// The location is no object of a store, the content cannot be read, or the store refuses it.
    pub fn put(&self, content: &mut dyn Read) -> Result<()> {
        let object = self.object("write")?;
        let mut writer = ObjectWriter::new(object.store.clone(), object.path.clone());
        io::copy(content, &mut writer)
            .and_then(|_| writer.finish())
            .map_err(|e| Error::storage("write", &object.url, e))
    }

    /// Names of the objects in this folder of a store, not of those in folders below it, sorted. A folder that is not
    /// there has none.
    ///
    /// # Errors
    /// The location is no folder of a store, or may not be listed.
    pub fn list(&self) -> Result<Vec<String>> {
        let object = self.object("list")?;
        let objects: Vec<_> = runtime()
            .block_on(object.store.list_with_delimiter(Some(&object.path)))
            .map_err(|e| Error::storage("list", &object.url, e))?
            .objects;
        let mut names: Vec<_> = objects
            .iter()
            .filter_map(|meta| meta.location.filename().map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Deletes this object; one that is not there is deleted already.
    ///
    /// # Errors
    /// The location is no object of a store, or the store refuses.
    pub fn delete(&self) -> Result<()> {
        let object = self.object("delete")?;
        match runtime().block_on(object.store.delete(&object.path)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(Error::storage("delete", &object.url, e)),
        }
    }

    fn object(&self, action: &'static str) -> Result<&Object> {
        match self {
            Self::Remote(object) => Ok(object),
            Self::Local(path) => Err(Error::storage(
                action,
                path.display().to_string(),
                "it is a path, and no URL of an object store",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn objects_come_and_go() {
        let store: Arc<dyn object_store::ObjectStore> =
            Arc::new(object_store::memory::InMemory::new());
        let at = |path: &str| {
            Location::Remote(Object {
                url: format!("memory:///{path}"),
                store: store.clone(),
                path: path.into(),
            })
        };
        assert_eq!(at("deploy").list().unwrap(), [""; 0]);
        for name in [
            "deploy/b.zip",
            "deploy/a.zip",
            "deploy/below/c.zip",
            "d.zip",
        ] {
            at(name).put(&mut name.as_bytes()).unwrap();
        }
        assert_eq!(at("deploy").list().unwrap(), ["a.zip", "b.zip"]);
        assert_eq!(at("deploy/a.zip").meta().unwrap().bytes, 12);
        at("deploy/a.zip").delete().unwrap();
        at("deploy/a.zip").delete().unwrap();
        assert_eq!(at("deploy").list().unwrap(), ["b.zip"]);
        let local = Location::parse("/tmp/x").unwrap();
        assert!(local.list().unwrap_err().to_string().contains("no URL"));
    }
}

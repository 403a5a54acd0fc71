//! Writing, listing and deleting single objects outside of runs, such as deployed code.

use std::io::{self, Read};

use object_store::ObjectStoreExt;

use super::{Location, Object, block_on};
use crate::{Error, Result};

impl Location {
    /// Writes `content` to this object, which appears complete or not at all.
    ///
    /// # Errors
    /// The location is not in a store, the content cannot be read, or the store refuses it.
    pub fn put(&self, content: &mut dyn Read) -> Result<()> {
        let object = self.object("write")?;
        let mut writer = object.writer();
        io::copy(content, &mut writer)
            .and_then(|_| writer.finish())
            .map_err(|e| Error::storage("write", &*object.url, e))
    }

    /// The sorted names of the objects in this folder of a store, without subfolders. A missing folder is empty.
    ///
    /// # Errors
    /// The location is not in a store, or the store refuses it.
    pub fn list(&self) -> Result<Vec<String>> {
        let object = self.object("list")?;
        let objects: Vec<_> = block_on(
            &object.url,
            object.store.list_with_delimiter(Some(&object.path)),
        )
        .map_err(|e| Error::storage("list", &*object.url, e))?
        .objects;
        let mut names: Vec<_> = objects
            .iter()
            .filter_map(|meta| meta.location.filename().map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Deletes this object, if it exists.
    ///
    /// # Errors
    /// The location is not in a store, or the store refuses it.
    pub fn delete(&self) -> Result<()> {
        let object = self.object("delete")?;
        match block_on(&object.url, object.store.delete(&object.path)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(Error::storage("delete", &*object.url, e)),
        }
    }

    fn object(&self, action: &'static str) -> Result<&Object> {
        match self {
            Self::Remote(object) => Ok(object),
            Self::Local(path) => Err(Error::storage(
                action,
                path.display().to_string(),
                "it is a local path, not the URL of an object store",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn objects_are_written_listed_and_deleted() {
        let store: Arc<dyn object_store::ObjectStore> =
            Arc::new(object_store::memory::InMemory::new());
        let at =
            |path: &str| Location::remote(format!("memory:///{path}"), store.clone(), path.into());
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
        assert!(
            local
                .list()
                .unwrap_err()
                .to_string()
                .contains("not the URL")
        );
    }
}

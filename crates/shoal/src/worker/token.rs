//! The bearer token of a worker's callers.

use std::path::Path;

use crate::{Error, Result, Setting};

/// The variable with the token, for workers and their callers.
pub(crate) const VARIABLE: &str = "SHOAL_TOKEN";

/// A secret that callers must send. Only its hash is stored, which is compared in constant time.
#[derive(Clone)]
pub struct Token(blake3::Hash);

impl Token {
    /// The token `text`.
    ///
    /// # Errors
    /// The text is empty, or cannot be sent in a header.
    pub fn new(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let reason =
                "it is empty, or has characters other than letters, digits and punctuation";
            return Err(Error::setting(Setting::Token, reason));
        }
        Ok(Self(blake3::hash(text.as_bytes())))
    }

    /// The token in `file`, or that of the environment.
    ///
    /// # Errors
    /// The file cannot be read, or the token is invalid.
    pub fn find(file: Option<&Path>) -> Result<Option<Self>> {
        if let Some(file) = file {
            let text = std::fs::read_to_string(file)
                .map_err(|e| shoal_job::Error::storage("read", file.display().to_string(), e))?;
            return Self::new(&text).map(Some);
        }
        match std::env::var(VARIABLE) {
            Ok(text) => Self::new(&text).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Whether the value of an `Authorization` header has this token.
    pub fn is_in(&self, authorization: Option<&str>) -> bool {
        let given = authorization.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        given.is_some_and(|token| blake3::hash(token.as_bytes()) == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_matches() {
        let token = Token::new("s3cret\n").unwrap();
        assert!(token.is_in(Some("Bearer s3cret")) && token.is_in(Some("bearer  s3cret ")));
        for given in [
            None,
            Some(""),
            Some("s3cret"),
            Some("Bearer"),
            Some("Bearer s3cre"),
            Some("Basic s3cret"),
        ] {
            assert!(!token.is_in(given), "{given:?}");
        }
        assert!(Token::new(" \n").is_err() && Token::new("a b").is_err());
    }
}

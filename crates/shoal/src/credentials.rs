//! What to do about credentials that are missing or refused.

/// How users give credentials for AWS.
pub(crate) const SET: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (`aws sso login` renews it), and AWS_REGION";

/// What errors about credentials of AWS contain: those of its clients, and the codes of its services.
const SIGNS: [&str; 8] = [
    "no credentials",
    "credentials provider",
    "provided credentials",
    "valid authentication credentials",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
];
/// URLs of stores of others.
const OTHERS: [&str; 5] = ["gs://", "az://", "azure://", "abfs://", "abfss://"];

/// What to do about an error with this text, if it is about credentials of AWS: the same as `doctor` says.
pub fn advice(error: &str) -> Option<&'static str> {
    let has_one_of = |parts: &[&str]| parts.iter().any(|part| error.contains(part));
    (has_one_of(&SIGNS) && !has_one_of(&OTHERS)).then_some(SET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_about_credentials_of_aws_are_advised() {
        let missing = "The operation lacked valid authentication credentials for path AWS";
        assert_eq!(advice(missing), Some(SET));
        assert_eq!(
            advice("403 Forbidden: <Code>InvalidAccessKeyId</Code>"),
            Some(SET)
        );
        assert_eq!(advice("failed to read gs://b/x: no credentials"), None);
        assert_eq!(advice("no space left on the device"), None);
    }
}

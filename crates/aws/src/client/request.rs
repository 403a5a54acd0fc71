//! Requests in the forms of AWS's protocols.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use shoal_job::http::Method;
use shoal_job::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

/// What is encoded in a URL and its signature: all but letters, digits and these (*Create a signed AWS API request*).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One of AWS's services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Service {
    /// Its name in hosts and signatures.
    pub(super) name: &'static str,
    /// Its name in variables.
    pub(super) id: &'static str,
}

const CLOUDFORMATION: Service = Service {
    name: "cloudformation",
    id: "CLOUDFORMATION",
};
const LAMBDA: Service = Service {
    name: "lambda",
    id: "LAMBDA",
};
const STATES: Service = Service {
    name: "states",
    id: "SFN",
};
const STS: Service = Service {
    name: "sts",
    id: "STS",
};

impl Service {
    /// *AWS service endpoints* (`general/latest/gr/rande.html`).
    pub(super) fn endpoint(self, region: &str) -> String {
        let domain = match region.starts_with("cn-") {
            true => "amazonaws.com.cn",
            false => "amazonaws.com",
        };
        format!("https://{}.{region}.{domain}", self.name)
    }
}

/// A request to a service, which can be sent repeatedly.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(super) service: Service,
    pub(super) method: Method,
    /// Starts with `/`. Its parameters are [encoded](encode).
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A parameter of a path or a form.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

impl Request {
    fn post(service: Service, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            service,
            method: Method::POST,
            path: "/".into(),
            headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]),
            body: body.into(),
        }
    }

    /// Gets something from Lambda.
    pub(crate) fn lambda(path: String) -> Self {
        Self {
            service: LAMBDA,
            method: Method::GET,
            path,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// Calls a function.
    pub(crate) fn invoke(function: &str, payload: impl Into<Bytes>) -> Self {
        Self {
            path: format!("/2015-03-31/functions/{}/invocations", encode(function)),
            ..Self::post(LAMBDA, "application/json", payload)
        }
    }

    /// Calls an operation of Step Functions.
    pub(crate) fn states(operation: &'static str, input: &Value) -> Self {
        let request = Self::post(STATES, "application/x-amz-json-1.0", input.to_string());
        let target = format!("AWSStepFunctions.{operation}");
        let target = HeaderValue::from_str(&target).expect("names of operations are letters");
        request.with(HeaderName::from_static("x-amz-target"), target)
    }

    /// Calls an operation of CloudFormation.
    pub(crate) fn cloudformation(operation: &str, fields: &[(&str, &str)]) -> Self {
        Self::form(CLOUDFORMATION, "2010-05-15", operation, fields)
    }

    /// Calls an operation of STS.
    pub(crate) fn sts(operation: &str) -> Self {
        Self::form(STS, "2011-06-15", operation, &[])
    }

    fn form(service: Service, version: &str, operation: &str, fields: &[(&str, &str)]) -> Self {
        let mut form = format!("Action={operation}&Version={version}");
        for (name, value) in fields {
            form += &format!("&{name}={}", encode(value));
        }
        Self::post(service, "application/x-www-form-urlencoded", form)
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;

use serde_json::{Value, json};
use shoal_testing::{MINISTACK, venv};

use super::*;

const NOT_FOUND: &str = r#"{"Type": "User", "Message": "Function not found"}"#;

/// Recomputes the signature of a request with the library of AWS for Python.
const RECOMPUTE: &str = r#"
import json, sys
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
seen = json.loads(sys.argv[1])
headers = {k: v for k, v in seen["headers"].items() if k in seen["signed"]}
request = AWSRequest(seen["method"], "http://" + headers["host"] + seen["path"], headers, seen["body"])
request.context["timestamp"] = headers["x-amz-date"]
auth = SigV4Auth(Credentials("none", "none"), seen["service"], "eu-central-1")
auth.timestamp = headers["x-amz-date"]
print(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))
"#;

/// What a server saw of a request.
fn read_request(stream: impl Read) -> Value {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let first = line();
    let mut first = first.split(' ');
    let (method, path) = (first.next().unwrap(), first.next().unwrap());
    let mut headers = serde_json::Map::new();
    loop {
        let line = line();
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), value.into());
    }
    let length = headers.get("content-length").and_then(Value::as_str);
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    json!({ "method": method, "path": path, "headers": headers, "body": body })
}

/// Sends `request` to a server that answers as `answers` say, one for each attempt. Returns the result, and what the server
/// saw.
fn exchange(request: Request, answers: &[(&str, &str)]) -> (Result<Answer, CallError>, Vec<Value>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::new(&Config::of_emulator("eu-central-1", &endpoint)).unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let serve = |&(status, body): &(&str, &str)| {
                let (mut stream, _) = listener.accept().unwrap();
                let seen = read_request(&stream);
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}");
                write!(stream, "{head}\r\nConnection: close\r\n\r\n{body}").unwrap();
                seen
            };
            answers.iter().map(serve).collect()
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let result = runtime.block_on(client.repeat(request));
        (result, server.join().unwrap())
    })
}

#[test]
fn signatures_are_those_of_aws() {
    let arn = "arn:aws:lambda:eu-central-1:123456789012:function:shoal:live";
    let get = format!("/2015-03-31/functions/{}/configuration", encode(arn));
    for (service, request) in [
        ("lambda", Request::invoke(arn, r#"{"batch": "ü"}"#)),
        ("lambda", Request::lambda(get)),
        (
            "states",
            Request::states("StartExecution", &json!({ "input": "{}" })),
        ),
        (
            "cloudformation",
            Request::cloudformation("CreateStack", &[("TemplateBody", "{\"a b\": \"ü/~*'\"}\n")]),
        ),
    ] {
        let (answer, seen) = exchange(request, &[("200 OK", "{}")]);
        assert_eq!(answer.unwrap().body, b"{}");
        let mut seen = seen.into_iter().next().unwrap();
        let authorization = seen["headers"]["authorization"].as_str().unwrap();
        let (head, signature) = authorization.split_once(", Signature=").unwrap();
        let signature = signature.to_owned();
        let (_, signed) = head.split_once("SignedHeaders=").unwrap();
        seen["signed"] = signed.split(';').collect();
        seen["service"] = service.into();
        let recomputed = Command::new(venv(MINISTACK).join("python"))
            .args(["-c", RECOMPUTE, &seen.to_string()])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&recomputed.stderr);
        assert_eq!(
            String::from_utf8_lossy(&recomputed.stdout).trim(),
            signature,
            "{seen:#} {error}"
        );
    }
}

#[test]
fn errors_are_read_and_those_that_may_pass_are_repeated() {
    let request = || Request::lambda("/2016-08-19/account-settings".into());
    let xml = "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code>\
               <Message>Stack &quot;a&quot; does not exist</Message></Error></ErrorResponse>";
    let json = r#"{"__type": "com.amazonaws.swf#ExecutionDoesNotExist", "message": "gone"}"#;
    for (status, body, code, message) in [
        ("404 Not Found", NOT_FOUND, "", "Function not found"),
        (
            "400 Bad Request",
            xml,
            "ValidationError",
            "Stack \"a\" does not exist",
        ),
        ("400 Bad Request", json, "ExecutionDoesNotExist", "gone"),
        ("403 Forbidden", "no", "", ""),
    ] {
        let (answer, _) = exchange(request(), &[(status, body)]);
        let error = answer.unwrap_err();
        assert_eq!((error.code(), error.message()), (code, message));
        let number = status.split(' ').next().unwrap();
        assert!(
            error.to_string().contains(&format!("HTTP {number}")),
            "{error}"
        );
    }
    let throttled = r#"{"__type": "ThrottlingException"}"#;
    let passing = [
        ("503 Unavailable", "busy"),
        ("400 Bad Request", throttled),
        ("200 OK", "{}"),
    ];
    let (answer, seen) = exchange(request(), &passing);
    assert_eq!((answer.unwrap().body, seen.len()), (b"{}".to_vec(), 3));
}

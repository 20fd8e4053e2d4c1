//! What is said to those who ask for JetStream, which an embedded lattice has not.

use serde_json::json;

use crate::subject;
use crate::transport::Message;

/// JetStream's own number for "not enabled on this server".
const NOT_ENABLED: u16 = 10_039;
const DESCRIPTION: &str = "JetStream not enabled: an embedded lattice keeps its own state; use a nats-server with -js";

/// The answer to `question`, if it is one to JetStream.
pub(super) fn refusal(question: &Message) -> Option<Message> {
    let operation = subject::jetstream_operation(&question.subject)?;
    let reply = question.reply.clone()?;
    let error = json!({ "code": 503, "err_code": NOT_ENABLED, "description": DESCRIPTION });
    let answer = json!({ "type": answer_type(operation), "error": error });
    Some(Message::new(reply, answer.to_string()))
}

/// `STREAM.CREATE.orders` is answered by an `io.nats.jetstream.api.v1.stream_create_response`.
fn answer_type(operation: &str) -> String {
    let mut words: Vec<_> = operation
        .split('.')
        .take_while(|word| word.bytes().all(|byte| byte.is_ascii_uppercase()))
        .take(3)
        .map(str::to_ascii_lowercase)
        .collect();
    if words == ["info"] {
        words = vec!["account_info".into()];
    }
    format!("io.nats.jetstream.api.v1.{}_response", words.join("_"))
}

#[cfg(test)]
mod tests {
    use super::answer_type;

    #[test]
    fn an_answer_has_the_type_of_its_question() {
        for (operation, expected) in [
            ("INFO", "account_info"),
            ("STREAM.CREATE.orders", "stream_create"),
            ("STREAM.NAMES", "stream_names"),
            ("STREAM.MSG.GET.orders", "stream_msg_get"),
            ("CONSUMER.CREATE.orders.x", "consumer_create"),
        ] {
            assert_eq!(answer_type(operation), format!("io.nats.jetstream.api.v1.{expected}_response"));
        }
    }
}

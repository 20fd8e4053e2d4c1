//! Greets people over an interface of its own, `demo:greet/greeter`: other actors call it, and so does the command line.

use demo::greet::types::{Greeting, Language, Occasion, Person, Refusal, Tone};
use exports::demo::greet::greeter::Guest;

wit_bindgen::generate!({ world: "demo:greeter-actor/greeter", path: ["../../wit/greet", "wit"], generate_all });

const LONGEST_NAME_CHARS: usize = 100;

struct Greeter;

impl Guest for Greeter {
    fn greet(who: Person, tone: Tone) -> Result<Greeting, Refusal> {
        let name = who.name.trim();
        let chars = name.chars().count();
        if chars == 0 {
            return Err(Refusal::Nameless);
        }
        if chars > LONGEST_NAME_CHARS {
            return Err(Refusal::TooLong(u32::try_from(chars).unwrap_or(u32::MAX)));
        }
        let addressee = match &who.title {
            Some(title) if tone.contains(Tone::FORMAL) => format!("{title} {name}"),
            _ => name.to_owned(),
        };
        let text = format!("{}, {addressee}{}", opening(who.language, tone), wish(&who.occasion));
        let text = if tone.contains(Tone::LOUD) { text.to_uppercase() + "!" } else { text };
        Ok(Greeting { text, language: who.language })
    }

    async fn greet_all(guests: Vec<Person>, tone: Tone) -> Vec<Result<Greeting, Refusal>> {
        guests.into_iter().map(|guest| Self::greet(guest, tone)).collect()
    }
}

fn opening(language: Language, tone: Tone) -> &'static str {
    let is_formal = tone.contains(Tone::FORMAL);
    match language {
        Language::English if is_formal => "Good day",
        Language::English => "Hello",
        Language::German if is_formal => "Guten Tag",
        Language::German => "Hallo",
        Language::Swahili if is_formal => "Shikamoo",
        Language::Swahili => "Habari",
    }
}

fn wish(occasion: &Occasion) -> String {
    match occasion {
        Occasion::AnyDay => String::new(),
        Occasion::Birthday(age) => format!(", all the best for the years after {age}"),
        Occasion::Holiday(name) => format!(", and a happy {name}"),
    }
}

export!(Greeter);

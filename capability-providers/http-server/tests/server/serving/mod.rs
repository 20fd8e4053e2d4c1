//! What it does with requests and answers, over both versions of HTTP.

mod bodies;
mod client;
mod endings;
mod links;
mod streams;

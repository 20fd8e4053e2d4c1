//! Types of functions in custom interfaces, as a tree of our own: wasmtime's are tied to one component.
//!
//! Their canonical text is what signatures are made of (names and order, not asyncness).

use std::fmt;

use trellis_lattice::contract::Signature;
use wasmtime::component::types::{self as wasm, ComponentFunc};

/// Nodes that the types of one function may have: nesting multiplies them.
pub(crate) const MAX_NODES: usize = 10_000;
/// How deep the types of one function may nest.
pub(crate) const MAX_DEPTH: usize = 64;

/// The type of a value that can travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
    List(Box<Type>),
    Record(Vec<(String, Type)>),
    Tuple(Vec<Type>),
    Variant(Vec<(String, Option<Type>)>),
    Enum(Vec<String>),
    Option(Box<Type>),
    Result(Option<Box<Type>>, Option<Box<Type>>),
    Flags(Vec<String>),
}

/// The type of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FuncType {
    /// Its parameters, in order.
    pub(crate) params: Vec<(String, Type)>,
    /// Its result, if it has one.
    pub(crate) result: Option<Type>,
}

/// Why values of a type cannot travel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsupported {
    /// It is of a kind that means something in one instance only.
    #[error("has a {0} in its type, which cannot be passed between actors")]
    Kind(&'static str),
    /// It is over the bounds of this module.
    #[error("has a type that is too large: at most {MAX_NODES} parts, nested {MAX_DEPTH} deep")]
    TooLarge,
}

impl FuncType {
    /// The type of `func`.
    ///
    /// # Errors
    /// When it holds what cannot travel.
    pub(crate) fn of(func: &ComponentFunc) -> Result<Self, Unsupported> {
        let mut convert = Convert { nodes: 0 };
        let params = func
            .params()
            .map(|(name, ty)| Ok((name.to_owned(), convert.ty(&ty, 0)?)))
            .collect::<Result<_, Unsupported>>()?;
        let result = func.results().next().map(|ty| convert.ty(&ty, 0)).transpose()?;
        Ok(Self { params, result })
    }

    /// The signature of a function of this type.
    pub(crate) fn signature(&self) -> Signature {
        Signature::of(&self.to_string())
    }
}

struct Convert {
    nodes: usize,
}

impl Convert {
    fn ty(&mut self, ty: &wasm::Type, depth: usize) -> Result<Type, Unsupported> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            return Err(Unsupported::TooLarge);
        }
        let depth = depth + 1;
        Ok(match ty {
            wasm::Type::Bool => Type::Bool,
            wasm::Type::S8 => Type::S8,
            wasm::Type::U8 => Type::U8,
            wasm::Type::S16 => Type::S16,
            wasm::Type::U16 => Type::U16,
            wasm::Type::S32 => Type::S32,
            wasm::Type::U32 => Type::U32,
            wasm::Type::S64 => Type::S64,
            wasm::Type::U64 => Type::U64,
            wasm::Type::Float32 => Type::F32,
            wasm::Type::Float64 => Type::F64,
            wasm::Type::Char => Type::Char,
            wasm::Type::String => Type::String,
            wasm::Type::List(list) => Type::List(self.boxed(&list.ty(), depth)?),
            wasm::Type::Option(option) => Type::Option(self.boxed(&option.ty(), depth)?),
            wasm::Type::Result(result) => {
                Type::Result(self.maybe_boxed(result.ok(), depth)?, self.maybe_boxed(result.err(), depth)?)
            }
            wasm::Type::Enum(names) => Type::Enum(self.names(names.names())?),
            wasm::Type::Flags(names) => Type::Flags(self.names(names.names())?),
            wasm::Type::Record(_) | wasm::Type::Tuple(_) | wasm::Type::Variant(_) => self.compound(ty, depth)?,
            wasm::Type::Own(_) | wasm::Type::Borrow(_) => return Err(Unsupported::Kind("resource")),
            wasm::Type::Stream(_) => return Err(Unsupported::Kind("stream")),
            wasm::Type::Future(_) => return Err(Unsupported::Kind("future")),
            wasm::Type::ErrorContext => return Err(Unsupported::Kind("error-context")),
            wasm::Type::Map(_) => return Err(Unsupported::Kind("map")),
            wasm::Type::FixedLengthList(_) => return Err(Unsupported::Kind("list of fixed length")),
        })
    }

    fn compound(&mut self, ty: &wasm::Type, depth: usize) -> Result<Type, Unsupported> {
        Ok(match ty {
            wasm::Type::Record(record) => Type::Record(
                record.fields().map(|field| Ok((field.name.to_owned(), self.ty(&field.ty, depth)?))).collect::<Result<
                    _,
                    Unsupported,
                >>(
                )?,
            ),
            wasm::Type::Tuple(tuple) => {
                Type::Tuple(tuple.types().map(|ty| self.ty(&ty, depth)).collect::<Result<_, _>>()?)
            }
            wasm::Type::Variant(variant) => Type::Variant(
                variant
                    .cases()
                    .map(|case| {
                        let payload = case.ty.map(|ty| self.ty(&ty, depth)).transpose()?;
                        Ok((case.name.to_owned(), payload))
                    })
                    .collect::<Result<_, Unsupported>>()?,
            ),
            _ => return Err(Unsupported::Kind("type of an unknown kind")),
        })
    }

    fn boxed(&mut self, ty: &wasm::Type, depth: usize) -> Result<Box<Type>, Unsupported> {
        self.ty(ty, depth).map(Box::new)
    }

    fn maybe_boxed(&mut self, ty: Option<wasm::Type>, depth: usize) -> Result<Option<Box<Type>>, Unsupported> {
        ty.map(|ty| self.boxed(&ty, depth)).transpose()
    }

    fn names<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Result<Vec<String>, Unsupported> {
        let names: Vec<_> = names.map(str::to_owned).collect();
        self.nodes += names.len();
        if self.nodes > MAX_NODES { Err(Unsupported::TooLarge) } else { Ok(names) }
    }
}

impl fmt::Display for FuncType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("func(")?;
        list(f, &self.params, |f, (name, ty)| write!(f, "{name}: {ty}"))?;
        f.write_str(")")?;
        self.result.as_ref().map_or(Ok(()), |ty| write!(f, " -> {ty}"))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::S8 => f.write_str("s8"),
            Self::U8 => f.write_str("u8"),
            Self::S16 => f.write_str("s16"),
            Self::U16 => f.write_str("u16"),
            Self::S32 => f.write_str("s32"),
            Self::U32 => f.write_str("u32"),
            Self::S64 => f.write_str("s64"),
            Self::U64 => f.write_str("u64"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::Char => f.write_str("char"),
            Self::String => f.write_str("string"),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Option(some) => write!(f, "option<{some}>"),
            Self::Result(ok, err) => write!(f, "result<{}, {}>", OrNone(ok), OrNone(err)),
            Self::Enum(names) => braced(f, "enum", names, |f, name| f.write_str(name)),
            Self::Flags(names) => braced(f, "flags", names, |f, name| f.write_str(name)),
            Self::Record(fields) => braced(f, "record", fields, |f, (name, ty)| write!(f, "{name}: {ty}")),
            Self::Variant(cases) => braced(f, "variant", cases, |f, (name, payload)| match payload {
                Some(ty) => write!(f, "{name}({ty})"),
                None => f.write_str(name),
            }),
            Self::Tuple(types) => {
                f.write_str("tuple<")?;
                list(f, types, |f, ty| write!(f, "{ty}"))?;
                f.write_str(">")
            }
        }
    }
}

struct OrNone<'a>(&'a Option<Box<Type>>);

impl fmt::Display for OrNone<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ty) => write!(f, "{ty}"),
            None => f.write_str("_"),
        }
    }
}

type Write<T> = fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result;

fn list<T>(f: &mut fmt::Formatter<'_>, items: &[T], write: Write<T>) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write(f, item)?;
    }
    Ok(())
}

fn braced<T>(f: &mut fmt::Formatter<'_>, word: &str, items: &[T], write: Write<T>) -> fmt::Result {
    write!(f, "{word}{{")?;
    list(f, items, write)?;
    f.write_str("}")
}

#[cfg(test)]
mod tests {
    use super::{FuncType, Type};

    #[test]
    fn a_type_has_one_text() {
        let person = Type::Record(vec![
            ("name".into(), Type::String),
            ("tags".into(), Type::List(Box::new(Type::Option(Box::new(Type::U8))))),
            ("kind".into(), Type::Variant(vec![("a".into(), None), ("b".into(), Some(Type::F64))])),
        ]);
        let func = FuncType {
            params: vec![("who".into(), person), ("mode".into(), Type::Flags(vec!["x".into(), "y".into()]))],
            result: Some(Type::Result(None, Some(Box::new(Type::Tuple(vec![Type::Char, Type::Bool]))))),
        };
        assert_eq!(
            func.to_string(),
            "func(who: record{name: string, tags: list<option<u8>>, kind: variant{a, b(f64)}}, mode: flags{x, y}) \
             -> result<_, tuple<char, bool>>"
        );
        let mut renamed = func.clone();
        renamed.params[0].0 = "whom".into();
        assert_ne!(func.signature(), renamed.signature());
    }
}

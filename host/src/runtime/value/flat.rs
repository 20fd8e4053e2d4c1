//! Values without a type beside them: the few kinds that typed wrappers carry, byte lists among them.

use bytes::Bytes;
use trellis_lattice::error::CallError;
use wasmtime::component::{ComponentType, Lift, Lower, Val};

use super::Part;
use super::pack::{Fault, Reader, Writer};
use super::types::{FuncType, Type};

/// A value of one of the kinds that are common in calls with byte lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flat {
    Bool(bool),
    U32(u32),
    U64(u64),
    String(String),
    Bytes(Bytes),
    Option(Option<Box<Flat>>),
    Result(Result<Option<Box<Flat>>, Option<Box<Flat>>>),
}

/// A Rust type that a WIT type of these kinds is lifted to and lowered from.
pub(crate) trait Leaf: ComponentType + Lift + Lower + Send + Sync + Sized + 'static {
    /// Whether `ty` is that WIT type.
    fn is(ty: &Type) -> bool;
    /// The value.
    fn into_flat(self) -> Flat;
    /// The value, if it is of this type.
    fn from_flat(flat: Flat) -> Option<Self>;
}

macro_rules! leaf {
    ($rust:ty, $case:ident, $ty:pat) => {
        impl Leaf for $rust {
            fn is(ty: &Type) -> bool {
                matches!(ty, $ty)
            }
            fn into_flat(self) -> Flat {
                Flat::$case(self)
            }
            fn from_flat(flat: Flat) -> Option<Self> {
                if let Flat::$case(value) = flat { Some(value) } else { None }
            }
        }
    };
}

leaf!(bool, Bool, Type::Bool);
leaf!(u32, U32, Type::U32);
leaf!(u64, U64, Type::U64);
leaf!(String, String, Type::String);

impl Leaf for Bytes {
    fn is(ty: &Type) -> bool {
        matches!(ty, Type::List(item) if **item == Type::U8)
    }
    fn into_flat(self) -> Flat {
        Flat::Bytes(self)
    }
    fn from_flat(flat: Flat) -> Option<Self> {
        if let Flat::Bytes(bytes) = flat { Some(bytes) } else { None }
    }
}

impl<T: Leaf> Leaf for Option<T> {
    fn is(ty: &Type) -> bool {
        matches!(ty, Type::Option(some) if T::is(some))
    }
    fn into_flat(self) -> Flat {
        Flat::Option(self.map(|value| Box::new(value.into_flat())))
    }
    fn from_flat(flat: Flat) -> Option<Self> {
        match flat {
            Flat::Option(None) => Some(None),
            Flat::Option(Some(value)) => T::from_flat(*value).map(Some),
            _ => None,
        }
    }
}

impl<T: Leaf> Leaf for Result<T, String> {
    fn is(ty: &Type) -> bool {
        matches!(ty, Type::Result(Some(ok), Some(err)) if T::is(ok) && String::is(err))
    }
    fn into_flat(self) -> Flat {
        Flat::Result(match self {
            Ok(value) => Ok(Some(Box::new(value.into_flat()))),
            Err(error) => Err(Some(Box::new(error.into_flat()))),
        })
    }
    fn from_flat(flat: Flat) -> Option<Self> {
        match flat {
            Flat::Result(Ok(Some(value))) => T::from_flat(*value).map(Ok),
            Flat::Result(Err(Some(error))) => String::from_flat(*error).map(Err),
            _ => None,
        }
    }
}

impl Leaf for Result<(), String> {
    fn is(ty: &Type) -> bool {
        matches!(ty, Type::Result(None, Some(err)) if String::is(err))
    }
    fn into_flat(self) -> Flat {
        Flat::Result(self.map(|()| None).map_err(|error| Some(Box::new(error.into_flat()))))
    }
    fn from_flat(flat: Flat) -> Option<Self> {
        match flat {
            Flat::Result(Ok(None)) => Some(Ok(())),
            Flat::Result(Err(Some(error))) => String::from_flat(*error).map(Err),
            _ => None,
        }
    }
}

/// `part` as bytes, in the same form as `pack` gives.
///
/// # Errors
/// `TooLarge` when a length does not fit.
pub(super) fn encode(part: &Part<Flat>) -> Result<Vec<u8>, CallError> {
    let mut writer = Writer::default();
    let written = match part {
        Part::Params(values) => {
            let head = writer.array(values.len());
            head.and_then(|()| values.iter().try_for_each(|value| put(&mut writer, value)))
        }
        Part::Result(Some(value)) => put(&mut writer, value),
        Part::Result(None) => writer.nil(),
    };
    written.map_err(|fault| fault.of(part.name()))?;
    Ok(writer.into_bytes())
}

fn put(writer: &mut Writer, value: &Flat) -> Result<(), Fault> {
    match value {
        Flat::Bool(value) => writer.bool(*value),
        Flat::U32(value) => writer.uint(*value),
        Flat::U64(value) => writer.uint(*value),
        Flat::String(value) => writer.text(value),
        Flat::Bytes(value) => writer.bytes(value),
        Flat::Option(None) => writer.nil(),
        Flat::Option(Some(value)) => {
            if matches!(**value, Flat::Option(_)) {
                writer.array(1)?;
            }
            put(writer, value)
        }
        Flat::Result(Ok(value)) => put_side(writer, "Ok", value.as_deref()),
        Flat::Result(Err(value)) => put_side(writer, "Err", value.as_deref()),
    }
}

fn put_side(writer: &mut Writer, name: &str, value: Option<&Flat>) -> Result<(), Fault> {
    writer.case(name)?;
    match value {
        Some(value) => put(writer, value),
        None => writer.nil(),
    }
}

/// The parameters that `bytes` hold; `ty` is made of flat kinds only.
///
/// # Errors
/// `Contract` when they are of another type, `TooLarge` when they are over the bounds of a call.
pub(super) fn decode_params(bytes: &[u8], ty: &FuncType) -> Result<Vec<Flat>, CallError> {
    Reader::all(bytes, |reader| reader.params_with(ty, take)).map_err(|fault| fault.of("the arguments"))
}

/// The result that `bytes` hold; `ty` is made of flat kinds only.
///
/// # Errors
/// As [`decode_params`].
pub(super) fn decode_result(bytes: &[u8], ty: &FuncType) -> Result<Option<Flat>, CallError> {
    let read = |reader: &mut Reader<'_>| match &ty.result {
        Some(ty) => take(reader, ty).map(Some),
        None => reader.nil().map(|()| None),
    };
    Reader::all(bytes, read).map_err(|fault| fault.of("the result"))
}

fn take(reader: &mut Reader<'_>, ty: &Type) -> Result<Flat, Fault> {
    Ok(match ty {
        Type::Bool => Flat::Bool(reader.bool()?),
        Type::U32 => Flat::U32(reader.u64()?.try_into().map_err(|_| Fault::Shape)?),
        Type::U64 => Flat::U64(reader.u64()?),
        Type::String => Flat::String(reader.text()?.to_owned()),
        Type::List(item) if **item == Type::U8 => Flat::Bytes(reader.bytes()?.into()),
        Type::Option(some) if !matches!(**some, Type::Option(_)) => {
            Flat::Option(if reader.is_nil()? { None } else { Some(Box::new(take(reader, some)?)) })
        }
        Type::Result(ok, err) => match reader.case()? {
            "Ok" => Flat::Result(Ok(take_side(reader, ok.as_deref())?)),
            "Err" => Flat::Result(Err(take_side(reader, err.as_deref())?)),
            _ => return Err(Fault::Shape),
        },
        _ => return Err(Fault::Shape),
    })
}

fn take_side(reader: &mut Reader<'_>, ty: Option<&Type>) -> Result<Option<Box<Flat>>, Fault> {
    match ty {
        Some(ty) => Ok(Some(Box::new(take(reader, ty)?))),
        None => reader.nil().map(|()| None),
    }
}

impl From<Flat> for Val {
    fn from(flat: Flat) -> Self {
        let boxed = |value: Option<Box<Flat>>| value.map(|value| Box::new(Self::from(*value)));
        match flat {
            Flat::Bool(value) => Self::Bool(value),
            Flat::U32(value) => Self::U32(value),
            Flat::U64(value) => Self::U64(value),
            Flat::String(value) => Self::String(value),
            Flat::Bytes(value) => Self::List(value.iter().copied().map(Self::U8).collect()),
            Flat::Option(value) => Self::Option(boxed(value)),
            Flat::Result(Ok(value)) => Self::Result(Ok(boxed(value))),
            Flat::Result(Err(value)) => Self::Result(Err(boxed(value))),
        }
    }
}

impl Flat {
    /// The same as a flat value, if it is of a kind that can be one.
    pub(super) fn of(value: Val, ty: &Type) -> Option<Self> {
        let boxed = |value: Option<Box<Val>>, ty: Option<&Type>| match (value, ty) {
            (Some(value), Some(ty)) => Self::of(*value, ty).map(|value| Some(Box::new(value))),
            (None, None) => Some(None),
            _ => None,
        };
        Some(match (value, ty) {
            (Val::Bool(value), Type::Bool) => Self::Bool(value),
            (Val::U32(value), Type::U32) => Self::U32(value),
            (Val::U64(value), Type::U64) => Self::U64(value),
            (Val::String(value), Type::String) => Self::String(value),
            (Val::List(items), Type::List(item)) if **item == Type::U8 => {
                let byte = |item| if let Val::U8(byte) = item { Some(byte) } else { None };
                Self::Bytes(items.into_iter().map(byte).collect::<Option<Vec<u8>>>()?.into())
            }
            (Val::Option(None), Type::Option(_)) => Self::Option(None),
            (Val::Option(value), Type::Option(ty)) => Self::Option(boxed(value, Some(ty.as_ref()))?),
            (Val::Result(Ok(value)), Type::Result(ty, _)) => Self::Result(Ok(boxed(value, ty.as_deref())?)),
            (Val::Result(Err(value)), Type::Result(_, ty)) => Self::Result(Err(boxed(value, ty.as_deref())?)),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::pack;
    use super::{Flat, Leaf, Part, decode_params, decode_result, encode};
    use crate::runtime::value::types::{FuncType, Type};
    use bytes::Bytes;
    use wasmtime::component::Val;

    fn check<T: Leaf + Clone + PartialEq + std::fmt::Debug>(ty: Type, value: T) {
        assert!(T::is(&ty), "{ty}");
        let flat = value.clone().into_flat();
        let ty = FuncType { params: vec![("v".into(), ty.clone())], result: Some(ty) };
        let result = ty.result.as_ref().expect("has one");
        let bytes = encode(&Part::Params(vec![flat.clone()])).expect("encodes");
        assert_eq!(bytes, pack::encode(&Part::Params(vec![Val::from(flat.clone())]), &ty).expect("fits"));
        assert_eq!(decode_params(&bytes, &ty).expect("decodes"), std::slice::from_ref(&flat));
        let bytes = encode(&Part::Result(Some(flat.clone()))).expect("encodes");
        assert_eq!(decode_result(&bytes, &ty).expect("decodes"), Some(flat.clone()));
        assert_eq!(Flat::of(Val::from(flat.clone()), result), Some(flat.clone()));
        assert_eq!(T::from_flat(flat), Some(value));
    }

    #[test]
    fn flat_values_travel_like_all_others() {
        let bytes = || Type::List(Box::new(Type::U8));
        let string = || Some(Box::new(Type::String));
        check(Type::Bool, true);
        check(Type::U32, 7_u32);
        check(Type::U64, u64::MAX);
        check(Type::String, "Ada".to_owned());
        check(bytes(), Bytes::from_static(b"abc"));
        check(bytes(), Bytes::new());
        check(Type::Option(Box::new(bytes())), Some(Bytes::from_static(b"x")));
        check(Type::Option(Box::new(bytes())), None::<Bytes>);
        check(Type::Result(Some(Box::new(bytes())), string()), Ok::<_, String>(Bytes::from_static(b"x")));
        check(Type::Result(Some(Box::new(bytes())), string()), Err::<Bytes, _>("no".to_owned()));
        check(Type::Result(None, string()), Ok::<(), String>(()));
    }
}

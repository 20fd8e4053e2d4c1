//! Values to MessagePack.

use rmp::encode;
use wasmtime::component::Val;

use super::super::types::{FuncType, Type};
use super::Fault;

/// Appends values to bytes.
#[derive(Default)]
pub(in super::super) struct Writer {
    out: Vec<u8>,
}

type Written = Result<(), Fault>;

impl Writer {
    pub(in super::super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(in super::super) fn nil(&mut self) -> Written {
        encode::write_nil(&mut self.out).map_err(|_| Fault::TooLarge)
    }

    #[expect(clippy::fn_params_excessive_bools, reason = "the value to be written is one")]
    pub(in super::super) fn bool(&mut self, value: bool) -> Written {
        encode::write_bool(&mut self.out, value).map_err(|_| Fault::TooLarge)
    }

    pub(in super::super) fn uint(&mut self, value: impl Into<u64>) -> Written {
        encode::write_uint(&mut self.out, value.into()).map(drop).map_err(|_| Fault::TooLarge)
    }

    fn sint(&mut self, value: impl Into<i64>) -> Written {
        encode::write_sint(&mut self.out, value.into()).map(drop).map_err(|_| Fault::TooLarge)
    }

    pub(in super::super) fn text(&mut self, value: &str) -> Written {
        encode::write_str(&mut self.out, value).map_err(|_| Fault::TooLarge)
    }

    pub(in super::super) fn bytes(&mut self, value: &[u8]) -> Written {
        encode::write_bin(&mut self.out, value).map_err(|_| Fault::TooLarge)
    }

    pub(in super::super) fn array(&mut self, len: usize) -> Written {
        let len = u32::try_from(len).map_err(|_| Fault::TooLarge)?;
        encode::write_array_len(&mut self.out, len).map(drop).map_err(|_| Fault::TooLarge)
    }

    /// The case of a variant whose payload follows.
    pub(in super::super) fn case(&mut self, name: &str) -> Written {
        encode::write_map_len(&mut self.out, 1).map_err(|_| Fault::TooLarge)?;
        self.text(name)
    }

    pub(super) fn params(&mut self, values: &[Val], ty: &FuncType) -> Written {
        same_length(values, &ty.params)?;
        self.array(values.len())?;
        values.iter().zip(&ty.params).try_for_each(|(value, (_, ty))| self.value(value, ty))
    }

    pub(super) fn value(&mut self, value: &Val, ty: &Type) -> Written {
        match (value, ty) {
            (Val::Bool(value), Type::Bool) => self.bool(*value),
            (Val::S8(value), Type::S8) => self.sint(*value),
            (Val::S16(value), Type::S16) => self.sint(*value),
            (Val::S32(value), Type::S32) => self.sint(*value),
            (Val::S64(value), Type::S64) => self.sint(*value),
            (Val::U8(value), Type::U8) => self.uint(*value),
            (Val::U16(value), Type::U16) => self.uint(*value),
            (Val::U32(value), Type::U32) => self.uint(*value),
            (Val::U64(value), Type::U64) => self.uint(*value),
            (Val::Float32(value), Type::F32) => encode::write_f32(&mut self.out, *value).map_err(|_| Fault::TooLarge),
            (Val::Float64(value), Type::F64) => encode::write_f64(&mut self.out, *value).map_err(|_| Fault::TooLarge),
            (Val::Char(value), Type::Char) => self.text(value.encode_utf8(&mut [0; 4])),
            (Val::String(value), Type::String) => self.text(value),
            _ => self.compound(value, ty),
        }
    }

    fn compound(&mut self, value: &Val, ty: &Type) -> Written {
        match (value, ty) {
            (Val::List(items), Type::List(ty)) => self.list(items, ty),
            (Val::Record(values), Type::Record(fields)) => self.record(values, fields),
            (Val::Tuple(values), Type::Tuple(types)) => {
                same_length(values, types)?;
                self.array(values.len())?;
                values.iter().zip(types).try_for_each(|(value, ty)| self.value(value, ty))
            }
            (Val::Variant(name, payload), Type::Variant(cases)) => {
                let (_, ty) = cases.iter().find(|(case, _)| case == name).ok_or(Fault::Shape)?;
                match (payload, ty) {
                    (None, None) => self.text(name),
                    (Some(value), Some(ty)) => self.case(name).and_then(|()| self.value(value, ty)),
                    _ => Err(Fault::Shape),
                }
            }
            (Val::Enum(name), Type::Enum(names)) if names.contains(name) => self.text(name),
            (Val::Flags(set), Type::Flags(names)) if set.iter().all(|name| names.contains(name)) => {
                self.array(set.len())?;
                set.iter().try_for_each(|name| self.text(name))
            }
            (Val::Option(None), Type::Option(_)) => self.nil(),
            (Val::Option(Some(value)), Type::Option(ty)) => {
                if matches!(**ty, Type::Option(_)) {
                    self.array(1)?;
                }
                self.value(value, ty)
            }
            (Val::Result(Ok(value)), Type::Result(ty, _)) => self.side("Ok", value.as_deref(), ty.as_deref()),
            (Val::Result(Err(value)), Type::Result(_, ty)) => self.side("Err", value.as_deref(), ty.as_deref()),
            _ => Err(Fault::Shape),
        }
    }

    fn list(&mut self, items: &[Val], ty: &Type) -> Written {
        if *ty == Type::U8 {
            let byte = |item: &Val| if let Val::U8(byte) = item { Ok(*byte) } else { Err(Fault::Shape) };
            let bytes = items.iter().map(byte).collect::<Result<Vec<u8>, Fault>>()?;
            return self.bytes(&bytes);
        }
        self.array(items.len())?;
        items.iter().try_for_each(|item| self.value(item, ty))
    }

    fn record(&mut self, values: &[(String, Val)], fields: &[(String, Type)]) -> Written {
        same_length(values, fields)?;
        self.array(values.len())?;
        let mut fields = values.iter().zip(fields);
        fields.try_for_each(
            |((name, value), (field, ty))| {
                if name == field { self.value(value, ty) } else { Err(Fault::Shape) }
            },
        )
    }

    fn side(&mut self, name: &str, value: Option<&Val>, ty: Option<&Type>) -> Written {
        self.case(name)?;
        match (value, ty) {
            (Some(value), Some(ty)) => self.value(value, ty),
            (None, None) => self.nil(),
            _ => Err(Fault::Shape),
        }
    }
}

fn same_length<A, B>(left: &[A], right: &[B]) -> Written {
    if left.len() == right.len() { Ok(()) } else { Err(Fault::Shape) }
}

//! MessagePack to values: strict, and bounded by what a guest may be given.

use rmp::Marker;
use rmp::decode;
use wasmtime::component::Val;

use super::super::types::{FuncType, Type};
use super::Fault;
use crate::runtime::limits::HOSTCALL_BYTES;

/// What one value of a list, record or tuple costs of the bound, as wasmtime counts it for guests' values.
const VALUE_COST: usize = 32;

/// Reads values from bytes.
pub(in super::super) struct Reader<'a> {
    bytes: &'a [u8],
    /// How much more may be read; strings and byte lists cost their length, every other part the same.
    left: usize,
}

impl<'a> Reader<'a> {
    /// Reads all of `bytes` with `read`.
    pub(in super::super) fn all<T>(
        bytes: &'a [u8],
        read: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut reader = Self { bytes, left: HOSTCALL_BYTES };
        let value = read(&mut reader)?;
        if reader.bytes.is_empty() { Ok(value) } else { Err(Fault::Shape) }
    }

    fn charge(&mut self, cost: usize) -> Result<(), Fault> {
        self.left = self.left.checked_sub(cost).ok_or(Fault::TooLarge)?;
        Ok(())
    }

    fn peek(&self) -> Result<Marker, Fault> {
        self.bytes.first().map(|byte| Marker::from_u8(*byte)).ok_or(Fault::Shape)
    }

    fn take(&mut self, len: u32) -> Result<&'a [u8], Fault> {
        let len = usize::try_from(len).map_err(|_| Fault::TooLarge)?;
        self.charge(len)?;
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(Fault::Shape)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(in super::super) fn nil(&mut self) -> Result<(), Fault> {
        decode::read_nil(&mut self.bytes).map_err(|_| Fault::Shape)
    }

    /// Takes a nil if one is next.
    pub(in super::super) fn is_nil(&mut self) -> Result<bool, Fault> {
        if self.peek()? != Marker::Null {
            return Ok(false);
        }
        self.nil().map(|()| true)
    }

    pub(in super::super) fn bool(&mut self) -> Result<bool, Fault> {
        decode::read_bool(&mut self.bytes).map_err(|_| Fault::Shape)
    }

    pub(in super::super) fn u64(&mut self) -> Result<u64, Fault> {
        decode::read_int(&mut self.bytes).map_err(|_| Fault::Shape)
    }

    fn i64(&mut self) -> Result<i64, Fault> {
        decode::read_int(&mut self.bytes).map_err(|_| Fault::Shape)
    }

    pub(in super::super) fn text(&mut self) -> Result<&'a str, Fault> {
        let len = decode::read_str_len(&mut self.bytes).map_err(|_| Fault::Shape)?;
        std::str::from_utf8(self.take(len)?).map_err(|_| Fault::Shape)
    }

    /// A byte list: bin, or an array of numbers as serde writes a `Vec<u8>`.
    pub(in super::super) fn bytes(&mut self) -> Result<Vec<u8>, Fault> {
        if matches!(self.peek()?, Marker::Bin8 | Marker::Bin16 | Marker::Bin32) {
            let len = decode::read_bin_len(&mut self.bytes).map_err(|_| Fault::Shape)?;
            return Ok(self.take(len)?.to_vec());
        }
        let len = self.array()?;
        self.charge(len)?;
        (0..len).map(|_| self.small(u8::try_from)).collect()
    }

    /// The length of an array, which is checked against what is left to read.
    fn array(&mut self) -> Result<usize, Fault> {
        let len = decode::read_array_len(&mut self.bytes).map_err(|_| Fault::Shape)?;
        usize::try_from(len).ok().filter(|len| *len <= self.bytes.len()).ok_or(Fault::Shape)
    }

    fn array_of(&mut self, expected: usize) -> Result<(), Fault> {
        if self.array()? == expected { Ok(()) } else { Err(Fault::Shape) }
    }

    fn small<T, E>(&mut self, narrow: impl FnOnce(u64) -> Result<T, E>) -> Result<T, Fault> {
        narrow(self.u64()?).map_err(|_| Fault::Shape)
    }

    fn small_signed<T, E>(&mut self, narrow: impl FnOnce(i64) -> Result<T, E>) -> Result<T, Fault> {
        narrow(self.i64()?).map_err(|_| Fault::Shape)
    }

    pub(super) fn params(&mut self, ty: &FuncType) -> Result<Vec<Val>, Fault> {
        self.params_with(ty, Self::value)
    }

    /// The parameters of a function of type `ty`, each read with `read`.
    pub(in super::super) fn params_with<T>(
        &mut self,
        ty: &FuncType,
        read: impl Fn(&mut Self, &Type) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        self.array_of(ty.params.len())?;
        ty.params.iter().map(|(_, ty)| read(self, ty)).collect()
    }

    pub(super) fn value(&mut self, ty: &Type) -> Result<Val, Fault> {
        self.charge(VALUE_COST)?;
        Ok(match ty {
            Type::Bool => Val::Bool(self.bool()?),
            Type::S8 => Val::S8(self.small_signed(i8::try_from)?),
            Type::S16 => Val::S16(self.small_signed(i16::try_from)?),
            Type::S32 => Val::S32(self.small_signed(i32::try_from)?),
            Type::S64 => Val::S64(self.i64()?),
            Type::U8 => Val::U8(self.small(u8::try_from)?),
            Type::U16 => Val::U16(self.small(u16::try_from)?),
            Type::U32 => Val::U32(self.small(u32::try_from)?),
            Type::U64 => Val::U64(self.u64()?),
            Type::F32 => Val::Float32(decode::read_f32(&mut self.bytes).map_err(|_| Fault::Shape)?),
            Type::F64 => Val::Float64(decode::read_f64(&mut self.bytes).map_err(|_| Fault::Shape)?),
            Type::Char => Val::Char(self.char()?),
            Type::String => Val::String(self.text()?.to_owned()),
            _ => self.compound(ty)?,
        })
    }

    fn char(&mut self) -> Result<char, Fault> {
        let mut chars = self.text()?.chars();
        match (chars.next(), chars.next()) {
            (Some(char), None) => Ok(char),
            _ => Err(Fault::Shape),
        }
    }

    fn compound(&mut self, ty: &Type) -> Result<Val, Fault> {
        Ok(match ty {
            Type::List(item) if **item == Type::U8 => {
                let bytes = self.bytes()?;
                self.charge(bytes.len().saturating_mul(VALUE_COST))?;
                Val::List(bytes.into_iter().map(Val::U8).collect())
            }
            Type::List(item) => {
                let len = self.array()?;
                Val::List((0..len).map(|_| self.value(item)).collect::<Result<_, _>>()?)
            }
            Type::Record(fields) => {
                self.array_of(fields.len())?;
                let field = |(name, ty): &(String, Type)| Ok((name.clone(), self.value(ty)?));
                Val::Record(fields.iter().map(field).collect::<Result<_, Fault>>()?)
            }
            Type::Tuple(types) => {
                self.array_of(types.len())?;
                Val::Tuple(types.iter().map(|ty| self.value(ty)).collect::<Result<_, _>>()?)
            }
            Type::Variant(cases) => self.variant(cases)?,
            Type::Enum(names) => Val::Enum(self.one_of(names)?),
            Type::Flags(names) => self.flags(names)?,
            Type::Option(some) => self.option(some)?,
            Type::Result(ok, err) => match self.case()? {
                "Ok" => Val::Result(Ok(self.payload(ok.as_deref())?)),
                "Err" => Val::Result(Err(self.payload(err.as_deref())?)),
                _ => return Err(Fault::Shape),
            },
            _ => return Err(Fault::Shape),
        })
    }

    fn one_of(&mut self, names: &[String]) -> Result<String, Fault> {
        let name = self.text()?;
        names.iter().find(|known| *known == name).cloned().ok_or(Fault::Shape)
    }

    /// Each name at most once, in any order; they come out in the order of the type.
    fn flags(&mut self, names: &[String]) -> Result<Val, Fault> {
        let len = self.array()?;
        let mut set = vec![false; names.len()];
        for _ in 0..len {
            let name = self.text()?;
            let index = names.iter().position(|known| known == name).ok_or(Fault::Shape)?;
            if std::mem::replace(&mut set[index], true) {
                return Err(Fault::Shape);
            }
        }
        Ok(Val::Flags(names.iter().zip(set).filter(|(_, set)| *set).map(|(name, _)| name.clone()).collect()))
    }

    fn option(&mut self, some: &Type) -> Result<Val, Fault> {
        if self.is_nil()? {
            return Ok(Val::Option(None));
        }
        if matches!(some, Type::Option(_)) {
            self.array_of(1)?;
        }
        Ok(Val::Option(Some(Box::new(self.value(some)?))))
    }

    fn variant(&mut self, cases: &[(String, Option<Type>)]) -> Result<Val, Fault> {
        let has_payload = matches!(self.peek()?, Marker::FixMap(_));
        let name = if has_payload { self.case()? } else { self.text()? };
        let (name, ty) = cases.iter().find(|(case, _)| case == name).ok_or(Fault::Shape)?;
        let payload = match (has_payload, ty) {
            (true, Some(ty)) => Some(Box::new(self.value(ty)?)),
            (false, None) => None,
            _ => return Err(Fault::Shape),
        };
        Ok(Val::Variant(name.clone(), payload))
    }

    /// The name of a case; its payload follows.
    pub(in super::super) fn case(&mut self) -> Result<&'a str, Fault> {
        match decode::read_map_len(&mut self.bytes) {
            Ok(1) => self.text(),
            _ => Err(Fault::Shape),
        }
    }

    fn payload(&mut self, ty: Option<&Type>) -> Result<Option<Box<Val>>, Fault> {
        match ty {
            Some(ty) => Ok(Some(Box::new(self.value(ty)?))),
            None => self.nil().map(|()| None),
        }
    }
}

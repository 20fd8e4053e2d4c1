//! The interfaces of a component and the types of their functions, as its bytes declare them: nothing is compiled, and
//! the code of functions is not looked at.

use std::collections::BTreeMap;

use trellis_lattice::contract::{Interface, Signature};
use wasmparser::component_types::{
    ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType, ComponentFuncTypeId, ComponentValType,
};
use wasmparser::types::Types;
use wasmparser::{Parser, Payload, PrimitiveValType, ValidPayload, Validator};

use super::linker::EngineKind;
use super::value::{FuncType, MAX_DEPTH, MAX_NODES, Type, Unsupported};
use super::{check, pool};
use crate::error::{Error, ErrorKind, Result};

/// The functions of an interface, with their types as far as their values can travel.
pub(crate) type Functions = BTreeMap<String, Result<FuncType, Unsupported>>;

/// What a component declares.
pub(crate) struct Declared {
    pub(crate) imports: Vec<(Interface, Functions)>,
    pub(crate) exports: Vec<(Interface, Functions)>,
}

/// Reads what the component in `bytes` declares.
///
/// # Errors
/// `Component` when they are no component.
pub(crate) fn read(bytes: &[u8]) -> Result<Declared> {
    check::size(bytes)?;
    check::component(bytes)?;
    let broken = |error: wasmparser::BinaryReaderError| {
        Error::new(ErrorKind::Component, format!("component is not valid: {error}")).with_source(error)
    };
    let mut validator = Validator::new_with_features(pool::features(EngineKind::Concurrent));
    let (mut imports, mut exports, mut types) = (Vec::new(), Vec::new(), None);
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(broken)?;
        if let ValidPayload::End(end) = validator.payload(&payload).map_err(broken)? {
            types = Some(end);
        }
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export.map_err(broken)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    let types = types.ok_or_else(|| Error::new(ErrorKind::Component, "component is cut off"))?;
    let read = |names: Vec<String>, find: &dyn Fn(&str) -> Option<ComponentEntityType>| {
        let interface = |name: &String| Some((Interface::parse(name).ok()?, functions(&types, find(name)?)?));
        names.iter().filter_map(interface).collect()
    };
    Ok(Declared {
        imports: read(imports, &|name| Some(types.component_item_for_import(name)?.ty)),
        exports: read(exports, &|name| Some(types.component_item_for_export(name)?.ty)),
    })
}

/// Over all functions by name, so that their order in the component does not matter.
pub(crate) fn signature(functions: &[(&str, &str)]) -> Signature {
    let mut lines: Vec<_> = functions.iter().map(|(name, ty)| format!("{name}: {ty};")).collect();
    lines.sort_unstable();
    Signature::of(&lines.concat())
}

/// The functions of an instance; `None` for what is none.
fn functions(types: &Types, item: ComponentEntityType) -> Option<Functions> {
    let ComponentEntityType::Instance(instance) = item else { return None };
    let exports = types[instance].exports.iter();
    let function = |(name, item): (&String, &wasmparser::component_types::ComponentItem)| match item.ty {
        ComponentEntityType::Func(function) => Some((name.clone(), Convert { types, nodes: 0 }.function(function))),
        _ => None,
    };
    Some(exports.filter_map(function).collect())
}

struct Convert<'t> {
    types: &'t Types,
    nodes: usize,
}

impl Convert<'_> {
    fn function(&mut self, id: ComponentFuncTypeId) -> Result<FuncType, Unsupported> {
        let ty = &self.types[id];
        let params =
            ty.params.iter().map(|(name, ty)| Ok((name.to_string(), self.ty(ty, 0)?))).collect::<Result<_, _>>()?;
        Ok(FuncType { params, result: ty.result.map(|ty| self.ty(&ty, 0)).transpose()? })
    }

    fn ty(&mut self, ty: &ComponentValType, depth: usize) -> Result<Type, Unsupported> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            return Err(Unsupported::TooLarge);
        }
        match ty {
            ComponentValType::Primitive(ty) => primitive(*ty),
            ComponentValType::Type(id) => self.defined(*id, depth + 1),
        }
    }

    fn defined(&mut self, id: ComponentDefinedTypeId, depth: usize) -> Result<Type, Unsupported> {
        let types = self.types;
        Ok(match &types[id] {
            ComponentDefinedType::Primitive(ty) => primitive(*ty)?,
            ComponentDefinedType::List { element, .. } => Type::List(self.boxed(element, depth)?),
            ComponentDefinedType::Option { ty, .. } => Type::Option(self.boxed(ty, depth)?),
            ComponentDefinedType::Result { ok, err, .. } => {
                Type::Result(self.maybe_boxed(ok.as_ref(), depth)?, self.maybe_boxed(err.as_ref(), depth)?)
            }
            ComponentDefinedType::Enum(names) => Type::Enum(self.names(names.iter())?),
            ComponentDefinedType::Flags(names) => Type::Flags(self.names(names.iter())?),
            ComponentDefinedType::Record(record) => {
                let field = |(name, ty): (_, &ComponentValType)| Ok((text(name), self.ty(ty, depth)?));
                Type::Record(record.fields.iter().map(field).collect::<Result<_, Unsupported>>()?)
            }
            ComponentDefinedType::Tuple(tuple) => {
                Type::Tuple(tuple.types.iter().map(|ty| self.ty(ty, depth)).collect::<Result<_, _>>()?)
            }
            ComponentDefinedType::Variant(variant) => {
                let mut cases = Vec::with_capacity(variant.cases.len());
                for (name, case) in &variant.cases {
                    cases.push((text(name), case.ty.map(|ty| self.ty(&ty, depth)).transpose()?));
                }
                Type::Variant(cases)
            }
            ComponentDefinedType::Own(_) | ComponentDefinedType::Borrow(_) => {
                return Err(Unsupported::Kind("resource"));
            }
            ComponentDefinedType::Stream { .. } => return Err(Unsupported::Kind("stream")),
            ComponentDefinedType::Future { .. } => return Err(Unsupported::Kind("future")),
            ComponentDefinedType::Map { .. } => return Err(Unsupported::Kind("map")),
            ComponentDefinedType::FixedLengthList { .. } => return Err(Unsupported::Kind("list of fixed length")),
        })
    }

    fn boxed(&mut self, ty: &ComponentValType, depth: usize) -> Result<Box<Type>, Unsupported> {
        self.ty(ty, depth).map(Box::new)
    }

    fn maybe_boxed(&mut self, ty: Option<&ComponentValType>, depth: usize) -> Result<Option<Box<Type>>, Unsupported> {
        ty.map(|ty| self.boxed(ty, depth)).transpose()
    }

    fn names<N: ToString>(&mut self, names: impl Iterator<Item = N>) -> Result<Vec<String>, Unsupported> {
        let names: Vec<_> = names.map(text).collect();
        self.nodes += names.len();
        if self.nodes > MAX_NODES { Err(Unsupported::TooLarge) } else { Ok(names) }
    }
}

fn text(name: impl ToString) -> String {
    name.to_string()
}

fn primitive(ty: PrimitiveValType) -> Result<Type, Unsupported> {
    Ok(match ty {
        PrimitiveValType::Bool => Type::Bool,
        PrimitiveValType::S8 => Type::S8,
        PrimitiveValType::U8 => Type::U8,
        PrimitiveValType::S16 => Type::S16,
        PrimitiveValType::U16 => Type::U16,
        PrimitiveValType::S32 => Type::S32,
        PrimitiveValType::U32 => Type::U32,
        PrimitiveValType::S64 => Type::S64,
        PrimitiveValType::U64 => Type::U64,
        PrimitiveValType::F32 => Type::F32,
        PrimitiveValType::F64 => Type::F64,
        PrimitiveValType::Char => Type::Char,
        PrimitiveValType::String => Type::String,
        PrimitiveValType::ErrorContext => return Err(Unsupported::Kind("error-context")),
    })
}

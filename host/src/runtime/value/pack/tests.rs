//! Values packed and read again, and what must be refused.

use proptest::prelude::*;
use serde::Serialize;
use wasmtime::component::Val;

use super::{decode_params, decode_result, encode};
use crate::runtime::value::Part;
use crate::runtime::value::types::{FuncType, Type};

fn func(result: Type) -> FuncType {
    FuncType { params: vec![("value".into(), result.clone())], result: Some(result) }
}

fn check(ty: &Type, value: &Val, expected: &impl Serialize) {
    let bytes = encode(&Part::Result(Some(value.clone())), &func(ty.clone())).expect("fits");
    assert_eq!(bytes, rmp_serde::to_vec(expected).expect("encodes"), "{ty}");
    assert_eq!(decode_result(&bytes, &func(ty.clone())).expect("decodes").as_ref(), Some(value), "{ty}");
}

#[test]
fn values_have_the_shapes_that_serde_derives() {
    #[derive(Serialize)]
    struct Person {
        name: String,
        age: Option<u8>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    enum Shape {
        Point,
        Circle(f64),
    }
    let text = |text: &str| Val::String(text.into());
    let some = |value| Val::Option(Some(Box::new(value)));
    let person = Type::Record(vec![("name".into(), Type::String), ("age".into(), Type::Option(Box::new(Type::U8)))]);
    let ada = Val::Record(vec![("name".into(), text("Ada")), ("age".into(), some(Val::U8(36)))]);
    check(&person, &ada, &Person { name: "Ada".into(), age: Some(36) });
    let shape = Type::Variant(vec![("point".into(), None), ("circle".into(), Some(Type::F64))]);
    check(&shape, &Val::Variant("point".into(), None), &Shape::Point);
    check(&shape, &Val::Variant("circle".into(), Some(Box::new(Val::Float64(2.5)))), &Shape::Circle(2.5));
    let result = Type::Result(None, Some(Box::new(Type::String)));
    check(&result, &Val::Result(Ok(None)), &Ok::<(), String>(()));
    check(&result, &Val::Result(Err(Some(Box::new(text("no"))))), &Err::<(), _>("no"));
    check(&Type::Char, &Val::Char('ß'), &'ß');
    let bytes = Type::List(Box::new(Type::U8));
    check(&bytes, &Val::List(vec![Val::U8(1), Val::U8(255)]), &serde_bytes::Bytes::new(&[1, 255]));
    check(&Type::List(Box::new(Type::S16)), &Val::List(vec![Val::S16(-300)]), &vec![-300_i16]);
    check(&Type::Flags(vec!["a".into(), "b".into()]), &Val::Flags(vec!["b".into()]), &["b"]);
    check(&Type::Tuple(vec![Type::Bool, Type::U64]), &Val::Tuple(vec![Val::Bool(true), Val::U64(7)]), &(true, 7));
    let nested = Type::Option(Box::new(Type::Option(Box::new(Type::U8))));
    check(&nested, &Val::Option(None), &());
    check(&nested, &some(Val::Option(None)), &[()]);
    check(&nested, &some(some(Val::U8(1))), &[1]);
}

/// The bytes that PROTOCOL.md shows. Changing them is a new version of the protocol.
#[test]
fn results_have_the_bytes_that_the_document_shows() {
    let document = include_str!("../../../../../PROTOCOL.md");
    let text = |text: &str| Val::String(text.into());
    let some = |value| Val::Option(Some(Box::new(value)));
    let boxed = |ty| Some(Box::new(ty));
    let ok = |value: Option<Val>| Val::Result(Ok(value.map(Box::new)));
    let person = [("name".to_owned(), Type::String), ("age".to_owned(), Type::Option(Box::new(Type::U8)))];
    let ada = vec![("name".to_owned(), text("Ada")), ("age".to_owned(), some(Val::U8(36)))];
    let shape = Type::Variant(vec![("point".into(), None), ("circle".into(), Some(Type::F64))]);
    let nested = Type::Option(Box::new(Type::Option(Box::new(Type::U8))));
    let result = Type::Result(boxed(Type::String), boxed(Type::U8));
    let goldens = [
        (Type::Record(person.into()), Val::Record(ada)),
        (shape.clone(), Val::Variant("point".into(), None)),
        (shape, Val::Variant("circle".into(), Some(Box::new(Val::Float64(2.5))))),
        (Type::Enum(vec!["on".into(), "off".into()]), Val::Enum("off".into())),
        (Type::Flags(["r", "w", "x"].map(Into::into).into()), Val::Flags(vec!["r".into(), "x".into()])),
        (Type::List(Box::new(Type::U8)), Val::List(vec![Val::U8(1), Val::U8(255)])),
        (nested.clone(), some(some(Val::U8(1)))),
        (nested, some(Val::Option(None))),
        (result.clone(), ok(Some(text("a")))),
        (result, Val::Result(Err(Some(Box::new(Val::U8(7)))))),
        (Type::Result(None, None), ok(None)),
    ];
    let table = document.split("As results, for example:").nth(1).expect("the document has examples");
    let rows = table.lines().skip_while(|line| !line.starts_with("| none")).take_while(|line| line.starts_with('|'));
    let rows: Vec<&str> = rows.collect();
    assert_eq!(rows.len(), goldens.len() + 1, "{rows:?}");
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let nothing = encode(&Part::Result(None), &FuncType { params: vec![], result: None }).expect("fits");
    assert!(rows[0].ends_with(&format!("| `{}` |", hex(nothing))), "{}", rows[0]);
    for (row, (ty, value)) in rows[1..].iter().zip(goldens) {
        let bytes = encode(&Part::Result(Some(value)), &func(ty.clone())).expect("fits");
        assert!(row.ends_with(&format!("| `{}` |", hex(bytes.clone()))), "{row}: {}", hex(bytes));
    }
}

#[test]
fn a_byte_list_may_come_as_an_array() {
    let bytes = rmp_serde::to_vec(&(vec![1_u8, 200],)).expect("encodes");
    let values = decode_params(&bytes, &func(Type::List(Box::new(Type::U8)))).expect("decodes");
    assert_eq!(values, [Val::List(vec![Val::U8(1), Val::U8(200)])]);
}

#[test]
fn what_is_not_of_the_type_is_refused() {
    let refused = |ty: Type, bytes: &[u8]| decode_result(bytes, &func(ty)).expect_err("refused").message;
    let pack = |value: &dyn erased::Pack| value.pack();
    for (ty, bytes) in [
        (Type::U8, pack(&300_u32)),
        (Type::U8, pack(&-1)),
        (Type::S8, pack(&200)),
        (Type::Char, pack(&"ab")),
        (Type::Enum(vec!["a".into()]), pack(&"b")),
        (Type::Flags(vec!["a".into()]), pack(&["a", "a"])),
        (Type::Tuple(vec![Type::U8]), pack(&(1, 2))),
        (Type::String, vec![0xa2, 0xff, 0xff]),
        (Type::String, vec![0xdb, 0xff, 0xff, 0xff, 0xff]),
        (Type::List(Box::new(Type::U16)), vec![0xdd, 0xff, 0xff, 0xff, 0xff]),
        (Type::Bool, vec![0xc2, 0xc2]),
        (Type::Bool, vec![]),
    ] {
        assert!(refused(ty.clone(), &bytes).contains("not of the type") || ty == Type::String, "{ty}");
    }
    let many = rmp_serde::to_vec(&vec![1_u16; 600_000]).expect("encodes");
    assert!(refused(Type::List(Box::new(Type::U16)), &many).contains("larger"));
}

mod erased {
    pub(super) trait Pack {
        fn pack(&self) -> Vec<u8>;
    }
    impl<T: serde::Serialize> Pack for T {
        fn pack(&self) -> Vec<u8> {
            rmp_serde::to_vec(self).expect("encodes")
        }
    }
}

fn types() -> impl Strategy<Value = Type> {
    let leaf = prop::sample::select(vec![
        Type::Bool,
        Type::S8,
        Type::U8,
        Type::S16,
        Type::U16,
        Type::S32,
        Type::U32,
        Type::S64,
        Type::U64,
        Type::F32,
        Type::F64,
        Type::Char,
        Type::String,
        Type::Enum(vec!["on".into(), "off".into()]),
        Type::Flags(vec!["r".into(), "w".into(), "x".into()]),
        Type::Result(None, None),
    ]);
    leaf.prop_recursive(4, 24, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let maybe = prop::option::of(boxed.clone());
        let named = |index: usize| format!("n{index}");
        prop_oneof![
            boxed.clone().prop_map(Type::List),
            boxed.prop_map(Type::Option),
            (maybe.clone(), maybe).prop_map(|(ok, err)| Type::Result(ok, err)),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Type::Tuple),
            prop::collection::vec(inner.clone(), 1..4).prop_map(move |types| Type::Record(
                types.into_iter().enumerate().map(|(i, t)| (named(i), t)).collect()
            )),
            prop::collection::vec(prop::option::of(inner), 1..4).prop_map(move |types| Type::Variant(
                types.into_iter().enumerate().map(|(i, t)| (named(i), t)).collect()
            )),
        ]
    })
}

fn boxed_payload(ty: Option<Type>) -> BoxedStrategy<Option<Box<Val>>> {
    match ty {
        Some(ty) => values(ty).prop_map(|value| Some(Box::new(value))).boxed(),
        None => Just(None).boxed(),
    }
}

fn values(ty: Type) -> BoxedStrategy<Val> {
    match ty {
        Type::Bool => any::<bool>().prop_map(Val::Bool).boxed(),
        Type::S8 => any::<i8>().prop_map(Val::S8).boxed(),
        Type::U8 => any::<u8>().prop_map(Val::U8).boxed(),
        Type::S16 => any::<i16>().prop_map(Val::S16).boxed(),
        Type::U16 => any::<u16>().prop_map(Val::U16).boxed(),
        Type::S32 => any::<i32>().prop_map(Val::S32).boxed(),
        Type::U32 => any::<u32>().prop_map(Val::U32).boxed(),
        Type::S64 => any::<i64>().prop_map(Val::S64).boxed(),
        Type::U64 => any::<u64>().prop_map(Val::U64).boxed(),
        Type::F32 => any::<f32>().prop_map(Val::Float32).boxed(),
        Type::F64 => any::<f64>().prop_map(Val::Float64).boxed(),
        Type::Char => any::<char>().prop_map(Val::Char).boxed(),
        Type::String => any::<String>().prop_map(Val::String).boxed(),
        Type::List(item) => prop::collection::vec(values(*item), 0..4).prop_map(Val::List).boxed(),
        Type::Option(some) => prop::option::of(values(*some).prop_map(Box::new)).prop_map(Val::Option).boxed(),
        Type::Result(ok, err) => prop_oneof![
            boxed_payload(ok.map(|ty| *ty)).prop_map(|value| Val::Result(Ok(value))),
            boxed_payload(err.map(|ty| *ty)).prop_map(|value| Val::Result(Err(value))),
        ]
        .boxed(),
        Type::Tuple(types) => types.into_iter().map(values).collect::<Vec<_>>().prop_map(Val::Tuple).boxed(),
        Type::Record(fields) => fields
            .into_iter()
            .map(|(name, ty)| (Just(name), values(ty)))
            .collect::<Vec<_>>()
            .prop_map(Val::Record)
            .boxed(),
        Type::Variant(cases) => prop::sample::select(cases)
            .prop_flat_map(|(name, ty)| (Just(name), boxed_payload(ty)))
            .prop_map(|(name, payload)| Val::Variant(name, payload))
            .boxed(),
        Type::Enum(names) => prop::sample::select(names).prop_map(Val::Enum).boxed(),
        Type::Flags(names) => {
            let len = names.len();
            prop::sample::subsequence(names, 0..=len).prop_map(Val::Flags).boxed()
        }
    }
}

proptest! {
    #[test]
    fn a_value_survives_the_way_over_the_wire((ty, value) in types().prop_flat_map(|ty| (Just(ty.clone()), values(ty)))) {
        let ty = func(ty);
        let bytes = encode(&Part::Params(vec![value.clone()]), &ty).expect("fits");
        prop_assert_eq!(&decode_params(&bytes, &ty).expect("decodes")[..], std::slice::from_ref(&value));
        let bytes = encode(&Part::Result(Some(value.clone())), &ty).expect("fits");
        prop_assert_eq!(decode_result(&bytes, &ty).expect("decodes"), Some(value));
    }

    #[test]
    fn any_bytes_are_read_or_refused(ty in types(), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode_params(&bytes, &func(ty.clone()));
        let _ = decode_result(&bytes, &func(ty));
    }
}

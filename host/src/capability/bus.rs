//! wasmcloud:bus: an actor chooses over which of its links the calls to an interface go.

use trellis_lattice::contract::Interface;
use trellis_lattice::error::CallError;
use trellis_lattice::id::LinkName;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType};

use crate::runtime::{EngineKind, State};

/// In this version a link that is not there ends the guest.
const V1: &str = "wasmcloud:bus/lattice@1.0.0";
/// In this version the guest is told.
const V2: &str = "wasmcloud:bus/lattice@2.0.1";

/// A resource: an interface whose link can be chosen.
struct CallTarget {
    interface: Result<Interface, String>,
}

type Targets = Vec<Resource<CallTarget>>;

/// Defines its interfaces.
pub(crate) fn add_to_linker(linker: &mut Linker<State>, _kind: EngineKind) -> wasmtime::Result<()> {
    let mut v1 = linker.instance(V1)?;
    add_call_target(&mut v1)?;
    v1.func_wrap("set-link-name", |mut store, (name, targets): (String, Targets)| {
        set_link_name(&mut store, &name, targets)?.map_err(|reason| CallError::trap(reason).into())
    })?;
    let mut v2 = linker.instance(V2)?;
    add_call_target(&mut v2)?;
    v2.func_wrap("set-link-name", |mut store, (name, targets): (String, Targets)| {
        Ok((set_link_name(&mut store, &name, targets)?,))
    })
}

fn add_call_target(lattice: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    lattice.resource("call-target-interface", ResourceType::host::<CallTarget>(), |mut store, rep| {
        store.data_mut().table.delete(Resource::<CallTarget>::new_own(rep))?;
        Ok(())
    })?;
    lattice.func_wrap("[constructor]call-target-interface", |mut store, names: (String, String, String)| {
        let target = CallTarget { interface: interface(&names) };
        Ok((store.data_mut().table.push(target)?,))
    })
}

fn interface((namespace, package, name): &(String, String, String)) -> Result<Interface, String> {
    Interface::parse(&format!("{namespace}:{package}/{name}")).map_err(|error| error.to_string())
}

/// All of `targets` or none; the inner error says what is wrong.
fn set_link_name(
    store: &mut StoreContextMut<'_, State>,
    name: &str,
    targets: Targets,
) -> wasmtime::Result<Result<(), String>> {
    let State { scope, table, .. } = store.data_mut();
    let targets: Vec<_> = targets.into_iter().map(|target| table.delete(target)).collect::<Result<_, _>>()?;
    let chosen =
        choose(name, targets, |name, interface| scope.guest.router.is_linked(&scope.guest.id, name, interface));
    Ok(chosen.map(|(name, interfaces)| {
        for interface in interfaces {
            scope.link_names.insert(interface.without_version().to_owned(), name.clone());
        }
    }))
}

fn choose(
    name: &str,
    targets: Vec<CallTarget>,
    is_linked: impl Fn(&LinkName, &Interface) -> bool,
) -> Result<(LinkName, Vec<Interface>), String> {
    let name = LinkName::parse(name).map_err(|error| error.to_string())?;
    let interfaces = targets.into_iter().map(|target| target.interface).collect::<Result<Vec<_>, _>>()?;
    match interfaces.iter().find(|interface| !is_linked(&name, interface)) {
        Some(interface) => Err(format!("there is no link {name} for {interface}; put one (`trellis link put`)")),
        None => Ok((name, interfaces)),
    }
}

#[cfg(test)]
mod tests {
    use super::{CallTarget, choose, interface};

    fn check(link: &str, package: &str) -> Result<usize, String> {
        let names = ("wasi".to_owned(), package.to_owned(), "store".to_owned());
        let targets = vec![CallTarget { interface: interface(&names) }];
        let is_linked = |link: &_, interface: &_| {
            link == &"cache".parse().expect("valid") && interface == &"wasi:keyvalue/store".parse().expect("valid")
        };
        choose(link, targets, is_linked).map(|(_, interfaces)| interfaces.len())
    }

    #[test]
    fn only_links_that_are_there_can_be_chosen() {
        assert_eq!(check("cache", "keyvalue"), Ok(1));
        for (link, package, named) in
            [("other", "keyvalue", "other"), ("cache", "blobstore", "blobstore"), ("a.b", "keyvalue", "a.b")]
        {
            let error = check(link, package).expect_err("it is not linked");
            assert!(error.contains(named), "{error}");
        }
        assert!(check("cache", "key value").is_err());
    }
}

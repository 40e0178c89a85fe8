//! The tree of objects: which paths there are, which methods each has, and what each answers to
//! `Introspect`.

use super::control::ControlRequest;
use super::manager::ManagerMethod;
use super::{
    CONTROL_INTERFACE, CONTROL_PATH, DIAGNOSTICS_INTERFACE, DIAGNOSTICS_PATH, ENGINE_INTERFACE, ENGINE_PATH,
    INTERFACE, PATH,
};
use crate::status::WaitingSlot;

const PEER: &str = "org.freedesktop.DBus.Peer";
const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// A path that can be introspected: an object, or a node that only leads to objects.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TreeNode {
    pub(super) path: &'static str,
    pub(super) object: Option<Object>,
}

/// The objects, by the interface of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    Manager,
    Engine,
    Diagnostics,
    Control,
}

/// The methods, by the way that answers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// Of the interfaces that D-Bus itself defines.
    Standard(Standard),
    Manager(ManagerMethod),
    ControlRequest(Gate, ControlRequest),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standard {
    Ping,
    GetMachineId,
    Introspect,
    Get,
    GetAll,
    Set,
}

/// The authority that decides whether a control request is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// The bus, which has let the call through; on a socket the kernel, which let the caller
    /// connect.
    Bus,
    /// polkit, which is still to be asked.
    Polkit,
}

/// A method: its interface, name and arguments' types.
type MethodRow = (&'static str, &'static str, &'static str, Method);

/// The way by which callers reach the objects. Without a bus `Control` is missing: every caller is
/// allowed already, so polkit is not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Bus,
    Peer,
}

const fn node(path: &'static str, object: Option<Object>) -> TreeNode {
    TreeNode { path, object }
}

static NODES: [TreeNode; 9] = [
    node("/", None),
    node("/com", None),
    node("/com/coreos", None),
    node(PATH, Some(Object::Manager)),
    node("/org", None),
    node("/org/updateengine", None),
    node(ENGINE_PATH, Some(Object::Engine)),
    node(DIAGNOSTICS_PATH, Some(Object::Diagnostics)),
    node(CONTROL_PATH, Some(Object::Control)),
];

/// The methods that are answered at any path, whether there is an object or not.
const OF_PEERS: [MethodRow; 2] = [
    (PEER, "Ping", "", Method::Standard(Standard::Ping)),
    (PEER, "GetMachineId", "", Method::Standard(Standard::GetMachineId)),
];

const OF_NODES: [MethodRow; 4] = [
    (
        INTROSPECTABLE,
        "Introspect",
        "",
        Method::Standard(Standard::Introspect),
    ),
    (PROPERTIES, "Get", "ss", Method::Standard(Standard::Get)),
    (PROPERTIES, "GetAll", "s", Method::Standard(Standard::GetAll)),
    (PROPERTIES, "Set", "ssv", Method::Standard(Standard::Set)),
];

const OF_MANAGER: [MethodRow; 3] = [
    (
        INTERFACE,
        "GetStatus",
        "",
        Method::Manager(ManagerMethod::GetStatus),
    ),
    (
        INTERFACE,
        "ResetStatus",
        "",
        Method::Manager(ManagerMethod::ResetStatus),
    ),
    (
        INTERFACE,
        "AttemptUpdate",
        "",
        Method::Manager(ManagerMethod::AttemptUpdate),
    ),
];

const OF_ENGINE: [MethodRow; 8] = control(ENGINE_INTERFACE, Gate::Bus);
const OF_CONTROL: [MethodRow; 8] = control(CONTROL_INTERFACE, Gate::Polkit);

const fn control(interface: &'static str, gate: Gate) -> [MethodRow; 8] {
    use crate::status::OfferSource::{LastCheck, Server};
    [
        (
            interface,
            "Check",
            "",
            Method::ControlRequest(gate, ControlRequest::Check),
        ),
        (
            interface,
            "Preview",
            "",
            Method::ControlRequest(gate, ControlRequest::Preview(LastCheck)),
        ),
        (
            interface,
            "PreviewAsking",
            "",
            Method::ControlRequest(gate, ControlRequest::Preview(Server)),
        ),
        // The call's argument replaces `Kept`.
        (
            interface,
            "Reset",
            "b",
            Method::ControlRequest(gate, ControlRequest::Reset(WaitingSlot::Kept)),
        ),
        (
            interface,
            "Activate",
            "",
            Method::ControlRequest(gate, ControlRequest::Activate),
        ),
        (
            interface,
            "RollBack",
            "",
            Method::ControlRequest(gate, ControlRequest::RollBack),
        ),
        (
            interface,
            "Cancel",
            "",
            Method::ControlRequest(gate, ControlRequest::Cancel),
        ),
        (
            interface,
            "MarkGood",
            "",
            Method::ControlRequest(gate, ControlRequest::MarkGood),
        ),
    ]
}

impl Object {
    /// Its own interface.
    pub(super) const fn interface(self) -> &'static str {
        match self {
            Self::Manager => INTERFACE,
            Self::Engine => ENGINE_INTERFACE,
            Self::Diagnostics => DIAGNOSTICS_INTERFACE,
            Self::Control => CONTROL_INTERFACE,
        }
    }

    /// Its introspection document.
    const fn document(self) -> &'static str {
        match self {
            Self::Manager => include_str!("../../dbus/com.coreos.update1.Manager.xml"),
            Self::Engine => include_str!("../../dbus/org.updateengine.Engine1.xml"),
            Self::Diagnostics => include_str!("../../dbus/org.updateengine.Diagnostics1.xml"),
            Self::Control => include_str!("../../dbus/org.updateengine.Control1.xml"),
        }
    }

    const fn methods(self) -> &'static [MethodRow] {
        match self {
            Self::Manager => &OF_MANAGER,
            Self::Engine => &OF_ENGINE,
            Self::Diagnostics => &[],
            Self::Control => &OF_CONTROL,
        }
    }
}

/// A method call's address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address<'a> {
    pub(super) path: &'a str,
    /// None where the caller left it out, as D-Bus allows.
    pub(super) interface: Option<&'a str>,
    pub(super) member: &'a str,
    /// The types of the arguments.
    pub(super) signature: &'a str,
}

impl Transport {
    fn nodes(self) -> impl Iterator<Item = &'static TreeNode> {
        let has_control = self == Self::Bus;
        NODES
            .iter()
            .filter(move |node| has_control || node.object != Some(Object::Control))
    }

    /// The method that is called, and the node that it is called at; no node at paths that have
    /// only [`OF_PEERS`].
    pub(super) fn find(self, call: Address<'_>) -> Option<(Option<&'static TreeNode>, Method)> {
        let node = self.nodes().find(|node| node.path == call.path);
        let object = node.and_then(|node| node.object);
        let own = object.map_or(&[][..], Object::methods);
        let of_nodes = node.map_or(&[][..], |_| &OF_NODES[..]);
        let mut rows = own.iter().chain(of_nodes).chain(&OF_PEERS);
        let (.., method) = rows.find(|(interface, member, signature, _)| {
            call.interface.is_none_or(|wanted| wanted == *interface)
                && (*member, *signature) == (call.member, call.signature)
        })?;
        Some((node, *method))
    }

    /// Each node with its answer to `Introspect`.
    pub(super) fn introspections(self) -> Vec<(&'static TreeNode, String)> {
        self.nodes()
            .map(|node| (node, self.introspection(node)))
            .collect()
    }

    fn introspection(self, node: &TreeNode) -> String {
        let below = match node.path {
            "/" => "/".to_owned(),
            path => format!("{path}/"),
        };
        let names = self.nodes().filter_map(|other| other.path.strip_prefix(&below));
        let children = names
            .filter(|name| !name.is_empty() && !name.contains('/'))
            .map(|name| format!("  <node name=\"{name}\"/>\n"));
        let own = node.object.map_or("", |object| interfaces(object.document()));
        let children: String = children.collect();
        format!("{HEAD}{STANDARD}{own}{children}</node>\n")
    }
}

/// The interfaces of a document: the text between `<node>` and `</node>`.
fn interfaces(document: &'static str) -> &'static str {
    let inside = document
        .split_once("<node>\n")
        .and_then(|(_, rest)| rest.rsplit_once("</node>"));
    inside.map_or("", |(interfaces, _)| interfaces)
}

const HEAD: &str = r#"<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
<node>
"#;

const STANDARD: &str = r#"  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect">
      <arg name="data" type="s" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping">
    </method>
    <method name="GetMachineId">
      <arg name="machine_uuid" type="s" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="out"/>
    </method>
    <method name="GetAll">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="properties" type="a{sv}" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface_name" type="s"/>
      <arg name="changed_properties" type="a{sv}"/>
      <arg name="invalidated_properties" type="as"/>
    </signal>
  </interface>
"#;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_method_is_found_with_its_arguments_and_nothing_else_is() {
        for node in &NODES {
            let Some(object) = node.object else { continue };
            let (_, body) = object.document().split_once("<node>\n").unwrap();
            for method in body.split("<method name=\"").skip(1) {
                let (member, rest) = method.split_once('"').unwrap();
                let (arguments, _) = rest.split_once("</method>").unwrap();
                let arguments = arguments.lines().filter(|line| line.contains("direction=\"in\""));
                let types = arguments.map(|line| {
                    let (_, after) = line.split_once("type=\"").unwrap();
                    after.split_once('"').unwrap().0
                });
                let signature: String = types.collect();
                let call = Address {
                    path: node.path,
                    interface: Some(object.interface()),
                    member,
                    signature: &signature,
                };
                assert_eq!(Transport::Bus.find(call).unwrap().0, Some(node), "{call:?}");
                for (interface, signature) in [
                    (Some(object.interface()), "sx"),
                    (Some("com.example.Other"), &*signature),
                ] {
                    let wrong = Address {
                        interface,
                        signature,
                        ..call
                    };
                    assert_eq!(Transport::Bus.find(wrong), None, "{wrong:?}");
                }
            }
            let documented = body.matches("<method name=").count();
            assert_eq!(documented, object.methods().len(), "{}", node.path);
        }
    }

    #[test]
    fn the_tree_leads_to_every_object_and_without_a_bus_there_are_no_orders() {
        for access in [Transport::Bus, Transport::Peer] {
            let mut found = vec!["/".to_owned()];
            let mut next = 0;
            while let Some(path) = found.get(next).cloned() {
                let (_, xml) = access
                    .introspections()
                    .into_iter()
                    .find(|(node, _)| node.path == path)
                    .unwrap();
                for child in xml.split("<node name=\"").skip(1) {
                    let (name, _) = child.split_once('"').unwrap();
                    found.push(format!("{}/{name}", path.trim_end_matches('/')));
                }
                next += 1;
            }
            let count = if access == Transport::Bus { 9 } else { 8 };
            assert_eq!(found.len(), count, "{found:?}");
            assert_eq!(found.contains(&CONTROL_PATH.to_owned()), access == Transport::Bus);
        }
    }

    #[test]
    fn a_call_may_leave_out_its_interface_and_everything_that_may_be_there_can_be_pinged() {
        let call = Address {
            path: PATH,
            interface: None,
            member: "GetStatus",
            signature: "",
        };
        assert_eq!(
            Transport::Peer.find(call).unwrap().1,
            Method::Manager(ManagerMethod::GetStatus)
        );
        let ping = Address {
            path: "/not/there",
            member: "Ping",
            ..call
        };
        assert_eq!(
            Transport::Peer.find(ping),
            Some((None, Method::Standard(Standard::Ping)))
        );
        let introspect = Address {
            member: "Introspect",
            ..ping
        };
        assert_eq!(Transport::Peer.find(introspect), None);
    }
}

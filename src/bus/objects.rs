//! The objects' answers: introspection, properties, and control requests once they are allowed.

use tokio::sync::watch;
use zbus::fdo;
use zbus::wire::{DynamicDeserialize, OwnedVariant};

use super::call::Call;
use super::control::{Control, ControlError, ControlRequest, EngineHandle};
use super::object_tree::{Gate, Standard, Transport, TreeNode};
use super::polkit::Polkit;
use super::properties::{Dictionary, Properties};
use crate::status::{Snapshot, WaitingSlot};

/// All objects of one service.
pub(super) struct Objects {
    pub(super) engine: EngineHandle,
    control: Control,
    polkit: Polkit,
    properties: Properties,
    introspections: Vec<(&'static TreeNode, String)>,
    access: Transport,
}

impl Objects {
    pub(super) fn new(engine: EngineHandle, snapshot: &watch::Receiver<Snapshot>, access: Transport) -> Self {
        Self {
            control: Control(engine.clone()),
            engine,
            polkit: Polkit::default(),
            properties: Properties::new(snapshot),
            introspections: access.introspections(),
            access,
        }
    }

    pub(super) const fn access(&self) -> Transport {
        self.access
    }

    /// Answers `method` from what is known without the engine; with an error if there is no such
    /// method.
    pub(super) async fn answer(&self, call: Call, node: Option<&'static TreeNode>, method: Option<Standard>) {
        match (method, node) {
            (Some(Standard::Ping), _) => call.answer(&()).await,
            (Some(Standard::GetMachineId), _) => call.answer_or_fail(machine_id().await).await,
            (Some(Standard::Introspect), Some(node)) => {
                let of_node = self.introspections.iter().find(|(other, _)| *other == node);
                call.answer(&of_node.map_or("", |(_, xml)| xml)).await;
            }
            (Some(Standard::Get), Some(node)) => {
                let value = arguments::<(String, String)>(&call)
                    .and_then(|(interface, property)| self.properties.get(node, &interface, &property));
                call.answer_or_fail(value).await;
            }
            (Some(Standard::GetAll), Some(node)) => {
                let values = arguments::<String>(&call)
                    .and_then(|interface| self.properties.get_all(node, &interface));
                call.answer_or_fail(values).await;
            }
            (Some(Standard::Set), Some(node)) => {
                let error = match arguments::<(String, String, OwnedVariant)>(&call) {
                    Ok((interface, property, _)) => self.properties.set(node, &interface, &property),
                    Err(error) => error,
                };
                call.fail(error).await;
            }
            _ => {
                let error = unknown_method(&call);
                call.fail(error).await;
            }
        }
    }

    /// Carries a control request out, if the caller is allowed to make it, and answers `call`.
    pub(super) async fn control(&self, call: Call, gate: Gate, request: ControlRequest) {
        let request = match request {
            ControlRequest::Reset(_) => arguments(&call).map(|withdraw_slot| {
                ControlRequest::Reset(if withdraw_slot {
                    WaitingSlot::Unbootable
                } else {
                    WaitingSlot::Kept
                })
            }),
            request => Ok(request),
        };
        let request = match request {
            Ok(request) => request,
            Err(error) => return call.fail(error).await,
        };
        match self.carry_out(&call, gate, request).await {
            Ok(None) => call.answer(&()).await,
            Ok(Some(preview)) => call.answer(&preview).await,
            Err(error) => call.fail(error).await,
        }
    }

    async fn carry_out(
        &self,
        call: &Call,
        gate: Gate,
        request: ControlRequest,
    ) -> Result<Option<Dictionary>, ControlError> {
        if gate == Gate::Polkit {
            let header = call.header();
            self.polkit
                .must_allow(request.action(), &header, call.connection())
                .await?;
        }
        self.control.carry_out(request).await
    }
}

/// The arguments of `call`. Their types are the method's, by which it was found; only values can be
/// wrong, and bytes behind them. A bus passes no such call on; on a peer connection nothing has
/// checked it before.
fn arguments<T>(call: &Call) -> fdo::Result<T>
where
    T: for<'d> DynamicDeserialize<'d>,
{
    let body = call.message().body();
    body.validate()
        .and_then(|()| body.deserialize())
        .map_err(|error| fdo::Error::InvalidArgs(error.to_string()))
}

/// The error for an object, interface, method or signature that isn't there, in dbus-glib's name
/// and words.
fn unknown_method(call: &Call) -> fdo::Error {
    let header = call.header();
    let member = header.member().map_or("", |name| name.as_str());
    let interface = header.interface().map_or("", |name| name.as_str());
    let signature = header.signature().to_string_no_parens();
    fdo::Error::UnknownMethod(format!(
        "Method \"{member}\" with signature \"{signature}\" on interface \"{interface}\" doesn't exist"
    ))
}

/// The machine's id as D-Bus defines it: 32 hexadecimal digits.
async fn machine_id() -> fdo::Result<String> {
    let id = tokio::fs::read_to_string("/etc/machine-id").await;
    id.map(|id| id.trim_end().to_owned())
        .map_err(|error| fdo::Error::FileNotFound(format!("/etc/machine-id: {error}")))
}

//! What callers ask for, by the names of the rpcs, and which of it a key may.

use std::{fmt, str::FromStr};

use crate::api::{Api, Rpc};

/// What a caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Rpc(Rpc),
    ListNodes,
    /// No right of its own: any key may open a stream, and each item needs the right of the rpc it stands for.
    PushStream,
    /// An rpc that is not in this list. Only keys with every right may call it, so that one that is added and
    /// forgotten here is closed and not open.
    Other,
}

impl Method {
    /// Those that are rights, in the order of [`Method::bit`].
    const RIGHTS: [Self; 8] = [
        Self::Rpc(Rpc::Push(Api::PushToRoom)),
        Self::Rpc(Rpc::Push(Api::PushToUser)),
        Self::Rpc(Rpc::Push(Api::PushToUsers)),
        Self::Rpc(Rpc::Push(Api::Broadcast)),
        Self::Rpc(Rpc::JoinRoom),
        Self::Rpc(Rpc::LeaveRoom),
        Self::Rpc(Rpc::Kick),
        Self::ListNodes,
    ];

    /// The one a gRPC path ends with: `/package.Service/Method`.
    pub(crate) fn of_path(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or_default();
        let known = Self::RIGHTS.into_iter().chain([Self::PushStream]);
        known.into_iter().find(|method| method.name() == name).unwrap_or(Self::Other)
    }

    /// The rpc's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rpc(rpc) => rpc.name(),
            Self::ListNodes => "ListNodes",
            Self::PushStream => "PushStream",
            Self::Other => "another",
        }
    }

    /// The push or control it is, if it is one.
    pub(crate) fn rpc(self) -> Option<Rpc> {
        match self {
            Self::Rpc(rpc) => Some(rpc),
            Self::ListNodes | Self::PushStream | Self::Other => None,
        }
    }

    fn bit(self) -> Option<u16> {
        let place = match self {
            Self::Rpc(rpc) => rpc.index(),
            Self::ListNodes => Rpc::ALL.len(),
            Self::PushStream | Self::Other => return None,
        };
        Some(1 << place)
    }
}

impl From<Rpc> for Method {
    fn from(rpc: Rpc) -> Self {
        Self::Rpc(rpc)
    }
}

impl From<Api> for Method {
    fn from(api: Api) -> Self {
        Self::Rpc(api.into())
    }
}

/// The methods a key may call: `*` or names of rpcs, with commas between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Methods(u16);

impl Methods {
    /// All there are and will be.
    pub const ALL: Self = Self(u16::MAX);

    pub(crate) fn allow(self, method: Method) -> bool {
        match method {
            Method::PushStream => true,
            Method::Other => self == Self::ALL,
            Method::Rpc(_) | Method::ListNodes => method.bit().is_some_and(|bit| self.0 & bit != 0),
        }
    }
}

impl FromStr for Methods {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" {
            return Ok(Self::ALL);
        }
        let mut methods = 0;
        for name in text.split(',') {
            let found = Method::RIGHTS.into_iter().find(|method| method.name() == name);
            let Some(bit) = found.and_then(Method::bit) else {
                return Err(unknown(name));
            };
            methods |= bit;
        }
        Ok(Self(methods))
    }
}

fn unknown(name: &str) -> String {
    let known = Method::RIGHTS.map(Method::name).join(", ");
    match name {
        "" => format!("a name is empty; * is all, and the methods are {known}"),
        "PushStream" => format!("PushStream is not given by itself, its items need the rights of {known}"),
        // Whatever is longer is no name, and may be anything, a key too.
        name if name.len() <= 32 => format!("\"{name}\" is not known; * is all, and the methods are {known}"),
        _ => format!("a name is not known; * is all, and the methods are {known}"),
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str("*");
        }
        let names = Method::RIGHTS.into_iter().filter(|&method| self.allow(method)).map(Method::name);
        f.write_str(&names.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_of_the_service_is_known() {
        let proto = include_str!("../../../proto/pushmanager/v1/push_manager.proto");
        let rpcs: Vec<&str> = proto
            .lines()
            .filter_map(|line| line.trim().strip_prefix("rpc ")?.split_once('('))
            .map(|(name, _)| name)
            .collect();
        assert!(rpcs.len() >= 9, "{rpcs:?}");
        for name in rpcs {
            let method = Method::of_path(&format!("/pushmanager.v1.PushManagerService/{name}"));
            assert_eq!(method.name(), name);
        }
        assert_eq!(Method::of_path("/pushmanager.v1.PushManagerService/Drop"), Method::Other);
        assert_eq!(Method::of_path(""), Method::Other);
    }

    #[test]
    fn rights_are_those_named() {
        let some: Methods = "Kick,PushToRoom".parse().unwrap();
        let allowed: Vec<&str> =
            Method::RIGHTS.into_iter().filter(|&method| some.allow(method)).map(Method::name).collect();
        assert_eq!(allowed, ["PushToRoom", "Kick"]);
        assert_eq!(some.to_string(), "PushToRoom,Kick");
        assert!(some.allow(Method::PushStream) && !some.allow(Method::Other));
        let all: Methods = "*".parse().unwrap();
        assert!(Method::RIGHTS.into_iter().all(|method| all.allow(method)) && all.allow(Method::Other));
        assert_eq!(all.to_string(), "*");
        let named = Method::RIGHTS.map(Method::name).join(",").parse::<Methods>().unwrap();
        assert!(!named.allow(Method::Other));
    }

    #[test]
    fn an_unknown_name_is_told_unless_it_may_be_a_secret() {
        for (text, says) in [("Push", "\"Push\" is not known"), ("", "empty"), ("PushToRoom,", "empty")] {
            assert!(text.parse::<Methods>().unwrap_err().contains(says), "{text}");
        }
        assert!("PushStream".parse::<Methods>().unwrap_err().contains("its items"));
        let secret = super::super::secret::NewKey::random("a").key;
        assert!(!secret.parse::<Methods>().unwrap_err().contains(&secret));
    }
}

//! Every request that the gate knows. What isn't here is refused.

use super::ask::Kind;
use super::judge::{Check, any};
use super::route::{Body, Makes, Query, Route, Value};
use super::{container, network};

const NOTHING: Query = Query::These(&[]);

const fn read(path: &'static str) -> Route {
    Route { method: "GET", path, query: Query::Any, body: Body::None, upgrades: false, makes: None, never: None }
}

const fn write(method: &'static str, path: &'static str, query: &'static [(&'static str, Value)]) -> Route {
    Route { method, path, query: Query::These(query), body: Body::None, upgrades: false, makes: None, never: None }
}

const fn never(method: &'static str, path: &'static str, kind: Kind) -> Route {
    Route { method, path, query: NOTHING, body: Body::None, upgrades: false, makes: None, never: Some(kind) }
}

impl Route {
    const fn json(self, check: Check) -> Self {
        Self { body: Body::Json(check), ..self }
    }

    const fn stream(self, content_type: &'static str) -> Self {
        Self { body: Body::Stream(content_type), ..self }
    }

    const fn upgrading(self) -> Self {
        Self { upgrades: true, ..self }
    }

    const fn making(self, makes: Makes) -> Self {
        Self { makes: Some(makes), ..self }
    }
}

const TAR: &str = "application/x-tar";
const ANY: Value = Value::Any;

/// What `docker build` with the classic builder sends.
const BUILD: &[(&str, Value)] = &[
    ("t", ANY),
    ("dockerfile", ANY),
    ("q", ANY),
    ("nocache", ANY),
    ("cachefrom", ANY),
    ("pull", ANY),
    ("rm", ANY),
    ("forcerm", ANY),
    ("memory", ANY),
    ("memswap", ANY),
    ("cpushares", ANY),
    ("cpusetcpus", ANY),
    ("cpusetmems", ANY),
    ("cpuperiod", ANY),
    ("cpuquota", ANY),
    ("buildargs", ANY),
    ("shmsize", ANY),
    ("squash", ANY),
    ("labels", ANY),
    ("platform", ANY),
    ("target", ANY),
    ("ulimits", ANY),
    ("extrahosts", ANY),
    ("networkmode", Value::Only(Kind::HostNetwork, &["", "default", "bridge", "none"])),
    ("cgroupparent", Value::Only(Kind::CgroupParent, &[""])),
    ("securityopt", Value::Only(Kind::Unconfined, &["", "[]", "null"])),
    ("remote", Value::Only(Kind::Fetch, &[""])),
    ("version", Value::Only(Kind::OpaqueStream, &["", "1"])),
    ("session", Value::Only(Kind::OpaqueStream, &[""])),
    ("volume", Value::Only(Kind::HostMount, &["", "[]", "null"])),
    ("devices", Value::Only(Kind::Device, &["", "[]", "null"])),
    ("addcaps", Value::Only(Kind::Capability, &["", "[]", "null"])),
];

/// The first that fits counts.
pub const ROUTES: &[Route] = &[
    // What podman has beside Docker's API: other bodies, other names.
    never("*", "/libpod/{*}", Kind::PodmanApi),
    never("*", "/session", Kind::OpaqueStream),
    never("*", "/grpc", Kind::OpaqueStream),
    read("/_ping"),
    Route { method: "HEAD", ..read("/_ping") },
    read("/version"),
    read("/info"),
    read("/events"),
    read("/system/df"),
    write("POST", "/auth", &[]).json(any),
    // Containers.
    read("/containers/json"),
    write("POST", "/containers/create", &[("name", ANY), ("platform", ANY)])
        .json(container::create)
        .making(Makes::Container),
    read("/containers/{container}/json"),
    read("/containers/{container}/top"),
    read("/containers/{container}/logs"),
    read("/containers/{container}/changes"),
    read("/containers/{container}/export"),
    read("/containers/{container}/stats"),
    read("/containers/{container}/archive"),
    Route { method: "HEAD", ..read("/containers/{container}/archive") },
    write(
        "PUT",
        "/containers/{container}/archive",
        &[("path", ANY), ("noOverwriteDirNonDir", ANY), ("copyUIDGID", ANY)],
    )
    .stream(TAR),
    write("POST", "/containers/{container}/start", &[("detachKeys", ANY)]),
    write("POST", "/containers/{container}/stop", &[("t", ANY), ("signal", ANY)]),
    write("POST", "/containers/{container}/restart", &[("t", ANY), ("signal", ANY)]),
    write("POST", "/containers/{container}/kill", &[("signal", ANY)]),
    write("POST", "/containers/{container}/pause", &[]),
    write("POST", "/containers/{container}/unpause", &[]),
    write("POST", "/containers/{container}/rename", &[("name", ANY)]),
    write("POST", "/containers/{container}/resize", &[("h", ANY), ("w", ANY)]),
    write("POST", "/containers/{container}/wait", &[("condition", ANY)]),
    write("POST", "/containers/{container}/update", &[]).json(container::update),
    write(
        "POST",
        "/containers/{container}/attach",
        &[("detachKeys", ANY), ("logs", ANY), ("stream", ANY), ("stdin", ANY), ("stdout", ANY), ("stderr", ANY)],
    )
    .upgrading(),
    write("POST", "/containers/{container}/exec", &[]).json(container::exec).making(Makes::Exec),
    write("DELETE", "/containers/{container}", &[("v", ANY), ("force", ANY), ("link", ANY)]),
    write(
        "POST",
        "/commit",
        &[
            ("container", Value::Container),
            ("repo", ANY),
            ("tag", ANY),
            ("comment", ANY),
            ("author", ANY),
            ("pause", ANY),
            ("changes", ANY),
        ],
    )
    .json(container::config),
    // Processes in them.
    read("/exec/{exec}/json"),
    write("POST", "/exec/{exec}/start", &[]).json(container::exec_start).upgrading(),
    write("POST", "/exec/{exec}/resize", &[("h", ANY), ("w", ANY)]),
    // Images.
    read("/images/json"),
    read("/images/search"),
    read("/images/get"),
    read("/images/{image}/json"),
    read("/images/{image}/history"),
    read("/images/{image}/get"),
    read("/distribution/{image}/json"),
    write(
        "POST",
        "/images/create",
        &[
            ("fromImage", Value::Image),
            ("fromSrc", Value::Only(Kind::Fetch, &["", "-"])),
            ("repo", ANY),
            ("tag", ANY),
            ("message", ANY),
            ("changes", ANY),
            ("platform", ANY),
        ],
    )
    .stream(TAR),
    write("POST", "/images/load", &[("quiet", ANY), ("platform", ANY)]).stream(TAR),
    write("POST", "/images/prune", &[("filters", ANY)]),
    write("POST", "/images/{image}/push", &[("tag", ANY), ("platform", ANY)]),
    write("POST", "/images/{image}/tag", &[("repo", ANY), ("tag", ANY)]),
    write("DELETE", "/images/{image}", &[("force", ANY), ("noprune", ANY), ("platforms", ANY)]),
    write("POST", "/build", BUILD).stream(TAR),
    write("POST", "/build/prune", &[("all", ANY), ("filters", ANY), ("keep-storage", ANY)]),
    // Volumes and networks.
    read("/volumes"),
    read("/volumes/{volume}"),
    write("POST", "/volumes/create", &[]).json(network::volume),
    write("DELETE", "/volumes/{volume}", &[("force", ANY)]),
    read("/networks"),
    read("/networks/{network}"),
    write("POST", "/networks/create", &[]).json(network::create),
    write("POST", "/networks/{joined}/connect", &[]).json(network::connect),
    write("POST", "/networks/{network}/disconnect", &[]).json(network::disconnect),
    write("DELETE", "/networks/{network}", &[]),
];

/// What isn't known.
pub const UNKNOWN: Route = never("*", "/{*}", Kind::UnknownRequest);

/// The route of a request.
pub fn find(method: &str, path: &[String]) -> &'static Route {
    ROUTES.iter().find(|route| route.matches(method, path)).unwrap_or(&UNKNOWN)
}

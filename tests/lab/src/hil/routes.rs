//! What each request is answered. The order of the checks is HIL's: route, shape of the request, who asks, then the thing
//! asked for; most functions look the object up before they ask whether the user may see it, a few the other way round.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::json::dumps;
use crate::http::{Request, Response, decode};
use crate::ovsdb::Uuid;
use crate::world::{ActionKind, ApiError, ApiErrorKind, Network, Node, PortAt, Switch, SwitchKind, World};

/// Why there is no plain answer.
enum Failure {
    /// One of HIL's own errors.
    Api(ApiError),
    /// An exception HIL does not catch: a 500 page.
    Bug,
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        Failure::Api(error)
    }
}

type Answer = Result<(u16, Value), Failure>;

fn api(kind: ApiErrorKind, msg: &str) -> Failure {
    Failure::Api(ApiError::new(kind, msg))
}

/// Who asks. `None` is an anonymous user where authentication is not required.
struct Asker<'a> {
    user: Option<&'a crate::world::User>,
}

impl Asker<'_> {
    fn is_admin(&self) -> bool {
        self.user.is_some_and(|u| u.is_admin)
    }

    /// No project is the administrator's.
    fn may(&self, project: Option<&str>) -> bool {
        self.is_admin()
            || project.is_some_and(|p| self.user.is_some_and(|u| u.projects.iter().any(|mine| mine == p)))
    }

    fn require_admin(&self) -> Result<(), Failure> {
        if self.is_admin() {
            return Ok(());
        }
        Err(api(ApiErrorKind::Authorization, "This operation is administrator-only."))
    }

    fn require(&self, project: Option<&str>) -> Result<(), Failure> {
        if self.may(project) {
            return Ok(());
        }
        Err(api(ApiErrorKind::Authorization, "You do not have access to the required project."))
    }
}

/// Answers a GET (or HEAD, or OPTIONS). `turn` counts requests, for the answers that are never twice the same.
pub(super) fn read(world: &World, request: &Request, turn: u64) -> Response {
    let segments = match segments(request) {
        Ok(segments) => segments,
        Err(response) => return *response,
    };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if request.method == "OPTIONS" {
        let mut response = Response::api(200, String::new());
        response.headers.push(("Allow", methods(&segments).join(", ")));
        return response;
    }
    let answer = query(request, &segments).and_then(|project| {
        let asker = authenticate(world, request)?;
        get(world, &asker, &segments, project.as_deref(), turn)
    });
    respond(answer)
}

/// Answers anything that is no read.
pub(super) fn write(world: &mut World, request: &Request) -> Response {
    let segments = match segments(request) {
        Ok(segments) => segments,
        Err(response) => return *response,
    };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let answer = arguments(request, &segments).and_then(|arguments| {
        let asker = authenticate(world, request)?.user.cloned();
        change(world, &Asker { user: asker.as_ref() }, &request.method, &segments, &arguments)
    });
    respond(answer)
}

fn respond(answer: Answer) -> Response {
    match answer {
        Ok((status, Value::Null)) => Response::api(status, String::new()),
        Ok((status, body)) => Response::api(status, dumps(&body)),
        Err(Failure::Api(ApiError { kind, msg })) => {
            Response::api(kind.status(), dumps(&json!({"msg": msg, "type": kind.class_name()})))
        }
        Err(Failure::Bug) => Response::page(
            500,
            "The server encountered an internal error and was unable to complete your request.  Either the server is \
             overloaded or there is an error in the application.",
        ),
    }
}

/// The decoded path below `/v0`, if there is a route for it and the method; else the framework's page. `%2F` is a slash like
/// any other by the time the router sees it.
fn segments(request: &Request) -> Result<Vec<String>, Box<Response>> {
    let path = decode(request.target.split(['?', '#']).next().unwrap_or_default(), false);
    let segments: Vec<String> =
        path.strip_prefix("/v0/").into_iter().flat_map(|p| p.split('/')).map(str::to_owned).collect();
    let known: Vec<&str> = segments.iter().map(String::as_str).collect();
    if known == ["headnode_images"] {
        let mut response = Response::page(301, "You should be redirected automatically to the target URL.");
        response.headers.push(("Location", "/v0/headnode_images/".to_owned()));
        return Err(Box::new(response));
    }
    let allowed = methods(&known);
    if allowed.is_empty() {
        return Err(Box::new(Response::page(
            404,
            "The requested URL was not found on the server.  If you entered the URL manually please check your spelling \
             and try again.",
        )));
    }
    if !allowed.contains(&request.method.as_str()) {
        let mut response = Response::page(405, "The method is not allowed for the requested URL.");
        response.headers.push(("Allow", allowed.join(", ")));
        return Err(Box::new(response));
    }
    Ok(segments)
}

/// The methods of a route; none when there is no such route.
fn methods(segments: &[&str]) -> Vec<&'static str> {
    const READ: [&str; 3] = ["GET", "HEAD", "OPTIONS"];
    let (reads, writes): (bool, &[&'static str]) = match segments {
        ["switch", _, "port", port @ ..] if !port.is_empty() && !port[0].is_empty() => match port {
            // Routes to read a port match anything; the actions on one need a name before the verb.
            [_, .., "connect_nic" | "detach_nic" | "revert"] => (true, &["PUT", "DELETE", "POST"]),
            _ => (true, &["PUT", "DELETE"]),
        },
        _ if segments.iter().any(|s| s.is_empty()) && *segments != ["headnode_images", ""] => (false, &[]),
        ["projects" | "networks" | "switches" | "active_extensions"] | ["headnode_images", ""] => (true, &[]),
        ["nodes" | "networking_action", _] | ["auth", "basic", "users"] => (true, &[]),
        ["project", _, "nodes" | "networks" | "headnodes"] | ["network", _, "attachments"] => (true, &[]),
        ["node" | "network" | "headnode" | "switch", _] => (true, &["PUT", "DELETE"]),
        ["project", _] => (false, &["PUT", "DELETE"]),
        ["project", _, "connect_node" | "detach_node"] => (false, &["POST"]),
        ["network", _, "access", _] => (false, &["PUT", "DELETE"]),
        ["node", _, "nic", _] | ["node", _, "metadata", _] | ["headnode", _, "hnic", _] => {
            (false, &["PUT", "DELETE"])
        }
        ["node" | "headnode", _, "nic" | "hnic", _, "connect_network" | "detach_network"] => {
            (false, &["POST"])
        }
        ["node", _, "power_cycle" | "power_off" | "power_on"] | ["headnode", _, "start" | "stop"] => {
            (false, &["POST"])
        }
        ["node", _, "boot_device" | "obm"] => (false, &["PUT"]),
        ["auth", "basic", "user", _] => (false, &["PUT", "DELETE", "PATCH"]),
        ["auth", "basic", "user", _, "add_project" | "remove_project"] => (false, &["POST"]),
        _ => (false, &[]),
    };
    let mut methods: Vec<&'static str> = if reads { READ.to_vec() } else { Vec::new() };
    methods.extend(writes);
    if !reads && !writes.is_empty() {
        methods.push("OPTIONS");
    }
    methods
}

/// Checks the shape of a GET and takes out its only possible argument, `project`.
fn query(request: &Request, segments: &[&str]) -> Result<Option<String>, Failure> {
    if !request.body.is_empty() {
        return Err(api(ApiErrorKind::Validation, "GET request made with a non-empty request body"));
    }
    let query = request.target.split_once('?').map(|(_, q)| q).unwrap_or_default();
    let mut parameters = BTreeMap::new();
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // Of several values the first counts.
        parameters.entry(decode(key, true)).or_insert(decode(value, true));
    }
    if parameters.values().any(String::is_empty) {
        return Err(api(ApiErrorKind::Validation, "Empty parameter specified"));
    }
    let project =
        if matches!(segments, ["network", _, "attachments"]) { parameters.remove("project") } else { None };
    if parameters.is_empty() { Ok(project) } else { Err(bad_arguments()) }
}

fn bad_arguments() -> Failure {
    api(ApiErrorKind::Validation, "Request arguments are not valid for this request")
}

/// Reads the JSON object in the body of a write and checks that it has the members the function needs, and no others.
fn arguments(request: &Request, segments: &[&str]) -> Result<Map<String, Value>, Failure> {
    let form = "application/x-www-form-urlencoded";
    // The framework parses such a body as a form, and HIL sees none.
    let eaten = request.header("content-type").is_some_and(|t| t.starts_with(form));
    let arguments = if request.body.is_empty() || eaten {
        Map::new()
    } else {
        match serde_json::from_slice(&request.body) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return Err(Failure::Bug),
            Err(_) => return Err(api(ApiErrorKind::Validation, "The request body is not valid JSON")),
        }
    };
    let (needed, optional): (&[&str], &[&str]) = match segments {
        ["node", _, "nic", _, "connect_network"] => (&["network"], &["channel"]),
        ["node", _, "nic", _, "detach_network"] => (&["network"], &[]),
        ["project", _, "connect_node" | "detach_node"] => (&["node"], &[]),
        ["network", _, "access", _] => (&[], &[]),
        ["switch", _, "port", _, .., "connect_nic"] if request.method == "POST" => (&["node", "nic"], &[]),
        ["switch", _, "port", ..] => (&[], &[]),
        // The others are not carried out: whatever they bring is fine.
        _ => return Ok(arguments),
    };
    let all_there = needed.iter().all(|n| arguments.contains_key(*n));
    let all_known = arguments
        .iter()
        .all(|(k, v)| v.is_string() && (needed.contains(&k.as_str()) || optional.contains(&k.as_str())));
    if all_there && all_known { Ok(arguments) } else { Err(bad_arguments()) }
}

/// HIL's database authentication. An unknown user is a 404, of all things.
fn authenticate<'a>(world: &'a World, request: &Request) -> Result<Asker<'a>, Failure> {
    if let Some((name, password)) = request.basic() {
        let user = world.users.iter().find(|u| u.name == name);
        let user = user.ok_or_else(|| ApiError::missing("User", &name))?;
        if user.password == password {
            return Ok(Asker { user: Some(user) });
        }
    }
    if world.hil.require_authentication {
        let msg = "Authentication failed. Authentication is required to use this service.";
        return Err(api(ApiErrorKind::Authorization, msg));
    }
    Ok(Asker { user: None })
}

fn must_find<'a, T>(found: Option<&'a T>, class: &str, label: &str) -> Result<&'a T, Failure> {
    found.ok_or_else(|| Failure::Api(ApiError::missing(class, label)))
}

fn find_port<'a>(world: &'a World, switch: &str, port: &str) -> Result<&'a Switch, Failure> {
    let switch = must_find(world.switch(switch), "Switch", switch)?;
    if switch.ports.iter().any(|p| p == port) {
        return Ok(switch);
    }
    let msg = format!("Port {port} on {} {} does not exist.", switch.kind.class_name(), switch.label);
    Err(api(ApiErrorKind::NotFound, &msg))
}

fn sorted<'a>(labels: impl Iterator<Item = &'a String>) -> Value {
    let mut labels: Vec<&String> = labels.collect();
    labels.sort();
    json!(labels)
}

fn get(world: &World, asker: &Asker<'_>, segments: &[&str], project: Option<&str>, turn: u64) -> Answer {
    let body = match segments {
        ["projects"] => {
            asker.require_admin()?;
            sorted(world.projects.iter())
        }
        ["project", label, list] => {
            let label = must_find(world.projects.iter().find(|p| p == label), "Project", label)?;
            asker.require(Some(label))?;
            match *list {
                "nodes" => {
                    let theirs = world.nodes.iter().filter(|n| n.project.as_ref() == Some(label));
                    json!(theirs.map(|n| &n.label).collect::<Vec<_>>())
                }
                "networks" => {
                    let theirs = world.networks.iter().filter(|n| n.access.contains(label));
                    sorted(theirs.map(|n| &n.label))
                }
                _ => json!([]),
            }
        }
        ["nodes", which] => {
            let listed = world.nodes.iter().filter(|n| *which != "free" || n.project.is_none());
            sorted(listed.map(|n| &n.label))
        }
        ["node", label] => {
            let node = must_find(world.node(label), "Node", label)?;
            if node.project.is_some() {
                asker.require(node.project.as_deref())?;
            }
            show_node(world, node, asker.is_admin(), turn)
        }
        ["networks"] => {
            let visible = world.networks.iter().filter(|n| asker.is_admin() || n.access.is_empty());
            let entry = |n: &Network| {
                let projects = if n.access.is_empty() { Value::Null } else { sorted(n.access.iter()) };
                (n.label.clone(), json!({"network_id": n.network_id, "projects": projects}))
            };
            Value::Object(visible.map(entry).collect())
        }
        ["network", label] => {
            let network = must_find(world.network(label), "Network", label)?;
            if !network.access.is_empty() && !network.access.iter().any(|p| asker.may(Some(p))) {
                return Err(api(ApiErrorKind::Authorization, "You do not have access to this network."));
            }
            show_network(world, network, asker)
        }
        ["network", label, "attachments"] => {
            let network = must_find(world.network(label), "Network", label)?;
            attachments(world, network, asker, project)?
        }
        ["headnode", label] => return Err(ApiError::missing("Headnode", label).into()),
        ["headnode_images", ""] => sorted(world.hil.headnode_images.iter()),
        ["switches"] => {
            asker.require_admin()?;
            sorted(world.switches.iter().map(|s| &s.label))
        }
        ["switch", label] => {
            asker.require_admin()?;
            let switch = must_find(world.switch(label), "Switch", label)?;
            let ports: Vec<Value> = switch.ports.iter().map(|p| json!({"label": p})).collect();
            json!({"name": switch.label, "ports": ports, "capabilities": switch.kind.capabilities()})
        }
        ["switch", switch, "port", port @ ..] => {
            asker.require_admin()?;
            let port = port.join("/");
            find_port(world, switch, &port)?;
            match world.nic_at(&PortAt::new(switch, &port)) {
                Some((node, nic)) => {
                    json!({"node": node.label, "nic": nic.label, "networks": channels(world, &node.label, &nic.label)})
                }
                None => json!({}),
            }
        }
        ["networking_action", uuid] => {
            let found = uuid.parse::<Uuid>().ok().and_then(|u| world.action(u));
            let action = found.ok_or_else(|| api(ApiErrorKind::NotFound, "status_id not found"))?;
            asker.require(world.node(&action.node).and_then(|n| n.project.as_deref()))?;
            let (kind, network, channel) = match &action.kind {
                ActionKind::ModifyPort { network, channel } => {
                    ("modify_port", network.as_deref(), channel.as_str())
                }
                ActionKind::RevertPort => ("revert_port", None, ""),
            };
            json!({
                "status": action.status.to_string(), "node": action.node, "nic": action.nic,
                "type": kind, "new_network": network, "channel": channel,
            })
        }
        ["auth", "basic", "users"] => {
            asker.require_admin()?;
            let entry = |u: &crate::world::User| {
                (u.name.clone(), json!({"is_admin": u.is_admin, "projects": sorted(u.projects.iter())}))
            };
            Value::Object(world.users.iter().map(entry).collect())
        }
        ["active_extensions"] => {
            asker.require_admin()?;
            sorted(world.hil.extensions.iter())
        }
        _ => return Err(Failure::Bug),
    };
    Ok((200, body))
}

fn channels(world: &World, node: &str, nic: &str) -> Value {
    Value::Object(world.attached(node, nic).map(|a| (a.channel.clone(), json!(a.network))).collect())
}

fn show_node(world: &World, node: &Node, admin: bool, turn: u64) -> Value {
    let mut nics: Vec<Value> = node
        .nics
        .iter()
        .map(|nic| {
            let networks = channels(world, &node.label, &nic.label);
            let mut shown = json!({"label": nic.label, "macaddr": nic.mac, "networks": networks});
            if admin {
                shown["port"] = json!(nic.port.as_ref().map(|p| &p.port));
                shown["switch"] = json!(nic.port.as_ref().map(|p| &p.switch));
            }
            shown
        })
        .collect();
    if world.hil.shuffle_nics && !nics.is_empty() {
        let by = usize::try_from(turn).unwrap_or(0) % nics.len();
        nics.rotate_left(by);
    }
    let metadata: Map<String, Value> = node.metadata.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    json!({"name": node.label, "project": node.project, "nics": nics, "metadata": metadata})
}

fn show_network(world: &World, network: &Network, asker: &Asker<'_>) -> Value {
    let mut connected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for attachment in world.attachments.iter().filter(|a| a.network == network.label) {
        let project = world.node(&attachment.node).and_then(|n| n.project.as_deref());
        if asker.may(network.owner.as_deref()) || asker.may(project) {
            connected.entry(&attachment.node).or_default().push(&attachment.nic);
        }
    }
    json!({
        "name": network.label,
        "owner": network.owner.as_deref().unwrap_or("admin"),
        "access": if network.access.is_empty() { Value::Null } else { json!(network.access) },
        "channels": world.hil.allocator.channels(&network.network_id),
        "connected-nodes": connected,
    })
}

/// One entry per *node*, whatever nics it has on the network: the last attachment wins. HIL really loses the others.
fn attachments(
    world: &World,
    network: &Network,
    asker: &Asker<'_>,
    project: Option<&str>,
) -> Result<Value, Failure> {
    let owner = asker.may(network.owner.as_deref());
    match project {
        None if !owner => {
            let msg = "Operation requires admin rights or access to network's owning project";
            return Err(api(ApiErrorKind::Authorization, msg));
        }
        Some(project) => {
            must_find(world.projects.iter().find(|p| *p == project), "Project", project)?;
            let member = network.access.iter().any(|p| p == project) && asker.may(Some(project));
            if !owner && !member {
                return Err(api(ApiErrorKind::Authorization, "You do not have access to this project."));
            }
        }
        None => {}
    }
    let mut nodes = Map::new();
    for attachment in world.attachments.iter().filter(|a| a.network == network.label) {
        let of = world.node(&attachment.node).and_then(|n| n.project.as_deref());
        if project.is_some() && project != of {
            continue;
        }
        // The label of no project: an attachment of a free node is an exception in HIL.
        let of = of.ok_or(Failure::Bug)?;
        let entry = json!({"nic": attachment.nic, "channel": attachment.channel, "project": of});
        nodes.insert(attachment.node.clone(), entry);
    }
    Ok(Value::Object(nodes))
}

fn change(
    world: &mut World,
    asker: &Asker<'_>,
    method: &str,
    segments: &[&str],
    arguments: &Map<String, Value>,
) -> Answer {
    let argument = |name: &str| arguments.get(name).and_then(Value::as_str);
    let needed = |name: &str| argument(name).ok_or_else(bad_arguments);
    let may = |project: &str| asker.may(Some(project));
    let status_id = |status: u16, uuid: Uuid| Ok((status, json!({"status_id": uuid.to_string()})));
    match (method, segments) {
        ("POST", ["node", node, "nic", nic, "connect_network"]) => {
            status_id(202, world.queue_connect((node, nic), needed("network")?, argument("channel"), may)?)
        }
        ("POST", ["node", node, "nic", nic, "detach_network"]) => {
            status_id(202, world.queue_detach((node, nic), needed("network")?, may)?)
        }
        ("POST", ["switch", switch, "port", port @ .., "revert"]) => {
            asker.require_admin()?;
            let port = port.join("/");
            find_port(world, switch, &port)?;
            status_id(200, world.queue_revert(&PortAt::new(switch, &port))?)
        }
        ("PUT", ["switch", switch, "port", port @ ..]) => {
            asker.require_admin()?;
            let port = port.join("/");
            let found = must_find(world.switch(switch), "Switch", switch)?;
            if found.ports.contains(&port) {
                let msg = format!("Port {port} on {} {switch} already exists", found.kind.class_name());
                return Err(api(ApiErrorKind::Duplicate, &msg));
            }
            check_port_name(&found.kind, &port)?;
            world.register_port(switch, &port).map_err(|_| Failure::Bug)?;
            Ok((200, Value::Null))
        }
        ("POST", ["project", project, verb @ ("connect_node" | "detach_node")]) => {
            let node = needed("node")?;
            must_find(world.projects.iter().find(|p| p == project), "Project", project)?;
            asker.require(Some(project))?;
            let found = must_find(world.node(node), "Node", node)?;
            let to = match *verb {
                "connect_node" if found.project.is_some() => {
                    return Err(api(ApiErrorKind::Blocked, "Node is already owned by a project."));
                }
                "connect_node" => Some(*project),
                _ if found.project.as_deref() != Some(project) => {
                    return Err(api(ApiErrorKind::NotFound, "Node not in project"));
                }
                _ if world.attachments.iter().any(|a| a.node == node) => {
                    return Err(api(ApiErrorKind::Blocked, "Node attached to a network"));
                }
                _ if world.has_pending(node) => {
                    return Err(api(ApiErrorKind::Blocked, "Node has pending network actions"));
                }
                _ => None,
            };
            world.move_node(node, to).map_err(|_| Failure::Bug)?;
            Ok((200, Value::Null))
        }
        ("PUT", ["network", network, "access", project]) => {
            let found = must_find(world.network(network), "Network", network)?;
            must_find(world.projects.iter().find(|p| p == project), "Project", project)?;
            asker.require(found.owner.as_deref())?;
            if found.access.iter().any(|p| p == project) {
                let msg = format!("Network {network} is already in project {project}");
                return Err(api(ApiErrorKind::Duplicate, &msg));
            }
            world.grant(network, project).map_err(|_| Failure::Bug)?;
            Ok((200, Value::Null))
        }
        ("DELETE", ["network", network, "access", project]) => {
            revoke(world, asker, network, project)?;
            Ok((200, Value::Null))
        }
        _ => {
            asker.require_admin()?;
            Err(Failure::Bug)
        }
    }
}

fn revoke(world: &mut World, asker: &Asker<'_>, network: &str, project: &str) -> Result<(), Failure> {
    let found = must_find(world.network(network), "Network", network)?;
    must_find(world.projects.iter().find(|p| *p == project), "Project", project)?;
    let listed = found.access.iter().any(|p| p == project);
    let may = asker.may(found.owner.as_deref()) || (listed && asker.may(Some(project)));
    if !found.access.is_empty() && !may {
        let msg = "You are not authorized to remove the specified project from this network.";
        return Err(api(ApiErrorKind::Authorization, msg));
    }
    if !listed {
        let msg = format!("Network u'{network}' is not in project u'{project}'");
        return Err(api(ApiErrorKind::NotFound, &msg));
    }
    if found.owner.as_deref() == Some(project) {
        let msg =
            format!("Project u'{project}' is owner of network u'{network}' and its access cannot be removed");
        return Err(api(ApiErrorKind::Blocked, &msg));
    }
    let theirs = |node: &str| world.node(node).and_then(|n| n.project.as_deref()) == Some(project);
    if world.attachments.iter().any(|a| a.network == network && theirs(&a.node)) {
        return Err(api(ApiErrorKind::Blocked, "Project still has node(s) attached to the network"));
    }
    world.revoke(network, project).map_err(|_| Failure::Bug)
}

/// The names a driver takes. Open vSwitch takes any.
fn check_port_name(kind: &SwitchKind, port: &str) -> Result<(), Failure> {
    let slots = |text: &str, from: usize| {
        let parts: Vec<&str> = text.split('/').collect();
        (from..=3).contains(&parts.len())
            && parts.iter().all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
    };
    let (good, like) = match kind {
        SwitchKind::Ovs { .. } => (true, ""),
        SwitchKind::PowerConnect55xx | SwitchKind::DellN3000 | SwitchKind::Mock => {
            let rest = port.strip_prefix("gi").or_else(|| port.strip_prefix("te"));
            (rest.is_some_and(|r| slots(r, 2)), "gi1/0/11, te1/0/12, gi1/12, or te1/3")
        }
        SwitchKind::Nexus => {
            let rest = port.strip_prefix("Ethernet").or_else(|| port.strip_prefix("ethernet"));
            (
                rest.is_some_and(|r| slots(r, 2)),
                "Ethernet1/12, ethernet1/12, Ethernet1/0/10, or ethernet1/0/10",
            )
        }
        SwitchKind::Brocade | SwitchKind::DellNos9 => (slots(port, 2), "1/0/1 or 1/2"),
    };
    if good {
        return Ok(());
    }
    let msg = format!("Invalid port name. Valid port names for this switch are of the form {like}");
    Err(api(ApiErrorKind::BadArgument, &msg))
}

//! The dependency graph as `cargo metadata` tells it, reduced to the edges that are switched on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Where a package stands: the top folder says what it may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Layer {
    /// Pure code.
    Core,
    /// Runs on the robot.
    Robot,
    /// The service that judges the fleet.
    Fleet,
    /// Command line and language bindings.
    Clients,
    /// Repository chores and test fixtures; ships nowhere.
    Tools,
    /// Outside of the workspace.
    External,
    /// A workspace member in a folder that DESIGN §2 does not name.
    Unplaced,
}

/// A package of the graph.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Folder relative to the workspace root, `robot/tpm`; empty for external packages.
    pub(crate) folder: String,
    pub(crate) layer: Layer,
}

/// An edge that is switched on.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) to: String,
    /// True for a dependency that only tests and examples see.
    pub(crate) dev_only: bool,
}

/// Packages by their id, and edges from each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    pub(crate) packages: BTreeMap<String, Package>,
    pub(crate) edges: BTreeMap<String, Vec<Edge>>,
    pub(crate) root: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<RawPackage>,
    workspace_members: Vec<String>,
    workspace_root: PathBuf,
    resolve: RawResolve,
}

#[derive(Deserialize)]
struct RawPackage {
    id: String,
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<RawDependency>,
    features: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct RawDependency {
    name: String,
    rename: Option<String>,
    optional: bool,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct RawResolve {
    nodes: Vec<RawNode>,
}

#[derive(Deserialize)]
struct RawNode {
    id: String,
    deps: Vec<RawEdge>,
    features: Vec<String>,
}

#[derive(Deserialize)]
struct RawEdge {
    pkg: String,
    dep_kinds: Vec<RawKind>,
}

#[derive(Deserialize)]
struct RawKind {
    kind: Option<String>,
}

impl Graph {
    /// Reads what `cargo metadata --format-version 1` printed.
    ///
    /// # Errors
    /// The JSON's own error when it is not that format.
    pub(crate) fn from_metadata(json: &str) -> Result<Self, serde_json::Error> {
        let metadata: Metadata = serde_json::from_str(json)?;
        let members: BTreeSet<&String> = metadata.workspace_members.iter().collect();
        let mut graph = Self {
            root: metadata.workspace_root.clone(),
            ..Self::default()
        };
        for raw in &metadata.packages {
            let package = place(raw, members.contains(&raw.id), &metadata.workspace_root);
            graph.packages.insert(raw.id.clone(), package);
        }
        let raws: BTreeMap<&String, &RawPackage> =
            metadata.packages.iter().map(|raw| (&raw.id, raw)).collect();
        for node in &metadata.resolve.nodes {
            if let Some(from) = raws.get(&node.id) {
                let edges = node
                    .deps
                    .iter()
                    .filter_map(|edge| active_edge(from, node, edge, &raws))
                    .collect();
                graph.edges.insert(node.id.clone(), edges);
            }
        }
        Ok(graph)
    }

    /// Workspace members with their ids.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&String, &Package)> {
        self.packages
            .iter()
            .filter(|(_, package)| package.layer != Layer::External)
    }

    /// What `from` depends on directly, with whether only its tests see it.
    pub(crate) fn direct<'a>(&'a self, from: &str) -> impl Iterator<Item = (&'a Package, bool)> + use<'a> {
        let edges = self.edges.get(from).map_or(&[][..], Vec::as_slice);
        edges
            .iter()
            .filter_map(|edge| Some((self.packages.get(&edge.to)?, edge.dev_only)))
    }

    /// Everything that ends up in what `from` builds, tests aside, with one path of names that leads there.
    pub(crate) fn reachable(&self, from: &str) -> BTreeMap<String, Vec<String>> {
        let mut found = BTreeMap::new();
        let start = self.packages.get(from).map(|package| package.name.clone());
        let mut queue = vec![(from.to_owned(), start.into_iter().collect::<Vec<_>>())];
        while let Some((id, path)) = queue.pop() {
            for edge in self
                .edges
                .get(&id)
                .into_iter()
                .flatten()
                .filter(|edge| !edge.dev_only)
            {
                let Some(package) = self.packages.get(&edge.to) else {
                    continue;
                };
                if found.contains_key(&edge.to) {
                    continue;
                }
                let mut longer = path.clone();
                longer.push(package.name.clone());
                found.insert(edge.to.clone(), longer.clone());
                queue.push((edge.to.clone(), longer));
            }
        }
        found
    }
}

fn place(raw: &RawPackage, member: bool, root: &Path) -> Package {
    let folder = match raw
        .manifest_path
        .parent()
        .and_then(|folder| folder.strip_prefix(root).ok())
    {
        Some(folder) if member => folder.to_string_lossy().into_owned(),
        _ => String::new(),
    };
    let layer = match folder.split('/').next() {
        _ if !member => Layer::External,
        Some("core") => Layer::Core,
        Some("robot") => Layer::Robot,
        Some("fleet") => Layer::Fleet,
        Some("clients") => Layer::Clients,
        Some("tools") => Layer::Tools,
        _ => Layer::Unplaced,
    };
    Package {
        name: raw.name.clone(),
        folder,
        layer,
    }
}

/// `cargo metadata` also lists optional dependencies that no feature asks for (`ring?/alloc` is enough): these are
/// dropped here.
fn active_edge(
    from: &RawPackage,
    node: &RawNode,
    edge: &RawEdge,
    raws: &BTreeMap<&String, &RawPackage>,
) -> Option<Edge> {
    let target = &raws.get(&edge.pkg)?.name;
    let declared: Vec<&RawDependency> = from
        .dependencies
        .iter()
        .filter(|dep| dep.name == *target)
        .collect();
    let active: Vec<_> = declared
        .iter()
        .filter(|dep| !dep.optional || switched_on(from, node, dep))
        .collect();
    let on = declared.is_empty() || !active.is_empty();
    let is_dev = |kind: &Option<String>| kind.as_deref() == Some("dev");
    let dev_only = edge.dep_kinds.iter().all(|kind| is_dev(&kind.kind))
        || (!active.is_empty() && active.iter().all(|dep| is_dev(&dep.kind)));
    on.then(|| Edge {
        to: edge.pkg.clone(),
        dev_only,
    })
}

/// Whether an active feature of `from` names the optional dependency.
fn switched_on(from: &RawPackage, node: &RawNode, dep: &RawDependency) -> bool {
    let name = dep.rename.as_ref().unwrap_or(&dep.name);
    let explicit = format!("dep:{name}");
    let strong = format!("{name}/");
    node.features.iter().any(|feature| {
        feature == name
            || from.features.get(feature).is_some_and(|implied| {
                implied
                    .iter()
                    .any(|item| *item == explicit || item.starts_with(&strong))
            })
    })
}

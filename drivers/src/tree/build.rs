//! From what a tree is to be to the tree, with every mistake on the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::rebuild::Kept;
use super::{Child, DeviceSpec, Node, Spec, Tree};
use crate::composite::Composite;
use crate::driver::{Shape, check_method};
use crate::registry::{self, BuildError, Built};

/// A tree that can't be built.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", .path.join("."))]
pub struct TreeError {
    /// Names from the top of the tree to the node at fault.
    pub path: Vec<String>,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a node.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No driver has this `type:`.
    #[error("Driver '{0}' is not installed. Please check exporter configuration.")]
    UnknownType(String),
    /// A `ref:` that leads nowhere.
    #[error("Proxy driver {name} references nonexistent driver {target}")]
    DanglingProxy {
        /// The proxy's own name.
        name: String,
        /// What it refers to.
        target: String,
    },
    /// A `ref:` that leads back to itself or to a node above it.
    #[error("Proxy driver {name} contains itself through {target}")]
    EndlessProxy {
        /// The proxy's own name.
        name: String,
        /// What it refers to.
        target: String,
    },
    /// A driver below another one that can't do what that needs of it.
    #[error("{used} can't be used here: it has no method '{missing}'")]
    Unfit {
        /// The path of the driver.
        used: String,
        /// A method that it lacks.
        missing: String,
    },
    /// A `uuid` setting that is none, or that another node has as well.
    #[error("uuid '{0}' is not a UUID of its own")]
    BadUuid(String),
    /// The driver refused its settings.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl TreeError {
    /// Whether a proxy is only `broken` because of this mistake in the node that it leads to.
    fn explains(&self, broken: &Self) -> bool {
        let Problem::DanglingProxy { target, .. } = &broken.problem else { return false };
        let rest = target.strip_prefix(&self.path.join("."));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl Tree {
    /// Builds every driver of `top`, the children of the root, without touching a device.
    ///
    /// # Errors
    ///
    /// Every mistake there is, in the order of the tree.
    pub fn build(
        description: Option<String>,
        top: &[(String, Spec)],
    ) -> Result<Self, Vec<TreeError>> {
        Self::build_with(Kept::default(), description, top)
    }

    /// As [`build`](Self::build), with what is kept of another tree.
    pub(super) fn build_with(
        kept: Kept<'_>,
        description: Option<String>,
        top: &[(String, Spec)],
    ) -> Result<Self, Vec<TreeError>> {
        let mut builder = Builder { kept, order: Vec::new(), errors: Vec::new() };
        let children = builder.children(&mut Vec::new(), top);
        let root = builder.group(&[], description, children);
        let Builder { order, mut errors, .. } = builder;
        let by_id = order.iter().map(|node| (node.id, Arc::clone(node))).collect();
        let tree = Self { root, by_id, order };
        let mut broken = tree.broken_proxies(&tree.root, &mut Vec::new());
        broken.retain(|broken| !errors.iter().any(|error| error.explains(broken)));
        errors.append(&mut broken);
        errors.extend(tree.order.iter().flat_map(|node| tree.unfit(node)));
        if errors.is_empty() { Ok(tree.in_order_of_use()) } else { Err(errors) }
    }

    /// What a node uses that can't do what it is used for.
    fn unfit(&self, node: &Node) -> Vec<TreeError> {
        let used = self.used_by(node).into_iter();
        let unfit = used.filter_map(|(used, found)| {
            let has = |method: &&str| check_method(&*found.driver, method, Shape::Unary).is_ok();
            let missing = used.methods.iter().find(|method| !has(method))?;
            let path = node.path.split('.').chain([used.name]).map(str::to_owned).collect();
            let (used, missing) = (found.path.clone(), (*missing).to_owned());
            Some(TreeError { path, problem: Problem::Unfit { used, missing } })
        });
        unfit.collect()
    }

    /// The same tree, in which what a node uses comes before it, also through a proxy.
    fn in_order_of_use(self) -> Self {
        let mut order = Vec::with_capacity(self.order.len());
        for node in &self.order {
            self.before(node, &mut order);
        }
        Self { order, ..self }
    }

    /// Adds a node to the order, and before that what it uses and what is below it. Proxies lead in no circle.
    fn before(&self, node: &Arc<Node>, order: &mut Vec<Arc<Node>>) {
        if order.iter().any(|known| known.id == node.id) {
            return;
        }
        for (_, used) in self.used_by(node) {
            self.before(used, order);
        }
        for (_, child) in &node.children {
            if let Child::Own(child) = child {
                self.before(child, order);
            }
        }
        order.push(Arc::clone(node));
    }

    /// The proxies below `node` that lead nowhere, or to one of the nodes `above` them.
    fn broken_proxies<'a>(&'a self, node: &'a Node, above: &mut Vec<&'a Node>) -> Vec<TreeError> {
        above.push(node);
        let mut errors = Vec::new();
        for (name, child) in &node.children {
            match child {
                Child::Own(child) => errors.extend(self.broken_proxies(child, above)),
                Child::Proxy(path) => {
                    let (name, target) = (name.clone(), path.join("."));
                    let problem = match self.resolve(path, 0) {
                        None => Problem::DanglingProxy { name: name.clone(), target },
                        Some(found) if self.contains(found, above, 0) => {
                            Problem::EndlessProxy { name: name.clone(), target }
                        }
                        Some(_) => continue,
                    };
                    let above = node.path.split('.').filter(|name| !name.is_empty());
                    let path = above.map(str::to_owned).chain([name]).collect();
                    errors.push(TreeError { path, problem });
                }
            }
        }
        above.pop();
        errors
    }

    /// Whether one of the nodes `sought` is `node` or, through proxies, below it.
    fn contains(&self, node: &Node, sought: &[&Node], depth: usize) -> bool {
        depth > self.order.len()
            || sought.iter().any(|sought| sought.id == node.id)
            || node.children.iter().any(|(_, child)| match child {
                Child::Own(child) => self.contains(child, sought, depth + 1),
                Child::Proxy(path) => self
                    .resolve(path, 0)
                    .is_some_and(|child| self.contains(child, sought, depth + 1)),
            })
    }
}

/// Collects nodes and mistakes while the tree is built.
struct Builder<'k> {
    kept: Kept<'k>,
    order: Vec<Arc<Node>>,
    errors: Vec<TreeError>,
}

impl Builder<'_> {
    fn children(
        &mut self,
        path: &mut Vec<String>,
        specs: &[(String, Spec)],
    ) -> Vec<(String, Child)> {
        let mut children = Vec::new();
        for (name, spec) in specs {
            path.push(name.clone());
            let child = match spec {
                Spec::Proxy(target) => {
                    Some(Child::Proxy(target.split('.').map(str::to_owned).collect()))
                }
                Spec::Group(specs) => {
                    let below = self.children(path, specs);
                    Some(Child::Own(self.group(path, None, below)))
                }
                Spec::Device(device) => self.device(path, device).map(Child::Own),
            };
            path.pop();
            children.extend(child.map(|child| (name.clone(), child)));
        }
        children
    }

    fn group(
        &mut self,
        path: &[String],
        description: Option<String>,
        children: Vec<(String, Child)>,
    ) -> Arc<Node> {
        let path = path.join(".");
        let node = Node {
            id: self.kept.group(&path).map_or_else(Uuid::new_v4, |group| group.id),
            path,
            labels: BTreeMap::new(),
            description,
            methods_description: BTreeMap::new(),
            driver: Arc::new(Composite),
            brought: None,
            children,
        };
        self.add(node)
    }

    fn device(&mut self, path: &mut Vec<String>, spec: &DeviceSpec) -> Option<Arc<Node>> {
        let children = self.children(path, &spec.children);
        let kept = self.kept.device(&path.join("."));
        let built = common_settings(&spec.config).and_then(|(common, config)| {
            if let Some(built) = kept.and_then(Node::built) {
                return Ok((common, built));
            }
            let entry = registry::find(&spec.type_name)
                .ok_or_else(|| Problem::UnknownType(spec.type_name.clone()))?;
            Ok((common, entry.build(Value::Object(config))?))
        });
        let (common, built) = match built {
            Ok(built) => built,
            Err(problem) => {
                self.errors.push(TreeError { path: path.clone(), problem });
                return None;
            }
        };
        let mut node = self.node(path.join("."), built, children, kept);
        node.id = common.id.unwrap_or(node.id);
        node.labels = common.labels;
        node.description.clone_from(&spec.description);
        node.methods_description.extend(spec.methods_description.clone());
        if self.order.iter().any(|other| other.id == node.id) {
            let problem = Problem::BadUuid(node.id.to_string());
            self.errors.push(TreeError { path: path.clone(), problem });
        }
        Some(self.add(node))
    }

    /// A node for a driver and the children that it brings; those of the configuration come first.
    fn node(
        &mut self,
        path: String,
        built: Built,
        mut children: Vec<(String, Child)>,
        kept: Option<&Node>,
    ) -> Node {
        for (name, below) in built.children.clone() {
            if children.iter().all(|(taken, _)| *taken != name) {
                let kept = kept.and_then(|kept| kept.child(&name));
                let below = self.node(format!("{path}.{name}"), below, Vec::new(), kept);
                children.push((name, Child::Own(self.add(below))));
            }
        }
        Node {
            id: kept.map_or_else(Uuid::new_v4, |kept| kept.id),
            path,
            labels: BTreeMap::new(),
            description: None,
            methods_description: built.driver.methods_description(),
            driver: built.driver,
            brought: Some(built.children),
            children,
        }
    }

    fn add(&mut self, node: Node) -> Arc<Node> {
        let node = Arc::new(node);
        self.order.push(Arc::clone(&node));
        node
    }
}

/// Settings that every driver takes in its `config:` block.
struct CommonSettings {
    id: Option<Uuid>,
    labels: BTreeMap<String, String>,
}

/// Takes the settings that every driver has out of a `config:` block.
fn common_settings(
    config: &Map<String, Value>,
) -> Result<(CommonSettings, Map<String, Value>), Problem> {
    let mut config = config.clone();
    // The level is the process's own here; the key is accepted for the sake of existing files.
    config.remove("log_level");
    let labels = match config.remove("labels") {
        None => BTreeMap::new(),
        Some(labels) => registry::parse(labels).map_err(|mut error| {
            error.path.insert(0, "labels".into());
            BuildError::Config(error)
        })?,
    };
    let id = match config.remove("uuid") {
        None => None,
        Some(Value::String(text)) => {
            Some(Uuid::parse_str(&text).map_err(|_| Problem::BadUuid(text))?)
        }
        Some(other) => return Err(Problem::BadUuid(other.to_string())),
    };
    Ok((CommonSettings { id, labels }, config))
}

//! What stands between the nodes: a relay before each node, and the state of the network that all relays obey. Who
//! calls is told by the `user-agent` of the first request on a connection; a connection is one caller's.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// How long a connection that is cut waits before it looks again.
const GLANCE: Duration = Duration::from_millis(20);

/// Which ways are cut or slow. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The index of a node by the id that it calls itself by.
    names: HashMap<u64, usize>,
    cut: HashSet<(usize, usize)>,
    slow: HashMap<usize, Duration>,
}

impl Network {
    /// Notes what a node calls itself, as its `cairn.json` has it.
    pub fn name(&self, id: u64, index: usize) {
        self.0.lock().names.insert(id, index);
    }

    /// Nothing passes between the two any more, in either direction.
    pub fn cut(&self, one: usize, other: usize) {
        self.0.lock().cut.extend([(one, other), (other, one)]);
    }

    /// What the one sends does not reach the other any more; what the other sends does.
    pub fn cut_one_way(&self, from: usize, to: usize) {
        self.0.lock().cut.insert((from, to));
    }

    /// Everything that a node is sent, or sends back, takes so much longer.
    pub fn slow_down(&self, node: usize, by: Duration) {
        self.0.lock().slow.insert(node, by);
    }

    pub fn heal(&self) {
        let mut state = self.0.lock();
        state.cut.clear();
        state.slow.clear();
    }

    /// Whether what goes along there is lost: from the caller to the node, or back.
    fn is_cut(&self, caller: Option<u64>, node: usize, way: Way) -> bool {
        let state = self.0.lock();
        let caller = caller.and_then(|id| state.names.get(&id));
        caller.is_some_and(|caller| {
            state.cut.contains(&match way {
                Way::There => (*caller, node),
                Way::Back => (node, *caller),
            })
        })
    }

    fn delay(&self, node: usize) -> Option<Duration> {
        self.0.lock().slow.get(&node).copied()
    }
}

/// A direction on a connection, as its caller sees it.
#[derive(Clone, Copy)]
enum Way {
    There,
    Back,
}

/// The relay before one node.
pub struct Proxy {
    address: SocketAddr,
    task: AbortHandle,
}

impl Proxy {
    pub async fn start(node: usize, rpc_port: u16, network: Network) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(relay(stream, node, rpc_port, network.clone()));
            }
        });
        Self { address, task: task.abort_handle() }
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(mut caller: TcpStream, node: usize, rpc_port: u16, network: Network) {
    let mut first = vec![0; 64 << 10];
    let mut len = 0;
    // The headers of the first request, or as much as there is of it.
    while !first[..len].windows(4).any(|window| window == b"\r\n\r\n") && len < first.len() {
        match caller.read(&mut first[len..]).await {
            Ok(0) | Err(_) => return,
            Ok(read) => len += read,
        }
    }
    first.truncate(len);
    let from = caller_id(&String::from_utf8_lossy(&first));
    // A connection begins with packets both ways.
    while network.is_cut(from, node, Way::There) || network.is_cut(from, node, Way::Back) {
        tokio::time::sleep(GLANCE).await;
    }
    let Ok(mut callee) = TcpStream::connect(("127.0.0.1", rpc_port)).await else { return };
    let _ = (caller.set_nodelay(true), callee.set_nodelay(true));
    if callee.write_all(&first).await.is_err() {
        return;
    }
    let (mut from_caller, mut to_caller) = caller.split();
    let (mut from_callee, mut to_callee) = callee.split();
    // When either side ends, so does the other.
    tokio::select! {
        () = copy(&mut from_caller, &mut to_callee, from, node, Way::There, &network) => {}
        () = copy(&mut from_callee, &mut to_caller, from, node, Way::Back, &network) => {}
    }
}

async fn copy(
    source: &mut (impl AsyncReadExt + Unpin),
    target: &mut (impl AsyncWriteExt + Unpin),
    from: Option<u64>,
    node: usize,
    way: Way,
    network: &Network,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len) = source.read(&mut buffer).await {
        if len == 0 {
            return;
        }
        if let Some(delay) = network.delay(node) {
            tokio::time::sleep(delay).await;
        }
        while network.is_cut(from, node, way) {
            tokio::time::sleep(GLANCE).await;
        }
        if target.write_all(&buffer[..len]).await.is_err() {
            return;
        }
    }
}

/// The id in `cairn/VERSION (node ID)`.
fn caller_id(head: &str) -> Option<u64> {
    let agent = head.lines().find(|line| line.to_ascii_lowercase().starts_with("user-agent:"))?;
    agent.split_once("(node ")?.1.split(')').next()?.parse().ok()
}

#[test]
fn a_caller_is_known_by_its_agent() {
    assert_eq!(caller_id("POST / HTTP/1.1\r\nUser-Agent: cairn/0.1.0 (node 71)\r\n\r\n"), Some(71));
    assert_eq!(caller_id("POST / HTTP/1.1\r\nuser-agent: cairn/0.1.0 (gateway)\r\n\r\n"), None);
}

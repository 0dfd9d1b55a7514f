//! The command line.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use crate::endpoint::Learned;
use crate::options::Given;

/// An S3-compatible object store: one binary, three copies of everything, durable before it answers.
#[derive(Debug, Parser)]
#[command(name = "cairn", version, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Everything in one process: a storage node and a gateway.
    Server(Server),
    /// A storage node of a cluster.
    Storage(Server),
    /// A stateless S3 gateway in front of a cluster.
    Gateway(Gateway),
    /// Users of S3 and their keys.
    #[command(subcommand)]
    User(User),
    /// The groups of users.
    #[command(subcommand)]
    Group(Group),
    /// The policies that users and groups have.
    #[command(subcommand)]
    Policy(Policy),
    /// The keys of users.
    #[command(subcommand)]
    Key(Key),
    /// Shows how the cluster is: nodes, disks, groups, and what is under way.
    Status {
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// The nodes of the cluster.
    #[command(subcommand)]
    Node(Member),
    /// The disks of the cluster.
    #[command(subcommand)]
    Disk(Member),
    /// Shows where an object's bytes are and whether each copy is whole; with `access`, who may do what.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Explain {
        #[command(subcommand)]
        what: Option<Explain>,
        #[arg(value_name = "s3://BUCKET/KEY", required = true)]
        object: Option<String>,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Checks metadata against chunks, both ways. Exits with 0 where all is clean, 1 where something was found, 2 where it
    /// could not look.
    Fsck {
        /// Read every copy, too.
        #[arg(long)]
        verify: bool,
        /// Have missing and corrupt copies made anew.
        #[arg(long)]
        repair: bool,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// The reading of every copy, once in four weeks or when it is asked for.
    #[command(subcommand)]
    Scrub(Scrub),
    /// What decides about data, the same for all nodes.
    #[command(subcommand)]
    Config(Config),
    /// The time by which each metadata group judges what is past.
    #[command(subcommand)]
    Clock(Clock),
    /// Asks a health address of a process; exits with 0 where it is well. For containers.
    Health {
        #[arg(value_name = "URL", default_value = "http://127.0.0.1:9000/_cairn/health/ready")]
        url: String,
        #[command(flatten)]
        reach: Reach,
    },
    /// Makes the index of a disk's chunks anew from its segments. The disk must not be in use.
    RebuildIndex(RebuildIndex),
    /// Has what is left of a cluster go on alone, after most of it was lost for good. Says what that loses, and asks.
    Recover(Recover),
}

#[derive(Debug, Args)]
pub struct Server {
    /// A directory for each disk. One: one copy. Three: three copies of everything, one on each.
    #[arg(required = true, value_name = "DIR")]
    pub directories: Vec<PathBuf>,

    /// A TOML file with any of the settings below, by the same names (with `_` for `-`).
    #[arg(long, env = "CAIRN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub given: Given,
}

#[derive(Debug, Args)]
pub struct Gateway {
    /// A TOML file with any of the settings below, by the same names (with `_` for `-`).
    #[arg(long, env = "CAIRN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub given: Given,
}

#[derive(Debug, Args)]
pub struct RebuildIndex {
    /// The disk's directory.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

#[derive(Debug, Args)]
pub struct Recover {
    /// All directories that are left of the node. It must not run.
    #[arg(required = true, value_name = "DIR")]
    pub directories: Vec<PathBuf>,

    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

/// How an address is reached.
#[derive(Debug, Clone, Default, Args)]
pub struct Reach {
    /// The certificates (PEM) that are trusted with https, and no others [default: the system's].
    #[arg(long, env = "CAIRN_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// How long one answer may take [default: 5s for health, 15m where fsck and explain read copies, else 2m].
    #[arg(long, env = "CAIRN_TIMEOUT", value_name = "TIME")]
    pub timeout: Option<humantime::Duration>,
}

/// Where the admin API answers. The credentials are `CAIRN_ROOT_ACCESS_KEY` and `CAIRN_ROOT_SECRET_KEY` of the
/// environment.
#[derive(Debug, Clone, Args)]
pub struct Endpoint {
    #[arg(long, env = "CAIRN_ENDPOINT", value_name = "URL", default_value = "http://127.0.0.1:9000")]
    pub endpoint: String,

    /// The region that is signed; where none is given, the one that the endpoint names.
    #[arg(long, env = "CAIRN_REGION", value_name = "NAME", hide = true)]
    pub region: Option<String>,

    #[command(flatten)]
    pub reach: Reach,

    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,

    /// What was learned of it.
    #[arg(skip)]
    pub learned: Arc<Learned>,
}

#[derive(Debug, Subcommand)]
pub enum User {
    /// Makes a user with a key pair; the secret is shown this once.
    Add {
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Lists the users.
    List {
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Shows a user: state, groups, policies, keys.
    Info {
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Has all keys of a user open nothing until it is enabled.
    Disable {
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Has them open again what they did.
    Enable {
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Removes a user that owns no buckets, with its keys.
    Remove {
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
}

/// To whom a policy is attached.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Holder {
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Group {
    /// Makes a group.
    Add {
        #[arg(value_name = "GROUP")]
        name: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Lists the groups.
    List {
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Shows who is in a group, and what its policies are.
    Info {
        #[arg(value_name = "GROUP")]
        name: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Takes a user in.
    Attach {
        group: String,
        user: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Takes a user out.
    Detach {
        group: String,
        user: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Removes a group that has no members and no policies.
    Remove {
        #[arg(value_name = "GROUP")]
        name: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
}

#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Makes a policy from a file of JSON, or replaces it.
    #[command(visible_alias = "add")]
    Set {
        #[arg(value_name = "POLICY")]
        name: String,
        file: PathBuf,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Lists the policies, those that are built in among them.
    List {
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Shows a policy.
    Info {
        #[arg(value_name = "POLICY")]
        name: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Gives a policy to a user or to a group.
    Attach {
        #[arg(value_name = "POLICY")]
        name: String,
        #[command(flatten)]
        holder: Holder,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Takes it away.
    Detach {
        #[arg(value_name = "POLICY")]
        name: String,
        #[command(flatten)]
        holder: Holder,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Removes a policy that nobody has.
    Remove {
        #[arg(value_name = "POLICY")]
        name: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
}

#[derive(Debug, Subcommand)]
pub enum Key {
    /// Makes one more key of a user; the secret is shown this once.
    Add {
        #[arg(value_name = "USER")]
        user: String,
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// When it ceases to be good.
        #[arg(long, value_name = "YYYY-MM-DDThh:mm:ssZ")]
        expires: Option<humantime::Timestamp>,
        /// A policy that narrows what the key may do.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Lists the keys of a user, but for the first.
    List {
        #[arg(value_name = "USER")]
        user: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Has a key open nothing until it is enabled.
    Disable {
        #[arg(value_name = "ACCESS-KEY")]
        access_key: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Has it open again what it did.
    Enable {
        #[arg(value_name = "ACCESS-KEY")]
        access_key: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Removes a key.
    Remove {
        #[arg(value_name = "ACCESS-KEY")]
        access_key: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
}

#[derive(Debug, Subcommand)]
pub enum Explain {
    /// Shows whether a user may do something, and which statement of which policy says so.
    Access {
        /// A user's name; `*` for whoever sends no signature.
        user: String,
        /// An action of S3, as in a policy.
        #[arg(value_name = "s3:ACTION")]
        action: String,
        #[arg(value_name = "BUCKET[/KEY]")]
        resource: String,
        /// The address that the request comes from.
        #[arg(long, value_name = "IP")]
        from: Option<std::net::IpAddr>,
        #[command(flatten)]
        endpoint: Endpoint,
    },
}

#[derive(Debug, Subcommand)]
pub enum Scrub {
    /// Begins to read every copy on every disk.
    Start {
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Shows how far it has come on each disk.
    Status {
        #[command(flatten)]
        endpoint: Endpoint,
    },
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Shows the settings.
    Show {
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Changes one: `gc-grace` or `out-after`.
    Set {
        #[arg(value_name = "NAME")]
        name: String,
        #[arg(value_name = "TIME")]
        value: humantime::Duration,
        #[command(flatten)]
        endpoint: Endpoint,
    },
}

#[derive(Debug, Subcommand)]
pub enum Clock {
    /// Shows it.
    Show {
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Has each group take the clock of its leader for it. For after a clock was wrong, once all clocks are right.
    Reset {
        #[command(flatten)]
        endpoint: Endpoint,
    },
}

/// What can be done with a node or a disk.
#[derive(Debug, Subcommand)]
pub enum Member {
    /// Lists them.
    List {
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Moves everything that it has to others. It goes on serving until then.
    Drain {
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Takes it back into use.
    Undrain {
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        endpoint: Endpoint,
    },
    /// Takes it out of the cluster for good, once it is drained.
    Remove {
        #[arg(value_name = "ID")]
        id: String,
        /// It is lost, with whatever it had.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        endpoint: Endpoint,
    },
}

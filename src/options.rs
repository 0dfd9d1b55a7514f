//! What can be set, and how: a flag, an environment variable and a key of the TOML file, all of one name. A flag goes
//! before the environment, the environment before the file, the file before the default.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytesize::ByteSize;
use cairn_gateway::acl::Ownership;
use cairn_gateway::policy::Network;
use cairn_gateway::server::tls::Files;
use clap::Args;
use serde::{Deserialize, Deserializer};

/// Each setting as it was given, if it was. `None` leaves it to the next source.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Given {
    /// Where S3 is served.
    #[arg(long, env = "CAIRN_LISTEN", value_name = "ADDR", help = "Where S3 is served [default: 127.0.0.1:9000]")]
    pub listen: Option<SocketAddr>,

    /// Where the internal HTTP is served.
    #[arg(
        long,
        env = "CAIRN_RPC",
        value_name = "ADDR",
        help = "Where the internal HTTP is served [default: 127.0.0.1:9001]"
    )]
    pub rpc: Option<SocketAddr>,

    /// Where other processes reach the internal HTTP, if not where it listens.
    #[arg(
        long,
        env = "CAIRN_ADVERTISE",
        value_name = "ADDR",
        help = "Where others reach the internal HTTP [default: where it listens]"
    )]
    pub advertise: Option<String>,

    /// Internal addresses of nodes of the cluster to talk to; all addresses of a name are tried.
    #[arg(
        long,
        env = "CAIRN_JOIN",
        value_name = "ADDR,...",
        value_delimiter = ',',
        help = "Nodes of the cluster to join, HOST:PORT, or mdns for those on the LAN; a node that is given any never forms a cluster by itself"
    )]
    pub join: Option<Vec<String>>,

    /// Certificates with their chains (PEM); S3 is served over TLS.
    #[arg(
        long,
        env = "CAIRN_TLS_CERTIFICATE",
        value_name = "FILE,...",
        value_delimiter = ',',
        help = "Serve S3 over TLS with these certificates and chains (PEM), of which clients get the one for the host that they ask for"
    )]
    pub tls_certificate: Option<Vec<PathBuf>>,

    /// Their private keys (PEM), in the same order.
    #[arg(
        long,
        env = "CAIRN_TLS_KEY",
        value_name = "FILE,...",
        value_delimiter = ',',
        help = "The private keys of the certificates (PEM), in the same order"
    )]
    pub tls_key: Option<Vec<PathBuf>>,

    /// Whether S3 is served over TLS with a certificate that the server makes and nobody has signed.
    #[arg(
        long,
        env = "CAIRN_TLS_SELF_SIGNED",
        value_name = "BOOL",
        num_args = 0..=1,
        // A directory may follow.
        require_equals = true,
        default_missing_value = "true",
        help = "Serve S3 over TLS with a self-signed certificate, made in the first directory"
    )]
    pub tls_self_signed: Option<bool>,

    /// Connections to the S3 port; past them only health is answered.
    #[arg(
        long,
        env = "CAIRN_CONNECTIONS",
        value_name = "N",
        help = "Connections to the S3 port at a time; past them only health is served [default: 4096]"
    )]
    pub connections: Option<usize>,

    /// The same for one address. Behind a proxy all clients come from the proxy's.
    #[arg(
        long,
        env = "CAIRN_CONNECTIONS_PER_ADDRESS",
        value_name = "N",
        help = "Of these from one address, or one /64 of IPv6; 0 is no limit of its own [default: 1024]"
    )]
    pub connections_per_address: Option<usize>,

    /// Proxies that say who their clients are and whether they speak TLS.
    #[arg(
        long,
        env = "CAIRN_TRUSTED_PROXY",
        value_name = "CIDR,...",
        value_delimiter = ',',
        help = "Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, addresses or networks [default: none]"
    )]
    pub trusted_proxy: Option<Vec<String>>,

    /// What a client must send or take, in bytes a second.
    #[arg(
        long,
        env = "CAIRN_MIN_RATE",
        value_name = "SIZE",
        help = "Bytes a second that a client must send or take, averaged over a minute or two; 0 is any [default: 4KiB]"
    )]
    #[serde(deserialize_with = "text")]
    pub min_rate: Option<ByteSize>,

    /// Where metrics are served besides `/_cairn/metrics`.
    #[arg(
        long,
        env = "CAIRN_METRICS",
        value_name = "ADDR",
        help = "Serve /metrics for Prometheus there, to anybody who can connect"
    )]
    pub metrics: Option<SocketAddr>,

    /// Whether the node is announced by mDNS to those that join `mdns`; it is if it joins so itself.
    #[arg(
        long,
        env = "CAIRN_MDNS",
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        help = "Announce the node on the LAN, to those that join mdns"
    )]
    pub mdns: Option<bool>,

    /// How many nodes are started alike: the one of the lowest id forms the cluster when all of them wait.
    #[arg(
        long,
        env = "CAIRN_BOOTSTRAP_EXPECT",
        value_name = "N",
        help = "Form a cluster once so many nodes wait at the addresses to join"
    )]
    pub bootstrap_expect: Option<usize>,

    /// How many metadata groups a new cluster gets beside the root group.
    #[arg(
        long,
        env = "CAIRN_METADATA_GROUPS",
        value_name = "N",
        help = "Metadata groups of a new cluster, 1 to 64 [default: 4]"
    )]
    pub metadata_groups: Option<u32>,

    /// How long a disk is silent before others take over its share.
    #[arg(
        long,
        env = "CAIRN_OUT_AFTER",
        value_name = "TIME",
        help = "How long a disk is silent before its data is copied to others [default: 10m]"
    )]
    #[serde(deserialize_with = "text")]
    pub out_after: Option<humantime::Duration>,

    /// A label: copies of a chunk go to distinct racks first.
    #[arg(long, env = "CAIRN_RACK", value_name = "NAME", help = "The rack of this node [default: default]")]
    pub rack: Option<String>,

    /// Hosts `BUCKET.DOMAIN` are taken as virtual-host style requests.
    #[arg(
        long,
        env = "CAIRN_DOMAIN",
        value_name = "NAME,...",
        value_delimiter = ',',
        help = "Serve BUCKET.NAME as virtual hosts [default: localhost]"
    )]
    pub domain: Option<Vec<String>>,

    /// The region that signatures must name; any will do where none is given.
    #[arg(
        long,
        env = "CAIRN_REGION",
        value_name = "NAME",
        help = "The region that signatures must name [default: us-east-1, and they may name any]"
    )]
    pub region: Option<String>,

    /// Whether signatures of version 2 are taken.
    #[arg(
        long,
        env = "CAIRN_SIGV2",
        value_name = "on|off",
        help = "Whether signatures of version 2 are accepted, too [default: on]"
    )]
    pub sigv2: Option<Switch>,

    /// Whose objects are in new buckets, and whether these have ACLs.
    #[arg(
        long,
        env = "CAIRN_OBJECT_OWNERSHIP",
        value_name = "NAME",
        help = "The object ownership of new buckets: BucketOwnerEnforced (no ACLs), BucketOwnerPreferred or ObjectWriter [default: BucketOwnerEnforced]"
    )]
    pub object_ownership: Option<String>,

    /// The most bytes of an object that go into one chunk.
    #[arg(long, env = "CAIRN_CHUNK_SIZE", value_name = "SIZE", help = "64KiB to 8MiB [default: 8MiB]")]
    #[serde(deserialize_with = "text")]
    pub chunk_size: Option<ByteSize>,

    /// The bytes of all bodies in flight of the process together: half for uploads, half for answers.
    #[arg(long, env = "CAIRN_BODY_POOL", value_name = "SIZE", help = "Memory for bodies in flight [default: 512MiB]")]
    #[serde(deserialize_with = "text")]
    pub body_pool: Option<ByteSize>,

    /// The memory of all RocksDB block caches of the process together.
    #[arg(long, env = "CAIRN_CACHE", value_name = "SIZE", help = "Memory for index blocks [default: 256MiB]")]
    #[serde(deserialize_with = "text")]
    pub cache: Option<ByteSize>,

    /// Room that each disk keeps free: below it, new data is refused.
    #[arg(long, env = "CAIRN_RESERVE", value_name = "SIZE", help = "Room kept free on each disk [default: 1GiB]")]
    #[serde(deserialize_with = "text")]
    pub reserve: Option<ByteSize>,

    /// The most that a node copies to repair and rebalance; it copies less while others need the disks.
    #[arg(long, env = "CAIRN_REPAIR_RATE", value_name = "SIZE", help = "Bytes a second of repair [default: 256MiB]")]
    #[serde(deserialize_with = "text")]
    pub repair_rate: Option<ByteSize>,

    /// How long what nobody refers to any more is kept before it is dropped.
    #[arg(
        long,
        env = "CAIRN_GC_GRACE",
        value_name = "TIME",
        help = "How long unreferenced data is kept; read when the cluster is formed [default: 24h]"
    )]
    #[serde(deserialize_with = "text")]
    pub gc_grace: Option<humantime::Duration>,

    /// Log lines for people, or as JSON for machines.
    #[arg(long, env = "CAIRN_LOG_FORMAT", value_name = "FORMAT", help = "human or json [default: human]")]
    pub log_format: Option<LogFormat>,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Human,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    On,
    Off,
}

/// Whether S3 is served over TLS, and with which certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsCertificates {
    None,
    Given(Vec<Files>),
    SelfSigned,
}

/// The settings that hold.
#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: SocketAddr,
    pub rpc: SocketAddr,
    pub advertise: Option<String>,
    pub join: Vec<String>,
    pub tls: TlsCertificates,
    pub connections: usize,
    pub connections_per_address: usize,
    pub trusted_proxies: Vec<Network>,
    /// Bytes a second.
    pub min_rate: u64,
    pub metrics: Option<SocketAddr>,
    pub mdns: bool,
    pub bootstrap_expect: Option<usize>,
    pub metadata_groups: u32,
    /// `None` where it was not given: what the cluster has.
    pub out_after: Option<Duration>,
    pub rack: String,
    pub domains: Vec<String>,
    pub region: String,
    /// Nobody chose the region.
    pub any_region: bool,
    pub sigv2: bool,
    pub object_ownership: Ownership,
    /// Bytes.
    pub chunk_size: usize,
    /// Bytes.
    pub body_pool: usize,
    /// Bytes.
    pub cache: usize,
    /// Bytes.
    pub reserve: u64,
    /// Bytes a second.
    pub repair_rate: u64,
    /// As `out_after`.
    pub gc_grace: Option<Duration>,
    pub log_format: LogFormat,
}

impl Given {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// It cannot be read, is not TOML, or has a key that is none of the settings.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a valid configuration", path.display()))
    }

    /// These, and what is missing from `other`.
    fn or(self, other: Self) -> Self {
        Self {
            listen: self.listen.or(other.listen),
            rpc: self.rpc.or(other.rpc),
            advertise: self.advertise.or(other.advertise),
            join: self.join.or(other.join),
            tls_certificate: self.tls_certificate.or(other.tls_certificate),
            tls_key: self.tls_key.or(other.tls_key),
            tls_self_signed: self.tls_self_signed.or(other.tls_self_signed),
            connections: self.connections.or(other.connections),
            connections_per_address: self.connections_per_address.or(other.connections_per_address),
            trusted_proxy: self.trusted_proxy.or(other.trusted_proxy),
            min_rate: self.min_rate.or(other.min_rate),
            metrics: self.metrics.or(other.metrics),
            mdns: self.mdns.or(other.mdns),
            bootstrap_expect: self.bootstrap_expect.or(other.bootstrap_expect),
            metadata_groups: self.metadata_groups.or(other.metadata_groups),
            out_after: self.out_after.or(other.out_after),
            rack: self.rack.or(other.rack),
            domain: self.domain.or(other.domain),
            region: self.region.or(other.region),
            sigv2: self.sigv2.or(other.sigv2),
            object_ownership: self.object_ownership.or(other.object_ownership),
            chunk_size: self.chunk_size.or(other.chunk_size),
            body_pool: self.body_pool.or(other.body_pool),
            cache: self.cache.or(other.cache),
            reserve: self.reserve.or(other.reserve),
            repair_rate: self.repair_rate.or(other.repair_rate),
            gc_grace: self.gc_grace.or(other.gc_grace),
            log_format: self.log_format.or(other.log_format),
        }
    }

    /// Puts the file, if there is one, and the defaults under what was given, and validates the whole.
    ///
    /// # Errors
    /// The file is not valid, or a setting is out of its bounds.
    pub fn resolve(self, file: Option<&PathBuf>) -> Result<Settings> {
        let given = match file {
            Some(path) => self.or(Self::from_file(path)?),
            None => self,
        };
        let tls = certificates(given.tls_certificate, given.tls_key, given.tls_self_signed.unwrap_or(false))?;
        let settings = Settings {
            listen: given.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9000))),
            rpc: given.rpc.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9001))),
            advertise: given.advertise,
            join: given.join.unwrap_or_default(),
            tls,
            connections: given.connections.unwrap_or(4_096),
            connections_per_address: given.connections_per_address.unwrap_or(1_024),
            trusted_proxies: networks(&given.trusted_proxy.unwrap_or_default())?,
            min_rate: given.min_rate.map_or(4 << 10, |size| size.as_u64()),
            metrics: given.metrics,
            mdns: given.mdns.unwrap_or(false),
            bootstrap_expect: given.bootstrap_expect,
            metadata_groups: given.metadata_groups.unwrap_or(4),
            out_after: given.out_after.map(Into::into),
            rack: given.rack.unwrap_or_else(|| "default".to_owned()),
            domains: given.domain.unwrap_or_else(|| vec!["localhost".to_owned()]),
            any_region: given.region.is_none(),
            region: given.region.unwrap_or_else(|| "us-east-1".to_owned()),
            sigv2: given.sigv2 != Some(Switch::Off),
            object_ownership: object_ownership(given.object_ownership.as_deref())?,
            chunk_size: bytes(given.chunk_size, 8 << 20)?,
            body_pool: bytes(given.body_pool, 512 << 20)?,
            cache: bytes(given.cache, 256 << 20)?,
            reserve: given.reserve.map_or(1 << 30, |size| size.as_u64()),
            repair_rate: given.repair_rate.map_or(256 << 20, |size| size.as_u64()),
            gc_grace: given.gc_grace.map(Into::into),
            log_format: given.log_format.unwrap_or_default(),
        };
        settings.validate()?;
        Ok(settings)
    }
}

impl Settings {
    /// # Errors
    /// A setting is out of its bounds; the message names it.
    fn validate(&self) -> Result<()> {
        ensure!(
            (64 << 10..=8 << 20).contains(&self.chunk_size),
            "chunk_size is {} bytes; it must be from 64KiB to 8MiB",
            self.chunk_size
        );
        ensure!(self.body_pool >= 32 << 20, "body_pool is {} bytes; at least 32MiB are needed", self.body_pool);
        ensure!(self.cache >= 8 << 20, "cache is {} bytes; at least 8MiB are needed", self.cache);
        ensure!(
            !self.gc_grace.is_some_and(|grace| grace.is_zero()),
            "gc_grace must be more than nothing: uploads in flight live on it"
        );
        ensure!(self.repair_rate > 0, "repair_rate must be more than nothing");
        ensure!(self.connections > 0, "connections must be more than nothing");
        ensure!(!self.region.is_empty(), "region must not be empty");
        ensure!(!self.rack.is_empty(), "rack must not be empty");
        Ok(())
    }
}

fn bytes(given: Option<ByteSize>, default: usize) -> Result<usize> {
    given.map_or(Ok(default), |size| usize::try_from(size.as_u64()).context("a size is too large for this machine"))
}

fn certificates(
    certificates: Option<Vec<PathBuf>>,
    keys: Option<Vec<PathBuf>>,
    self_signed: bool,
) -> Result<TlsCertificates> {
    let (certificates, keys) = (certificates.unwrap_or_default(), keys.unwrap_or_default());
    let (of, count) = (certificates.len(), keys.len());
    ensure!(of == count, "tls_certificate and tls_key go in pairs: there are {of} certificates and {count} keys");
    match (certificates.is_empty(), self_signed) {
        (true, false) => Ok(TlsCertificates::None),
        (true, true) => Ok(TlsCertificates::SelfSigned),
        (false, true) => bail!("tls_certificate and tls_self_signed exclude each other: give one of them"),
        (false, false) => {
            let pairs = certificates.into_iter().zip(keys);
            Ok(TlsCertificates::Given(pairs.map(|(certificate, key)| Files { certificate, key }).collect()))
        }
    }
}

fn networks(given: &[String]) -> Result<Vec<Network>> {
    let network = |text: &String| {
        Network::parse(text.trim())
            .with_context(|| format!("trusted_proxy: {text:?} is no address and no network (CIDR)"))
    };
    given.iter().map(network).collect()
}

fn object_ownership(given: Option<&str>) -> Result<Ownership> {
    let named = |name: &str| Ownership::named(name).with_context(|| format!("object_ownership: there is no {name:?}"));
    given.map_or(Ok(Ownership::default()), named)
}

/// A value that the file spells as the command line does: `"8MiB"`, `"24h"`.
fn text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    Option::<String>::deserialize(deserializer)?.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let file: Given = toml::from_str("listen = '0.0.0.0:80'\nchunk_size = '1MiB'\ngc_grace = '5m'").unwrap();
        let flags = Given { listen: Some(SocketAddr::from(([127, 0, 0, 1], 1))), ..Given::default() };
        let settings = flags.or(file).resolve(None).unwrap();
        assert_eq!(settings.listen.port(), 1);
        assert_eq!(settings.chunk_size, 1 << 20);
        assert_eq!(settings.gc_grace, Some(Duration::from_secs(300)));
        assert_eq!(settings.region, "us-east-1");
    }

    #[test]
    fn a_region_holds_where_it_is_given_and_version_2_is_switched_off_by_a_word() {
        let none = Given::default().resolve(None).unwrap();
        assert_eq!((none.region.as_str(), none.any_region, none.sigv2), ("us-east-1", true, true));
        let given: Given = toml::from_str("region = 'us-east-1'\nsigv2 = 'off'").unwrap();
        let given = given.resolve(None).unwrap();
        assert_eq!((given.any_region, given.sigv2), (false, false));
        assert!(toml::from_str::<Given>("sigv2 = 'perhaps'").is_err());
    }

    #[test]
    fn the_object_ownership_of_new_buckets_is_one_of_three() {
        let of = |text: &str| toml::from_str::<Given>(text).unwrap().resolve(None).map(|all| all.object_ownership);
        assert_eq!(of("").unwrap(), Ownership::BucketOwnerEnforced);
        assert_eq!(of("object_ownership = 'ObjectWriter'").unwrap(), Ownership::ObjectWriter);
        assert!(of("object_ownership = 'Mine'").is_err());
    }

    #[test]
    fn a_key_that_is_no_setting_is_refused_by_name() {
        let error = toml::from_str::<Given>("chunksize = '1MiB'").unwrap_err();
        assert!(error.to_string().contains("chunksize"), "{error}");
    }

    #[test]
    fn trusted_proxies_are_addresses_and_networks_with_commas_or_one_by_one() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            given: Given,
        }
        let given = |words: &[&str]| {
            let line = <Line as clap::Parser>::try_parse_from(std::iter::once(&"cairn").chain(words));
            line.unwrap().given
        };
        let file: Given = toml::from_str("trusted_proxy = ['10.0.0.0/8', '2001:db8::1']").unwrap();
        for given in [
            file,
            given(&["--trusted-proxy", "10.0.0.0/8,2001:db8::1"]),
            given(&["--trusted-proxy", "10.0.0.0/8, 2001:db8::1"]),
            given(&["--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "2001:db8::1"]),
        ] {
            let trusted = given.resolve(None).unwrap().trusted_proxies;
            assert_eq!(trusted, ["10.0.0.0/8", "2001:db8::1/128"].map(|text| Network::parse(text).unwrap()));
        }
        assert!(given(&[]).resolve(None).unwrap().trusted_proxies.is_empty());
        for wrong in ["", "proxy.example.com", "10.0.0.0/33", "10.0.0.1,", "10.0.0.1:80", "10.0.0.*"] {
            let error = given(&["--trusted-proxy", wrong]).resolve(None).unwrap_err();
            assert!(error.to_string().contains("trusted_proxy"), "{wrong}: {error}");
        }
    }

    #[test]
    fn certificates_and_keys_go_in_pairs_and_not_with_a_self_signed_one() {
        let resolved = |text: &str| toml::from_str::<Given>(text).unwrap().resolve(None);
        let files = |name: &str| Files { certificate: format!("{name}.crt").into(), key: format!("{name}.key").into() };
        assert_eq!(resolved("").unwrap().tls, TlsCertificates::None);
        assert_eq!(resolved("tls_self_signed = false").unwrap().tls, TlsCertificates::None);
        assert_eq!(resolved("tls_self_signed = true").unwrap().tls, TlsCertificates::SelfSigned);
        let both = "tls_certificate = ['a.crt', 'b.crt']\ntls_key = ['a.key', 'b.key']\n";
        assert_eq!(resolved(both).unwrap().tls, TlsCertificates::Given(vec![files("a"), files("b")]));
        for wrong in [
            "tls_certificate = ['a.crt']",
            "tls_key = ['a.key']",
            "tls_certificate = ['a.crt', 'b.crt']\ntls_key = ['a.key']",
            &format!("{both}tls_self_signed = true"),
        ] {
            let error = resolved(wrong).unwrap_err().to_string();
            assert!(error.contains("tls_certificate"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_chunk_size_out_of_bounds_is_refused() {
        let given = Given { chunk_size: Some(ByteSize::mib(9)), ..Given::default() };
        assert!(given.resolve(None).unwrap_err().to_string().contains("chunk_size"));
    }
}

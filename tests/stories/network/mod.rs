//! Requests: proxies, addresses, faults, mirrors, and the web servers of sites.

mod environment;
mod fetch;
mod http_servers;
mod neighbours;
mod proxy_rules;

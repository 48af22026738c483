//! Where operations go: the description's servers, the caller's base URL, and what both bring into
//! the draft (allowed domains, ports, config fields).

use std::collections::{HashMap, HashSet};

use portcullis_action::UrlTemplate;
use serde_json::{Map, Value, json};

use crate::ImportError;
use crate::context::{Context, Dialect};
use crate::limits::{CONFIG_FIELDS_MAX, HELP_CHARS_MAX, HOSTS_MAX, VALUE_CHARS_MAX};
use crate::names::{field_name, one_line, paragraph};
use crate::servers::{self, Server, ServerProblem};

/// Names that the credential form may use; a config field with one of them would be a duplicate.
const CREDENTIAL_NAMES: &[&str] = &["api_key", "client_id", "client_secret", "password", "token", "username"];

/// Names of a token's own, which no field of the credential form may have.
const RESERVED: &[&str] = &["access_token", "code", "code_verifier", "redirect_uri", "refresh_token"];

/// The bases of a draft.
#[derive(Debug, Default)]
pub(crate) struct Bases {
    /// Base of operations without servers in their own description.
    main: String,
    /// Whether the caller gave it.
    is_given: bool,
    /// `allowed_domains`.
    pub(crate) domains: Vec<String>,
    /// `egress.ports`.
    pub(crate) ports: Vec<u16>,
    /// `config_fields`.
    pub(crate) fields: Vec<Value>,
    /// Names of the credential form; a config field with one of them would be a duplicate.
    reserved: HashSet<String>,
    known: HashMap<usize, Result<String, String>>,
}

impl Bases {
    /// Finds the main base.
    pub(crate) fn new(context: &mut Context<'_>, base_url: Option<&str>) -> Result<Self, ImportError> {
        let mut bases = Self { is_given: base_url.is_some(), ..Self::default() };
        let given = base_url.map(|url| (url.to_owned(), servers::read(url, None)));
        let servers = match context.dialect {
            Dialect::Two => swagger_servers(context.root),
            Dialect::Three => openapi_servers(context.root),
        };
        let (server, variables) = match given {
            Some((_, Ok(server))) => (with_relative_path(server, &servers), None),
            Some((url, Err(problem))) => return Err(ImportError::BaseUrl(why(&url, &problem))),
            None => first_usable(context, &servers)?,
        };
        for (code, message) in &server.notes {
            context.report.add(servers_pointer(context), code, message.clone());
        }
        bases.main = bases.register(&server, variables).map_err(ImportError::BaseUrl)?;
        Ok(bases)
    }

    /// The base of an operation, `https://host/path` without a slash at its end.
    ///
    /// # Errors
    /// Why its own server cannot be used.
    pub(crate) fn of(
        &mut self,
        context: &mut Context<'_>,
        own: Option<&Value>,
        at: &str,
    ) -> Result<String, String> {
        let list = own.and_then(Value::as_array).filter(|list| !list.is_empty());
        let Some(list) = list else { return Ok(self.main.clone()) };
        // Why by address: a path's servers are asked for once per operation, and reported once.
        let key = std::ptr::from_ref(list).addr();
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let mut found = self.own_base(context, list, at);
        if let (true, Err(why)) = (self.is_given, &found) {
            let message = format!("{why}; base_url stands for it");
            context.report.add(at, "operation_server_replaced", message);
            found = Ok(self.main.clone());
        }
        self.known.insert(key, found.clone());
        found
    }

    fn own_base(&mut self, context: &mut Context<'_>, list: &[Value], at: &str) -> Result<String, String> {
        let mut first = None;
        for entry in list {
            let url = entry.get("url").and_then(Value::as_str).unwrap_or_default();
            let variables = entry.get("variables").and_then(Value::as_object);
            match servers::read(url, variables) {
                Ok(server) => {
                    for (code, message) in &server.notes {
                        context.report.add(at, code, message.clone());
                    }
                    let known = self.domains.contains(&server.domain);
                    let base = self.register(&server, variables)?;
                    if !known {
                        let message = format!("{} is put into allowed_domains for it", server.domain);
                        context.report.add(at, "operation_server", message);
                    }
                    return Ok(base);
                }
                Err(problem) => first = first.or_else(|| Some(why(url, &problem))),
            }
        }
        Err(first.unwrap_or_default())
    }

    /// A name for a field of the credential form that no config field has or will have.
    pub(crate) fn reserve(&mut self, name: &str) -> String {
        let mut own = name.to_owned();
        let is_taken = |own: &str| {
            RESERVED.contains(&own)
                || self.reserved.contains(own)
                || self.fields.iter().any(|field| field.get("name").is_some_and(|name| name == own))
        };
        while is_taken(&own) {
            own.push_str("_key");
        }
        self.reserved.insert(own.clone());
        own
    }

    /// A relative reference, resolved against the main base.
    pub(crate) fn join(&self, reference: &str) -> Option<String> {
        let reference = reference.trim_start_matches("./");
        let host_at = "https://".len();
        let host_end = self.main.get(host_at..)?.find('/').map_or(self.main.len(), |at| host_at + at);
        let (host, path) = self.main.split_at_checked(host_end)?;
        // RFC 3986 section 5.2.3: in place of the last segment.
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = match reference.strip_prefix('/') {
            Some(rest) => format!("/{rest}"),
            None => format!("{folder}/{reference}"),
        };
        let url = format!("{host}{path}");
        let is_sound = crate::url::path_problem(&path).is_none() && UrlTemplate::parse(&url).is_ok();
        is_sound.then_some(url)
    }

    /// Adds one more allowed host.
    pub(crate) fn allow(&mut self, domain: &str) -> bool {
        if self.domains.iter().any(|d| d == domain) {
            return true;
        }
        let room = self.domains.len() < HOSTS_MAX;
        if room {
            self.domains.push(domain.to_owned());
        }
        room
    }

    fn register(
        &mut self,
        server: &Server,
        variables: Option<&Map<String, Value>>,
    ) -> Result<String, String> {
        if !self.allow(&server.domain) {
            return Err(format!("the draft would have more than {HOSTS_MAX} hosts"));
        }
        let mut text = format!("https://{}", server.host);
        if let Some(port) = server.port {
            text.push_str(&format!(":{port}"));
            if !self.ports.contains(&port) {
                self.ports.push(port);
            }
        }
        text.push_str(&server.path);
        let mut done = HashSet::new();
        for (name, in_host) in &server.variables {
            if done.insert(name) {
                let declared = variables.and_then(|v| v.get(name));
                let field = self.field(name, declared, *in_host)?;
                text = text.replace(&format!("{{{name}}}"), &format!("\u{1}{field}\u{2}"));
            }
        }
        // Why in two steps: a field's text must not be read as the next variable.
        Ok(text.replace('\u{1}', "{{config.").replace('\u{2}', "}}"))
    }

    /// The name of the config field for a server variable; creates the field if there is none.
    fn field(&mut self, name: &str, declared: Option<&Value>, in_host: bool) -> Result<String, String> {
        let mut plain = field_name(name);
        if CREDENTIAL_NAMES.contains(&plain.as_str()) || self.reserved.contains(&plain) {
            plain = format!("server_{plain}");
        }
        for number in 1..=CONFIG_FIELDS_MAX {
            let own = if number == 1 { plain.clone() } else { format!("{plain}_{number}") };
            let field = config_field(&own, name, declared, in_host);
            match self.fields.iter().find(|f| f.get("name") == field.get("name")) {
                Some(other) if *other == field => return Ok(own),
                Some(_) => {}
                None if self.fields.len() < CONFIG_FIELDS_MAX => {
                    self.fields.push(field);
                    return Ok(own);
                }
                None => break,
            }
        }
        Err(format!("the draft would have more than {CONFIG_FIELDS_MAX} config fields"))
    }
}

fn config_field(own: &str, name: &str, declared: Option<&Value>, in_host: bool) -> Value {
    let values = servers::enum_of(declared);
    let mut field = Map::new();
    field.insert("name".to_owned(), json!(own));
    field.insert("label".to_owned(), json!(one_line(name, 120).0));
    field.insert("type".to_owned(), json!(if values.is_empty() { "text" } else { "select" }));
    field.insert("required".to_owned(), json!(true));
    let default = declared.and_then(|d| d.get("default")).and_then(servers::value_text);
    let sound = |text: &String| {
        !text.is_empty()
            && text.chars().count() <= VALUE_CHARS_MAX
            && !text.contains(['{', '}'])
            && (values.is_empty() || values.contains(text))
    };
    if let Some(default) = default.filter(sound) {
        field.insert("default".to_owned(), json!(default));
    }
    if !values.is_empty() {
        let list: Vec<Value> = values.iter().map(|value| json!({ "value": value })).collect();
        field.insert("enum".to_owned(), Value::Array(list));
    } else if in_host {
        field.insert("format".to_owned(), json!("hostname_label"));
    }
    let help = declared.and_then(|d| d.get("description")).and_then(Value::as_str);
    if let Some(help) = help.map(|text| paragraph(text, HELP_CHARS_MAX).0).filter(|h| !h.is_empty()) {
        field.insert("help".to_owned(), json!(help));
    }
    Value::Object(field)
}

/// Pointer to the description's servers, or to where they are missing.
fn servers_pointer(context: &Context<'_>) -> &'static str {
    let name = if context.dialect == Dialect::Two { "host" } else { "servers" };
    match (context.root.get(name), name) {
        (None, _) => "",
        (_, "host") => "/host",
        _ => "/servers",
    }
}

fn why(url: &str, problem: &ServerProblem) -> String {
    match problem {
        ServerProblem::Relative(_) if url.is_empty() => "the description names no server".to_owned(),
        ServerProblem::Relative(_) => format!("server {:?} has no host", crate::names::shown(url)),
        ServerProblem::Unusable(why) => why.clone(),
    }
}

/// A server URL and its variables.
type Entry<'a> = (String, Option<&'a Map<String, Value>>);

/// A usable server, and its variables.
type Chosen<'a> = (Server, Option<&'a Map<String, Value>>);

fn openapi_servers(root: &Value) -> Vec<Entry<'_>> {
    let list = root.get("servers").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .map(|entry| {
            let url = entry.get("url").and_then(Value::as_str).unwrap_or_default();
            (url.to_owned(), entry.get("variables").and_then(Value::as_object))
        })
        .collect()
}

/// `schemes`, `host` and `basePath` as a server URL.
fn swagger_servers(root: &Value) -> Vec<Entry<'_>> {
    let text = |name: &str| root.get(name).and_then(Value::as_str).unwrap_or_default();
    let base_path = text("basePath").trim_start_matches('/');
    if text("host").is_empty() {
        return vec![(format!("/{base_path}"), None)];
    }
    let schemes = root.get("schemes").and_then(Value::as_array);
    let names = |scheme: &str| schemes.is_some_and(|list| list.iter().any(|s| s == scheme));
    // Why https by default: it is the scheme of the page that the description came from.
    let scheme = if names("http") && !names("https") { "http" } else { "https" };
    vec![(format!("{scheme}://{}/{base_path}", text("host")), None)]
}

/// The first server that a connector may use; the others are reported.
fn first_usable<'a>(context: &mut Context<'_>, servers: &[Entry<'a>]) -> Result<Chosen<'a>, ImportError> {
    let at = servers_pointer(context);
    let mut first = None;
    for (index, (url, variables)) in servers.iter().enumerate() {
        match servers::read(url, *variables) {
            Ok(server) => {
                if servers.len() > 1 {
                    let shown = crate::names::shown(url);
                    let message = format!("{} servers; {shown:?} was taken", servers.len());
                    context.report.add(at, "several_servers", message);
                }
                return Ok((server, *variables));
            }
            Err(problem) => {
                let why = why(url, &problem);
                let at = if servers.len() > 1 { format!("{at}/{index}") } else { at.to_owned() };
                context.report.add(&at, "server_not_usable", why.clone());
                first = first.or(Some(why));
            }
        }
    }
    Err(ImportError::BaseUrl(first.unwrap_or_else(|| "the description names no server".to_owned())))
}

/// The caller's base URL; if it has no path, the path of a relative first server is added.
fn with_relative_path(mut base: Server, servers: &[Entry<'_>]) -> Server {
    if base.path.is_empty()
        && let Some((url, _)) = servers.first()
        && let Err(ServerProblem::Relative(path)) = servers::read(url, None)
        && !path.contains(['{', '}', '?', '#'])
    {
        let host = &base.host;
        let joined = format!("https://{host}/{}", path.trim_start_matches("./").trim_start_matches('/'));
        if let Ok(server) = servers::read(&joined, None) {
            base.path = server.path;
        }
    }
    base
}

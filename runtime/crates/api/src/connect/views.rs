//! What the pages of a connect session say.

use http::StatusCode;
use maud::{Markup, html};
use portcullis_engine::connect::{Choice, ConnectForm, ConnectStatus, Ending, FormMethod};
use portcullis_engine::connection::ConnectionState;

use super::fields::{Filled, fields};
use super::page::{HtmlPage, Look};

/// Seconds after which a framed page looks whether its window is done.
const LOOK_SECONDS: u32 = 4;

/// Where the pages of one session are, and what its forms carry.
pub(super) struct At<'a> {
    /// `/connect/<secret>`.
    pub(super) base: &'a str,
    pub(super) csrf: &'a str,
}

impl At<'_> {
    /// The page of a connector's method.
    pub(super) fn page(&self, connector: &str, method: &str) -> String {
        let query = query(&[("connector", connector), ("method", method)]);
        format!("{}?{query}", self.base)
    }

    fn hidden(&self, connector: &str, method: &str) -> Markup {
        html! {
            input type="hidden" name="csrf" value=(self.csrf);
            input type="hidden" name="connector" value=(connector);
            input type="hidden" name="method" value=(method);
        }
    }
}

fn query(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The first page: it claims nothing.
pub(super) fn invitation(look: Look, base: &str, framed: bool, connector: Option<&str>) -> HtmlPage {
    let title = match connector {
        Some(name) => format!("Connect {name}"),
        None => "Connect an account".to_owned(),
    };
    let main = html! {
        p {
            "This link connects the workspace named above to an account of yours. It works once, in the browser in which \
             you go on. What you enter is stored encrypted and is never shown again."
        }
        p class="soft" { "Go on only if you know who sent you this link." }
        form method="post" action={ (base) "/claim" } {
            @if framed { input type="hidden" name="frame" value="1"; }
            div class="actions" { button class="button" type="submit" { "Continue" } }
        }
    };
    HtmlPage::new(StatusCode::OK, look, title, main)
}

/// The connectors to choose from.
pub(super) fn chooser(look: Look, at: &At<'_>, choices: &[Choice]) -> HtmlPage {
    let main = html! {
        @if choices.is_empty() {
            p { "There is nothing that this workspace can connect at the moment." }
        } @else {
            p { "What do you want to connect?" }
            ul class="choices" {
                @for choice in choices {
                    li {
                        a href={ (at.base) "?" (query(&[("connector", choice.connector_id.as_str())])) } {
                            (tile(&choice.display_name))
                            span {
                                strong { (choice.display_name) }
                                @if let Some(text) = state(choice.state) { " " span class="soft" { (text) } }
                                @if let Some(text) = &choice.description { br; span class="soft" { (text) } }
                            }
                        }
                    }
                }
            }
        }
        (leave(at))
    };
    HtmlPage::new(StatusCode::OK, look, "Connect an account", main)
}

/// The first letter of a name, in the place of a picture.
fn tile(name: &str) -> Markup {
    let letter: String = name.chars().take(1).flat_map(char::to_uppercase).collect();
    html! { span class="tile" aria-hidden="true" { (letter) } }
}

const fn state(state: ConnectionState) -> Option<&'static str> {
    match state {
        ConnectionState::Connected => Some("connected"),
        ConnectionState::NeedsAttention => Some("needs attention"),
        ConnectionState::OptedOut | ConnectionState::Unconfigured => None,
    }
}

/// A button with which a person leaves without connecting.
fn leave(at: &At<'_>) -> Markup {
    html! {
        form method="post" action={ (at.base) "/end" } class="actions" {
            input type="hidden" name="csrf" value=(at.csrf);
            input type="hidden" name="action" value="cancel";
            button class="quiet" type="submit" { "Cancel" }
        }
    }
}

/// What a person has to know before the form.
pub(super) struct Notice {
    pub(super) text: String,
    /// Whether the person may keep what was saved as it is.
    pub(super) keep: bool,
}

/// The form of a method.
pub(super) fn form(
    look: Look,
    at: &At<'_>,
    shown: &ConnectForm,
    method: &FormMethod,
    filled: &Filled,
    notice: Option<&Notice>,
) -> HtmlPage {
    let status = match notice.is_some() || filled.has_errors() {
        true => StatusCode::UNPROCESSABLE_ENTITY,
        false => StatusCode::OK,
    };
    let main = html! {
        (introduction(at, shown, method))
        @if let Some(notice) = notice { p class="notice bad" role="alert" { (notice.text) } }
        @if method.replaces && notice.is_none() {
            p class="soft" { "Something else is saved for this connection. Going on replaces it." }
        }
        @for text in filled.general() { p class="notice bad" role="alert" { (text) } }
        (fill_in(at, shown, method, filled, if method.consent { "Save and continue" } else { "Connect" }))
        @if notice.is_some_and(|notice| notice.keep) { (keep(at, shown, method)) }
        (leave(at))
    };
    HtmlPage::new(status, look, format!("Connect {}", shown.display_name), main)
}

fn fill_in(at: &At<'_>, shown: &ConnectForm, method: &FormMethod, filled: &Filled, button: &str) -> Markup {
    html! {
        form method="post" action={ (at.base) "/save" } autocomplete="off" novalidate {
            (at.hidden(shown.connector_id.as_str(), &method.id))
            (fields(method, filled))
            div class="actions" { button class="button" type="submit" { (button) } }
        }
    }
}

fn keep(at: &At<'_>, shown: &ConnectForm, method: &FormMethod) -> Markup {
    html! {
        form method="post" action={ (at.base) "/end" } class="actions" {
            (at.hidden(shown.connector_id.as_str(), &method.id))
            input type="hidden" name="action" value="keep";
            button class="quiet" type="submit" { "Keep it as it was saved" }
        }
    }
}

/// Description, links, and the methods to choose from.
fn introduction(at: &At<'_>, shown: &ConnectForm, method: &FormMethod) -> Markup {
    html! {
        @if let Some(text) = &shown.description { p class="soft" { (text) } }
        @if let Some(name) = &shown.connection { p class="soft" { "It is connected under the name " strong { (name) } "." } }
        @if let Some(url) = shown.docs_url.as_deref().filter(|url| url.starts_with("https://")) {
            p { a href=(url) target="_blank" rel="noopener noreferrer" { "Help of " (shown.display_name) } }
        }
        @if shown.methods.len() > 1 {
            nav class="methods" aria-label="Ways to connect" {
                @for one in &shown.methods {
                    a href=(at.page(shown.connector_id.as_str(), &one.id))
                        aria-current=[(one.id == method.id).then_some("page")] {
                        (name(one)) @if one.recommended { " (recommended)" }
                    }
                }
            }
        }
    }
}

/// A method's name for people.
fn name(method: &FormMethod) -> &str {
    match (&method.label, method.consent) {
        (Some(label), _) => label,
        (None, true) => "Sign in",
        (None, false) => "Enter credentials",
    }
}

/// How a person goes to the third party.
pub(super) enum Way {
    /// In this window.
    Here,
    /// In a window of its own, with this ticket.
    Window(String),
}

/// The page from which a person goes to the third party.
pub(super) fn consent(
    look: Look,
    at: &At<'_>,
    shown: &ConnectForm,
    method: &FormMethod,
    way: &Way,
) -> HtmlPage {
    let connector = shown.connector_id.as_str();
    let name = &shown.display_name;
    let link = html! {
        @match way {
            Way::Here => {
                @let query = query(&[("connector", connector), ("method", &method.id), ("csrf", at.csrf)]);
                a class="button" href={ (at.base) "/consent?" (query) } { "Continue to " (name) }
            }
            Way::Window(ticket) => {
                a class="button" href={ (at.base) "/window/" (ticket) } target="_blank" rel="noopener" {
                    "Continue to " (name) " (opens a window)"
                }
            }
        }
    };
    let here = at.page(connector, &method.id);
    let main = html! {
        (introduction(at, shown, method))
        p { "You sign in at " (name) " and say there what this workspace may do." }
        div class="actions" { (link) }
        @if matches!(way, Way::Window(_)) {
            p class="soft" { "When you are done in that window, this page goes on. " a href=(here) { "Look now" } }
        }
        @if !method.fields.is_empty() {
            details {
                summary { "Change what is saved" }
                (fill_in(at, shown, method, &Filled::default(), "Save and continue"))
            }
        }
        (leave(at))
    };
    let page = HtmlPage::new(StatusCode::OK, look, format!("Connect {name}"), main);
    match way {
        Way::Here => page,
        Way::Window(_) => page.leaving(LOOK_SECONDS, &here),
    }
}

/// The end of a session, in its page or in the window in which the consent was given.
pub(crate) fn ending(look: Look, ending: &Ending, in_window: bool) -> HtmlPage {
    let name = ending.connector.as_deref().unwrap_or("The account");
    let (title, class) = match ending.status {
        ConnectStatus::Connected => (format!("{name} is connected"), "notice good"),
        ConnectStatus::Cancelled => ("Nothing was connected".to_owned(), "notice bad"),
        ConnectStatus::Failed => (format!("{name} could not be connected"), "notice bad"),
    };
    let text = match (ending.status, &ending.label, &ending.message) {
        (ConnectStatus::Connected, Some(label), _) => format!("Connected as {label}."),
        (ConnectStatus::Connected, None, _) => "It can be used now.".to_owned(),
        (ConnectStatus::Cancelled, ..) => "You did not want to go on.".to_owned(),
        (ConnectStatus::Failed, _, Some(message)) => format!("What happened: {message}."),
        (ConnectStatus::Failed, _, None) => "The third party did not take it.".to_owned(),
    };
    let back = ending.return_to.as_deref().filter(|_| !in_window);
    let main = html! {
        p class=(class) role="status" { (text) }
        @match back {
            Some(url) => { p { a class="button" href=(url) rel="noreferrer" { "Go back" } } }
            None => { p class="soft" { "You can close this window." } }
        }
    };
    let page = HtmlPage::new(StatusCode::OK, look, title, main);
    match back {
        Some(url) => page.leaving(0, url),
        None => page,
    }
}

/// A page that says why nothing goes on, perhaps with where it does.
pub(crate) fn refusal(
    status: StatusCode,
    look: Look,
    title: &str,
    text: &str,
    on: Option<(&str, &str)>,
) -> HtmlPage {
    let main = html! {
        p { (text) }
        @if let Some((url, words)) = on { p { a class="button" href=(url) { (words) } } }
    };
    HtmlPage::new(status, look, title, main)
}

/// A consent that was started by a program ended well.
pub(crate) fn connected(look: Look, connector: &str) -> HtmlPage {
    let main = html! { p class="notice good" role="status" { (connector) " is connected. You can close this window." } };
    HtmlPage::new(StatusCode::OK, look, format!("{connector} is connected"), main)
}

//! The frame of every page, and what several pages show.

use jiff::{Timestamp, Zoned, tz::TimeZone};
use maud::{DOCTYPE, Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pulldown_cmark::{Event, Parser};
use serde_json::Value;

/// htmx adds no styles, which the policy forbids, and evaluates nothing.
const HTMX_CONFIG: &str = r#"{"includeIndicatorCSS": false, "history": true}"#;

const PAGES: [(&str, &str); 5] =
    [("/", "Overview"), ("/users", "Users"), ("/webhooks", "Webhooks"), ("/data", "Data"), ("/requests", "Requests")];

/// A page of the section at `path`.
pub(super) fn page(title: &str, path: &str, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="htmx-config" content=(HTMX_CONFIG);
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/dashboard/style.css";
                script src="/dashboard/htmx.js" defer {}
                title { (title) " · local stack" }
            }
            body {
                a .skip href="#content" { "Skip to content" }
                header {
                    nav aria-label="Pages" {
                        @for (target, name) in PAGES {
                            a href=(target) aria-current=[(target == path).then_some("page")] { (name) }
                        }
                    }
                }
                main #content { h1 { (title) } (content) }
            }
        }
    }
}

/// A control of a form with its label. The control has the id.
pub(super) fn field(label: &str, id: &str, control: Markup) -> Markup {
    html! { div .field { label for=(id) { (label) } (control) } }
}

/// A list of values to choose from, with their names. A chosen value that is not among them is added.
pub(super) fn select<'a>(
    label: &str,
    name: &str,
    chosen: &'a str,
    options: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Markup {
    let mut options: Vec<_> = options.into_iter().collect();
    if options.iter().all(|(value, _)| *value != chosen) {
        options.push((chosen, chosen));
    }
    let options = html! {
        select id=(name) name=(name) {
            @for (value, option) in options { option value=(value) selected[value == chosen] { (option) } }
        }
    };
    field(label, name, options)
}

/// A line of text.
pub(super) fn input(label: &str, name: &str, value: &str, placeholder: &str) -> Markup {
    let input = html! { input id=(name) name=(name) value=(value) placeholder=(placeholder) autocomplete="off"; };
    field(label, name, input)
}

/// A table that scrolls within a narrow page.
pub(super) fn table(label: &str, columns: &[&str], rows: Markup) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label=(label) {
            table {
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// A button that asks before it sends a form.
pub(super) fn confirmed(action: &str, name: &str, question: &str, fields: Markup) -> Markup {
    html! {
        details .confirm {
            summary { (name) }
            form method="post" action=(action) { (fields) p { (question) } button .danger { "Yes, " (name.to_lowercase()) } }
        }
    }
}

/// Text of a fixed width that scrolls. Code is selected as a whole by a click.
pub(super) fn code(label: &str, text: &str) -> Markup {
    html! { pre tabindex="0" role="region" aria-label=(label) { code { (text) } } }
}

pub(super) fn json(label: &str, value: &Value) -> Markup {
    code(label, &format!("{value:#}"))
}

/// A time of this machine's zone, with its date if it is not today's.
pub(super) fn time(milliseconds: u64) -> Markup {
    let time = Timestamp::from_millisecond(milliseconds.try_into().unwrap_or_default()).unwrap_or_default();
    let zoned = time.to_zoned(TimeZone::system());
    let is_today = zoned.date() == Zoned::now().date();
    let format = if is_today { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    html! {
        time datetime=(time.to_string()) title=(zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()) {
            (zoned.strftime(format).to_string())
        }
    }
}

/// Text of the documents. Links and emphasis are shown as text.
pub(super) fn markdown(text: &str) -> Markup {
    html! {
        @for part in Parser::new(text) {
            @match part {
                Event::Text(text) => { (text) }
                Event::Code(text) => { code { (text) } }
                _ => {}
            }
        }
    }
}

/// A status with a class for its color. The text has the meaning as well.
pub(super) fn status(status: u16) -> Markup {
    let class = match status {
        500.. => "bad",
        400..500 => "warn",
        _ => "good",
    };
    html! { span class=(class) { (status) } }
}

/// A part of a URL.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A member that is a text, or an empty text.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A member that is a time or another whole number, or 0.
pub(super) fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

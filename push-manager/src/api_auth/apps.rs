//! The apps a key may push to.

use std::{borrow::Cow, collections::BTreeSet, fmt, str::FromStr};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use pushcast_common::id::check_app;

/// How the default tenant is written, whose name is empty.
const DEFAULT: &str = "\"\"";

/// What means something else in a line, or ends a word of it; and whatever is not ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b',').add(b'%').add(b'*').add(b'"').add(b'#');

/// `*`, or names with commas between, percent-encoded where they hold blanks, commas or the like; `""` is the default
/// tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Apps {
    /// Every app there is, and every app at once.
    All,
    /// These alone.
    These(BTreeSet<String>),
}

impl Apps {
    /// Whether this one is among them.
    pub fn allow(&self, app: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(apps) => apps.contains(app),
        }
    }
}

impl FromStr for Apps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" {
            return Ok(Self::All);
        }
        text.split(',').map(app).collect::<Result<_, _>>().map(Self::These)
    }
}

fn app(text: &str) -> Result<String, String> {
    match text {
        "" => return Err("a name is empty; the default tenant is written \"\"".to_owned()),
        DEFAULT => return Ok(String::new()),
        _ => {}
    }
    if text.contains('*') {
        return Err("* stands alone and is all apps; an app with a * in its name is written %2A".to_owned());
    }
    let app = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_invalid| "a name is not percent-encoded UTF-8".to_owned())?
        .into_owned();
    check_app(&app).map_err(|invalid| invalid.to_string())?;
    Ok(app)
}

impl fmt::Display for Apps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::These(apps) = self else { return f.write_str("*") };
        let written: Vec<Cow<'_, str>> = apps.iter().map(|app| written(app)).collect();
        f.write_str(&written.join(","))
    }
}

fn written(app: &str) -> Cow<'_, str> {
    match app {
        "" => DEFAULT.into(),
        app => utf8_percent_encode(app, ENCODED).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let apps: Apps = "shop,\"\",a%20b%2Cc,%22%22,ü".parse().unwrap();
        for app in ["shop", "", "a b,c", "\"\"", "ü"] {
            assert!(apps.allow(app), "{app}");
        }
        assert!(!apps.allow("sho") && !apps.allow("*"));
        assert!(Apps::All.allow("anything"));
        for bad in ["", "a,", ",a", "a,*", "%ff", "%00", &"x".repeat(129)] {
            assert!(bad.parse::<Apps>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_an_app_is_called_it_can_be_given(
            names in proptest::collection::btree_set("[^\\p{Cc}]{0,30}", 1..5)
        ) {
            let apps = Apps::These(names);
            let text = apps.to_string();
            prop_assert!(!text.contains(char::is_whitespace) && !text.is_empty());
            prop_assert_eq!(text.parse::<Apps>(), Ok(apps));
        }
    }
}

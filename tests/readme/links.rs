//! Where the README points to: files of the repository and its own headings.

use std::path::Path;

/// The links that lead nowhere.
pub(super) fn broken(readme: &str, repository: &Path) -> Vec<String> {
    let headings: Vec<String> = readme.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    let leads_somewhere = |link: &str| match link.strip_prefix('#') {
        Some(heading) => headings.iter().any(|known| known == heading),
        None => link.starts_with("https://") || repository.join(link).exists(),
    };
    let links = readme.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    links.filter(|link| !leads_somewhere(link)).map(str::to_owned).collect()
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words.replace(' ', "-").chars().filter(|&c| c.is_alphanumeric() || c == '-').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_and_headings_are_looked_up() {
        let readme =
            "# A b, c\n[x](#a-b-c) [y](#d) ![z](src/lib.rs) [z](src/none.rs) [w](https://example.org)\n";
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(broken(readme, repository), ["#d", "src/none.rs"]);
    }
}

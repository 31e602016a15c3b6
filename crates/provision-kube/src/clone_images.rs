//! The images of clones: one for each version of PHP.

use std::str::FromStr;

/// An image and its PHP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneImage {
    /// PHP's major and minor version.
    version: (u32, u32),
    /// The image, with a digest in a real cluster.
    pub image: String,
}

impl CloneImage {
    /// Its PHP, such as `8.2`.
    #[must_use]
    pub fn php(&self) -> String {
        format!("{}.{}", self.version.0, self.version.1)
    }
}

/// The images of clones, one for each version of PHP, oldest first; never empty. As a text: `8.2=IMAGE,8.3=IMAGE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneImages(Vec<CloneImage>);

impl CloneImages {
    /// The image for a source's PHP, such as `8.2.7`: the same minor version, or else the next newer one, which runs most of
    /// what was written for an older one, or else the newest. Without a version the newest.
    #[must_use]
    pub fn nearest(&self, php: Option<&str>) -> &CloneImage {
        let wanted = php.and_then(parse_version);
        let newest = &self.0[self.0.len() - 1];
        wanted.and_then(|wanted| self.0.iter().find(|image| image.version >= wanted)).unwrap_or(newest)
    }
}

impl FromStr for CloneImages {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut images: Vec<CloneImage> = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let parts = entry.split_once('=').map(|(version, image)| (version.trim(), image.trim()));
            let (version, image) = parts
                .filter(|(_, image)| !image.is_empty() && !image.contains(char::is_whitespace))
                .ok_or_else(|| {
                    format!("`{entry}` is not PHP=IMAGE, such as 8.2=registry.example/clone:php8.2")
                })?;
            let version = parse_version(version)
                .ok_or_else(|| format!("`{version}` is not a version of PHP, such as 8.2"))?;
            if images.iter().any(|other| other.version == version) {
                return Err(format!("PHP {}.{} is given twice", version.0, version.1));
            }
            images.push(CloneImage { version, image: image.to_owned() });
        }
        if images.is_empty() {
            return Err("names no image".to_owned());
        }
        images.sort_by_key(|image| image.version);
        Ok(Self(images))
    }
}

/// The major and minor version.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_gets_its_own_php_or_the_next_newer_or_the_newest() {
        let images: CloneImages = "8.3=c, 7.4=a,8.2=b".parse().unwrap();
        for (php, image) in [
            (Some("8.2.7"), "b"),
            (Some("8.2"), "b"),
            (Some("8.0.30"), "b"),
            (Some("5.6.40"), "a"),
            (Some("8.4.1"), "c"),
            (Some("8.3.0-dev"), "c"),
            (Some("nonsense"), "c"),
            (None, "c"),
        ] {
            assert_eq!(images.nearest(php).image, image, "{php:?}");
        }
        assert_eq!(images.nearest(Some("7.4.3")).php(), "7.4");
    }

    #[test]
    fn lists_that_name_no_image_for_each_version_are_rejected() {
        for (text, why) in [
            ("", "names no image"),
            ("8.2", "is not PHP=IMAGE"),
            ("8.2=", "is not PHP=IMAGE"),
            ("8.2=a b", "is not PHP=IMAGE"),
            ("8=a", "is not a version of PHP"),
            ("8.2=a,8.2=b", "is given twice"),
        ] {
            let error = text.parse::<CloneImages>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}

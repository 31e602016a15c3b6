//! Generates rows like those of a WordPress database. The same seed gives the same rows.

use std::fmt::Write;
use std::sync::LazyLock;

/// Which rows contain the site's own address instead of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matching {
    Nothing,
    Third,
    Every,
}

/// The kind of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Numbers, words, single addresses.
    Short,
    /// The serialised metadata of an image. Its files have no addresses; some plugins add them.
    Picture,
    /// A post: block comments, HTML, `srcset`.
    Post,
    /// The serialised settings of a plugin or theme.
    Settings,
    /// A page of the Elementor builder: JSON with escaped slashes.
    Builder,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Short, Self::Picture, Self::Post, Self::Settings, Self::Builder];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Short => "short values",
            Self::Picture => "pictures' metadata",
            Self::Post => "posts",
            Self::Settings => "serialised settings",
            Self::Builder => "Elementor's pages",
        }
    }
}

/// Rows of all kinds in proportions as on a site, of at least this many bytes in total.
pub(crate) fn mixed(seed: u64, bytes: usize, matching: Matching) -> Vec<Vec<u8>> {
    let mut random = Random(seed);
    let (mut rows, mut sum) = (Vec::new(), 0);
    while sum < bytes {
        let kind = match random.below(100) {
            0..70 => Kind::Short,
            70..83 => Kind::Picture,
            83..91 => Kind::Post,
            91..98 => Kind::Settings,
            _ => Kind::Builder,
        };
        let own = match matching {
            Matching::Nothing => false,
            Matching::Third => random.below(3) == 0,
            Matching::Every => true,
        };
        let row = row(&mut random, kind, own);
        sum += row.len();
        rows.push(row);
    }
    rows
}

/// Rows of one kind.
pub(crate) fn of(seed: u64, bytes: usize, kind: Kind, own: bool) -> Vec<Vec<u8>> {
    let mut random = Random(seed);
    let (mut rows, mut sum) = (Vec::new(), 0);
    while sum < bytes {
        let row = row(&mut random, kind, own);
        sum += row.len();
        rows.push(row);
    }
    rows
}

fn row(random: &mut Random, kind: Kind, own: bool) -> Vec<u8> {
    static WORDS_APART: LazyLock<Vec<&str>> =
        LazyLock::new(|| WORDS.split(' ').filter(|word| !word.is_empty()).collect());
    let mut row =
        Row { random, words: &WORDS_APART, site: if own { crate::OLD } else { "https://cdn.elsewhere.net" } };
    match kind {
        Kind::Short => row.short(own),
        Kind::Picture => row.picture(own),
        Kind::Post => row.post(),
        Kind::Settings => row.settings(),
        Kind::Builder => row.builder(),
    }
    .into_bytes()
}

// --- random numbers -------------------------------------------------------------------------------------------------

/// SplitMix64, by Steele, Lea and Flood: the same sequence on every platform.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        let index = usize::try_from(self.below(of.len() as u64)).unwrap_or(0);
        of.get(index).copied().unwrap_or_default()
    }

    /// A skewed distribution: each doubling is half as likely, up to `most` times `least`.
    fn skewed(&mut self, least: u64, most: u64) -> u64 {
        let mut end = 2;
        while end < most && self.below(2) == 0 {
            end *= 2;
        }
        least + self.below(least * end.min(most))
    }
}

const WORDS: &str = "the of and to in a is that for it was on are as with at from this have or by not but what all were \
    when we there can an your which their coffee if do will each about how up out them then she many some so these \
    would other into has more her two like him see time could example maximum company simple complete box next text \
    image explain experience Qualität für über Straße garçon naïve 2026 100 24/7 Shop New Our The Kaffee";

struct Row<'r> {
    random: &'r mut Random,
    words: &'r [&'static str],
    /// The site that its addresses point to.
    site: &'static str,
}

impl Row<'_> {
    fn words(&mut self, count: u64) -> String {
        let mut text = String::new();
        for word in 0..count {
            if word > 0 {
                text.push_str(if self.random.below(12) == 0 { ", " } else { " " });
            }
            text.push_str(self.random.pick(self.words));
        }
        text
    }

    fn slug(&mut self) -> String {
        self.words(3)
            .to_lowercase()
            .replace([' ', ',', '/'], "-")
            .replace(|letter: char| !letter.is_ascii(), "")
    }

    fn upload(&mut self) -> String {
        let (year, month) = (2015 + self.random.below(12), 1 + self.random.below(12));
        format!("{year}/{month:02}/{}", self.slug())
    }

    // --- kinds ------------------------------------------------------------------------------------------------------

    fn short(&mut self, own: bool) -> String {
        let site = self.site;
        let number = self.random.below(100_000);
        match self.random.below(8) {
            _ if own => match number % 3 {
                0 => format!("{site}/?p={number}"),
                1 => format!("{site}/wp-content/uploads/{}.jpg", self.upload()),
                _ => format!("{site}/{}/", self.slug()),
            },
            0..3 => number.to_string(),
            3 => format!("17{number:08}:1"),
            4 => {
                self.random.pick(&["closed", "default", "no", "yes", "open", "publish", "instock"]).to_owned()
            }
            5 => format!("field_{:013x}", self.random.next() >> 12),
            6 => format!("{}.jpg", self.upload()),
            _ => {
                let count = 2 + self.random.below(8);
                self.words(count)
            }
        }
    }

    fn picture(&mut self, own: bool) -> String {
        let site = self.site;
        let file = self.upload();
        let mut sizes = Php::default();
        for name in ["medium", "large", "thumbnail", "medium_large", "1536x1536", "woocommerce_thumbnail"] {
            let (width, height) = (150 + self.random.below(1400), 100 + self.random.below(900));
            let mut size = Php::default();
            size.text("file", &format!("{}-{width}x{height}.jpg", self.slug()));
            size.number("width", width).number("height", height).text("mime-type", "image/jpeg");
            size.number("filesize", self.random.below(400_000));
            sizes.value(name, &size.array());
        }
        let mut meta = Php::default();
        meta.number("width", 2560).number("height", 1707).text("file", &format!("{file}.jpg"));
        meta.number("filesize", self.random.below(900_000)).value("sizes", &sizes.array());
        if own {
            meta.text("cdn", &format!("{site}/wp-content/uploads/{file}.jpg"));
        }
        let mut image = Php::default();
        for name in
            ["aperture", "credit", "camera", "caption", "created_timestamp", "copyright", "focal_length"]
        {
            image.text(name, self.random.pick(&["0", "", "5.6", "NIKON D750", "1469702832"]));
        }
        meta.value("image_meta", &image.array());
        meta.array()
    }

    fn post(&mut self) -> String {
        let site = self.site;
        let mut text = String::new();
        for _ in 0..self.random.skewed(4, 32) {
            let number = self.random.below(10_000);
            match self.random.below(8) {
                0 => {
                    let file = self.upload();
                    let image = format!("{site}/wp-content/uploads/{file}");
                    let caption = self.words(6);
                    let _ = write!(
                        text,
                        "<!-- wp:image {{\"id\":{number},\"sizeSlug\":\"large\",\"linkDestination\":\"custom\"}} -->\n\
                         <figure class=\"wp-block-image size-large\"><a href=\"{image}.jpg\"><img src=\"{image}-1024x683.jpg\" \
                         srcset=\"{image}-1024x683.jpg 1024w, {image}-300x200.jpg 300w, {image}-768x512.jpg 768w\" \
                         sizes=\"(max-width: 1024px) 100vw, 1024px\" alt=\"{caption}\" class=\"wp-image-{number}\"/></a>\
                         <figcaption>{caption}</figcaption></figure>\n<!-- /wp:image -->\n\n",
                    );
                }
                1 => {
                    let (slug, words) = (self.slug(), self.words(3));
                    let _ = write!(
                        text,
                        "<!-- wp:button {{\"url\":\"{site}/{slug}/\",\"className\":\"is-style-fill\"}} -->\n<div class=\"\
                         wp-block-button is-style-fill\"><a class=\"wp-block-button__link\" href=\"{site}/{slug}/\">{words}\
                         </a></div>\n<!-- /wp:button -->\n\n",
                    );
                }
                2 => {
                    let (level, title) = (2 + number % 3, self.words(5));
                    let _ = write!(
                        text,
                        "<!-- wp:heading {{\"level\":{level}}} -->\n<h{level} class=\"wp-block-heading\">{title}</h{level}>\n\
                         <!-- /wp:heading -->\n\n",
                    );
                }
                _ => {
                    let count = 30 + self.random.below(120);
                    let (before, after) = (self.words(count), self.words(20));
                    let link = match number % 4 {
                        0 => format!(" <a href=\"{site}/{}/\">{}</a> ", self.slug(), self.words(2)),
                        1 => " <strong>&amp;</strong> ".to_owned(),
                        _ => " ".to_owned(),
                    };
                    let _ = write!(
                        text,
                        "<!-- wp:paragraph -->\n<p>{before}{link}{after}.</p>\n<!-- /wp:paragraph -->\n\n"
                    );
                }
            }
        }
        let _ = write!(text, "<p><a href=\"{site}\">{}</a></p>", self.words(2));
        text
    }

    fn settings(&mut self) -> String {
        let site = self.site;
        let mut all = Php::default();
        all.text("home", &format!("{site}/")).value("enabled", "b:1;");
        for index in 0..self.random.skewed(6, 64) {
            let key = format!("{}_{index}", self.slug().replace('-', "_"));
            match self.random.below(16) {
                0 => all.text(&key, &format!("{site}/wp-content/uploads/{}.png", self.upload())),
                1 | 2 => all.number(&key, self.random.below(5000)),
                3..6 => all.value(&key, self.random.pick(&["b:0;", "b:1;", "N;", "d:0.75;"])),
                6 => all.text(&key, self.random.pick(&["", "yes", "no", "#1a2b3c", "center", "1"])),
                7 => {
                    let mut item = Php::default();
                    item.text("title", &self.words(4)).text("url", &format!("{site}/{}/", self.slug()));
                    item.number("id", index).text("target", "_blank");
                    all.value(&key, &item.array())
                }
                8 => {
                    let words = self.words(18);
                    all.text(&key, &format!("<p class=\"note\">{words} <a href='{site}'>&raquo;</a></p>"))
                }
                _ => all.text(&key, &self.words(6)),
            };
        }
        all.array()
    }

    fn builder(&mut self) -> String {
        let mut text = String::from("[");
        for section in 0..self.random.skewed(2, 16) {
            let comma = if section > 0 { "," } else { "" };
            let _ = write!(
                text,
                r#"{comma}{{"id":"{}","elType":"section","settings":{{"background_background":"classic","background_image":{{"url":"{}","id":{section}}},{}}},"elements":[{{"id":"{}","elType":"column","settings":{{"_column_size":100,{}}},"elements":["#,
                self.id(),
                self.escaped_upload(),
                self.style(),
                self.id(),
                self.style(),
            );
            for widget in 0..2 + self.random.below(4) {
                let comma = if widget > 0 { "," } else { "" };
                let (kind, settings) = self.widget();
                let _ = write!(
                    text,
                    r#"{comma}{{"id":"{}","elType":"widget","settings":{{{settings},{}}},"elements":[],"widgetType":"{kind}"}}"#,
                    self.id(),
                    self.style(),
                );
            }
            text.push_str("],\"isInner\":false}],\"isInner\":false}");
        }
        text.push(']');
        text
    }

    /// The type of a widget and its own settings.
    fn widget(&mut self) -> (&'static str, String) {
        let site = self.site.replace('/', "\\/");
        match self.random.below(5) {
            0 => ("heading", format!(r#""title":"{}","header_size":"h3""#, self.words(5))),
            1 => {
                let (count, slug) = (20 + self.random.below(80), self.slug());
                let words = self.words(count);
                let link = format!(r#"<a href=\"{site}\/{slug}\/\">\u00bb<\/a>"#);
                ("text-editor", format!(r#""editor":"<p>{words} {link}<\/p>\n<p>{}<\/p>""#, self.words(30)))
            }
            2 => {
                let image = self.escaped_upload();
                ("image", format!(r#""image":{{"url":"{image}","id":7,"size":"","source":"library"}}"#))
            }
            3 => {
                let (words, slug) = (self.words(2), self.slug());
                let link = format!(r#"{{"url":"{site}\/{slug}\/","is_external":"","nofollow":""}}"#);
                ("button", format!(r#""text":"{words}","link":{link}"#))
            }
            _ => ("spacer", r#""space":{"unit":"px","size":40,"sizes":[]}"#.to_owned()),
        }
    }

    /// The settings common to all elements.
    fn style(&mut self) -> String {
        let (top, size) = (self.random.below(120), 12 + self.random.below(40));
        format!(
            r##""_margin":{{"unit":"px","top":"{top}","right":"0","bottom":"{top}","left":"0","isLinked":false}},"_padding_mobile":{{"unit":"em","top":"1","right":"","bottom":"","left":"","isLinked":true}},"typography_typography":"custom","typography_font_size":{{"unit":"px","size":{size},"sizes":[]}},"title_color":"#1a2b3c","_animation":"fadeInUp","__globals__":{{"color":"globals\/colors?id=primary"}}"##
        )
    }

    fn id(&mut self) -> String {
        format!("{:07x}", self.random.next() >> 36)
    }

    fn escaped_upload(&mut self) -> String {
        let site = self.site;
        format!("{site}/wp-content/uploads/{}.jpg", self.upload()).replace('/', "\\/")
    }
}

/// Writes PHP's serialised format.
#[derive(Default)]
struct Php {
    count: usize,
    text: String,
}

impl Php {
    fn value(&mut self, key: &str, value: &str) -> &mut Self {
        let _ = write!(self.text, "s:{}:\"{key}\";{value}", key.len());
        self.count += 1;
        self
    }

    fn text(&mut self, key: &str, text: &str) -> &mut Self {
        self.value(key, &format!("s:{}:\"{text}\";", text.len()))
    }

    fn number(&mut self, key: &str, number: u64) -> &mut Self {
        self.value(key, &format!("i:{number};"))
    }

    fn array(&self) -> String {
        format!("a:{}:{{{}}}", self.count, self.text)
    }
}

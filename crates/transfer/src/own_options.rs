//! Options that say where a WordPress site is: a copy has its own.

/// Options of a copy that say where it is itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnOptions {
    /// `home`: the address of its front page.
    pub(crate) home: String,
    /// `siteurl`: the address of WordPress.
    pub(crate) siteurl: String,
    /// `upload_path`: the folder of its uploads, which receives the source's.
    pub(crate) upload_path: String,
    /// `upload_url_path`: their address, which replaces the source's.
    pub(crate) upload_url_path: String,
}

impl OwnOptions {
    /// The value of an option of this name.
    pub(crate) fn value(&self, option: OwnOption) -> &str {
        match option {
            OwnOption::Home => &self.home,
            OwnOption::SiteUrl => &self.siteurl,
            OwnOption::UploadPath => &self.upload_path,
            OwnOption::UploadUrlPath => &self.upload_url_path,
        }
    }
}

/// An option of [`OwnOptions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnOption {
    Home,
    SiteUrl,
    UploadPath,
    UploadUrlPath,
}

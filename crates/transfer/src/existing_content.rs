//! Finds content that a target already has: only an empty WordPress is overwritten.

use wpclone_migrator::{AdaptiveBatch, Client, EntryKind, Manifest, Root, RowPart, Value};

use crate::error::TransferError;

/// The most rows of a table that are read: an empty WordPress has fewer.
const MAX_ROWS: usize = 100;

/// The most responses with rows that are read: an empty WordPress has one.
const MAX_PAGES: usize = 200;

/// Post types that WordPress creates when pages are viewed.
const AUTOMATIC_POST_TYPES: [&[u8]; 3] = [b"wp_navigation", b"wp_global_styles", b"revision"];

/// The end of the first post's guid.
const FIRST_POST: &[u8] = b"/?p=1";

/// A row of the table `posts`.
#[derive(Debug, Clone, Default)]
struct Post {
    guid: Vec<u8>,
    post_type: Vec<u8>,
    status: Vec<u8>,
    created: Vec<u8>,
    created_gmt: Vec<u8>,
    modified: Vec<u8>,
    modified_gmt: Vec<u8>,
}

impl Post {
    const COLUMNS: [&'static str; 7] = [
        "guid",
        "post_type",
        "post_status",
        "post_date",
        "post_date_gmt",
        "post_modified",
        "post_modified_gmt",
    ];

    fn of(row: Vec<Vec<u8>>) -> Self {
        let [guid, post_type, status, created, created_gmt, modified, modified_gmt] =
            row.try_into().unwrap_or_default();
        Self { guid, post_type, status, created, created_gmt, modified, modified_gmt }
    }

    /// Whether WordPress created it at installation and nobody edited it. `wp_install_defaults()` gives the first post, the
    /// sample page and the draft of the privacy policy these guids, whatever their ids are (a cluster's database may use
    /// another `auto_increment_increment`).
    fn is_as_installed(&self) -> bool {
        let guid = |end: &[u8]| self.guid.ends_with(end);
        let known = match self.post_type.as_slice() {
            b"post" => guid(FIRST_POST),
            b"page" => guid(b"/?page_id=2") || guid(b"/?page_id=3") && self.status == b"draft",
            _ => false,
        };
        known && (self.created == self.modified || self.created_gmt == self.modified_gmt)
    }

    fn is_automatic(&self) -> bool {
        self.status == b"auto-draft" || AUTOMATIC_POST_TYPES.contains(&self.post_type.as_slice())
    }
}

/// A row of the table `comments`.
#[derive(Debug, Clone, Default)]
struct Comment {
    post: Vec<u8>,
    created: Vec<u8>,
}

impl Comment {
    const COLUMNS: [&'static str; 2] = ["comment_post_ID", "comment_date"];

    fn of(row: Vec<Vec<u8>>) -> Self {
        let [post, created] = row.try_into().unwrap_or_default();
        Self { post, created }
    }

    /// Whether WordPress created it at installation: on post 1, in the same second as the first post.
    fn is_as_installed(&self, posts: &[Post]) -> bool {
        let with = |post: &Post| post.guid.ends_with(FIRST_POST) && post.created == self.created;
        self.post == b"1" && posts.iter().any(with)
    }
}

/// Descriptions of the content that was not created by the installation, such as `3 posts`; none if the site is empty.
pub(crate) async fn existing_content(
    client: &Client,
    manifest: &Manifest,
) -> Result<Vec<String>, TransferError> {
    let users = rows(client, manifest, "users", &["ID"]).await?.len();
    let posts = rows(client, manifest, "posts", &Post::COLUMNS).await?;
    let comments = rows(client, manifest, "comments", &Comment::COLUMNS).await?;
    let posts: Vec<_> = posts.into_iter().map(Post::of).collect();
    let comments: Vec<_> = comments.into_iter().map(Comment::of).collect();
    Ok(content(users, &posts, &comments, uploads(client, manifest).await?))
}

/// The descriptions for rows and uploads.
fn content(users: usize, posts: &[Post], comments: &[Comment], uploads: usize) -> Vec<String> {
    let own = |post_type: &str| {
        let of_kind = |post: &&Post| match post_type {
            "" => post.post_type != b"post" && post.post_type != b"page",
            post_type => post.post_type == post_type.as_bytes(),
        };
        let posts = posts.iter().filter(|post| !post.is_automatic() && !post.is_as_installed());
        posts.filter(of_kind).count()
    };
    let comments = comments.iter().filter(|comment| !comment.is_as_installed(posts)).count();
    // One user is expected: the administrator whose login we use.
    let users = if users > 1 { users } else { 0 };
    let found = [
        (users, "users"),
        (own("post"), "posts"),
        (own("page"), "pages"),
        (own(""), "posts of other kinds"),
        (comments, "comments"),
        (uploads, "uploaded files"),
    ];
    let tell = |(count, what): (usize, &str)| {
        let more = if count >= MAX_ROWS { "at least " } else { "" };
        format!("{more}{count} {what}")
    };
    found.into_iter().filter(|(count, _)| *count > 0).map(tell).collect()
}

/// These columns of the first rows of a WordPress table. Large values and NULL are empty.
async fn rows(
    client: &Client,
    manifest: &Manifest,
    table: &str,
    columns: &[&str],
) -> Result<Vec<Vec<Vec<u8>>>, TransferError> {
    let name = manifest.wordpress.table_name(table);
    let batch_size = AdaptiveBatch::new(manifest.limits.budget_ms).capped_at(256 << 10);
    let (mut all, mut stream) = (Vec::new(), client.row_stream(&name, None, batch_size));
    for _ in 0..MAX_PAGES {
        let Some(rows) = stream.next().await.map_err(TransferError::Target)? else { break };
        let places: Vec<_> =
            columns.iter().map(|wanted| rows.header.columns.iter().position(|name| name == wanted)).collect();
        for part in rows.parts() {
            let RowPart::Row { values, .. } = part.map_err(TransferError::Target)? else { continue };
            let value = |place: &Option<usize>| match place.and_then(|at| values.get(at)) {
                Some(Value::Bytes(bytes)) => bytes.to_vec(),
                _ => Vec::new(),
            };
            all.push(places.iter().map(value).collect());
            if all.len() >= MAX_ROWS {
                return Ok(all);
            }
        }
    }
    Ok(all)
}

/// The number of uploaded files, at most [`MAX_ROWS`].
async fn uploads(client: &Client, manifest: &Manifest) -> Result<usize, TransferError> {
    let (mut files, batch_size) = (0, AdaptiveBatch::new(manifest.limits.budget_ms));
    let mut pages = client.index_stream(Root::Uploads, false, None, batch_size);
    while let Some(page) = pages.next().await.map_err(TransferError::Target)? {
        files += page.entries.iter().filter(|entry| entry.kind == EntryKind::File).count();
        if files >= MAX_ROWS {
            return Ok(MAX_ROWS);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(id: u64, post_type: &str, status: &str, modified: bool) -> Post {
        let (created, later) = (b"2026-01-01 10:00:00".to_vec(), b"2026-01-02 10:00:00".to_vec());
        let last = if modified { later } else { created.clone() };
        Post {
            guid: format!("http://a.example/?{}={id}", if post_type == "page" { "page_id" } else { "p" })
                .into(),
            post_type: post_type.into(),
            status: status.into(),
            created_gmt: created.clone(),
            created,
            modified: last.clone(),
            modified_gmt: last,
        }
    }

    fn installed() -> Vec<Post> {
        vec![
            post(1, "post", "publish", false),
            post(2, "page", "publish", false),
            post(3, "page", "draft", false),
        ]
    }

    fn comment(post: u64, created: &str) -> Comment {
        Comment { post: post.to_string().into(), created: created.into() }
    }

    #[test]
    fn a_new_wordpress_is_empty_even_after_its_pages_were_viewed() {
        let mut posts = installed();
        let comments = [comment(1, "2026-01-01 10:00:00")];
        assert_eq!(content(1, &posts, &comments, 0), Vec::<String>::new());
        posts.extend([post(4, "post", "auto-draft", false), post(5, "wp_navigation", "publish", true)]);
        assert_eq!(content(1, &posts, &comments, 0), Vec::<String>::new());
        // Deleted default content does not matter.
        assert_eq!(content(1, &posts[2..], &[], 0), Vec::<String>::new());
    }

    #[test]
    fn anything_a_user_created_is_content() {
        let comments = [comment(1, "2026-01-01 10:00:00")];
        let with = |post: Post| {
            let mut posts = installed();
            posts.retain(|old| old.guid != post.guid);
            posts.push(post);
            content(1, &posts, &comments, 0).join(", ")
        };
        // The same counts as in a new WordPress, but created by a user: published once, never edited.
        let own = [post(7, "post", "publish", false), post(8, "page", "publish", false)];
        assert_eq!(content(1, &own, &[], 0), ["1 posts", "1 pages"]);
        assert_eq!(with(post(1, "post", "publish", true)), "1 posts");
        assert_eq!(with(post(2, "page", "publish", true)), "1 pages");
        assert_eq!(with(post(3, "page", "publish", false)), "1 pages");
        assert_eq!(with(post(9, "product", "publish", false)), "1 posts of other kinds");
        let posts = installed();
        for theirs in [comment(2, "2026-01-01 10:00:00"), comment(1, "2026-01-01 10:00:01")] {
            assert_eq!(content(1, &posts, &[theirs], 0), ["1 comments"]);
        }
        assert_eq!(content(2, &posts, &comments, 100), ["2 users", "at least 100 uploaded files"]);
    }
}

//! Whether a WordPress has nothing that anybody would miss.

use wpclone_migrator::{AdaptiveBatch, Client, EntryKind, Manifest, Root, RowPart, Value};

use crate::error::TransferError;

/// The most rows of a table that are looked at: an empty WordPress has fewer.
const MOST: usize = 100;

/// Kinds of posts that WordPress makes by itself when its pages are looked at.
const BY_ITSELF: [&[u8]; 3] = [b"wp_navigation", b"wp_global_styles", b"revision"];

/// How the guid of the first post ends.
const FIRST_POST: &[u8] = b"/?p=1";

/// A row of the table `posts`.
#[derive(Debug, Clone, Default)]
struct Post {
    guid: Vec<u8>,
    kind: Vec<u8>,
    status: Vec<u8>,
    made: Vec<u8>,
    made_gmt: Vec<u8>,
    changed: Vec<u8>,
    changed_gmt: Vec<u8>,
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
        let [guid, kind, status, made, made_gmt, changed, changed_gmt] = row.try_into().unwrap_or_default();
        Self { guid, kind, status, made, made_gmt, changed, changed_gmt }
    }

    /// Whether WordPress made it, and nobody has changed it. `wp_install_defaults()` gives a post, a sample page and the draft
    /// of a privacy policy these guids, whatever their numbers are (a cluster's database may count in larger steps).
    fn is_as_installed(&self) -> bool {
        let guid = |end: &[u8]| self.guid.ends_with(end);
        let known = match self.kind.as_slice() {
            b"post" => guid(FIRST_POST),
            b"page" => guid(b"/?page_id=2") || guid(b"/?page_id=3") && self.status == b"draft",
            _ => false,
        };
        known && (self.made == self.changed || self.made_gmt == self.changed_gmt)
    }

    fn made_itself(&self) -> bool {
        self.status == b"auto-draft" || BY_ITSELF.contains(&self.kind.as_slice())
    }
}

/// A row of the table `comments`.
#[derive(Debug, Clone, Default)]
struct Comment {
    post: Vec<u8>,
    made: Vec<u8>,
}

impl Comment {
    const COLUMNS: [&'static str; 2] = ["comment_post_ID", "comment_date"];

    fn of(row: Vec<Vec<u8>>) -> Self {
        let [post, made] = row.try_into().unwrap_or_default();
        Self { post, made }
    }

    /// Whether WordPress made it: for post 1, at the second of the first post.
    fn is_as_installed(&self, posts: &[Post]) -> bool {
        let with = |post: &Post| post.guid.ends_with(FIRST_POST) && post.made == self.made;
        self.post == b"1" && posts.iter().any(with)
    }
}

/// What a site has that WordPress did not make when it was installed, in words; nothing where it is empty.
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

/// The same of what the tables have.
fn content(users: usize, posts: &[Post], comments: &[Comment], uploads: usize) -> Vec<String> {
    let own = |kind: &str| {
        let of_kind = |post: &&Post| match kind {
            "" => post.kind != b"post" && post.kind != b"page",
            kind => post.kind == kind.as_bytes(),
        };
        let posts = posts.iter().filter(|post| !post.made_itself() && !post.is_as_installed());
        posts.filter(of_kind).count()
    };
    let comments = comments.iter().filter(|comment| !comment.is_as_installed(posts)).count();
    // One has to be there: it is whoever let us in.
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
        let more = if count >= MOST { "at least " } else { "" };
        format!("{more}{count} {what}")
    };
    found.into_iter().filter(|(count, _)| *count > 0).map(tell).collect()
}

/// The first rows of a table of WordPress: these columns of them. Too large values and NULL are empty.
async fn rows(
    client: &Client,
    manifest: &Manifest,
    table: &str,
    columns: &[&str],
) -> Result<Vec<Vec<Vec<u8>>>, TransferError> {
    let name = format!("{}{table}", manifest.wordpress.prefix);
    let pace = AdaptiveBatch::new(manifest.limits.budget_ms).capped_at(256 << 10);
    let (mut all, mut stream) = (Vec::new(), client.row_stream(&name, None, pace));
    while let Some(rows) = stream.next().await.map_err(TransferError::Target)? {
        let places: Vec<_> =
            columns.iter().map(|wanted| rows.header.columns.iter().position(|name| name == wanted)).collect();
        for part in rows.parts() {
            let RowPart::Row { values, .. } = part.map_err(TransferError::Target)? else { continue };
            let value = |place: &Option<usize>| match place.and_then(|at| values.get(at)) {
                Some(Value::Bytes(bytes)) => bytes.to_vec(),
                _ => Vec::new(),
            };
            all.push(places.iter().map(value).collect());
            if all.len() >= MOST {
                return Ok(all);
            }
        }
    }
    Ok(all)
}

/// How many files have been uploaded, as far as they are counted.
async fn uploads(client: &Client, manifest: &Manifest) -> Result<usize, TransferError> {
    let (mut files, pace) = (0, AdaptiveBatch::new(manifest.limits.budget_ms));
    let mut pages = client.index_stream(Root::Uploads, false, None, pace);
    while let Some(page) = pages.next().await.map_err(TransferError::Target)? {
        files += page.entries.iter().filter(|entry| entry.kind == EntryKind::File).count();
        if files >= MOST {
            return Ok(MOST);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(id: u64, kind: &str, status: &str, changed: bool) -> Post {
        let (made, later) = (b"2026-01-01 10:00:00".to_vec(), b"2026-01-02 10:00:00".to_vec());
        let last = if changed { later } else { made.clone() };
        Post {
            guid: format!("http://a.example/?{}={id}", if kind == "page" { "page_id" } else { "p" }).into(),
            kind: kind.into(),
            status: status.into(),
            made_gmt: made.clone(),
            made,
            changed: last.clone(),
            changed_gmt: last,
        }
    }

    fn installed() -> Vec<Post> {
        vec![
            post(1, "post", "publish", false),
            post(2, "page", "publish", false),
            post(3, "page", "draft", false),
        ]
    }

    fn comment(post: u64, made: &str) -> Comment {
        Comment { post: post.to_string().into(), made: made.into() }
    }

    #[test]
    fn a_new_wordpress_is_empty_also_when_somebody_looked_at_it() {
        let mut posts = installed();
        let comments = [comment(1, "2026-01-01 10:00:00")];
        assert_eq!(content(1, &posts, &comments, 0), Vec::<String>::new());
        posts.extend([post(4, "post", "auto-draft", false), post(5, "wp_navigation", "publish", true)]);
        assert_eq!(content(1, &posts, &comments, 0), Vec::<String>::new());
        // What was taken away is missed by nobody.
        assert_eq!(content(1, &posts[2..], &[], 0), Vec::<String>::new());
    }

    #[test]
    fn what_somebody_made_is_content_however_little() {
        let comments = [comment(1, "2026-01-01 10:00:00")];
        let with = |post: Post| {
            let mut posts = installed();
            posts.retain(|old| old.guid != post.guid);
            posts.push(post);
            content(1, &posts, &comments, 0).join(", ")
        };
        // One post and two pages as in a new one, but somebody's: published once, never edited.
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

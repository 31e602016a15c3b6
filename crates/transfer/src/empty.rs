//! Whether a WordPress has nothing that anybody would miss.

use wpclone_migrator::{Client, EntryKind, Manifest, Pace, Root, RowPart, Value};

use crate::error::TransferError;

/// The most rows of a table that are looked at: an empty WordPress has fewer.
const MOST: usize = 100;

/// Kinds of posts that WordPress makes by itself when its pages are looked at.
const BY_ITSELF: [&[u8]; 3] = [b"wp_navigation", b"wp_global_styles", b"revision"];

/// What a site has that WordPress did not make when it was installed, in words; nothing where it is empty.
///
/// An installation makes one user, a post, a comment, a sample page and the draft of a privacy policy
/// (`wp_install_defaults()`), and nobody has touched these as long as the time of their change is that of their making.
pub(crate) async fn content_of(client: &Client, manifest: &Manifest) -> Result<Vec<String>, TransferError> {
    let mut found = Vec::new();
    let mut tell = |count: usize, most: usize, what: &str| {
        if count > most {
            let more = if count >= MOST { "at least " } else { "" };
            found.push(format!("{more}{count} {what}"));
        }
    };
    let users = rows(client, manifest, "users", &["ID"]).await?;
    tell(users.len(), 1, "users");
    let columns = [
        "ID",
        "post_type",
        "post_status",
        "post_date_gmt",
        "post_modified_gmt",
        "post_date",
        "post_modified",
    ];
    let posts = rows(client, manifest, "posts", &columns).await?;
    let own: Vec<_> = posts
        .iter()
        .filter(|post| post[2] != b"auto-draft" && !BY_ITSELF.contains(&post[1].as_slice()))
        .collect();
    let untouched = |post: &&&Vec<Vec<u8>>| post[5] == post[6] || post[3] == post[4];
    let of_kind = |kind: &[u8]| own.iter().filter(|post| post[1] == kind).count();
    let others = own.len() - of_kind(b"post") - of_kind(b"page");
    tell(of_kind(b"post"), 1, "posts");
    tell(of_kind(b"page"), 2, "pages");
    tell(others, 0, "posts of other kinds");
    tell(own.len() - own.iter().filter(untouched).count(), 0, "changed posts");
    tell(rows(client, manifest, "comments", &["comment_ID"]).await?.len(), 1, "comments");
    tell(uploads(client, manifest).await?, 0, "uploaded files");
    Ok(found)
}

/// The first rows of a table of WordPress: these columns of them. Too large values and NULL are empty.
async fn rows(
    client: &Client,
    manifest: &Manifest,
    table: &str,
    columns: &[&str],
) -> Result<Vec<Vec<Vec<u8>>>, TransferError> {
    let name = format!("{}{table}", manifest.wordpress.prefix);
    let pace = Pace::new(manifest.limits.budget_ms).at_most(256 << 10);
    let (mut all, mut stream) = (Vec::new(), client.all_rows(&name, None, pace));
    while let Some(rows) = stream.next().await.map_err(TransferError::Target)? {
        let places: Vec<_> =
            columns.iter().map(|wanted| rows.head.columns.iter().position(|name| name == wanted)).collect();
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
    let (mut files, pace) = (0, Pace::new(manifest.limits.budget_ms));
    let mut pages = client.all_files(Root::Uploads, false, None, pace);
    while let Some(page) = pages.next().await.map_err(TransferError::Target)? {
        files += page.entries.iter().filter(|entry| entry.kind == EntryKind::File).count();
        if files >= MOST {
            return Ok(MOST);
        }
    }
    Ok(files)
}

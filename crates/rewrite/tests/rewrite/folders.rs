//! Folders of the old server are replaced with the addresses.

use wpclone_rewrite::{FolderMapping, MappingError, Options, PrefixMapping, Rewriter, SiteMapping};

use crate::{NEW, OLD, assert_rewritten_with};

fn moving(folders: &[(&str, &str)]) -> Rewriter {
    let folders = folders.iter().map(|(from, to)| FolderMapping::new(from, to).unwrap()).collect();
    Rewriter::new(&[SiteMapping::new(OLD, NEW).unwrap()], Options { folders, ..Options::default() }).unwrap()
}

#[test]
fn a_folder_is_replaced_in_every_encoding() {
    assert_rewritten_with(
        &moving(&[("/var/www/html/", "/srv/clones/7")]),
        &[
            ("/var/www/html", "/srv/clones/7"),
            ("/var/www/html/wp-content/a.log", "/srv/clones/7/wp-content/a.log"),
            ("file:///var/www/html/a", "file:///srv/clones/7/a"),
            ("include_path=.:/var/www/html:/tmp", "include_path=.:/srv/clones/7:/tmp"),
            (r#"s:15:"/var/www/html/a";"#, r#"s:15:"/srv/clones/7/a";"#),
            (r#"a:1:{i:0;s:13:"/var/www/html";}"#, r#"a:1:{i:0;s:13:"/srv/clones/7";}"#),
            (r#"{"p":"\/var\/www\/html\/a"}"#, r#"{"p":"\/srv\/clones\/7\/a"}"#),
            (r#"{"s":"s:15:\"\/var\/www\/html\/a\";"}"#, r#"{"s":"s:15:\"\/srv\/clones\/7\/a\";"}"#),
            ("?f=%2Fvar%2Fwww%2Fhtml%2Fa", "?f=%2Fsrv%2Fclones%2F7%2Fa"),
            ("?f=%2fvar%2fwww%2fhtml%2fa", "?f=%2fsrv%2fclones%2f7%2fa"),
            ("<i data-f='&#x2F;var&#x2F;www&#x2F;html'>", "<i data-f='&#x2F;srv&#x2F;clones&#x2F;7'>"),
            ("L3Zhci93d3cvaHRtbC9h", "L3Nydi9jbG9uZXMvNy9h"),
            ("/var/www/html http://example.com", "/srv/clones/7 https://new.example.org/shop"),
        ],
    );
}

#[test]
fn other_folders_are_kept() {
    let stays = [
        "/var/www/html2/a",
        "/var/www/html.old/a",
        "/var/www/html-new",
        "/mnt/var/www/html/a",
        "https://example.org/var/www/html/a",
        "text/html",
        r#"{"type":"text\/html"}"#,
        "var/www/html",
        "/var/www",
    ];
    assert_rewritten_with(&moving(&[("/var/www/html", "/srv/clones/7")]), &stays.map(|stays| (stays, stays)));
}

#[test]
fn the_longest_matching_folder_wins() {
    let rewriter =
        moving(&[("/var/www/html", "/a"), ("/var/www/html/shop", "/b"), (r"C:\xampp\htdocs", "/c")]);
    assert_rewritten_with(
        &rewriter,
        &[
            ("/var/www/html/shop/x", "/b/x"),
            ("/var/www/html/shops/x", "/a/shops/x"),
            (r"C:\xampp\htdocs\x", r"/c\x"),
            (r#"{"p":"C:\\xampp\\htdocs\\x"}"#, r#"{"p":"/c\\x"}"#),
        ],
    );
}

#[test]
fn a_folder_may_have_the_name_of_the_host() {
    let rewriter = moving(&[("/home/me/example.com", "/srv/x")]);
    assert_rewritten_with(
        &rewriter,
        &[("/home/me/example.com/a http://example.com/a", "/srv/x/a https://new.example.org/shop/a")],
    );
}

#[test]
fn only_absolute_folders_are_accepted() {
    for folder in ["var/www", "/", "", "C:", "./a"] {
        assert_eq!(FolderMapping::new(folder, "/a").unwrap_err(), MappingError::InvalidFolder(folder.into()));
    }
    assert!(
        Rewriter::new(
            &[],
            Options { folders: vec![FolderMapping::new("/a/b", "/c").unwrap()], ..Options::default() }
        )
        .is_ok()
    );
}

#[test]
fn names_with_the_table_prefix_are_renamed() {
    let prefix = PrefixMapping::new("wp_", "clone7_");
    let text = |name: Option<Vec<u8>>| name.map(|name| String::from_utf8(name).unwrap());
    assert_eq!(text(prefix.table(b"wp_2_posts")).as_deref(), Some("clone7_2_posts"));
    assert_eq!(text(prefix.table(b"other_posts")), None);
    assert_eq!(text(prefix.table(b"wp_")), None);
    assert_eq!(text(prefix.option(b"wp_user_roles")).as_deref(), Some("clone7_user_roles"));
    assert_eq!(text(prefix.option(b"wp_12_user_roles")).as_deref(), Some("clone7_12_user_roles"));
    for stays in
        [&b"wp_attachment_pages_enabled"[..], b"user_roles", b"wp_user_roles_backup", b"wp_x_user_roles"]
    {
        assert_eq!(text(prefix.option(stays)), None);
    }
    assert_eq!(text(prefix.user_meta(b"wp_user-settings")).as_deref(), Some("clone7_user-settings"));
    assert_eq!(text(prefix.user_meta(b"wp_2_capabilities")).as_deref(), Some("clone7_2_capabilities"));
    assert_eq!(text(prefix.user_meta(b"nickname")), None);
}

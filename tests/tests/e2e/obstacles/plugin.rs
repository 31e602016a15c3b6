//! Installing the migrator.

use crate::obstacles::*;

#[tokio::test]
async fn an_editor_may_not_install_plugins() -> Result {
    let site = site().user("ed", "editor", "editors-password").start().await?;
    let editor = site.user("ed").expect("an editor");
    let (_, problem) = setup_fails(&site, &editor, Code::CapMissing).await?;
    assert_eq!(problem.more["cap"], "install_plugins");
    assert!(!problem.changed_target);
    Ok(())
}

#[tokio::test]
async fn files_that_may_not_be_changed() -> Result {
    let site = site().constant("DISALLOW_FILE_MODS", "true").start().await?;
    setup_fails(&site, &site.admin(), Code::FileModsDisabled).await?;
    Ok(())
}

#[tokio::test]
async fn a_wordpress_with_fs_method_ftp() -> Result {
    let site = site().constant("FS_METHOD", "'ftpext'").start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::FsMethodNotDirect).await?;
    assert!(!problem.changed_target);
    Ok(())
}

#[tokio::test]
async fn a_web_server_with_a_small_body_limit() -> Result {
    let site = site().max_body("4k").start().await?;
    setup_fails(&site, &site.admin(), Code::UploadTooLarge).await?;
    Ok(())
}

#[tokio::test]
async fn a_small_upload_max_filesize() -> Result {
    let site = site().ini("upload_max_filesize", "4K").start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::UploadTooLarge).await?;
    assert_eq!(problem.more["limit"], 4096);
    Ok(())
}

#[tokio::test]
async fn a_small_post_max_size() -> Result {
    let site = site().ini("post_max_size", "8K").start().await?;
    setup_fails(&site, &site.admin(), Code::UploadTooLarge).await?;
    Ok(())
}

#[tokio::test]
async fn a_firewall_that_blocks_the_upload() -> Result {
    let eats = "set $what \"$request_method$uri\"; if ($what = \"POST/wp-admin/update.php\") { return 406; }";
    let site = site().nginx(eats).start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::WafBlockedUpload).await?;
    assert!(!problem.changed_target);
    Ok(())
}

#[tokio::test]
async fn a_wordpress_that_is_too_old() -> Result {
    // No WordPress this old runs on a current PHP, so a current one reports an old version.
    let php = "add_action('admin_init', function () { $GLOBALS['wp_version'] = '5.2'; });";
    let site = site().mu_plugin("old", php).start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::ReqUnmet).await?;
    assert!(!problem.changed_target);
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_wordpress_does_not_install() -> Result {
    let php =
        "add_filter('upgrader_source_selection', function () { return new WP_Error('no', 'Not here'); });";
    let site = site().mu_plugin("no-install", php).start().await?;
    setup_fails(&site, &site.admin(), Code::PluginInstallFailed).await?;
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_wordpress_does_not_activate() -> Result {
    let php = "add_action('activate_plugin', function () { wp_die('no plugins here', '', 403); });";
    let site = site().mu_plugin("no-activation", php).start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::PluginActivationFailed).await?;
    assert!(problem.changed_target && !problem.achieved.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_cache_that_responds_in_place_of_the_migrator() -> Result {
    let cache = "if ($arg_wpclone_migrator) { return 200 'cached'; } if ($arg_rest_route ~ wpclone) { return 200 'cached'; }";
    let site = site().nginx(cache).start().await?;
    let (_, problem) = setup_fails(&site, &site.admin(), Code::MigratorUnreachable).await?;
    assert!(problem.changed_target);
    Ok(())
}

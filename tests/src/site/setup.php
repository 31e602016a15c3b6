<?php
// Puts on a site what a test asked for. Standard input: a JSON object of what to do.
$wish = json_decode(stream_get_contents(STDIN), true, 8, JSON_THROW_ON_ERROR);
require_once ABSPATH . 'wp-admin/includes/image.php';
add_filter('pre_wp_mail', '__return_true');

if ($wish['locale'] !== null) {
    update_option('WPLANG', $wish['locale']);
}
foreach ($wish['users'] as $user) {
    $id = username_exists($user['name']);
    if (!$id) {
        $id = wp_insert_user(['user_login' => $user['name'], 'user_email' => $user['name'] . '@lab.invalid',
            'role' => $user['role'], 'user_pass' => wp_slash($user['password'])]);
        if (is_wp_error($id)) {
            fwrite(STDERR, $id->get_error_message());
            exit(1);
        }
    } else {
        wp_set_password(wp_slash($user['password']), $id);
    }
}

$words = ['Grüße', 'naïve', 'Ελλάδα', 'мир', '日本', '🚀', 'quotes "\'"', 'back\\slash', 'plain'];
for ($i = 1; $i <= $wish['content']; $i++) {
    $post = ['post_status' => 'publish', 'post_author' => 1, 'post_type' => $i % 5 ? 'post' : 'page',
        'post_title' => $words[$i % count($words)] . " $i",
        'post_content' => '<p>' . str_repeat($words[$i * 7 % count($words)] . ' ', 40) . '</p><p><a href="'
            . home_url("/?p=$i") . '">' . home_url('/') . '</a></p>'];
    $id = wp_insert_post(wp_slash($post));
    add_post_meta($id, 'lab_meta', ['url' => home_url("/$i/"), 'n' => $i]);
}
for ($i = 1; $i <= min(3, $wish['content']); $i++) {
    $image = imagecreatetruecolor(640, 360);
    imagefill($image, 0, 0, imagecolorallocate($image, 60 * $i, 120, 200));
    ob_start();
    imagepng($image);
    $file = wp_upload_bits("picture-$i.png", null, ob_get_clean());
    $id = wp_insert_attachment(['post_mime_type' => 'image/png', 'post_title' => "Picture $i",
        'post_status' => 'inherit'], $file['file']);
    wp_update_attachment_metadata($id, wp_generate_attachment_metadata($id, $file['file']));
}

// A shop with some history. The constant LAB_POSTS says how much.
global $wpdb;
$url = home_url();
$host = preg_replace('~^https?://~', '', $url);
$words = ['Grüße', 'naïve', 'Ελλάδα', 'мир', '日本', '🚀', "quotes \"'\"", 'back\\slash', '100% %s %1$d', 'plain'];
$insert = function (string $table, array $rows) use ($wpdb) {
    foreach (array_chunk($rows, 200) as $chunk) {
        $values = array_map(function ($row) use ($wpdb) {
            return '(' . implode(',', array_map(function ($value) use ($wpdb) {
                return $value === null ? 'NULL' : "'" . mysqli_real_escape_string($wpdb->dbh, (string) $value) . "'";
            }, $row)) . ')';
        }, $chunk);
        $sql = "INSERT INTO `$table` (`" . implode('`,`', array_keys($chunk[0])) . '`) VALUES ' . implode(',', $values);
        if (!mysqli_query($wpdb->dbh, $sql)) {
            fwrite(STDERR, mysqli_error($wpdb->dbh));
            exit(1);
        }
    }
};
mysqli_query($wpdb->dbh, "SET sql_mode = ''");

// Posts with links in every spelling, and what page builders keep of them.
$escaped = str_replace('/', '\/', $url);
$posts = $metas = $terms = $comments = [];
for ($i = 1; $i <= LAB_POSTS; $i++) {
    $id = 1000 + $i;
    $word = $words[$i % count($words)];
    $type = ['post', 'post', 'post', 'page', 'product'][$i % 5];
    $date = gmdate('Y-m-d H:i:s', 1600000000 + 3600 * $i);
    $content = "<!-- wp:paragraph -->\n<p>$word <a href=\"$url/?p=$i\">" . str_repeat("$word ", 1 + $i % 60) . "</a></p>\n<!-- /wp:paragraph -->\n"
        . "<!-- wp:image {\"id\":$i,\"url\":\"$url/wp-content/uploads/$i.png\",\"text\":\"\\u003cb\\u003e\"} -->\n"
        . "<figure class=\"wp-block-image\"><img src='$url/wp-content/uploads/$i.png' srcset=\"$url/wp-content/uploads/$i-300.png 300w, $url/wp-content/uploads/$i-600.png 600w\" alt=\"\"/></figure>\n<!-- /wp:image -->\n"
        . "[button link=\"$url/cart/\"]buy[/button] <div style=\"background: url($url/wp-content/uploads/bg.jpg)\"></div>"
        . ' <a href="https://share.example/?u=' . rawurlencode("$url/?p=$i") . '">share</a>';
    $posts[] = ['ID' => $id, 'post_author' => 1 + $i % 40, 'post_date' => $date, 'post_date_gmt' => $date, 'post_modified' => $date,
        'post_modified_gmt' => $i % 7 ? $date : '0000-00-00 00:00:00', 'post_content' => $content, 'post_title' => "$word $i",
        'post_status' => $i % 11 ? 'publish' : 'draft', 'post_name' => "entry-$i", 'post_type' => $type, 'guid' => "$url/?p=$id", 'post_excerpt' => ''];
    $builder = json_encode([['id' => "e$i", 'settings' => ['image' => ['url' => "$url/wp-content/uploads/$i.png"], 'text' => "<a href=\"$url/\">$word</a>"]]]);
    $object = new stdClass();
    $object->link = "$url/object/$i";
    $object->deep = [serialize(['again' => "$url/deeper/", 'n' => 1.5]), true, null];
    foreach ([
        '_lab_list' => serialize(['url' => "$url/$i/", 'word' => $word, 'n' => $i, 'f' => 0.1, 'deep' => [['u' => "//$host/x"]]]),
        '_lab_builder' => $builder,
        '_lab_object' => serialize($object),
        '_lab_json_in_php' => serialize(['data' => $builder]),
        '_lab_base64' => base64_encode("<a href=\"$url/encoded/$i\">$word</a>"),
        '_lab_path' => ABSPATH . "wp-content/uploads/$i.pdf",
        '_lab_plain' => $word,
    ] as $key => $value) {
        if ($key === '_lab_plain' || $i % 4 === 0) {
            $metas[] = ['post_id' => $id, 'meta_key' => $key, 'meta_value' => $value];
        }
    }
    $terms[] = ['object_id' => $id, 'term_taxonomy_id' => 1 + $i % 5, 'term_order' => 0];
    if ($i % 2) {
        $comments[] = ['comment_post_ID' => $id, 'comment_author' => $word, 'comment_author_url' => "$url/author/$i",
            'comment_author_email' => "c$i@lab.invalid", 'comment_content' => "See $url/?p=$i, $word", 'comment_date' => $date, 'comment_date_gmt' => $date, 'comment_approved' => '1'];
    }
}
foreach (['Ä', 'B & C', 'd/e', '🚀'] as $i => $name) {
    wp_insert_term($name, $i % 2 ? 'category' : 'post_tag', ['description' => "$url/term/$i"]);
}
$insert($wpdb->posts, $posts);
$insert($wpdb->postmeta, $metas);
$insert($wpdb->term_relationships, $terms);
$insert($wpdb->comments, $comments);
$wpdb->query("UPDATE $wpdb->term_taxonomy t SET count = (SELECT COUNT(*) FROM $wpdb->term_relationships r WHERE r.term_taxonomy_id = t.term_taxonomy_id)");
update_option('sticky_posts', [1001, 1002]);

// People. Their passwords are hashes that nobody knows, but for one who logs in.
$users = $usermetas = [];
for ($i = 1; $i <= 60; $i++) {
    $users[] = ['ID' => 100 + $i, 'user_login' => "customer$i", 'user_pass' => '$P$Bunknown', 'user_nicename' => "customer$i", 'user_email' => "c$i@lab.invalid",
        'user_url' => "$url/u/$i", 'user_registered' => '2020-01-01 00:00:00', 'display_name' => $words[$i % count($words)]];
    $usermetas[] = ['user_id' => 100 + $i, 'meta_key' => $wpdb->prefix . 'capabilities', 'meta_value' => serialize(['subscriber' => true])];
    $usermetas[] = ['user_id' => 100 + $i, 'meta_key' => 'session_tokens', 'meta_value' => serialize([hash('sha256', "$i") => ['expiration' => 2000000000]])];
    if ($i % 6 === 0) {
        $usermetas[] = ['user_id' => 100 + $i, 'meta_key' => '_application_passwords', 'meta_value' => serialize([['uuid' => "$i", 'password' => '$P$x']])];
    }
}
$insert($wpdb->users, $users);
$insert($wpdb->usermeta, $usermetas);

// Menus, widgets, the theme's settings, and what stays in spite of all: a key, an address without a scheme, salts.
$menu = wp_create_nav_menu('Main');
foreach ([1001, 1002, 1003] as $n => $id) {
    wp_update_nav_menu_item($menu, 0, ['menu-item-title' => $words[$n], 'menu-item-url' => "$url/menu/$n", 'menu-item-status' => 'publish', 'menu-item-type' => 'custom']);
}
set_theme_mod('nav_menu_locations', ['primary' => $menu]);
set_theme_mod('header_image', "$url/wp-content/uploads/header.jpg");
update_option('widget_text', [2 => ['title' => 'Ü', 'text' => "<a href='$url/w/'>w</a>", 'filter' => true], '_multiwidget' => 1]);
update_option('widget_block', [2 => ['content' => "<!-- wp:paragraph --><p><a href=\"$url/b\">b</a></p><!-- /wp:paragraph -->"], '_multiwidget' => 1]);
update_option('lab_by_address', ["$url/key/" => 'a key stays', 'bare' => "$host is no address", 'mail' => "bob@$host"]);
foreach (['auth_salt', 'logged_in_key', 'nonce_key'] as $name) {
    add_option($name, bin2hex(random_bytes(32)));
}
$insert($wpdb->options, [['option_name' => 'lab_cut_off', 'option_value' => substr(serialize(['u' => "$url/cut/off/"]), 0, -6), 'autoload' => 'no']]);

// Media.
require_once ABSPATH . 'wp-admin/includes/image.php';
for ($i = 1; $i <= 6; $i++) {
    $image = imagecreatetruecolor(700, 400);
    imagefill($image, 0, 0, imagecolorallocate($image, 40 * $i, 120, 200));
    ob_start();
    imagepng($image);
    $file = wp_upload_bits("picture 🚀 $i.png", null, ob_get_clean());
    $id = wp_insert_attachment(['post_mime_type' => 'image/png', 'post_title' => "Picture $i", 'post_status' => 'inherit'], $file['file']);
    wp_update_attachment_metadata($id, wp_generate_attachment_metadata($id, $file['file']));
}
$uploads = wp_upload_dir()['basedir'];
for ($i = 1; $i <= 150; $i++) {
    @mkdir("$uploads/woo/" . $i % 7, 0755, true);
    file_put_contents("$uploads/woo/" . $i % 7 . "/invoice-$i.pdf", random_bytes(100 + 37 * $i));
}
file_put_contents("$uploads/large.bin", random_bytes(3 << 20));
file_put_contents("$uploads/empty.txt", '');
mkdir("$uploads/empty folder");

// The shop's own tables.
$p = $wpdb->prefix;
$c = $wpdb->get_charset_collate();
foreach ([
    "CREATE TABLE {$p}wc_orders (id bigint unsigned NOT NULL, status varchar(20), currency varchar(10), total_amount decimal(26,8), customer_id bigint unsigned,
        billing_email varchar(320), date_created_gmt datetime, customer_note text, PRIMARY KEY (id), KEY email (billing_email(191))) $c",
    "CREATE TABLE {$p}wc_orders_meta (id bigint unsigned NOT NULL AUTO_INCREMENT, order_id bigint unsigned, meta_key varchar(255), meta_value text, PRIMARY KEY (id), KEY kv (meta_key(100), meta_value(82))) $c",
    "CREATE TABLE {$p}wc_order_product_lookup (order_item_id bigint unsigned NOT NULL, order_id bigint unsigned NOT NULL, product_net_revenue double DEFAULT 0 NOT NULL, PRIMARY KEY (order_item_id, order_id)) $c",
    "CREATE TABLE {$p}woocommerce_sessions (session_id bigint unsigned NOT NULL AUTO_INCREMENT, session_key char(32) NOT NULL, session_value longtext NOT NULL, session_expiry bigint unsigned NOT NULL, PRIMARY KEY (session_id), UNIQUE KEY session_key (session_key)) $c",
    "CREATE TABLE {$p}lab_log (at datetime, line varchar(100)) ENGINE=MyISAM $c",
] as $sql) {
    mysqli_query($wpdb->dbh, $sql) || exit(1);
}
$orders = $meta = $lookup = $sessions = $log = [];
for ($i = 1; $i <= LAB_POSTS; $i++) {
    $orders[] = ['id' => $i, 'status' => 'wc-completed', 'currency' => 'EUR', 'total_amount' => "$i.12345678", 'customer_id' => 100 + $i % 60,
        'billing_email' => "c$i@lab.invalid", 'date_created_gmt' => '2021-03-28 02:30:00', 'customer_note' => $i % 9 ? $words[$i % 10] : "see $url/order/$i"];
    $meta[] = ['order_id' => $i, 'meta_key' => '_billing', 'meta_value' => serialize(['city' => $words[$i % 10], 'return' => "$url/checkout/$i"])];
    $lookup[] = ['order_item_id' => $i, 'order_id' => $i, 'product_net_revenue' => $i / 3];
    $sessions[] = ['session_key' => md5("$i"), 'session_value' => serialize(['cart' => serialize(['url' => "$url/cart/$i"])]), 'session_expiry' => 2000000000];
    $log[] = ['at' => '2020-02-02 02:02:02', 'line' => 'line ' . $i % 20];
}
$insert("{$p}wc_orders", $orders);
$insert("{$p}wc_orders_meta", $meta);
$insert("{$p}wc_order_product_lookup", $lookup);
$insert("{$p}woocommerce_sessions", array_slice($sessions, 0, 300));
$insert("{$p}lab_log", $log);

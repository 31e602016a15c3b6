<?php
// Writes pairs of lines: a value with the old address in it, and the same value as PHP writes it with the new one.
// php oracle.php OLD NEW COUNT SEED

enum Suit: string { case Hearts = 'h'; }

class Plain {
    public $a;
    protected $b;
    private $c;
    public ?Plain $self = null;
    function __construct($a, $b, $c) { [$this->a, $this->b, $this->c] = [$a, $b, $c]; }
}

class Child extends Plain {
    private $c;
    function __construct($a, $b, $c) { parent::__construct($a, $b, $c); $this->c = $a; }
}

class Custom implements Serializable {
    public $data;
    function __construct($data) { $this->data = $data; }
    function serialize() { return serialize($this->data); }
    function unserialize($text) { $this->data = unserialize($text); }
}

class Own {
    public $data;
    function __construct($data) { $this->data = $data; }
    function __serialize(): array { return ['d' => $this->data, 5 => [$this->data]]; }
    function __unserialize(array $all): void { $this->data = $all['d']; }
}

function text($url) {
    return [
        fn() => $url,
        fn() => "$url/wp-content/uploads/2024/01/a.jpg",
        fn() => "See $url, or write to bob@example.com.",
        fn() => "<a class=\"x\" href=\"$url/a?b=1&amp;c=2\">It's <b>here</b></a>\n",
        fn() => "<!-- wp:image {\"id\":1,\"url\":\"$url/a.png\"} --><img src='$url/a.png'/>\r\n<!-- /wp:image -->",
        fn() => "Zürich 日本 \u{1f600} <p>$url</p>\t",
        fn() => "[gallery link=\"$url\" ids=\"1,2\"]",
        fn() => "a{background:url($url/a.png)}",
        fn() => "\0binary\xff\xfe $url/\x80",
        fn() => "http://example.com.au/ $url",
    ][mt_rand(0, 9)]();
}

function structure($url, $depth, $inside) {
    $v = fn() => value($url, $depth - 1, $inside);
    switch (mt_rand(0, 8)) {
        case 0: return ['a' => $v(), 5 => 1.0, -3 => 0.1, 'n' => null, 't' => true, 'http://example.com' => 1e25];
        case 1: return new Plain($v(), [$v()], -7);
        case 2: return new Child($v(), INF, $v());
        case 3: $o = new Plain($v(), 1, 2); $o->self = $o; $a = [1 => $o, 2 => $o]; $a[3] = &$a[1]; return $a;
        case 4: return new Custom([$v(), 'k' => $v()]);
        case 5: return new Own($v());
        case 6: return [Suit::Hearts, new ArrayObject([$v()]), new DateTime('2020-01-01 UTC')];
        case 7: $s = new SplObjectStorage; $s[new Plain($v(), 0, 0)] = $v(); return [$s, new SplStack];
        default: return (object) ['u' => $v(), '' => false, 'list' => [[], [$v()]]];
    }
}

/** What JSON and HTML can hold. */
function letters($v) {
    return mb_check_encoding($v, 'UTF-8') ? $v : rawurlencode($v);
}

function json($url, $depth, $inside) {
    $flags = [0, JSON_UNESCAPED_SLASHES, JSON_UNESCAPED_UNICODE, JSON_PRETTY_PRINT, JSON_HEX_QUOT | JSON_HEX_TAG | JSON_HEX_AMP | JSON_HEX_APOS][mt_rand(0, 4)];
    $v = fn() => letters(value($url, $depth - 1, [...$inside, 'json']));
    $all = [
        fn() => ['a' => $v(), 'b' => [1, 2.5, null, [$v()]], 'http://example.com' => (object) []],
        fn() => [$v(), ['x' => ['y' => $v()]]],
        fn() => $v(),
    ][mt_rand(0, 2)]();
    return json_encode($all, $flags | JSON_PRESERVE_ZERO_FRACTION | JSON_THROW_ON_ERROR);
}

/** Base64. Where its special characters are encoded again, it has some from the start: what is not there is nobody's to keep. */
function base64($v, $inside) {
    if (array_diff($inside, ['serialized', 'base64']) === []) {
        return base64_encode($v);
    }
    return rtrim(strtr(base64_encode($v . '????'), '+/', '-_'), '=');
}

/** A string with the address in it, wrapped at most so often; it goes inside of these. */
function value($url, $depth, $inside = []) {
    $kind = mt_rand(0, 10);
    // Base64 is looked for in base64, but not in base64 of that.
    if ($depth <= 0 || (in_array($kind, [4, 8]) && count(array_keys($inside, 'base64')) == 2)) {
        return text($url);
    }
    $v = fn(...$around) => value($url, $depth - 1, [...$inside, ...$around]);
    switch ($kind) {
        case 0: case 1: return serialize(structure($url, $depth, [...$inside, 'serialized']));
        case 2: case 3: return json($url, $depth, $inside);
        case 4: return base64($v('base64'), $inside);
        case 5: return rawurlencode($v('percent'));
        case 6: return '/wp-login.php?' . http_build_query(['redirect_to' => $v('percent'), 'n' => 1]);
        case 7: return '<div data-settings="' . htmlspecialchars(letters($v('html')), ENT_QUOTES) . '">' . text($url) . '</div>';
        case 8: return '[vc_raw_html]' . base64(rawurlencode($v('base64', 'percent')), $inside) . '[/vc_raw_html]';
        case 9: return addslashes($v('slashes'));
        default: return '<script>var x = ' . json($url, $depth, $inside) . "; f('$url');</script>";
    }
}

error_reporting(E_ALL & ~E_DEPRECATED);
[, $old, $new, $count, $seed] = $argv;
for ($i = 0; $i < $count; $i++) {
    foreach ([$old, $new] as $url) {
        mt_srand($seed + $i);
        echo base64_encode(value($url, 1 + $i % 4)), "\n";
    }
}

<?php
// Says which pairs of values differ in more than where the site is. Standard input: JSON with `forms`, pairs of an
// address or folder of the source and what it has to be on the clone, and `pairs` of values, in hex. Nothing is
// rewritten: both sides' own addresses become the same mark, each spelling a mark of its own, and structures are read by
// PHP itself.
ini_set('memory_limit', '1G');
$wish = json_decode(stream_get_contents(STDIN), true, 8, JSON_THROW_ON_ERROR);

/** Marks for all spellings of one side's addresses. */
function marks(array $texts): array
{
    $marks = [];
    foreach ($texts as $i => $text) {
        foreach ([$text, preg_replace('~^https?:~', '', $text)] as $short => $form) {
            $spellings = [$form, str_replace('/', '\/', $form), str_replace('/', '\\\\\/', $form),
                str_replace('/', '\\\\/', $form), rawurlencode($form), str_replace('/', '&#47;', $form)];
            foreach ($spellings as $n => $spelling) {
                $marks[$spelling] = $marks[$spelling] ?? "\x01$i.$short.$n\x02";
            }
        }
    }
    return $marks;
}

$marks = [marks(array_column($wish['forms'], 0)), marks(array_column($wish['forms'], 1))];

function serialised(string $value): bool
{
    return preg_match('/^[aOs]:\d+:/', $value) === 1;
}

function same(string $source, string $clone): bool
{
    global $marks;
    if ($source === $clone) {
        return true;
    }
    [$one, $two] = [strtr($source, $marks[0]), strtr($clone, $marks[1])];
    if (serialised($source)) {
        [$read, $copy] = [@unserialize($source, ['allowed_classes' => false]), @unserialize($clone, ['allowed_classes' => false])];
        if ($read !== false) {
            return $copy !== false && same_parts($read, $copy);
        }
        // What never was whole has to be the same to the byte.
    }
    if ($one === $two) {
        return true;
    }
    [$read, $copy] = [json_decode($source), json_decode($clone)];
    if (!is_scalar($read) && $read !== null) {
        return same_parts($read, $copy);
    }
    [$read, $copy] = [base64_decode($source, true), base64_decode($clone, true)];
    return is_string($read) && is_string($copy) && strlen($source) > 16 && same($read, $copy);
}

/** Whether two structures have the same types, keys in the same order, and values that are the same. */
function same_parts($source, $clone): bool
{
    if (gettype($source) !== gettype($clone)) {
        return false;
    }
    if (is_string($source)) {
        return same($source, $clone);
    }
    if (is_object($source) || is_array($source)) {
        if (is_object($source) && get_class($source) !== get_class($clone)) {
            return false;
        }
        [$source, $clone] = [(array) $source, (array) $clone];
        return array_keys($source) === array_keys($clone)
            && !in_array(false, array_map('same_parts', $source, $clone), true);
    }
    return $source === $clone;
}

$differ = [];
foreach ($wish['pairs'] as $n => [$source, $clone]) {
    if (!same(hex2bin($source), hex2bin($clone))) {
        $differ[] = $n;
    }
}
echo json_encode($differ);

<?php
// Prints the indexes of the pairs of values that differ in more than the site's address. Standard input: JSON with
// `address_pairs`, each an address or folder of the source and the expected one of the clone, and `pairs` of values, in
// hex. Nothing is rewritten: both sides' own addresses become the same placeholder, one per spelling, and PHP itself
// parses structures.
ini_set('memory_limit', '1G');
$input = json_decode(stream_get_contents(STDIN), true, 8, JSON_THROW_ON_ERROR);

/** Placeholders for all spellings of one side's addresses. */
function placeholders(array $texts): array
{
    $placeholders = [];
    foreach ($texts as $i => $text) {
        foreach ([$text, preg_replace('~^https?:~', '', $text)] as $short => $form) {
            $spellings = [$form, str_replace('/', '\/', $form), str_replace('/', '\\\\\/', $form),
                str_replace('/', '\\\\/', $form), rawurlencode($form), str_replace('/', '&#47;', $form)];
            foreach ($spellings as $n => $spelling) {
                $placeholders[$spelling] = $placeholders[$spelling] ?? "\x01$i.$short.$n\x02";
            }
        }
    }
    return $placeholders;
}

$placeholders = [placeholders(array_column($input['address_pairs'], 0)), placeholders(array_column($input['address_pairs'], 1))];

function is_serialized(string $value): bool
{
    return preg_match('/^[aOs]:\d+:/', $value) === 1;
}

function values_equal(string $source, string $clone): bool
{
    global $placeholders;
    if ($source === $clone) {
        return true;
    }
    [$one, $two] = [strtr($source, $placeholders[0]), strtr($clone, $placeholders[1])];
    if (is_serialized($source)) {
        [$read, $copy] = [@unserialize($source, ['allowed_classes' => false]), @unserialize($clone, ['allowed_classes' => false])];
        if ($read !== false) {
            return $copy !== false && parts_equal($read, $copy);
        }
        // A corrupt value must be byte-identical.
    }
    if ($one === $two) {
        return true;
    }
    [$read, $copy] = [json_decode($source), json_decode($clone)];
    if (!is_scalar($read) && $read !== null) {
        return parts_equal($read, $copy);
    }
    [$read, $copy] = [base64_decode($source, true), base64_decode($clone, true)];
    return is_string($read) && is_string($copy) && strlen($source) > 16 && values_equal($read, $copy);
}

/** Whether two structures have the same types, keys in the same order, and values that are the same. */
function parts_equal($source, $clone): bool
{
    if (gettype($source) !== gettype($clone)) {
        return false;
    }
    if (is_string($source)) {
        return values_equal($source, $clone);
    }
    if (is_object($source) || is_array($source)) {
        if (is_object($source) && get_class($source) !== get_class($clone)) {
            return false;
        }
        [$source, $clone] = [(array) $source, (array) $clone];
        return array_keys($source) === array_keys($clone)
            && !in_array(false, array_map('parts_equal', $source, $clone), true);
    }
    return $source === $clone;
}

$differ = [];
foreach ($input['pairs'] as $n => [$source, $clone]) {
    if (!values_equal(hex2bin($source), hex2bin($clone))) {
        $differ[] = $n;
    }
}
echo json_encode($differ);

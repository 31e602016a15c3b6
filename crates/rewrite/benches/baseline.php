<?php
// Replaces addresses the way WP-CLI's search-replace does: serialised values are unserialised, replaced recursively and
// serialised again; all others are replaced as one string.
// php baseline.php FILE OLD NEW: reads the rows, then makes one pass for each line of standard input, `all` or `matching`,
// and prints the CPU seconds and the number of changed rows.

error_reporting(E_ALL & ~E_NOTICE & ~E_WARNING);

final class Replacer
{
    public function __construct(private string $old, private string $new) {}

    public function replace(string $value): string
    {
        return $this->text($value);
    }

    private function text(string $value): string
    {
        $data = @unserialize($value);
        if ($data === false) {
            return str_replace($this->old, $this->new, $value);
        }
        return serialize($this->any($data));
    }

    private function any(mixed $data): mixed
    {
        if (is_string($data)) {
            return $this->text($data);
        }
        if (is_array($data)) {
            foreach ($data as $key => $value) {
                $data[$key] = $this->any($value);
            }
        } elseif (is_object($data)) {
            foreach ($data as $name => $value) {
                $data->$name = $this->any($value);
            }
        }
        return $data;
    }
}

/** Seconds of CPU so far. What else the machine does is not counted. */
function cpu(): float
{
    $used = getrusage();
    $seconds = $used['ru_utime.tv_sec'] + $used['ru_stime.tv_sec'];
    return $seconds + ($used['ru_utime.tv_usec'] + $used['ru_stime.tv_usec']) / 1e6;
}

[, $file, $old, $new] = $argv;
$host = substr($old, strpos($old, '//') + 2);
$text = file_get_contents($file);
$rows = [];
for ($at = 0, $end = strlen($text); $at < $end; $at += 4 + $length) {
    $length = unpack('V', $text, $at)[1];
    $rows[] = substr($text, $at + 4, $length);
}
unset($text);
$replacer = new Replacer($old, $new);
echo PHP_VERSION, "\n";

while (($order = fgets(STDIN)) !== false) {
    $matching = trim($order) === 'matching';
    $changed = 0;
    $began = cpu();
    foreach ($rows as $row) {
        if ($matching && !str_contains($row, $host)) {
            continue;
        }
        if ($replacer->replace($row) !== $row) {
            $changed++;
        }
    }
    printf("%.6f %d\n", cpu() - $began, $changed);
}

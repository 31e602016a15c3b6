<?php
/**
 * Everything that an answer may need; loaded when one is asked for.
 */

namespace Wpclone\Migrator;

if ( ! defined( 'ABSPATH' ) ) {
	exit;
}

require_once __DIR__ . '/store.php';
require_once __DIR__ . '/state.php';
require_once __DIR__ . '/trouble.php';
require_once __DIR__ . '/json.php';
require_once __DIR__ . '/sha.php';
require_once __DIR__ . '/request.php';
require_once __DIR__ . '/gate.php';
require_once __DIR__ . '/frames.php';
require_once __DIR__ . '/answer.php';
require_once __DIR__ . '/budget.php';
require_once __DIR__ . '/db.php';
require_once __DIR__ . '/tables.php';
require_once __DIR__ . '/collations.php';
require_once __DIR__ . '/schema.php';
require_once __DIR__ . '/rows.php';
require_once __DIR__ . '/roots.php';
require_once __DIR__ . '/index.php';
require_once __DIR__ . '/files.php';
require_once __DIR__ . '/manifest.php';
require_once __DIR__ . '/removal.php';
require_once __DIR__ . '/import.php';
require_once __DIR__ . '/import-charsets.php';
require_once __DIR__ . '/import-column.php';
require_once __DIR__ . '/import-definition.php';
require_once __DIR__ . '/import-end.php';
require_once __DIR__ . '/import-expression.php';
require_once __DIR__ . '/import-files.php';
require_once __DIR__ . '/import-insert.php';
require_once __DIR__ . '/import-job.php';
require_once __DIR__ . '/import-kept.php';
require_once __DIR__ . '/import-load.php';
require_once __DIR__ . '/import-moves.php';
require_once __DIR__ . '/import-seal.php';
require_once __DIR__ . '/import-staging.php';
require_once __DIR__ . '/import-swap.php';
require_once __DIR__ . '/import-tables.php';
require_once __DIR__ . '/import-views.php';
